"""Why a job is refused that somebody submits: the texts, and what a caller is told with them."""

from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.errors import FULL_RETRY_SECONDS
from headrace_server.store.jobs.submission import NewJob
from headrace_server.store.queueing.queue_policy import QueuePolicy

QUEUE_FULL_RETRY_SECONDS = 5.0


def key_taken(new: NewJob, job_id: JobId | None) -> Refusal:
    """The refusal of a job whose unique key another one holds: None stands for an earlier item that has no id yet."""
    text = "" if job_id is None else job_id_text(job_id)
    owner = f"job {text}" if text else "an earlier item"
    message = f"unique_key {new.unique_key!r} of queue {new.queue!r} is held by {owner}, which has not ended"
    return Refusal(Reason.UNIQUE_KEY_TAKEN, message, "headrace.v1.Job", text)


def no_queue(new: NewJob) -> Refusal:
    """The queue is not there."""
    message = f"there is no queue {new.queue!r} in namespace {new.namespace!r}"
    return Refusal(Reason.NOT_FOUND, message, "headrace.v1.Queue", new.queue)


def not_taken(new: NewJob, policy: QueuePolicy) -> Refusal:
    """The queue takes other tasks."""
    return Refusal(
        Reason.EXECUTOR_NOT_TAKEN,
        f"queue {new.queue!r} takes {', '.join(sorted(policy.executors))} tasks, not {new.needs.executor}",
        "headrace.v1.Queue",
        new.queue,
        metadata={"field": f"spec.{new.needs.executor}"},
    )


def disk_full() -> Refusal:
    """What is left of the disk is kept."""
    message = "the disk of the store is nearly full; what is left is kept for jobs that were accepted already"
    return Refusal(Reason.DISK_FULL, message, retry_after_seconds=FULL_RETRY_SECONDS, metadata={"scope": "server"})


def queue_full(new: NewJob, policy: QueuePolicy, waiting: int) -> Refusal:
    """The queue holds as many jobs as it may; `waiting`: those that it held before the call."""
    room = policy.max_queued - waiting
    message = f"queue {new.queue!r} holds {waiting} jobs that wait, and its max_queued is {policy.max_queued}"
    return Refusal(
        Reason.QUEUE_FULL,
        f"{message}; earlier items of this call take the room for {room}" if room > 0 else message,
        "headrace.v1.Queue",
        new.queue,
        retry_after_seconds=QUEUE_FULL_RETRY_SECONDS,
        metadata={"max_queued": str(policy.max_queued)},
    )


def request_reused(request_id: str, made_id: JobId | None, *, is_session: bool) -> Refusal:
    """The refusal of a `request_id` that has made something else: None stands for an earlier item."""
    text = "" if made_id is None else job_id_text(made_id)
    owner = f"{'session' if is_session else 'job'} {text}" if text else "an earlier item"
    message = f"request_id {request_id!r} belongs to {owner}, which has another payload"
    kind = "headrace.v1.Session" if is_session else "headrace.v1.Job"
    return Refusal(Reason.REQUEST_ID_REUSED, message, kind, text)


def no_dependency(job_id: JobId, place: int) -> Refusal:
    """A job that it depends on is not there."""
    text = job_id_text(job_id)
    message = f"there is no job {text}, on which it depends"
    field = {"field": f"spec.dependencies[{place}].job_id"}
    return Refusal(Reason.NOT_FOUND, message, "headrace.v1.Job", text, metadata=field)


def parent_refused(ref: str) -> Refusal:
    """An item that it depends on was refused."""
    message = f"the item with ref {ref!r}, on which it depends, was refused"
    return Refusal(Reason.DEPENDENCY_REFUSED, message, metadata={"ref": ref})


def behind_a_circle() -> Refusal:
    """It depends on items that depend on each other."""
    return Refusal(Reason.DEPENDENCY_REFUSED, "it depends on items that depend on each other")
