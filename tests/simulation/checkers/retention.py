"""E8, I14: output goes only of jobs that ended long enough ago, from the front, and what is kept of it is all there."""

from collections.abc import Callable, Set
from math import inf

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.states import ENDED
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh, Known
from simulation.violation import hold


class RetentionChecker:
    """Counts the output of every job."""

    def __init__(self, now: Callable[[], Micros]) -> None:
        """`now` is the server's clock."""
        self._now = now
        self.kept_seconds = inf
        """How long output was to be kept at least, by any sweep."""
        self._kept: dict[str, int] = {}
        self._dropped: dict[str, int] = {}

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for known, logged in fresh.events:
            if logged.kind == "output":
                self._kept[known.id] = self._kept.get(known.id, 0) + 1
        for row, up_to in connection.rows("SELECT job, up_to FROM dropped_outputs"):
            known = chronicle.of_row(row)
            if up_to != self._dropped.get(known.id):
                self._drop(known, up_to)
        for gone in self._kept.keys() - chronicle.jobs.keys():
            del self._kept[gone]
        # A long log of a job that is gone is removed in steps.
        ((stored,),) = connection.rows("SELECT count(*) FROM outputs WHERE job NOT IN (SELECT job FROM removals)")
        kept = sum(self._kept.values())
        hold(stored == kept, "E8", f"{stored} pieces of output are stored, and should be {kept}")

    def ended_by(self, seconds: float) -> float:
        """When jobs ended that ended at least so long ago."""
        # The time is counted in parts of a day, which are rounded.
        return self._now() - seconds * SECOND + 1

    def is_dropped(self, job_id: str, sequence: int) -> bool:
        """Whether output up to an event is gone."""
        return sequence <= self._dropped.get(job_id, 0)

    def check_swept(self, job_ids: Set[str]) -> None:
        """After a sweep that was to remove the output of these."""
        left = {job_id for job_id in job_ids if self._kept.get(job_id)}
        hold(not left, "E8", f"{left} have output still, and ended long ago")

    def _drop(self, known: Known, up_to: int) -> None:
        hold(known.row.state in ENDED, "I14", f"{known.id} lost output while it was {known.row.state.name}")
        hold(known.row.ended <= self.ended_by(self.kept_seconds), "E8", f"{known.id} lost output too early")
        hold(up_to > self._dropped.get(known.id, 0), "E8", f"{known.id} has output again up to {up_to}")
        self._dropped[known.id] = up_to
        self._kept[known.id] = sum(one.kind == "output" and one.event.sequence > up_to for one in known.log)
