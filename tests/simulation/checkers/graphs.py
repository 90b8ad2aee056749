"""Q6, S3: a job runs, is skipped or is cancelled for its parents' sake only as their ends say, by an evaluation of its
own; of a unique key at most one job may run, and one waits for it."""

from collections import defaultdict
from dataclasses import dataclass

from headrace.v1 import job_pb2
from headrace_server.core.states import ENDED, JobState
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh, Known, Logged
from simulation.clients import Told
from simulation.violation import hold


@dataclass(frozen=True, slots=True)
class _Parent:
    row: int
    ended_as: int
    """How the store says that it ended; zero before."""


class GraphChecker:
    """Judges what the log of a child says by the rows of its parents."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._ends: dict[int, JobState] = {}
        """Of every job that was ever seen to have ended, also of those that were deleted since."""

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for known in fresh.changed:
            if known.row.state in ENDED:
                self._ends[known.row.row] = known.row.state
        dependent = [(known, logged) for known, logged in fresh.events if known.row.dependent]
        if dependent:
            parents = _parents(connection)
            there = {known.row.row for known in chronicle.jobs.values()}
            for one in (one for child in parents.values() for one in child):
                if one.ended_as and one.row not in there:
                    # It ended and was deleted in one transaction: what its children noted is all that is left.
                    self._ends.setdefault(one.row, JobState(one.ended_as))
            for known, logged in dependent:
                self._check_child(known, logged, [one.row for one in parents[known.row.row]])
            for child in parents.values():
                for parent in child:
                    ended = self._ends.get(parent.row)
                    hold(parent.ended_as in (0, ended), "Q6", f"a parent ended as {ended}, noted as {parent.ended_as}")
        self._check_unique(chronicle, fresh)

    def _check_child(self, known: Known, logged: Logged, parents: list[int]) -> None:
        spec = self._told.submits[known.number - 1].spec
        ends = [self._ends.get(parent) for parent in parents]
        verdict = may_run(spec.dependency_condition, ends)
        kind = logged.kind
        if kind in ("attempt_assigned", "queued", "scheduled"):
            hold(verdict is True, "Q6", f"{known.id} goes on while its parents are {ends}")
        elif kind == "skipped":
            hold(verdict is False, "Q6", f"{known.id} is skipped while its parents are {ends}")
            fails = spec.dependency_failure_action == job_pb2.DEPENDENCY_FAILURE_ACTION_FAIL
            hold(not fails, "Q6", f"{known.id} is skipped where it has to fail")
        elif kind == "cancelled" and logged.event.cancelled.cancellation.cause == job_pb2.CANCEL_CAUSE_DEPENDENCY:
            follows = spec.dependency_cancel_action == job_pb2.DEPENDENCY_CANCEL_ACTION_CANCEL
            hold(follows and JobState.CANCELLED in ends, "Q6", f"{known.id} is cancelled, its parents are {ends}")

    def _check_unique(self, chronicle: Chronicle, fresh: Fresh) -> None:
        if not any(known.row.unique for known in fresh.changed):
            return
        live: defaultdict[tuple[str, str], list[Known]] = defaultdict(list)
        for known in chronicle.jobs.values():
            if known.row.unique and known.row.state not in ENDED:
                key = self._told.submits[known.number - 1].spec.unique_key.key
                live[known.row.queue, key].append(known)
        for name, jobs in live.items():
            hold(len(jobs) <= 2, "S3", f"{len(jobs)} jobs with unique key {name} are live")
            active = [one for one in jobs if one.row.state is not JobState.BLOCKED]
            hold(len(active) <= 1, "S3", f"{len(active)} jobs with unique key {name} may run")
        for known, logged in fresh.events:
            cancellation = logged.event.cancelled.cancellation
            if logged.kind == "cancelled" and cancellation.cause == job_pb2.CANCEL_CAUSE_SUPERSEDED:
                hold(known.row.epoch == 0, "S3", f"{known.id} was replaced though it was granted")
                by = chronicle.jobs.get(cancellation.superseded_by_job_id)
                hold(by is not None and by.row.unique, "S3", f"{known.id} was replaced by nobody")


def may_run(condition: int, ends: list[JobState | None]) -> bool | None:
    """The reference: whether the ends of its parents let a job run; None while that is open."""
    succeeded = [end is JobState.SUCCEEDED for end in ends]
    if condition == job_pb2.DEPENDENCY_CONDITION_ANY_SUCCEEDED:
        return True if any(succeeded) else (None if None in ends else False)
    if condition == job_pb2.DEPENDENCY_CONDITION_ALL_ENDED:
        return None if None in ends else True
    if any(end is not None and end is not JobState.SUCCEEDED for end in ends):
        return False
    return None if None in ends else True


def _parents(connection: Connection) -> defaultdict[int, list[_Parent]]:
    parents: defaultdict[int, list[_Parent]] = defaultdict(list)
    for child, parent, state in connection.rows("SELECT child, parent, state FROM dependencies ORDER BY child, place"):
        parents[child].append(_Parent(parent, state))
    return parents
