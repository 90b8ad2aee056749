"""When a BLOCKED job goes on, or ends without having run: once neither the jobs that it depends on, nor its unique key,
nor a turn before it hold it (Q6, S3, C2, X1)."""

from headrace.v1 import outcome_pb2
from headrace_server.core import facts
from headrace_server.core.dependencies import Verdict
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import job_id_text
from headrace_server.core.job import CancelCause, Cancellation, Failure, Job, Usage
from headrace_server.core.states import JobState
from headrace_server.store import rows
from headrace_server.store.codec import failure_of, number
from headrace_server.store.engine import in_list
from headrace_server.store.jobs.dependencies import Judged, Parent, judged_children, tell_children
from headrace_server.store.jobs.unique_keys import move_up, waits_for_key
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.bindings import waits_for
from headrace_server.store.sessions.line import is_behind

SYSTEM = "headrace"
"""The actor of what the control plane does by itself."""


def hand_over_key(ledger: Ledger, ended: Job) -> None:
    """Lets the job go on that waited for an ended one with its unique key, unless something else holds it still."""
    following = move_up(ledger, ended)
    if following is not None:
        go_on_unless_held(ledger, following)


def go_on_unless_held(ledger: Ledger, job: Job) -> None:
    """Lets a BLOCKED job go on when nothing holds it any more: jobs that it depends on, its unique key, its session."""
    if job.state is not JobState.BLOCKED:
        return
    if job.dependent and judged_children(ledger, [job.row])[job.row].judgement.verdict is not Verdict.RUN:
        return
    if not _waits_for_place(ledger, job):
        _go_on(ledger, job)


def tell_some_children(ledger: Ledger, count: int) -> int | None:
    """Tells up to `count` children of one parent that it has ended, and does with them what that means; returns how
    many they were, None when no child has to be told."""
    children = tell_children(ledger, count)
    if children is None:
        return None
    if children:
        marks, values = in_list(children)
        found = ledger.query(f"{rows.SELECT} WHERE job IN ({marks}) AND state = 2", values)
        blocked = ledger.adopt(found)
        judged = judged_children(ledger, [job.row for job in blocked])
        for job in sorted(blocked, key=lambda job: job.row):
            obey(ledger, job, judged[job.row])
    return len(children)


def obey(ledger: Ledger, job: Job, judged: Judged) -> None:
    """Does with a BLOCKED job what the ends of its parents mean."""
    verdict = judged.judgement.verdict
    if verdict is Verdict.RUN:
        if not _waits_for_place(ledger, job):
            _go_on(ledger, job)
    elif verdict is Verdict.SKIP:
        ledger.record(job, facts.Skipped(dependency_failure(judged.parent), judged.parent.id))
    elif verdict is Verdict.FAIL:
        ledger.record(job, facts.Failed(dependency_failure(judged.parent)))
    elif verdict is Verdict.CANCEL:
        reason = f"job {job_id_text(judged.parent.id)}, which it depends on, was cancelled"
        ledger.record(job, facts.Cancelled(Cancellation(reason, SYSTEM, ledger.now, CancelCause.DEPENDENCY), Usage()))


def _waits_for_place(ledger: Ledger, job: Job) -> bool:
    return (job.unique and waits_for_key(ledger, job)) or (job.turn is not None and is_behind(ledger, job))


def _go_on(ledger: Ledger, job: Job) -> None:
    """It waits for its time, or for a worker."""
    if job.due > ledger.now:
        ledger.record(job, facts.Scheduled(job.due))
    else:
        holder, until = waits_for(ledger, job)
        ledger.record(job, facts.Queued(facts.QueuedCause.UNBLOCKED, until, holder))


def dependency_failure(parent: Parent) -> Failure:
    """Why a job does not run whose parent did not end as it should."""
    text = job_id_text(parent.id)
    how = parent.end.name if parent.end is not None else "nothing"
    return failure_of(
        outcome_pb2.Failure(
            failure_class=number(FailureClass.DEPENDENCY),
            message=f"job {text}, which it depends on, ended as {how}",
            sign=f"dependency={text}",
        )
    )
