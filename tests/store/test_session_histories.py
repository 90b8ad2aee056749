"""Sessions through anything that may happen to their turns, workers and themselves, from a seed; every store on the way
is checked (X1, X4, R6)."""

from collections.abc import Callable
from random import Random

import pytest

from headrace.v1 import session_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId
from headrace_server.core.job import Job, Usage
from headrace_server.core.states import ENDED, LEASED
from headrace_server.store import rows
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.retries import retry
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.sessions.background import BackgroundTurn
from headrace_server.store.sessions.sessions import (
    Fork,
    Made,
    close_session,
    create_session,
    fork_session,
    interrupt_session,
    remove_sessions,
)
from headrace_server.store.sessions.settings import SessionChange, update_session
from headrace_server.store.sessions.turns import send_message
from store.checkers import check_store
from store.conversing import turn_job
from store.driving import NAMESPACE, Bench, OpenStore, frame, offer

STEPS_COUNT = 120
WORKERS = ("w1", "w2")
CLASSES = (FailureClass.CRASH, FailureClass.INVALID, FailureClass.QUOTA, FailureClass.OVERLOADED)


class History:
    """One store, what is known of it from outside, and chance."""

    def __init__(self, reopen: OpenStore, seed: int) -> None:
        self.chance = Random(seed)
        self.bench: Bench = reopen()
        self._reopen = reopen
        self.sessions: list[JobId] = []
        self.starts = dict.fromkeys(WORKERS, 1)
        self.leases: dict[Lease, tuple[Holder, int]] = {}
        """Who holds each, and how much output it has sent."""
        self.epochs: dict[JobId, int] = {}
        for worker in WORKERS:
            self.bench.welcome(self.holder(worker))

    def holder(self, worker: str) -> Holder:
        """The start of a worker that is the current one."""
        return Holder(worker, f"i{self.starts[worker]}")

    def step(self) -> None:
        """Does something."""
        actions: list[tuple[int, Callable[[], object]]] = [
            (2, self.create),
            (8, self.say),
            (3, self.submit),
            (12, self.cycle),
            (8, self.talk),
            (8, self.end),
            (2, self.lose),
            (2, self.restart_worker),
            (2, self.background),
            (3, self.cancel),
            (2, self.interrupt),
            (1, self.close),
            (1, self.fork),
            (1, self.change),
            (2, self.retry_or_delete),
            (3, self.wait),
            (1, self.restart_server),
        ]
        weights = [weight for weight, _ in actions]
        (action,) = self.chance.choices([action for _, action in actions], weights)
        action()
        self.bench.read(check_store)
        self.check_epochs()

    def check_epochs(self) -> None:
        """X1: bindings only grow, and a process of an older one is ended."""
        found = self.bench.read(
            lambda connection: connection.rows("SELECT id, binding_epoch, worker, incarnation FROM sessions")
        )
        for session_id, epoch, worker, incarnation in found:
            assert epoch >= self.epochs.get(JobId(bytes(session_id)), 0)
            self.epochs[JobId(bytes(session_id))] = epoch
            if epoch > 1 and incarnation == f"i{self.starts[worker]}":
                held = ((JobId(bytes(session_id)), epoch - 1),)
                heard = self.bench.hear(Holder(worker, incarnation), counter=1, sessions=held)
                assert heard.ended_sessions == (session_id,)

    def create(self) -> None:
        made = self.bench.write(create_session, NAMESPACE, "", session_pb2.SessionSpec(), "tester")
        assert isinstance(made, Made)
        self.sessions.append(made.session.id)

    def session(self) -> JobId:
        if not self.sessions:
            self.create()
        return self.chance.choice(self.sessions)

    def say(self) -> None:
        request_id = self.chance.choice(("", "a", "b", "c"))
        self.bench.write(send_message, NAMESPACE, self.session(), request_id, "hi", "tester", "")

    def submit(self) -> None:
        specs = [turn_job(self.session()) for _ in range(self.chance.randint(1, 3))]
        if self.chance.random() < 0.3:
            specs[0].schedule_time.FromMicroseconds(self.bench.clock.now() + 5_000_000)
        if self.chance.random() < 0.3:
            specs[-1].unique_key.key = "one"
            specs[-1].unique_key.on_conflict = self.chance.randint(1, 3)  # type: ignore[assignment]  # an enum's number
        items = [new_job(NAMESPACE, "", spec, "tester", "", f"r{place}") for place, spec in enumerate(specs)]
        self.bench.write(submit_each, items)

    def cycle(self) -> None:
        offers = [offer(self.holder(worker), self.chance.randint(0, 2)) for worker in WORKERS]
        for granted in self.bench.cycle(*offers).granted:
            holder = Holder(granted.worker, granted.incarnation)
            self.leases[granted.lease] = (holder, 0)
            if self.chance.random() < 0.8:
                self.bench.hear(holder, starts=[granted.lease])

    def lease(self) -> tuple[Lease, Holder, int] | None:
        live = [
            (lease, holder, sent)
            for lease, (holder, sent) in self.leases.items()
            if self.bench.job(lease.job_id).state in LEASED and self.bench.job(lease.job_id).epoch == lease.epoch
        ]
        return self.chance.choice(live) if live else None

    def talk(self) -> None:
        found = self.lease()
        if found is not None:
            lease, holder, sent = found
            job = self.bench.job(lease.job_id)
            conversation = "" if job.turn is None else f"c{job.turn.session_id.hex()}"
            self.bench.append(lease, frame(sent + 1, conversation, dirty=self.chance.random() < 0.3), holder=holder)
            self.leases[lease] = (holder, self.bench.job(lease.job_id).producer_sequence)

    def end(self) -> None:
        found = self.lease()
        if found is None:
            return
        lease, holder, sent = found
        used = Usage(turns=1, cost_usd_micros=self.chance.randint(0, 100))
        how = self.chance.random()
        if how < 0.2:
            self.bench.fail(lease, self.chance.choice(CLASSES), holder, outputs=sent, usage=used)
        elif how < 0.3:
            self.bench.finish(lease, holder, returned=True, outputs=sent, usage=used)
        elif how < 0.4:
            self.bench.finish(lease, holder, succeeded=None, outputs=sent, usage=used)
        else:
            self.bench.finish(lease, holder, outputs=sent, usage=used)

    def lose(self) -> None:
        self.bench.lose(self.holder(self.chance.choice(WORKERS)))

    def restart_worker(self) -> None:
        worker = self.chance.choice(WORKERS)
        if self.chance.random() < 0.7:
            self.starts[worker] += 1
        holder = self.holder(worker)
        held = [lease for lease, (other, _) in self.leases.items() if other == holder and self.chance.random() < 0.7]
        self.bench.welcome(holder, *held)

    def background(self) -> None:
        holder = self.holder(self.chance.choice(WORKERS))
        session_id = self.session()
        word = BackgroundTurn(session_id, self.epochs.get(session_id, 0), self.chance.randint(1, 3))
        self.bench.hear(holder, background=[word])

    def job(self) -> JobId | None:
        found = self.bench.read(lambda connection: connection.rows("SELECT id FROM jobs"))
        return JobId(bytes(self.chance.choice(found)[0])) if found else None

    def cancel(self) -> None:
        job_id = self.job()
        if job_id is not None:
            self.bench.write(cancel, NAMESPACE, job_id, "enough", "tester")

    def interrupt(self) -> None:
        self.bench.write(interrupt_session, NAMESPACE, self.session(), "stop", "tester")

    def close(self) -> None:
        finish_turn = self.chance.random() < 0.5
        self.bench.write(close_session, NAMESPACE, self.session(), "", "tester", finish_turn=finish_turn)
        if self.chance.random() < 0.5:
            self.bench.write(remove_sessions, self.bench.clock.now(), 10)
            left = self.bench.read(lambda connection: connection.rows("SELECT id FROM sessions"))
            self.sessions = [JobId(bytes(session_id)) for (session_id,) in left]

    def fork(self) -> None:
        fork = Fork(self.session(), "", {})
        made = self.bench.write(fork_session, NAMESPACE, "", fork, "tester")
        if isinstance(made, Made):
            self.sessions.append(made.session.id)

    def change(self) -> None:
        wanted = SessionChange(("labels",), session_pb2.SessionSpec(labels={"a": str(self.chance.random())}), "", "t")
        self.bench.write(update_session, NAMESPACE, self.session(), wanted)

    def retry_or_delete(self) -> None:
        job_id = self.job()
        if job_id is None:
            return
        if self.chance.random() < 0.4:
            self.bench.write(retry, NAMESPACE, job_id, "", "tester", "")
        else:
            self.bench.write(delete, NAMESPACE, job_id, "", "tester")
            known = self.bench.read(lambda connection: connection.rows("SELECT id FROM jobs"))
            there = {JobId(bytes(row[0])) for row in known}
            self.leases = {lease: held for lease, held in self.leases.items() if lease.job_id in there}

    def wait(self) -> None:
        self.bench.clock.advance(self.chance.choice((1.0, 5.0, 60.0, 700.0)))
        self.bench.cycle()

    def restart_server(self) -> None:
        self.bench = self._reopen()

    def run_out(self) -> None:
        """I4: with workers that are there and attempts that end, nothing is left waiting."""
        for worker in WORKERS:
            self.starts[worker] += 1
            self.bench.welcome(self.holder(worker))
        jobs: list[Job] = []
        for _ in range(2000):
            jobs = self.bench.read(lambda connection: [rows.job_of(row) for row in connection.rows(rows.SELECT)])
            if all(job.state in ENDED for job in jobs):
                return
            self.bench.clock.advance(400.0)
            granted = self.bench.cycle(*(offer(self.holder(worker), 8) for worker in WORKERS)).granted
            for one in granted:
                holder = Holder(one.worker, one.incarnation)
                self.bench.hear(holder, starts=[one.lease])
                self.bench.finish(one.lease, holder)
            self.bench.read(check_store)
        pytest.fail(f"these never ended: {[(job.id.hex(), job.state) for job in jobs if job.state not in ENDED]}")


@pytest.mark.parametrize("seed", range(12))
def test_x1_sessions_through_anything(reopen: OpenStore, seed: int) -> None:
    history = History(reopen, seed)
    for _ in range(STEPS_COUNT):
        history.step()
    history.run_out()
