"""Q1, Q2: among jobs that the same workers could run, the lower rank goes first; a share that wakes has no past before
it that the others have not."""

import math
from dataclasses import dataclass

from headrace.v1 import queue_pb2
from headrace_server.core.ids import SECOND
from headrace_server.core.states import LEASED, JobState
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh
from simulation.policies import FAIR_QUEUE
from simulation.violation import hold

HALF_LIFE_SECONDS = 3600.0

_Line = tuple[str, int, str, str, str]
"""Queue, group of needs, concurrency key, folder, and of Claude jobs the owner, who may have spent a budget: of these
the order is strict."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A job that could be granted."""

    id: str
    place: tuple[int, int]
    line: _Line


class OrderChecker:
    """Judges every grant by the jobs that waited before its commit, and wait still."""

    def __init__(self) -> None:
        self._waiting: dict[str, _Waiting] = {}

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        before, self._waiting = self._waiting, _waiting(chronicle, connection)
        granted = {known.id: known.row for known, logged in fresh.events if logged.kind == "attempt_assigned"}
        if not granted:
            return
        # What has come to another place meanwhile may have been behind when the grants were made.
        firsts: dict[_Line, _Waiting] = {}
        for one in before.values():
            waits = one.id not in granted and self._waiting.get(one.id) == one
            if waits and (one.line not in firsts or one.place < firsts[one.line].place):
                firsts[one.line] = one
        for name in granted.keys() & before.keys():
            # Its own place as it was at the grant: an update may have come in the same commit.
            place = (granted[name].rank, granted[name].row)
            first = firsts.get(before[name].line)
            hold(first is None or place < first.place, "Q1", f"{name} is granted before {first}")


def _waiting(chronicle: Chronicle, connection: Connection) -> dict[str, _Waiting]:
    lines: dict[int, _Line] = {
        key: (queue, group, concurrency_key, folder, owner if domain else "")
        for key, queue, group, concurrency_key, folder, owner, domain in connection.rows(
            "SELECT key, ready_keys.queue, ready_groups.ready_group, concurrency_key, folder, owner, domain"
            " FROM ready_keys JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
        )
    }
    return {
        known.id: _Waiting(known.id, (row.rank, row.row), lines[row.key])
        for known in chronicle.jobs.values()
        if (row := known.row).state is JobState.QUEUED and not row.holder and row.queue != FAIR_QUEUE
    }


@dataclass(frozen=True, slots=True)
class _Share:
    """What one has consumed with jobs that have ended."""

    usage: float
    updated: int
    active: bool

    def at(self, now: int) -> float:
        return self.usage * math.pow(0.5, max(0, now - self.updated) / SECOND / HALF_LIFE_SECONDS)


class ShareChecker:
    """Q2: whoever comes anew to a fair queue has consumed, for what it is entitled to, no less than any of the others:
    else it would have all slots until it had caught up with their past."""

    def __init__(self) -> None:
        self._fairness = queue_pb2.Fairness()
        self._shares: dict[str, _Share] = {}

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        fairness_before, before = self._fairness, self._shares
        for (body,) in connection.rows("SELECT body FROM queues WHERE name = ?", (FAIR_QUEUE,)):
            self._fairness = queue_pb2.Queue.FromString(body).fairness
        self._shares = {
            name: _Share(usage, updated, bool(active))
            for name, usage, updated, active in connection.rows(
                "SELECT name, usage, updated, active FROM shares WHERE queue = ? AND scope = ?",
                (FAIR_QUEUE, self._fairness.scope),
            )
        }
        if self._fairness != fairness_before:
            return
        weights = self._fairness.weights
        running = self._running(chronicle)
        for name, share in self._shares.items():
            if not share.active or (name in before and before[name].active) or name in running:
                continue
            others = [
                one.at(share.updated) / weights.get(other, 1.0)
                for other, one in before.items()
                if one.active and other in self._shares and self._shares[other].active
            ]
            consumed = share.usage / weights.get(name, 1.0)
            if others:
                hold(consumed >= min(others) - 1e-6, "Q2", f"{name} comes at {consumed}, the others are at {others}")

    def _running(self, chronicle: Chronicle) -> set[str]:
        by_owner = self._fairness.scope == queue_pb2.FAIRNESS_SCOPE_OWNER
        jobs = [one.row for one in chronicle.jobs.values() if one.row.queue == FAIR_QUEUE and one.row.state in LEASED]
        return {job.owner if by_owner else job.concurrency_key for job in jobs}
