"""The worker's lease by its own clock: until when its attempts may run without a word from the server.

Pure: readings of the clock come in as arguments. What is ended when the lease ends is decided elsewhere.
"""

from typing import NamedTuple

from headrace.v1 import worker_pb2
from headrace_worker.limits import LEASE_MARGIN_SECONDS_MIN, LEASE_MARGIN_SHARE


class LeaseKey(NamedTuple):
    """The identity of an attempt's lease."""

    job_id: str
    attempt: int
    epoch: int
    generation: int


def key_of(lease: worker_pb2.Lease) -> LeaseKey:
    """The identity of a lease in a message."""
    return LeaseKey(lease.job_id, lease.attempt, lease.epoch, lease.generation)


def margin_seconds(lease_seconds: float) -> float:
    """How long before its end a lease is no longer relied on."""
    return max(LEASE_MARGIN_SHARE * lease_seconds, min(LEASE_MARGIN_SECONDS_MIN, lease_seconds / 2))


class WorkerLease:
    """A lease of D seconds counts from when the renewal that was answered was sent, not from when the answer came."""

    def __init__(self) -> None:
        self.deadline: float | None = None
        """When attempts have to be ended; None before the first grant and after the end."""
        self.last_answer: float | None = None
        self._seconds = 0.0
        self._sent: dict[int, float] = {}
        self._counter = 0

    def send(self, now: float) -> int:
        """A renewal is sent now; returns its counter."""
        self._counter += 1
        self._sent[self._counter] = now
        return self._counter

    def grant(self, counter: int, lease_seconds: float, now: float) -> None:
        """The server's welcome answers the renewal and says how long a lease is; one before it may have been longer."""
        self.deadline = None
        self._seconds = lease_seconds
        self.answer(counter, now)

    def answer(self, counter: int, now: float) -> bool:
        """The server answers a renewal; True when the deadline has moved."""
        sent = self._sent.get(counter)
        if sent is None:
            return False
        for earlier in [known for known in self._sent if known <= counter]:
            del self._sent[earlier]
        self.last_answer = now
        deadline = sent + self._seconds - margin_seconds(self._seconds)
        if self.deadline is not None and deadline <= self.deadline:
            return False
        self.deadline = deadline
        return True

    def end(self) -> None:
        """Attempts were ended; nothing is held to a deadline until the next grant."""
        self.deadline = None

    def disconnect(self) -> None:
        """What was sent on the old stream is never answered."""
        self._sent.clear()
