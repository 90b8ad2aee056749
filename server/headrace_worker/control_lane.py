"""What waits to be said to the server on the control lane, and how much of it goes into one message.

Everything that waits goes with the next write, so that a crowd of small jobs shares its messages. No stream in here.
"""

import asyncio
from collections import deque

from headrace.v1 import error_pb2, worker_pb2, worker_service_pb2
from headrace.v1.event_pb2 import ReleaseCause
from headrace_worker.attempts import RunningAttempt
from headrace_worker.limits import CONTROL_MESSAGE_BYTES_MAX


class ControlLane:
    """Collects what has to be said until somebody takes it."""

    def __init__(self) -> None:
        self.renewal_due = False
        self._starts: deque[RunningAttempt] = deque()
        self._releases: deque[worker_service_pb2.AttemptRelease] = deque()
        self._reports: deque[worker_service_pb2.AttemptReport] = deque()
        self._finishes: deque[worker_service_pb2.AttemptFinish] = deque()
        self._command_acks: deque[worker_service_pb2.CommandAck] = deque()
        self._own_turns: deque[worker_service_pb2.BackgroundTurn] = deque()
        self._waiting = asyncio.Event()

    def start(self, attempt: RunningAttempt) -> None:
        """The attempt was started."""
        self._starts.append(attempt)
        self._waiting.set()

    def release(self, lease: worker_pb2.Lease, cause: ReleaseCause, message: str) -> None:
        """The assignment goes back unstarted."""
        self._releases.append(worker_service_pb2.AttemptRelease(lease=lease, cause=cause, message=message))
        self._waiting.set()

    def report(self, attempt: RunningAttempt) -> None:
        """The attempt may have something to report."""
        reports = attempt.take_reports()
        if reports:
            self._reports.extend(reports)
            self._waiting.set()

    def finish(self, finish: worker_service_pb2.AttemptFinish) -> None:
        """The attempt ended, and everything before its end is delivered."""
        self._finishes.append(finish)
        self._waiting.set()

    def acknowledge(self, lease: worker_pb2.Lease, number: int, error: error_pb2.ItemError | None) -> None:
        """A command was carried out, or can't be."""
        self._command_acks.append(worker_service_pb2.CommandAck(lease=lease, command_number=number, error=error))
        self._waiting.set()

    def announce(self, turn: worker_service_pb2.BackgroundTurn) -> None:
        """The process of a session has begun a turn by itself."""
        self._own_turns.append(turn)
        self._waiting.set()

    def renew(self) -> None:
        """The next message is to hold a renewal."""
        self.renewal_due = True
        self._waiting.set()

    def clear(self) -> None:
        """The stream is lost: what has to be said is said anew after the next welcome."""
        for waiting in (
            self._starts,
            self._releases,
            self._reports,
            self._finishes,
            self._command_acks,
            self._own_turns,
        ):
            waiting.clear()
        self.renewal_due = False
        self._waiting.clear()

    async def wait(self) -> None:
        """Waits until there is something to say."""
        await self._waiting.wait()

    def take(self) -> worker_service_pb2.ConnectRequest:
        """The next message, without its renewal. What does not fit stays for the one after."""
        request = worker_service_pb2.ConnectRequest()
        for attempt in self._starts:
            start = request.starts.add()
            start.lease.CopyFrom(attempt.lease)
            start.time.seconds, start.time.nanos = divmod(attempt.start_nanos, 1_000_000_000)
        self._starts.clear()
        request.releases.extend(self._releases)
        self._releases.clear()
        request.command_acks.extend(self._command_acks)
        self._command_acks.clear()
        request.background_turns.extend(self._own_turns)
        self._own_turns.clear()
        size = 0
        while self._reports:
            size += self._reports[0].ByteSize()
            if size > CONTROL_MESSAGE_BYTES_MAX and request.reports:
                return request
            request.reports.append(self._reports.popleft())
        while self._finishes:
            size += self._finishes[0].ByteSize()
            if size > CONTROL_MESSAGE_BYTES_MAX and (request.finishes or request.reports):
                return request
            request.finishes.append(self._finishes.popleft())
        self._waiting.clear()
        return request
