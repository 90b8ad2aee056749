"""Simulated readers of the namespace's feed: they want some of it, are cut off, and go on from their cursor (E1, E7).

What a reader has got, and was told that it lacks, is kept whole, to be compared with what was committed.
"""

from dataclasses import dataclass, field
from random import Random

from headrace.v1 import event_service_pb2 as pb
from headrace.v1 import watch_pb2
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.refusal import Reason
from headrace_server.rpc.streams.feed_cursor import parse_cursor
from headrace_server.store.codec import set_time
from simulation.network import StreamEnd, Wire
from simulation.server import Server
from simulation.violation import hold

FEED_READERS_COUNT_MAX = 4


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a reader narrows the feed down to. What is empty narrows nothing."""

    kinds: tuple[str, ...] = ()
    queue: str = ""
    owner: str = ""
    worker: str = ""
    label: str = ""
    """Whose value is `yes`."""
    only_own: bool = False

    @property
    def filter(self) -> str:
        """As it is asked for."""
        terms = [f"type = ({' OR '.join(self.kinds)})"] if self.kinds else []
        for name, value in (("queue", self.queue), ("owner", self.owner), ("worker_id", self.worker)):
            if value:
                terms.append(f"{name} = {value}")
        if self.label:
            terms.append(f"labels.{self.label} = yes")
        return " AND ".join(terms)


WANTED = (
    Wanted(),
    Wanted(only_own=True),
    Wanted(owner="bob"),
    Wanted(queue="default", kinds=("submitted", "succeeded")),
    Wanted(kinds=("attempt_assigned", "attempt_lost", "cancelled")),
    Wanted(worker="w1"),
    Wanted(label="changed"),
    Wanted(label="endless", kinds=("attempt_started", "failed", "updated")),
)


@dataclass(frozen=True, slots=True)
class Gap:
    """Positions that a reader was told to lack."""

    first: int
    last: int


@dataclass(eq=False, slots=True)
class FeedReader:
    """One reader of the feed."""

    wanted: Wanted
    from_beginning: bool
    start: Micros = Micros(0)
    """With a time to begin with."""
    committed: int = 0
    """Of a reader that begins with what comes: what was committed when it first asked."""
    wire: Wire | None = None
    cursor: str = ""
    place: int = 0
    """Up to which position everything was sent to it, by its cursor."""
    begins: int = 0
    """The position after which it wants everything."""
    got: list[pb.FeedEvent] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    caught_up: bool = False
    """Its last stream said that it had sent everything."""
    _asks_end: bool = False
    _opened: int | None = None
    """The last position, as the stream said when it began."""

    def open(self, server: Server, committed: int, *, no_follow: bool) -> None:
        """Reads the feed from its cursor on; so far so much was committed."""
        request = pb.WatchEventsRequest(cursor=self.cursor, filter=self.wanted.filter, no_follow=no_follow)
        request.scope = pb.FEED_SCOPE_OWN if self.wanted.only_own else pb.FEED_SCOPE_NAMESPACE
        if self.start:
            set_time(request.start_time, self.start)
        elif self.from_beginning:
            request.from_beginning = True
        elif not self.cursor:
            self.committed = committed
        self.wire = server.open_feed(request)
        self.caught_up, self._opened, self._asks_end = False, None, no_follow

    def cut(self, *, lingers: bool = False) -> None:
        """Its stream is cut."""
        if self.wire is not None:
            self.wire.cut(lingers=lingers)
            self.wire = None

    @property
    def waits(self) -> bool:
        """Whether it has read what is there, on a stream that stands."""
        return self._opened is not None and self.wire is not None and self.wire.server_open and not self.wire.down

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
        response = pb.WatchEventsResponse.FromString(message) if isinstance(message, bytes) else message
        assert isinstance(response, pb.WatchEventsResponse)
        kind = response.WhichOneof("kind")
        hold((kind == "opened") == (self._opened is None), "E1", f"{kind} is out of place")
        hold(not self.caught_up, "E1", f"{kind} after the end")
        if kind == "opened":
            self._begin(response)
        elif kind == "batch":
            hold(len(response.batch.events) > 0, "E1", "a batch of nothing")
            self.got += response.batch.events
        elif kind == "gap":
            self._lack(response.gap)
        self._move_to(response)
        if kind == "end":
            ended = response.end.reason == watch_pb2.END_REASON_CAUGHT_UP and self._asks_end
            hold(ended and self.place >= (self._opened or 0), "E1", f"end: {response.end.reason} at {self.place}")
            self.caught_up = True

    def _begin(self, response: pb.WatchEventsResponse) -> None:
        self._opened = response.opened.last_position
        if not self.cursor and not (self.from_beginning or self.start):
            self.begins = parse_cursor(response.cursor).position
            hold(self.begins >= self.committed, "E1", f"begins at {self.begins}, asked at {self.committed}")

    def _lack(self, gap: pb.FeedGap) -> None:
        if gap.reason == watch_pb2.GAP_REASON_RESTORED:
            # The restored store is what it was.
            told = (gap.from_position, gap.to_position) == (1, self.place)
            hold(told, "E1", f"a restore takes back {gap.from_position} to {gap.to_position} of {self.place}")
            return
        fits = self.place < gap.from_position <= gap.to_position
        hold(fits, "E1", f"a gap from {gap.from_position} to {gap.to_position} after {self.place}")
        self.gaps.append(Gap(gap.from_position, gap.to_position))

    def _move_to(self, response: pb.WatchEventsResponse) -> None:
        before = parse_cursor(self.cursor) if self.cursor else None
        after = parse_cursor(response.cursor)
        if before is not None and before.generation != after.generation and before.position:
            told = response.gap.reason == watch_pb2.GAP_REASON_RESTORED
            hold(told, "E1", f"a reader at {self.cursor} is at {response.cursor}, and was not told of a restore")
        hold(after.position >= self.place, "E1", f"a reader at {self.place} is taken back to {after.position}")
        last = [event.event.position for event in response.batch.events] or [response.gap.to_position]
        hold(last[-1] <= after.position, "E1", f"the cursor is at {after.position}, before what it comes with")
        self.cursor, self.place = response.cursor, after.position

    def _stream_ended(self, end: StreamEnd) -> None:
        self.wire = None
        if end.cut:
            return
        if end.refusal is None:
            hold(self.caught_up, "E1", "a stream of the feed without its end")
        else:
            hold(end.refusal.reason in (Reason.STORE_UNAVAILABLE, Reason.DISK_FULL), "E1", str(end.refusal))


def new_feed_reader(now: Micros, chance: Random) -> FeedReader:
    """One more reader; it opens its stream when it gets to it."""
    wanted, draw = chance.choice(WANTED), chance.random()
    start = Micros(now + chance.choice((-40, -5, 5, 30)) * SECOND) if draw < 0.25 else Micros(0)
    return FeedReader(wanted, from_beginning=draw > 0.5, start=start)
