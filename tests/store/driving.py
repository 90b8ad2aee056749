"""A store driven one verb a transaction, as from plain functions; and what tests say to it, with short defaults."""

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any, Concatenate, ParamSpec, TypeVar

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import Value

from headrace.v1 import event_pb2, job_pb2, outcome_pb2, task_pb2, worker_service_pb2
from headrace_server.core.capacity import domain_name
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import NO_USAGE, Job, Usage
from headrace_server.core.placement import Capabilities, Needs, Offer
from headrace_server.core.refusal import Refusal
from headrace_server.core.timeouts import NONE_STATED
from headrace_server.runtime.cycle import Cycle, run_cycle
from headrace_server.store.attempts.leases import Disposition, Finish, Holder, Lease, Snooze
from headrace_server.store.attempts.outputs import Appended, Batch, append_each
from headrace_server.store.attempts.workers import Greeting, Heard, Welcomed, Word, hear_each, welcome
from headrace_server.store.codec import failure_of, number
from headrace_server.store.effects import Effects
from headrace_server.store.engine import Connection, Engine
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.jobs.submit import Accepted, NewJob, submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import timeouts_of
from headrace_server.store.records import reads
from headrace_server.store.records.log_pages import read_page
from headrace_server.store.store import Store
from manual_clock import ManualClock

P = ParamSpec("P")
T = TypeVar("T")

NAMESPACE = "default"
HANDLER = "echo"
HOME = Holder("w1", "i1")
"""The worker of tests that need only one."""
RESULT = outcome_pb2.Result(handler=outcome_pb2.HandlerResult()).SerializeToString()


def handler_spec(name: str = HANDLER) -> job_pb2.JobSpec:
    """Of a job for a handler."""
    return job_pb2.JobSpec(queue="default", handler=task_pb2.HandlerTask(name=name))


def claude_spec(policy: task_pb2.ResumePolicy = task_pb2.RESUME_POLICY_UNSPECIFIED) -> job_pb2.JobSpec:
    """Of a Claude turn."""
    return job_pb2.JobSpec(queue="default", claude=task_pb2.ClaudeTask(prompt="hi", resume_policy=policy))


def new_job(request_id: str = "", spec: job_pb2.JobSpec | None = None, **changes: Any) -> NewJob:
    """A job to submit; every field of `NewJob` can be set by name."""
    spec = spec or handler_spec()
    needs = Needs("handler", spec.handler.name)
    if spec.HasField("claude"):
        needs = Needs("claude", domain=domain_name("", spec.claude.model))
    body = spec.SerializeToString()
    timeouts = timeouts_of(spec.timeouts) if spec.HasField("timeouts") else NONE_STATED
    fields: dict[str, Any] = {
        "namespace": NAMESPACE,
        "request_id": request_id,
        "fingerprint": hashlib.blake2b(body).digest(),
        "spec": body,
        "queue": "default",
        "owner": "me",
        "needs": needs,
        "priority": 0,
        "schedule_time": Micros(0),
        "output_bytes_max": 1 << 20,
        "labels": (),
        "actor": "tester",
        "timeouts": timeouts,
    }
    return NewJob(**{**fields, **changes})


def capabilities(*handlers: str, **labels: str) -> Capabilities:
    """Of a worker that runs Claude and these handlers."""
    return Capabilities(frozenset({"claude", "handler"}), labels, frozenset(), frozenset(handlers or (HANDLER,)))


def offer(holder: Holder = HOME, slots: int = 1, able: Capabilities | None = None) -> Offer:
    """Free slots of a worker."""
    return Offer(holder.worker, holder.incarnation, able or capabilities(), slots)


def failure(failure_class: FailureClass, retry_after: float | None = None) -> outcome_pb2.Failure:
    """Why an attempt failed."""
    message = outcome_pb2.Failure(failure_class=number(failure_class), message="it broke", sign="test")
    if retry_after is not None:
        message.retry_after.CopyFrom(Duration(seconds=int(retry_after), nanos=int(retry_after % 1 * 1e9)))
    return message


def chunk(sequence: int, data: bytes = b"x", *, dirty: bool = False) -> event_pb2.Output:
    """A piece of a program's output."""
    return event_pb2.Output(
        producer_sequence=sequence,
        dirty=dirty,
        chunk=event_pb2.Chunk(stream=event_pb2.OUTPUT_STREAM_STDOUT, data=data),
    )


def checkpoint(sequence: int, said: str) -> event_pb2.Output:
    """What the next attempt can go on from."""
    return event_pb2.Output(producer_sequence=sequence, checkpoint=event_pb2.Checkpoint(value=Value(string_value=said)))


def frame(sequence: int, session: str = "s1", *, dirty: bool = False, raw: str = "{}") -> event_pb2.Output:
    """A frame of the CLI that names its session."""
    return event_pb2.Output(
        producer_sequence=sequence,
        dirty=dirty,
        claude=event_pb2.ClaudeFrame(raw_json=raw, init=event_pb2.ClaudeInit(claude_session_id=session)),
    )


