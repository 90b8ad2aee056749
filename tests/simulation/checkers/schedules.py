"""I10, K1, K3: each schedule and nominal time has at most one job, on the grid of its ticks, and none from
before the schedule was there."""

from collections import Counter

from headrace.v1 import schedule_pb2
from headrace_server.core.ids import Micros
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh
from simulation.violation import hold


class ScheduleChecker:
    """Reads the schedule of every job that one made."""

    def __init__(self) -> None:
        self.names: list[str] = []
        """Schedules that somebody asked to have made; each name is used once."""
        self._made: Counter[tuple[str, Micros]] = Counter()
        self._grids: dict[str, tuple[int, int]] = {}
        """By name: when it was created, and its interval, microseconds."""

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for name, created, body in connection.rows("SELECT name, created, body FROM schedules"):
            if name not in self._grids:
                interval = schedule_pb2.Schedule.FromString(body).interval.ToMicroseconds()
                self._grids[name] = (created, interval)
        for known, logged in fresh.events:
            origin = known.row.origin
            if logged.kind != "submitted" or not origin.nominal_time:
                continue
            name = (origin.schedule, origin.nominal_time)
            self._made[name] += 1
            hold(self._made[name] == 1, "I10", f"{self._made[name]} jobs for tick {name}")
            created, interval = self._grids[origin.schedule]
            since = origin.nominal_time - created
            hold(since > 0, "K3", f"{known.id} stands for a tick before its schedule was there")
            hold(since % interval == 0, "K1", f"{known.id} stands for {since} us after the creation")
