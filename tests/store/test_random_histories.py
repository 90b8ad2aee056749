"""Random histories: whatever clients, workers, time and restarts do to a store, its laws hold after every step.

I1 acknowledged submits, I2 one live lease, I3 no word of a stale one, I6 bounded attempts, I7 cancelled jobs, I8
row and log, I12 slots, I13 one end.
"""

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from headrace.v1 import event_pb2, input_pb2, job_pb2, queue_pb2
from headrace_server.core.deadlines import due
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.limits import LOSSES_COUNT_MAX, MAX_ATTEMPTS_DEFAULT, MAX_SNOOZES_DEFAULT
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, LEASED, JobState
from headrace_server.core.timeouts import NONE_STATED
from headrace_server.store import rows
from headrace_server.store.attempts import demand, workers
from headrace_server.store.attempts.leases import Disposition, Holder, Lease, Snooze
from headrace_server.store.attempts.workers import Release
from headrace_server.store.jobs.submit import submit_all, submit_each
from headrace_server.store.queueing.queues import create_queue
from store.checkers import check_store
from store.conftest import ENGINES
from store.driving import (
    NAMESPACE,
    Bench,
    capabilities,
    checkpoint,
    chunk,
    claude_spec,
    failure,
    finished,
    frame,
    handler_spec,
    new_job,
    offer,
)

MEMORY = Path("/dev/shm")
"""Where there is one: thousands of commits need not wait for a disk in order to be in the right order."""
MAX_QUEUED = 6
SLOTS = 3
MAX_SNOOZES = 2


def timed_spec(**seconds: float) -> job_pb2.JobSpec:
    """Of a job with timeouts, and few snoozes."""
    spec = handler_spec()
    for name, value in seconds.items():
        getattr(spec.timeouts, f"{name}_timeout").FromMicroseconds(int(value * SECOND))
    spec.retry_policy.max_snoozes = MAX_SNOOZES
    return spec


SPECS = (
    handler_spec(),
    handler_spec("other"),
    claude_spec(),
    timed_spec(queue=300, run=30),
    timed_spec(total=500, silence=4),
)
CLASSES = (
    FailureClass.CRASH,
    FailureClass.QUOTA,
    FailureClass.INVALID,
    FailureClass.ERROR,
    FailureClass.SCHEMA,
    FailureClass.RATE_LIMITED,
)

ACTIONS = (
    *("submit",) * 2,
    *("cycle",) * 5,
    *("start",) * 2,
    *("output",) * 4,
    *("report",) * 2,
    *("finish",) * 4,
    *("time",) * 3,
    "release",
    "cancel",
    "connect",
    "reopen",
)


@dataclass
class Known:
    """What the machine believes of a job, from answers alone."""

    job_id: JobId
    epoch: int = 0
    cancelled_unstarted: bool = False
    cancelling: bool = False
    ended: JobState | None = None
    checkpoint: str = ""
    sent: dict[int, int] = field(default_factory=dict)
    """By epoch: the last piece of output that was acknowledged."""


