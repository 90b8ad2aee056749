"""Simulated followers of jobs: they read at their own speed, are cut off, and go on from their cursor (E1, E2, E4).

What a reader has got is kept, whole, to be compared with the log.
"""

from dataclasses import dataclass, field
from random import Random

from headrace.v1 import event_pb2, watch_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.refusal import Reason
from simulation.network import StreamEnd, Wire
from simulation.server import Server
from simulation.violation import hold


@dataclass(eq=False, slots=True)
class Reader:
    """One follower of one job."""

    job_id: str
    without_output: bool
    wire: Wire | None = None
    cursor: str = ""
    got: list[event_pb2.Event] = field(default_factory=list)
    lacking: set[int] = field(default_factory=set)
    """Sequences that it was told to be gone."""
    last: int = 0
    """The sequence up to which it has got everything, or was told."""
    ended: bool = False
    """It was told that the job has ended."""
    opened: bool = False
    """On this stream."""

    def open(self, server: Server) -> None:
        """Follows the job from its cursor on."""
        request = pb.WatchJobRequest(job_id=self.job_id, cursor=self.cursor, without_output=self.without_output)
        self.wire = server.open_follower(request)
        self.opened = False

    def cut(self, *, lingers: bool = False) -> None:
        """Its stream is cut."""
        if self.wire is not None:
            self.wire.cut(lingers=lingers)
            self.wire = None

    def has_more(self) -> bool:
        """Whether something is there to be read."""
        return self.wire is not None and bool(self.wire.down)

    def read(self) -> None:
        """Takes the next message that is there."""
        assert self.wire is not None
        message = self.wire.receive()
        if isinstance(message, StreamEnd):
            self._stream_ended(message)
            return
        response = pb.WatchJobResponse.FromString(message) if isinstance(message, bytes) else message
        assert isinstance(response, pb.WatchJobResponse)
        kind = response.WhichOneof("kind")
        hold((kind == "opened") == (not self.opened), "E2", f"{kind} is out of place")
        self.opened = True
        hold(not self.ended, "E3", f"{kind} after the end")
        for event in response.batch.events:
            self._take(event)
        if kind == "gap":
            self._lack(response.gap)
        self.cursor = response.cursor
        if kind == "end":
            ends = (watch_pb2.END_REASON_JOB_ENDED, watch_pb2.END_REASON_JOB_DELETED)
            hold(response.end.reason in ends, "E2", f"end: {response.end.reason}")
            self.ended = True

    def _take(self, event: event_pb2.Event) -> None:
        dense = event.sequence == self.last + 1 or (self.without_output and event.sequence > self.last)
        if not dense:
            hold(False, "I9", f"a reader of {self.job_id} got {event.sequence} after {self.last}")
        self.last = event.sequence
        self.got.append(event)

    def _lack(self, gap: watch_pb2.WatchGap) -> None:
        fits = gap.from_sequence == self.last + 1 <= gap.to_sequence and not self.without_output
        hold(fits, "I9", f"a gap from {gap.from_sequence} to {gap.to_sequence} after {self.last}")
        self.lacking.update(range(gap.from_sequence, gap.to_sequence + 1))
        self.last = gap.to_sequence

    def _stream_ended(self, end: StreamEnd) -> None:
        self.wire = None
        if end.cut:
            return
        if end.refusal is None:
            hold(self.ended, "E2", "a stream without its end")
        elif end.refusal.reason is Reason.INVALID_TOKEN:
            # Its cursor is from before a restore of the store.
            self.cursor = ""
            self.got.clear()
            self.lacking.clear()
            self.last = 0
        else:
            gone = end.refusal.reason is Reason.NOT_FOUND
            hold(gone or end.refusal.reason in (Reason.STORE_UNAVAILABLE, Reason.DISK_FULL), "E2", str(end.refusal))
            self.ended = self.ended or gone


@dataclass(slots=True)
class Readers:
    """Every follower."""

    all: list[Reader] = field(default_factory=list)

    def follow(self, job_id: str, chance: Random) -> None:
        """One more reads a job; it opens its stream when it gets to it."""
        self.all.append(Reader(job_id, without_output=chance.random() < 0.25))
