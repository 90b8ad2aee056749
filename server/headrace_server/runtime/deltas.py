"""Token deltas of running attempts: ephemeral, in a bounded ring for each job, dropped with a marker and never waited
for."""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from headrace.v1 import event_pb2
from headrace_server.core.ids import JobId
from headrace_server.core.limits import DELTA_JOBS_COUNT_MAX, DELTA_RING_COUNT


@dataclass(slots=True)
class _Ring:
    deltas: deque[event_pb2.Delta] = field(default_factory=lambda: deque(maxlen=DELTA_RING_COUNT))
    pushed: int = 0
    """Deltas that were ever pushed; the last one's number."""
    settled: int = 0
    """Deltas up to this belong to messages that stand in the log by now."""
    begun: int = 0
    """Deltas up to this were never in this ring; a reader who has seen some of them may have missed others."""


class Deltas:
    """The rings of this node."""

    def __init__(self) -> None:
        self._rings: OrderedDict[JobId, _Ring] = OrderedDict()
        self._dropped = 0
        """The highest number in a ring that is gone: a ring begins after it, so that numbers of one job only grow."""

    def push(self, job_id: JobId, deltas: Sequence[event_pb2.Delta]) -> None:
        """Takes deltas of a job, in order; the oldest fall out when the ring is full."""
        ring = self._rings.get(job_id)
        if ring is None:
            ring = self._rings[job_id] = _Ring(pushed=self._dropped, settled=self._dropped, begun=self._dropped)
            if len(self._rings) > DELTA_JOBS_COUNT_MAX:
                self.forget(next(iter(self._rings)))
        self._rings.move_to_end(job_id)
        ring.deltas.extend(deltas)
        ring.pushed += len(deltas)

    def settle(self, job_id: JobId) -> None:
        """Takes note that the message which the deltas so far announced stands in the log."""
        ring = self._rings.get(job_id)
        if ring is not None:
            ring.settled = ring.pushed
            ring.deltas.clear()

    def forget(self, job_id: JobId) -> None:
        """Drops the ring of a job that has ended."""
        ring = self._rings.pop(job_id, None)
        if ring is not None:
            self._dropped = max(self._dropped, ring.pushed)

    def after(self, job_id: JobId, number: int, sequence: int) -> tuple[list[event_pb2.Delta], int]:
        """The deltas after a number that a reader at a sequence may see, and the number of the last one.

        A late reader gets the message so far. A delta that follows an event which the reader has not seen yet waits
        for it. What fell out of the ring is marked; what stands in the log by now is left out.
        """
        ring = self._rings.get(job_id)
        if ring is None:
            return [], number
        taken: list[event_pb2.Delta] = []
        if 0 < number < ring.begun:
            taken.append(event_pb2.Delta(dropped=0, after_sequence=sequence))
        number = max(number, ring.settled)
        first = ring.pushed - len(ring.deltas) + 1
        if number + 1 < first:
            taken.append(event_pb2.Delta(dropped=first - number - 1, after_sequence=sequence))
            number = first - 1
        for delta in islice(ring.deltas, number - first + 1, None):
            if delta.after_sequence > sequence:
                break
            number += 1
            taken.append(delta)
        return taken, number
