"""Every exception of the package, and which one stands for which reason. How a failed rpc is read is `statuses`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc

from headrace.v1 import job_pb2, outcome_pb2


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field that is not as it has to be: its path from the request, and what is wrong with it, with the limit."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Refused:
    """What a server said when it refused a call."""

    status: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[FieldViolation, ...] = ()
    retry_after: float | None = None
    resource: str = ""
    failed_preconditions: tuple[str, ...] = ()


class HeadraceError(Exception):
    """Base of everything that this package raises for the world's faults."""


class ConnectionFailed(HeadraceError):
    """No Headrace server answers at the address, or the connection broke. Trying again is safe."""

    def __init__(self, address: str, cause: str) -> None:
        super().__init__(
            f"cannot reach a Headrace server at {address}: {cause}; "
            "start one with `headrace serve`, or check the address"
        )
        self.address = address
        self.cause = cause


class DeadlineExceeded(HeadraceError):
    """The call did not finish within its deadline; whether it took effect is not known."""


class StreamBroken(HeadraceError):
    """A follow stream broke its own promise: events out of order or missing without a gap."""


class CallFailed(HeadraceError):
    """The server refused a call. `reason` is the name in `error.proto` without its prefix; empty: a proxy refused."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.message or refused.status.name)
        self.refused = refused

    @property
    def status(self) -> grpc.StatusCode:
        return self.refused.status

    @property
    def message(self) -> str:
        return self.refused.message

    @property
    def reason(self) -> str:
        return self.refused.reason

    @property
    def metadata(self) -> Mapping[str, str]:
        return self.refused.metadata

    @property
    def violations(self) -> tuple[FieldViolation, ...]:
        """Every bad field at once, when the reason is INVALID_FIELD."""
        return self.refused.violations

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks to wait before another try."""
        return self.refused.retry_after

    @property
    def resource(self) -> str:
        """Name or id of the resource that the refusal is about, e.g. of the job that holds a unique key."""
        return self.refused.resource

    @property
    def item(self) -> int | None:
        """Of a `submit_many` that is all or nothing: the number of the item that was refused."""
        number = self.metadata.get("item", "")
        return int(number) if number.isdigit() else None


class InvalidArgument(CallFailed):
    """The request can never be accepted as it is."""


class InvalidField(InvalidArgument):
    """INVALID_FIELD: `violations` lists every bad field."""


class InvalidToken(InvalidArgument):
    """INVALID_TOKEN: a page token or cursor was not made by this server, or for another request."""


class NotSupported(CallFailed):
    """NOT_SUPPORTED: this server does not serve the rpc."""


class NotFound(CallFailed):
    """NOT_FOUND: no such job, queue, schedule, session or worker; `resource` names it."""


class AlreadyExists(CallFailed):
    """Something holds the identity already; `resource` names it."""


class RequestIdReused(AlreadyExists):
    """REQUEST_ID_REUSED: the request id belongs to another payload."""


class UniqueKeyTaken(AlreadyExists):
    """UNIQUE_KEY_TAKEN: a job with the unique key has not ended."""


class RetryLive(AlreadyExists):
    """RETRY_LIVE: a retry of the job has not ended."""


class NameTaken(AlreadyExists):
    """NAME_TAKEN: a queue or schedule of that name exists."""


class FailedPrecondition(CallFailed):
    """The thing is not in a state that allows the call."""


class JobEnded(FailedPrecondition):
    """JOB_ENDED: the job has ended."""


class JobNotEnded(FailedPrecondition):
    """JOB_NOT_ENDED: the job has not ended."""


class JobStarted(FailedPrecondition):
    """JOB_STARTED: the job has started."""


class QueueNotEmpty(FailedPrecondition):
    """QUEUE_NOT_EMPTY: the queue has jobs that have not ended, or schedules, or open sessions, or is `default`."""


class DependencyRefused(FailedPrecondition):
    """DEPENDENCY_REFUSED: an item of the call that this one depends on was not accepted."""


class SessionEnded(FailedPrecondition):
    """SESSION_ENDED: the session is closed or lost."""


class NoActiveTurn(FailedPrecondition):
    """NO_ACTIVE_TURN: no turn of the session is active."""


class SessionEmpty(FailedPrecondition):
    """SESSION_EMPTY: the session has had no turn to go on from."""


class InputResolved(FailedPrecondition):
    """INPUT_RESOLVED: somebody answered first, or the request has expired or is no longer wanted; `metadata` says."""


class SnapshotNeeded(FailedPrecondition):
    """SNAPSHOT_NEEDED: the job keeps the snapshot that an open session would go on from; close the session first."""


class ExecutorNotTaken(FailedPrecondition):
    """EXECUTOR_NOT_TAKEN: the queue does not take such a task; `resource` names the queue."""


class NotConnected(FailedPrecondition):
    """NOT_CONNECTED: the worker has no control lane on this node."""


class UnsupportedProtocol(FailedPrecondition):
    """UNSUPPORTED_PROTOCOL: the server does not speak this version."""


class Aborted(CallFailed):
    """A race was lost: read again, then decide again."""


