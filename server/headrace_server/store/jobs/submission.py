"""What a submit asks for and how it is answered, as the verbs of the store see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

from headrace_server.core.dependencies import DEFAULT_RULE, DependencyRule
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import PLAIN, Job, Origin
from headrace_server.core.placement import Needs
from headrace_server.core.states import JobState
from headrace_server.core.timeouts import NONE_STATED, Timeouts


class UniqueKeyConflict(IntEnum):
    """What happens to a submit whose unique key is taken; numbers are those of `UniqueKeyConflict` in job.proto."""

    REFUSE = 1
    RETURN_EXISTING = 2
    REPLACE_WAITING = 3


@dataclass(slots=True)
class NewJob:
    """A job that somebody wants to submit, checked as far as that goes without the store. Never changed; not frozen,
    because tens of thousands are made a second."""

    namespace: str
    request_id: str
    fingerprint: bytes
    """Of the payload (S2)."""
    spec: bytes
    """The `JobSpec` with defaults filled in."""
    queue: str
    owner: str
    needs: Needs
    priority: int
    schedule_time: Micros
    output_bytes_max: int
    labels: tuple[tuple[str, str], ...]
    actor: str
    traceparent: str = ""
    concurrency_key: str = ""
    folder: str = ""
    """That it wants to have to itself: a normalised path."""
    unique_key: str = ""
    on_conflict: UniqueKeyConflict = UniqueKeyConflict.REFUSE
    dependencies: tuple[JobId | str, ...] = ()
    """Jobs by id, or items of the same call by their `ref`."""
    dependency_rule: DependencyRule = DEFAULT_RULE
    known_ends: Mapping[JobId, tuple[int, JobState]] | None = None
    """Row and end of jobs that it depends on and that may have been deleted since."""
    ref: str = ""
    """By which other items of the call may depend on this one."""
    timeouts: Timeouts = NONE_STATED
    """As the spec states them."""
    origin: Origin = PLAIN
    session_id: JobId | None = None
    """The session whose next turn it is."""
    background: int = 0
    """Of a turn that the CLI began by itself: its worker's number. Such a turn waits for no other, and no limit refuses
    it."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job that is in the store; or, of a repeated submit, one that was there and is deleted since."""

    job: Job
    deduplicated: bool