class Histories(RuleBasedStateMachine):
    """Throws verbs at a store, in any order."""

    engine = ""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="headrace-", dir=MEMORY if MEMORY.is_dir() else None))
        self.bench = Bench(ENGINES[self.engine](self.folder))
        self.bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="small", max_queued=MAX_QUEUED), "tester")
        self.known: dict[JobId, Known] = {}
        self.requests: dict[str, tuple[bytes, JobId]] = {}
        self.leases: list[tuple[Lease, Holder]] = []
        """Every lease that was ever granted, with whom it was granted to: any of them may be heard of again."""
        self.incarnations = {"w1": 1, "w2": 1}
        self.restarts = 0

    def teardown(self) -> None:
        self.bench.close()
        shutil.rmtree(self.folder)

    def holder(self, number: int) -> Holder:
        worker = sorted(self.incarnations)[number % 2]
        return Holder(worker, f"i{self.incarnations[worker]}")

    def lease(self, number: int) -> tuple[Lease, Holder, bool]:
        """One of the leases that were granted, more often a late one; and whether it lives."""
        recent = self.leases[-6:] if number % 4 else self.leases
        lease, holder = recent[number // 4 % len(recent)]
        job = self.bench.job(lease.job_id)
        lives = (
            job.state in LEASED
            and job.epoch == lease.epoch
            and (job.worker, job.incarnation)
            == (
                holder.worker,
                holder.incarnation,
            )
        )
        return lease, holder, lives

    def learn(self, request_id: str, fingerprint: bytes, job: Job) -> None:
        self.known.setdefault(job.id, Known(job.id))
        if request_id:
            self.requests[request_id] = (fingerprint, job.id)

    @initialize(jobs=st.integers(1, 6), slots=st.integers(1, SLOTS))
    def begin(self, jobs: int, slots: int) -> None:
        """Without jobs and leases nothing else has anything to do."""
        for number in range(jobs):
            self.submit(number=3 * number + 1, repeat=False, queue="default", together=False)
        self.cycle(one=slots, two=slots, lost=set())

    @rule(action=st.sampled_from(ACTIONS), seed=st.integers(0, 1 << 32))
    def act(self, action: str, seed: int) -> None:
        """One step. Drawn from a list, because of rules of their own hypothesis leaves most out of most runs."""
        chance = Random(seed)
        number = chance.getrandbits(16)
        rarely = chance.random() < 0.15
        if action == "submit":
            self.submit(
                number, chance.random() < 0.5, "small" if chance.random() < 0.5 else "default", chance.random() < 0.5
            )
        elif action == "cycle":
            self.cycle(chance.randint(0, SLOTS), chance.randint(0, SLOTS), {number % 2} if rarely else set())
        elif action == "cancel" and self.known:
            self.cancel(number)
        elif action == "connect":
            self.connect(number, reattach=chance.random() < 0.5, forgets=rarely)
        elif action == "time":
            self.bench.clock.advance(chance.choice((0.5, 5.0, 400.0, 700.0)))
        elif action == "reopen":
            self.reopen()
        elif self.leases:
            self.word(action, number, chance)

    def word(self, action: str, number: int, chance: Random) -> None:
        """What a worker says."""
        rarely = chance.random() < 0.15
        if action == "start":
            self.start(number)
        elif action == "output":
            self.output(number, chance.randint(1, 3), hole=rarely, dirty=chance.random() < 0.3)
        elif action == "report":
            self.report(number, chance.choice(("ask", "withdraw", "step")))
        elif action == "finish":
            ways = ("succeeded", "failed", "failed", "cancelled", "returned", "snoozed")
            self.finish(number, chance.choice(ways), early=rarely)
        else:
            self.release(number)

    def submit(self, number: int, repeat: bool, queue: str, together: bool) -> None:
        spec = SPECS[number // 3 % len(SPECS)]
        request_id = f"r{number % 5}" if repeat else ""
        later = Micros(self.bench.clock.now() + number % 7 * SECOND) if number % 3 == 0 else Micros(0)
        new = new_job(request_id, spec, queue=queue, schedule_time=later, output_bytes_max=20, priority=number % 3)
        (answer,) = self.bench.write(submit_all if together else submit_each, [new])
        earlier = self.requests.get(request_id)
        if earlier is not None and earlier[0] != new.fingerprint:
            assert isinstance(answer, Refusal)
            assert answer.reason is Reason.REQUEST_ID_REUSED
        elif isinstance(answer, Refusal):
            assert (answer.reason, queue) == (Reason.QUEUE_FULL, "small")
        else:
            assert answer is not None
            assert answer.deduplicated == (earlier is not None)
            assert earlier is None or answer.job.id == earlier[1]
            if not answer.deduplicated:
                self.learn(request_id, new.fingerprint, answer.job)

    def cycle(self, one: int, two: int, lost: set[int]) -> None:
        gone = [self.holder(number) for number in sorted(lost)]
        offers = []
        for number, slots in enumerate((one, two)):
            holder = self.holder(number)
            used = self.bench.read(demand.resources_used, holder.worker).slots
            if slots > used and holder not in gone:
                able = capabilities("echo", "other") if number else capabilities()
                offers.append(offer(holder, slots - used, able))
        cycle = self.bench.cycle(*offers, lost=gone)
        for granted in cycle.granted:
            known = self.known[granted.lease.job_id]
            assert granted.lease.epoch == known.epoch + 1, "I2: epochs only grow"
            assert not known.cancelled_unstarted, "I7: a cancelled job started"
            known.epoch = granted.lease.epoch
            assert granted.assignment.checkpoint.string_value == known.checkpoint, "R6: not what was said last"
            self.leases.append((granted.lease, Holder(granted.worker, granted.incarnation)))
        now = Micros(self.bench.clock.now())
        assert [job for job in self.jobs() if due(job, now) is not None] == [], "C3: too late, and nobody did anything"
        for one_offer in offers:
            taken = sum(granted.worker == one_offer.worker for granted in cycle.granted)
            assert taken <= one_offer.free_slots, "I5: more than its slots"

    def start(self, number: int) -> None:
        lease, holder, _ = self.lease(number)
        self.bench.hear(holder, starts=[lease])

    def output(self, number: int, pieces: int, hole: bool, dirty: bool) -> None:
        lease, holder, lives = self.lease(number)
        known = self.known[lease.job_id]
        last = known.sent.get(lease.epoch, 0)
        first = max(1, last - number % 2 + 1) + (5 if hole else 0)
        made = [frame(n, "s", dirty=dirty) if number % 3 else chunk(n, b"xyz") for n in range(first, first + pieces)]
        if number % 5 == 0:
            made[-1] = checkpoint(first + pieces - 1, f"{lease.epoch}:{first + pieces - 1}")
        appended = self.bench.append(lease, *made, holder=holder)
        assert appended.stale == (not lives), "I3"
        if lives:
            assert appended.committed == (last if hole else max(last, first + pieces - 1))
            if number % 5 == 0 and last < appended.committed == first + pieces - 1:
                known.checkpoint = f"{lease.epoch}:{appended.committed}"
            known.sent[lease.epoch] = appended.committed

    def report(self, number: int, kind: str) -> None:
        lease, holder, lives = self.lease(number)
        before = self.bench.job(lease.job_id).report_number
        kinds: dict[str, dict[str, Any]] = {
            "ask": {"input_requested": input_pb2.InputRequest(request_id=f"q{number % 2}")},
            "withdraw": {"input_withdrawn": {"request_id": f"q{number % 2}"}},
            "step": {"step": event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_TERMINATE)},
        }
        reported = before + 1 + number % 2
        committed = self.bench.report(lease, holder, report_number=reported, **kinds[kind])
        if lives:
            assert committed == (reported if reported == before + 1 else before)

    def finish(self, number: int, how: str, early: bool) -> None:
        lease, holder, lives = self.lease(number)
        known = self.known[lease.job_id]
        ways: dict[str, dict[str, Any]] = {
            "succeeded": {},
            "failed": {"failed": failure(CLASSES[number % len(CLASSES)], retry_after=number % 3)},
            "cancelled": {"succeeded": None},
            "returned": {"returned": True},
            "snoozed": {"snoozed": Snooze(number % 9 * SECOND, "later")},
        }
        parts = ways[how]
        outputs = known.sent.get(lease.epoch, 0) + early
        before = self.bench.job(lease.job_id)
        disposition, _ = self.bench.finish(lease, holder, outputs=outputs, **parts)
        after = self.bench.job(lease.job_id)
        if not lives:
            assert disposition in (Disposition.STALE, Disposition.ACCEPTED)
            assert after == before, "I3: a stale finish changed the job"
        elif early:
            assert disposition is Disposition.OUTPUT_MISSING
        else:
            assert disposition is Disposition.ACCEPTED
            assert after.state is not before.state
            again = self.bench.write(workers.hear_each, [workers.Word(holder, finishes=[finished(lease, **parts)])])
            assert again[0].finished[0][1] is Disposition.ACCEPTED
            assert self.bench.job(lease.job_id) == after, "I13: a finish took effect twice"

    def release(self, number: int) -> None:
        lease, holder, lives = self.lease(number)
        before = self.bench.job(lease.job_id)
        self.bench.hear(holder, releases=[Release(lease, ReleaseCause.DECLINED, "")])
        after = self.bench.job(lease.job_id)
        assert (after.state in LEASED) == (before.state in LEASED and (before.begun > 0 or not lives))

    def cancel(self, number: int) -> None:
        known = list(self.known.values())[number % len(self.known)]
        before = self.bench.job(known.job_id)
        answer = self.bench.cancel(known.job_id)
        if before.state in ENDED - {JobState.CANCELLED}:
            assert isinstance(answer, Refusal)
        else:
            assert isinstance(answer, Job)
            known.cancelled_unstarted = known.cancelled_unstarted or before.state not in LEASED | ENDED
            known.cancelling = known.cancelling or answer.state is JobState.CANCELLING

    def connect(self, number: int, reattach: bool, forgets: bool) -> None:
        holder = self.holder(number)
        if not reattach:
            self.incarnations[holder.worker] += 1
            holder = self.holder(number)
        held = [] if forgets else [lease for lease, owner in self.leases if owner == holder]
        welcomed = self.bench.welcome(holder, *held, reattach=reattach)
        if welcomed.current:
            claimed = {job.id for job in welcomed.jobs}
            leased = {job.id for job in self.jobs() if job.worker == holder.worker}
            assert leased == claimed, "what it does not hold is not its own any more"
            stopped = {job.id for job in welcomed.jobs if job.state is JobState.CANCELLING or job.timed_out}
            assert {one.job.id for one in welcomed.wanted} == stopped, "C2, C3: not said at once"

    def reopen(self) -> None:
        clock = self.bench.clock
        self.bench.close()
        self.restarts += 1
        self.bench = Bench(ENGINES[self.engine](self.folder), clock, seed=self.restarts)

    def jobs(self) -> list[Job]:
        """Every job, as it stands in the store, in the order of the submits."""
        return self.bench.read(lambda connection: [rows.job_of(row) for row in connection.rows(rows.SELECT)])

    @invariant()
    def laws_hold(self) -> None:
        self.bench.read(check_store)
        jobs = self.jobs()
        assert [job.id for job in jobs] == list(self.known), "I1: none lost, none made twice"
        for known, job in zip(self.known.values(), jobs, strict=True):
            assert job.epoch == known.epoch, "I1, I2"
            assert known.ended in (None, job.state), "I13: an end that did not last"
            known.ended = job.state if job.state in ENDED else None
            assert not (known.cancelling and job.state not in {JobState.CANCELLING, JobState.CANCELLED}), "I7"
            assert not (known.cancelled_unstarted and job.state is not JobState.CANCELLED), "I7"
            assert job.failures <= MAX_ATTEMPTS_DEFAULT, "I6"
            assert job.losses <= LOSSES_COUNT_MAX + 1, "I6"
            allowed = MAX_SNOOZES_DEFAULT if job.timeouts is NONE_STATED else MAX_SNOOZES
            assert job.snoozes <= allowed, "R5"
        for worker in self.incarnations:
            alive = sum(job.worker == worker for job in jobs)
            assert alive <= SLOTS, "I5, I12"
            assert self.bench.read(demand.resources_used, worker).slots == alive, "I12"


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_i1_to_i13_hold_in_random_histories(engine: str) -> None:
    machine = type("HistoriesOfOneEngine", (Histories,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=30,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
