"""Token deltas of one attempt on their way out: few, ephemeral, dropped when the lane is behind.

A delta never overtakes the output that it follows, and what was dropped is said in its place.
"""

from collections import deque

from headrace.v1 import event_pb2, worker_pb2, worker_service_pb2
from headrace_worker.limits import DELTAS_COUNT_MAX


class DeltaBuffer:
    """Deltas in order, each with the last output that it follows."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, event_pb2.Delta]] = deque()
        self._dropped = 0

    @property
    def empty(self) -> bool:
        """Whether there is nothing to say."""
        return not self._waiting and not self._dropped

    def offer(self, after_sequence: int, delta: event_pb2.Delta) -> None:
        """Takes a delta, or drops it when too many wait."""
        if len(self._waiting) >= DELTAS_COUNT_MAX:
            self._dropped += 1
            return
        self._mark(after_sequence)
        self._waiting.append((after_sequence, delta))

    def take(self, sent_sequence: int, lease: worker_pb2.Lease) -> list[worker_service_pb2.AttemptDeltas]:
        """Removes the deltas whose output was sent, grouped by the output that they follow."""
        groups: list[worker_service_pb2.AttemptDeltas] = []
        while self._waiting and self._waiting[0][0] <= sent_sequence:
            after, delta = self._waiting.popleft()
            if not groups or groups[-1].after_producer_sequence != after:
                groups.append(worker_service_pb2.AttemptDeltas(lease=lease, after_producer_sequence=after))
            groups[-1].deltas.append(delta)
        if not self._waiting and self._dropped and groups:
            groups[-1].deltas.append(event_pb2.Delta(dropped=self._dropped))
            self._dropped = 0
        return groups

    def drop(self) -> None:
        """Nobody listens: everything that waits is counted as dropped."""
        self._dropped += sum(delta.dropped or 1 for _, delta in self._waiting)
        self._waiting.clear()

    def _mark(self, after_sequence: int) -> None:
        if self._dropped:
            self._waiting.append((after_sequence, event_pb2.Delta(dropped=self._dropped)))
            self._dropped = 0