class Bench:
    """A store on a manual clock, and an event loop that runs only while a verb does."""

    def __init__(self, engine: Engine, clock: ManualClock | None = None, seed: int = 0) -> None:
        self.engine = engine
        self.clock = clock or ManualClock()
        self.effects: list[Effects] = []
        """Of every transaction."""
        self._runner = asyncio.Runner()
        self.store = self._runner.run(self._open(Random(seed)))

    async def _open(self, entropy: Random) -> Store:
        return Store(self.engine, self.clock.now, entropy, self.effects.append)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs something on the store's own loop."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Closes store and loop. May be called twice."""
        self.store.close()
        self._runner.close()

    def write(self, verb: Callable[Concatenate[Ledger, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs one verb in a transaction of its own."""

        async def written() -> T:
            return await self.store.write(lambda ledger: verb(ledger, *arguments, **named))

        return self.run(written())

    def read(self, query: Callable[Concatenate[Connection, P], T], *arguments: P.args, **named: P.kwargs) -> T:
        """Runs one query on a moment of the store."""
        return self.run(self.store.read(query, *arguments, **named))

    def submit(self, *jobs: NewJob) -> list[Job]:
        """Submits jobs that have to be accepted; without any, one with defaults."""
        accepted = self.write(submit_each, jobs or (new_job(),))
        assert all(isinstance(one, Accepted) for one in accepted), accepted
        return [one.job for one in accepted if isinstance(one, Accepted)]

    def job(self, job_id: JobId) -> Job:
        """A job as it stands in the store."""
        found = self.read(reads.get_job, NAMESPACE, job_id)
        assert found is not None
        return found

    def events(self, job_id: JobId) -> list[event_pb2.Event]:
        """The whole log of a job, as far as it is there."""
        row = self.job(job_id).row
        bodies: list[bytes] = []
        page = self.read(read_page, row, 0, 1 << 30, 1 << 30)
        bodies += page.events
        while not page.complete:
            page = self.read(read_page, row, page.last_sequence, 1 << 30, 1 << 30)
            bodies += page.events
        return [event_pb2.Event.FromString(body) for body in bodies]

    def kinds(self, job_id: JobId) -> list[str | None]:
        """The kinds of the events of a job's log."""
        return [event.WhichOneof("kind") for event in self.events(job_id)]

    def cycle(self, *offers: Offer, lost: Sequence[Holder] = ()) -> Cycle:
        """One cycle of the scheduler; without offers, nobody has room."""
        return self.write(run_cycle, offers, lost)

    def assign(self, job_id: JobId, holder: Holder = HOME) -> Lease:
        """Grants a job that has to be next to a worker."""
        granted = self.cycle(offer(holder)).granted
        assert [one.lease.job_id for one in granted] == [job_id]
        return granted[0].lease

    def running(self, spec: job_pb2.JobSpec | None = None, holder: Holder = HOME, **changes: Any) -> Lease:
        """A new job whose attempt has started."""
        (job,) = self.submit(new_job(spec=spec, **changes))
        lease = self.assign(job.id, holder)
        self.hear(starts=[lease], holder=holder)
        return lease

    def hear(self, holder: Holder = HOME, **parts: Any) -> Heard:
        """What a worker says; every part of `Word` by name."""
        return self.write(hear_each, [Word(holder, **parts)])[0]

    def append(self, lease: Lease, *outputs: event_pb2.Output, holder: Holder = HOME) -> Appended:
        """Appends output."""
        return self.write(append_each, [Batch(holder, lease, outputs)])[0]

    def report(self, lease: Lease, holder: Holder = HOME, **parts: Any) -> int:
        """Reports something; returns the last report that is committed."""
        message = worker_service_pb2.AttemptReport(**parts)
        ((_, committed),) = self.hear(holder, reports=[(lease, message)]).reported
        return committed

    def finish(self, lease: Lease, holder: Holder = HOME, **parts: Any) -> tuple[Disposition, int]:
        """Ends an attempt; see `finished`."""
        ((_, disposition, committed),) = self.hear(holder, finishes=[finished(lease, **parts)]).finished
        return disposition, committed

    def fail(self, lease: Lease, failure_class: FailureClass, holder: Holder = HOME, **parts: Any) -> Disposition:
        """Ends an attempt with a failure."""
        return self.finish(lease, holder, failed=failure(failure_class), **parts)[0]

    def lose(self, holder: Holder = HOME) -> None:
        """Ends the lease of a worker."""
        self.cycle(lost=[holder])

    def cancel(self, job_id: JobId, reason: str = "enough") -> Job | Refusal:
        """Cancels a job."""
        return self.write(cancel, NAMESPACE, job_id, reason, "tester")

    def welcome(self, holder: Holder = HOME, *held: Lease, reattach: bool = False, counter: int = 1) -> Welcomed:
        """A worker connects."""
        hello = worker_service_pb2.WorkerHello(worker_id=holder.worker, incarnation=holder.incarnation, slots=1)
        greeting = Greeting(holder, reattach, hello.SerializeToString(), counter, tuple(held))
        return self.write(welcome, greeting)


OpenStore = Callable[[], Bench]
"""Opens a test's store, and opens it anew as after a restart."""


def finished(
    lease: Lease,
    *,
    succeeded: bytes | None = RESULT,
    failed: outcome_pb2.Failure | None = None,
    returned: bool = False,
    snoozed: Snooze | None = None,
    usage: Usage = NO_USAGE,
    outputs: int = 0,
    reports: int = 0,
) -> Finish:
    """A worker's word that an attempt ended: with a result unless said otherwise."""
    return Finish(
        lease=lease,
        succeeded=None if failed is not None or returned or snoozed is not None else succeeded,
        failed=None if failed is None else failure_of(failed),
        cancelled=not returned and failed is None and succeeded is None,
        snoozed=snoozed,
        usage=usage,
        last_producer_sequence=outputs,
        last_report_number=reports,
        body=b"the finish",
    )
