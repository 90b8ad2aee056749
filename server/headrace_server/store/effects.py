"""What a transaction changed: gathered while it runs, told to the rest of the process once it is committed."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from headrace_server.core import facts
from headrace_server.core.facts import Fact
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import InputResolution, Job, Usage
from headrace_server.core.states import ENDED
from headrace_server.core.wanted import Wanted


class Measure(IntEnum):
    """What is told about a queue for its statistics; the value of each is in the comment beside it."""

    SUBMITTED = 1
    """Zero."""
    STARTED = 2
    """Microseconds from when a job could have started to its first start; -1 at a later start."""
    ATTEMPT_ENDED = 3
    """Microseconds from the start of the attempt."""
    ATTEMPT_FAILED = 4
    """The failure class."""
    ENDED = 5
    """The state."""


class Resolved(NamedTuple):
    """What an attempt asked of a person is asked no longer."""

    namespace: str
    queue: str
    resolution: InputResolution
    waited: int
    """Microseconds since it was asked."""


class Waited(NamedTuple):
    """A job started for the first time. A tuple, as the one below: tens of thousands are made a second."""

    row: int
    job_id: JobId
    namespace: str
    queue: str
    begin: Micros
    """When it was submitted."""
    end: Micros


class Ran(NamedTuple):
    """An attempt that had started ended."""

    row: int
    job_id: JobId
    namespace: str
    queue: str
    begin: Micros
    end: Micros
    worker: str
    attempt: int
    outcome: str
    failure_class: FailureClass | None
    has_tools: bool = False
    """It was Claude's: tools may have been called."""


class Command(NamedTuple):
    """Something that a running attempt is to be told; `body` is the `AttemptCommand` without lease and number."""

    worker: str
    job_id: JobId
    epoch: int
    attempt: int
    number: int
    body: bytes


@dataclass(slots=True)
class Effects:
    """What a transaction changed."""

    changed: set[JobId] = field(default_factory=set)
    """Jobs whose log has grown, or is gone."""
    sessions: set[JobId] = field(default_factory=set)
    """Sessions of which something is otherwise now: a turn came or ended, a setting, where it is bound."""
    position: int = 0
    """Of the last event that was added to the feed; zero when none was."""
    removed: bool = False
    """Jobs were taken out of the store, with their logs."""
    keyed: set[tuple[str, str, str]] = field(default_factory=set)
    """Unique keys that another job has now: namespace, queue, key."""
    ready: set[JobId] = field(default_factory=set)
    """Jobs that came to be QUEUED, or to another place there, and that nobody has been granted since."""
    freed: bool = False
    """What may have kept jobs from being started is gone: a stop, or others under the same limit."""
    next_due: Micros | None = None
    """The earliest time that a cycle has to keep: that of a job, a schedule, a pause."""
    stopped: list[Wanted] = field(default_factory=list)
    """Attempts that have to end from now on."""
    commands: list[Command] = field(default_factory=list)
    """What attempts are to be told."""
    measured: list[tuple[Measure, str, str, int]] = field(default_factory=list)
    """What happened in queues: measure, namespace, queue, value."""
    first_tokens: list[tuple[str, str, int]] = field(default_factory=list)
    """How long Claude attempts waited for the model's first word: namespace, queue, microseconds."""
    used: list[tuple[str, str, Usage]] = field(default_factory=list)
    """What attempts have used more than was known: namespace, queue, and how much."""
    resolved: list[Resolved] = field(default_factory=list)
    """What is asked of people no longer, and how that came."""
    spans: list[Waited | Ran] = field(default_factory=list)
    """Times of jobs that are over: what traces are made of."""
    commit_seconds: float = 0.0
    """How long the transaction took, from its begin until it was durable."""

    @property
    def queued(self) -> bool:
        """Whether a cycle that is yet to come may find a job to start."""
        return self.freed or bool(self.ready)


_OUTCOMES: dict[type[Any], str] = {
    facts.Succeeded: "succeeded",
    facts.AttemptFailed: "failed",
    facts.Failed: "failed",
    facts.AttemptLost: "lost",
    facts.HandedBack: "handed_back",
    facts.Snoozed: "snoozed",
    facts.Cancelled: "cancelled",
}


def measure(effects: Effects, job: Job, fact: Fact, started: Micros, worker: str, now: Micros) -> None:
    """Tells of a fact that was folded into a job; `started` and `worker` are what the job had before."""
    kind = type(fact)
    if kind is facts.Produced:
        return
    namespace, queue = job.namespace, job.queue
    if kind is facts.Started:
        effects.measured.append((Measure.STARTED, namespace, queue, -1 if started else now - job.queued))
        if not started:
            effects.spans.append(Waited(job.row, job.id, namespace, queue, job.created, now))
    elif isinstance(fact, facts.AttemptFailed):
        effects.measured.append((Measure.ATTEMPT_FAILED, namespace, queue, int(fact.failure.failure_class)))
    if worker and not job.worker and job.begun and kind in _OUTCOMES:
        effects.measured.append((Measure.ATTEMPT_ENDED, namespace, queue, now - job.begun))
        effects.spans.append(_ran(job, fact, worker, now))
    if job.state in ENDED:
        effects.measured.append((Measure.ENDED, namespace, queue, int(job.state)))


def _ran(job: Job, fact: Fact, worker: str, now: Micros) -> Ran:
    failed = isinstance(fact, facts.AttemptFailed | facts.Failed)
    return Ran(
        job.row,
        job.id,
        job.namespace,
        job.queue,
        job.begun,
        now,
        worker,
        job.attempt,
        _OUTCOMES[type(fact)],
        job.failure.failure_class if failed and job.failure is not None else None,
        bool(job.claude_session),
    )
