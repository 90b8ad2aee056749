"""X3 on random histories: whatever is asked, answered and lost, each request is resolved once, and its attempt is told
until it knows. Broken variants of the verbs are told from the sound ones."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from headrace.v1 import input_pb2, worker_service_pb2
from headrace_server.core import deadlines
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId
from headrace_server.core.job import InputResolution
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import LEASED, JobState
from headrace_server.store.attempts import commands, inputs, lease_ends, workers
from headrace_server.store.attempts.inputs import answer
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.effects import Command
from store.checkers import check_store
from store.driving import NAMESPACE, Bench, OpenStore, claude_spec, new_job, offer

HOLDERS = (Holder("w1", "i1"), Holder("w2", "i1"))
ACTORS = ("ann", "bob")
TIMEOUTS = (5, 60, 0)
STEPS_COUNT = 120
SEEDS = range(8)
ACTIONS = (
    *("ask",) * 6,
    *("answer",) * 6,
    *("renew",) * 4,
    *("acknowledge",) * 4,
    *("time",) * 3,
    *("grant",) * 3,
    "withdraw",
    "reconnect",
    "restart",
    "end",
    "cancel",
)


@dataclass
class Asked:
    """A request, as far as answers have told."""

    expires: int
    resolution: InputResolution | None = None
    actor: str = ""
    allow: bool = False


@dataclass
class Known:
    """A job and its current attempt, as its worker knows them."""

    job_id: JobId
    timeout: int
    lease: Lease | None = None
    holder: Holder = HOLDERS[0]
    reports: int = 0
    cancelling: bool = False
    ended: bool = False
    asked: dict[str, Asked] = field(default_factory=dict)
    """By id, of the latest attempt that used it."""
    inbox: list[tuple[int, str, bool]] = field(default_factory=list)
    """What it is to be told and has not acknowledged: number, request, whether it is allowed."""
    numbers: int = 0


class World:
    """A store, and what has to be true of it."""

    def __init__(self, reopen: OpenStore, chance: Random) -> None:
        self.reopen = reopen
        self.bench = reopen()
        self.chance = chance
        self.names = 0
        self.jobs = [self.submit(seconds) for seconds in TIMEOUTS]

    def submit(self, seconds: int) -> Known:
        spec = claude_spec()
        spec.timeouts.input_timeout.FromSeconds(seconds)
        spec.retry_policy.max_attempts = 100
        (job,) = self.bench.submit(new_job(spec=spec))
        return Known(job.id, seconds)

    def step(self) -> None:
        known = self.chance.choice(self.jobs)
        getattr(self, self.chance.choice(ACTIONS))(known)
        self.expire()
        for one in self.jobs:
            self.check(one)

    def grant(self, known: Known) -> None:
        """Whatever is next is granted to one of the workers."""
        worker = self.chance.choice(HOLDERS)
        for granted in self.bench.cycle(offer(worker)).granted:
            one = next(one for one in self.jobs if one.job_id == granted.lease.job_id)
            one.lease, one.holder, one.reports, one.numbers, one.inbox = granted.lease, worker, 0, 0, []
            self.bench.hear(worker, starts=[granted.lease])

    def ask(self, known: Known) -> None:
        if known.lease is None:
            return
        self.names += 1
        name = f"q{self.names if self.chance.random() < 0.8 else self.chance.randint(1, self.names)}"
        again = name in known.asked and known.asked[name].expires >= 0
        known.reports += 1
        request = input_pb2.InputRequest(request_id=name, tool_name="Write")
        committed = self.bench.report(known.lease, known.holder, report_number=known.reports, input_requested=request)
        assert committed == known.reports
        if not (again or known.cancelling):
            now = self.bench.clock.now()
            known.asked[name] = Asked(now + known.timeout * SECOND if known.timeout else 0)

    def withdraw(self, known: Known) -> None:
        if known.lease is None or not known.asked:
            return
        name = self.chance.choice(sorted(known.asked))
        known.reports += 1
        withdrawn = {"request_id": name}
        self.bench.report(known.lease, known.holder, report_number=known.reports, input_withdrawn=withdrawn)
        one = known.asked[name]
        if one.resolution is None:
            one.resolution = InputResolution.WITHDRAWN

    def answer(self, known: Known) -> None:
        open_names = sorted(name for name, one in known.asked.items() if one.resolution is None)
        name = self.chance.choice((open_names if self.chance.random() < 0.7 else None) or sorted(known.asked) or ["q0"])
        actor, allow = self.chance.choice(ACTORS), self.chance.random() < 0.5
        if self.chance.random() < 0.3:
            self.bench.clock.advance(self.chance.choice((1, 5, 60)))
            self.expire(looked=False)
        given = input_pb2.InputAnswer(request_id=name, allow=allow)
        said = self.bench.write(answer, NAMESPACE, known.job_id, given, actor)
        one = known.asked.get(name)
        if one is None:
            assert isinstance(said, Refusal)
            assert said.reason is Reason.NOT_FOUND
        elif one.resolution is None and not known.cancelling:
            assert said is (InputResolution.ALLOWED if allow else InputResolution.DENIED)
            one.resolution, one.actor, one.allow = said, actor, allow
            self.tell(known, name, allow)
        elif one.actor and (one.actor, one.allow) == (actor, allow):
            assert said is one.resolution
        else:
            assert isinstance(said, Refusal)
            assert said.reason is Reason.INPUT_RESOLVED
            assert said.metadata["resolution"] == (one.resolution or InputResolution.WITHDRAWN).name
            assert said.metadata.get("actor", "") == one.actor

    def expire(self, *, looked: bool = True) -> None:
        """What has expired by now is denied: when somebody looks, and for whoever answers."""
        if looked:
            self.bench.cycle()
        now = self.bench.clock.now()
        for known in self.jobs:
            due = [name for name, one in known.asked.items() if one.resolution is None and 0 < one.expires <= now]
            if known.cancelling:
                continue
            for name in due:
                known.asked[name].resolution = InputResolution.EXPIRED
                self.tell(known, name, False)

    def tell(self, known: Known, name: str, allow: bool) -> None:
        known.numbers += 1
        known.inbox.append((known.numbers, name, allow))

    def time(self, known: Known) -> None:
        self.bench.clock.advance(self.chance.choice((1, 5, 60)))

    def renew(self, known: Known) -> None:
        self.compare(known.holder, self.bench.hear(known.holder, counter=1).commands)

    def reconnect(self, known: Known) -> None:
        held = [one.lease for one in self.jobs if one.lease is not None and one.holder == known.holder]
        self.compare(known.holder, self.bench.welcome(known.holder, *held, reattach=True).commands)

    def restart(self, known: Known) -> None:
        self.bench = self.reopen()

    def compare(self, holder: Holder, told: tuple[Command, ...]) -> None:
        said: dict[JobId, list[tuple[int, str, bool]]] = {}
        for command in told:
            given = worker_service_pb2.AttemptCommand.FromString(command.body).answer
            said.setdefault(command.job_id, []).append((command.number, given.request_id, given.allow))
        wanted = {one.job_id: one.inbox for one in self.jobs if one.inbox and one.lease and one.holder == holder}
        assert {job_id: sorted(inbox) for job_id, inbox in wanted.items()} == said

    def acknowledge(self, known: Known) -> None:
        if known.lease is not None and known.inbox:
            number, _, _ = known.inbox.pop(self.chance.randrange(len(known.inbox)))
            self.bench.hear(known.holder, command_acks=[(known.lease, number, self.chance.choice(("", "too late")))])

    def cancel(self, known: Known) -> None:
        if known.lease is not None and self.chance.random() < 0.3:
            self.bench.cancel(known.job_id)
            known.cancelling = True

    def end(self, known: Known) -> None:
        """The attempt ends, and with it what is open."""
        if known.lease is None:
            return
        if known.cancelling:
            self.bench.finish(known.lease, known.holder, succeeded=None, reports=known.reports)
        elif self.chance.random() < 0.5:
            self.bench.fail(known.lease, FailureClass.CRASH, known.holder, reports=known.reports)
        else:
            self.bench.finish(known.lease, known.holder, returned=True, reports=known.reports)
        for one in known.asked.values():
            one.resolution = one.resolution or InputResolution.WITHDRAWN
            one.expires = -1
        known.lease, known.inbox = None, []
        if known.cancelling:
            self.jobs[self.jobs.index(known)] = self.submit(known.timeout)
        self.bench.clock.advance(1000)

    def check(self, known: Known) -> None:
        job = self.bench.job(known.job_id)
        open_names = [name for name, one in known.asked.items() if one.resolution is None]
        assert sorted(one.request_id for one in job.open_inputs) == sorted(open_names)
        if job.state in LEASED and not known.cancelling and known.lease is not None:
            assert job.state is (JobState.WAITING_INPUT if open_names else JobState.RUNNING)


def run(reopen: OpenStore, seed: int) -> None:
    world = World(reopen, Random(seed))
    for _ in range(STEPS_COUNT):
        world.step()
    world.bench.read(check_store)


@pytest.mark.parametrize("seed", SEEDS)
def test_x3_each_request_is_resolved_once_and_told_until_it_is_known(reopen: OpenStore, seed: int) -> None:
    run(reopen, seed)


Patches = list[tuple[Any, str, Any]]


def answered_twice() -> Patches:
    """Whoever answers is taken at his word, also after somebody else."""
    return [(inputs, "_is_open", lambda job, request_id: job.state in LEASED)]


def expired_and_allowed() -> Patches:
    """An answer wins over an expiry that nobody has looked at."""
    return [(inputs, "expire", lambda ledger, job: None)]


def never_looked_at() -> Patches:
    """What is asked is not among the times at which a job is looked at."""
    return [(deadlines, "input_due", lambda job: deadlines.NEVER)]


def acknowledged_by_all() -> Patches:
    """One acknowledgement is taken for those of all commands before it."""

    def acknowledge(ledger: Any, job: Any, number: int, error: str) -> None:
        ledger.run("UPDATE commands SET acknowledged = 1 WHERE job = ? AND number <= ?", (job.row, number))

    return [(workers, "acknowledge", acknowledge)]


def inbox_outlives_its_attempt() -> Patches:
    """What an attempt was told is told to the next one."""
    return [
        (lease_ends, "drop_commands", lambda ledger, ended: None),
        (commands, "_PENDING", commands._PENDING.replace(" AND jobs.epoch = commands.epoch", "")),
    ]


def open_after_its_attempt() -> Patches:
    """Requests of an attempt that has ended stay open in the table."""
    return [(lease_ends, "close_inputs", lambda ledger, ended: None)]


def another_answer_taken_for_a_repeat() -> Patches:
    """Nobody keeps what was answered, so whatever the same person says is taken for a repeat."""
    return [(inputs, "_digest", lambda given: b"")]


MUTANTS: tuple[Callable[[], Patches], ...] = (
    answered_twice,
    expired_and_allowed,
    never_looked_at,
    acknowledged_by_all,
    inbox_outlives_its_attempt,
    open_after_its_attempt,
    another_answer_taken_for_a_repeat,
)


@contextmanager
def planted(mutant: Callable[[], Patches]) -> Iterator[None]:
    patches = [patch.object(*one) for one in mutant()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.__name__)
def test_x3_a_broken_variant_is_told(open_engine: Any, tmp_path: Any, mutant: Callable[[], Patches]) -> None:
    opened: list[Bench] = []

    def fails(seed: int) -> bool:
        def reopen() -> Bench:
            clock = opened[-1].clock if opened else None
            for earlier in opened:
                earlier.close()
            opened.append(Bench(open_engine(tmp_path / f"{seed}"), clock, seed=len(opened)))
            return opened[-1]

        try:
            run(reopen, seed)
        except (AssertionError, LookupError):
            return True
        finally:
            opened[-1].close()
            opened.clear()
        return False

    with planted(mutant):
        assert any(fails(seed) for seed in SEEDS)
