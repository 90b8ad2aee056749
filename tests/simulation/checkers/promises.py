"""I1, I7, R4, S1, S7: what clients and workers were told stays true, also after every crash."""

from collections import defaultdict

from headrace_server.core.job import PLAIN
from headrace_server.core.states import ENDED, JobState
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh
from simulation.clients import OF_GRAPH, OF_SESSION, Told
from simulation.ground import Ending, Ground
from simulation.violation import hold

_BY_WORD = frozenset({"succeeded", "attempt_failed", "attempt_handed_back", "attempt_snoozed", "cancelled"})
"""What a finish is told by in the log."""


class PromiseChecker:
    """Compares what was told with what is stored."""

    def __init__(self, told: Told, ground: Ground) -> None:
        self._told = told
        self._ground = ground
        self._settled = 0
        self._jobs_of: defaultdict[int, set[str]] = defaultdict(set)
        self._checked: set[str] = set()

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        _check_retries(chronicle, fresh)
        new = [
            known
            for known in fresh.changed
            if known.log and known.row.origin == PLAIN and known.id not in self._jobs_of[known.number]
        ]
        for known in new:
            jobs = self._jobs_of[known.number]
            jobs.add(known.id)
            submit = self._told.submits[known.number - 1]
            hold(len(jobs) == 1 or not submit.request_id, "I1", f"{submit.request_id} made {len(jobs)} jobs")
            hold(known.row.owner != "another", "S2", f"another payload of {submit.request_id} was stored")
        for bulk in {self._told.submits[known.number - 1].bulk for known in new} - {0, OF_GRAPH, OF_SESSION}:
            parts = [one.number for one in self._told.submits if one.bulk == bulk]
            hold(all(self._jobs_of[part] for part in parts), "S7", f"only some of bulk {bulk}: {parts}")

    def check_step(self, chronicle: Chronicle) -> None:
        """After a step."""
        for job_id, submit in self._told.acknowledged.items():
            if job_id in self._checked:
                continue
            kept = job_id in chronicle.jobs or job_id in self._told.deleting
            hold(kept, "I1", f"{job_id} of {submit.request_id or submit.number} is lost")
            self._checked.add(job_id)
        for job_id in self._told.cancelled - self._told.deleting:
            state = chronicle.jobs[job_id].row.state
            kept = state in (JobState.CANCELLING, JobState.CANCELLED)
            hold(kept, "I7", f"the cancel of {job_id} was acknowledged, and it is {state.name}")
        for run in self._ground.acknowledged[self._settled :]:
            if run.key.job_id in self._told.deleting:
                continue
            log = chronicle.jobs[run.key.job_id].log
            kinds = {"attempt_lost", "cancelled"} if run.ending is Ending.LOST else _BY_WORD
            kept = any(one.kind in kinds and one.event.epoch == run.key.epoch for one in log)
            hold(kept, "L7", f"the end of {run.key} was acknowledged and is not in the log")
        self._settled = len(self._ground.acknowledged)


def _check_retries(chronicle: Chronicle, fresh: Fresh) -> None:
    for known in fresh.changed:
        origin = known.row.origin.retry_of
        if origin is None or known.row.state in ENDED:
            continue
        live = [
            one.id
            for one in chronicle.jobs.values()
            if one.row.origin.retry_of == origin and one.row.state not in ENDED
        ]
        hold(len(live) == 1, "R4", f"{live} are retries of one job, and all live")