class StaleLease(Aborted):
    """STALE_LEASE: the lease is no longer the caller's."""


class StaleEtag(Aborted):
    """STALE_ETAG: the thing changed since it was read."""


class StaleIncarnation(Aborted):
    """STALE_INCARNATION: a newer incarnation of the worker has connected."""


class ConnectionReplaced(Aborted):
    """CONNECTION_REPLACED: a newer stream of the same worker has taken this one's place."""


class ResourceExhausted(CallFailed):
    """A limit is reached; try again after `retry_after` seconds."""


class QueueFull(ResourceExhausted):
    """QUEUE_FULL: the queue holds `max_queued` jobs."""


class TooManySessions(ResourceExhausted):
    """TOO_MANY_SESSIONS: as many sessions are open, or turns pending, as may be."""


class TooManyCalls(ResourceExhausted):
    """TOO_MANY_CALLS: the server has too many calls of this class open."""


class StoreBusy(ResourceExhausted):
    """STORE_BUSY: the store has more waiting writes than it takes."""


class DiskFull(ResourceExhausted):
    """DISK_FULL: the disk has no room for new work."""


class Unavailable(CallFailed):
    """The server can't serve just now; try again after `retry_after` seconds."""


class Draining(Unavailable):
    """DRAINING: the server is shutting down."""


class StoreUnavailable(Unavailable):
    """STORE_UNAVAILABLE: the store can't commit."""


class Expired(CallFailed):
    """EXPIRED: what was asked for is older than what is kept."""


class Unauthenticated(CallFailed):
    """UNAUTHENTICATED: no or bad credential."""


class PermissionDenied(CallFailed):
    """PERMISSION_DENIED: the principal lacks the right."""


class InternalError(CallFailed):
    """INTERNAL: the server's fault; `error_id` is in its log."""

    @property
    def error_id(self) -> str:
        return self.metadata.get("error_id", "")


class JobDidNotSucceed(HeadraceError):
    """A job ended without a result. `job` is the job at its end."""

    def __init__(self, job: job_pb2.Job, message: str) -> None:
        super().__init__(message)
        self.job = job


class JobFailed(JobDidNotSucceed):
    """The job ended as FAILED."""

    @property
    def failure(self) -> outcome_pb2.Failure:
        return self.job.failure


class JobCancelled(JobDidNotSucceed):
    """The job ended as CANCELLED."""

    @property
    def cancellation(self) -> job_pb2.Cancellation:
        return self.job.cancellation


class JobExpired(JobDidNotSucceed):
    """The job was not started in time."""


class JobSkipped(JobDidNotSucceed):
    """A job that it depends on did not succeed."""


class JobDeleted(JobDidNotSucceed):
    """The job was deleted while it was followed."""


BY_REASON: Mapping[str, type[CallFailed]] = {
    "INVALID_FIELD": InvalidField,
    "INVALID_TOKEN": InvalidToken,
    "NOT_SUPPORTED": NotSupported,
    "NOT_FOUND": NotFound,
    "REQUEST_ID_REUSED": RequestIdReused,
    "UNIQUE_KEY_TAKEN": UniqueKeyTaken,
    "NAME_TAKEN": NameTaken,
    "JOB_ENDED": JobEnded,
    "JOB_NOT_ENDED": JobNotEnded,
    "STALE_LEASE": StaleLease,
    "STALE_ETAG": StaleEtag,
    "QUEUE_FULL": QueueFull,
    "TOO_MANY_CALLS": TooManyCalls,
    "STORE_BUSY": StoreBusy,
    "DISK_FULL": DiskFull,
    "DRAINING": Draining,
    "STORE_UNAVAILABLE": StoreUnavailable,
    "UNSUPPORTED_PROTOCOL": UnsupportedProtocol,
    "STALE_INCARNATION": StaleIncarnation,
    "INTERNAL": InternalError,
    "EXPIRED": Expired,
    "UNAUTHENTICATED": Unauthenticated,
    "PERMISSION_DENIED": PermissionDenied,
    "CONNECTION_REPLACED": ConnectionReplaced,
    "NOT_CONNECTED": NotConnected,
    "JOB_STARTED": JobStarted,
    "RETRY_LIVE": RetryLive,
    "QUEUE_NOT_EMPTY": QueueNotEmpty,
    "DEPENDENCY_REFUSED": DependencyRefused,
    "SESSION_ENDED": SessionEnded,
    "NO_ACTIVE_TURN": NoActiveTurn,
    "SESSION_EMPTY": SessionEmpty,
    "TOO_MANY_SESSIONS": TooManySessions,
    "INPUT_RESOLVED": InputResolved,
    "SNAPSHOT_NEEDED": SnapshotNeeded,
    "EXECUTOR_NOT_TAKEN": ExecutorNotTaken,
}

BY_STATUS: Mapping[grpc.StatusCode, type[CallFailed]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Aborted,
    grpc.StatusCode.RESOURCE_EXHAUSTED: ResourceExhausted,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.UNIMPLEMENTED: NotSupported,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
}
"""For reasons that this version does not know, and for proxies."""
