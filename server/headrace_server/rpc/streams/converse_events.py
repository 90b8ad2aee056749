"""What a reader of a session gets of its logs: turn after turn by number, each in order, a page at a time (E1, E4).

Pages are those that all followers share. What is removed is told by a gap. What else a conversation says, and when, is
not decided here.
"""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass

from headrace.v1 import event_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.ids import job_id_text
from headrace_server.core.limits import EVENT_PAGE_BYTES
from headrace_server.core.log_filter import EVERYTHING, LogFilter, OutputKind
from headrace_server.rpc.streams.converse_cursor import TurnCursor
from headrace_server.rpc.streams.follow import GATHER_SECONDS_EACH, UNTOLD_SEQUENCES_COUNT, Following
from headrace_server.runtime.log_pages import LogPage, Place
from headrace_server.store.codec import set_time
from headrace_server.store.sessions.places import TurnPlace, turn_from
from headrace_server.store.wire import events_of, turn_batch

MESSAGES = LogFilter(kinds=frozenset((int(OutputKind.MESSAGES),)))
_SAID = frozenset(("assistant", "user", "turn_result"))
"""Frames that a reader gets who wants no raw ones."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A message for the reader, and how many events are in it."""

    message: bytes | pb.ConverseResponse
    events_count: int = 0


class SessionLog:
    """A reader's way through the turns of a session. Used with `with`; `changed` is set whenever there may be more."""

    def __init__(
        self, node: Following, start: TurnCursor, changed: asyncio.Event, *, deltas: bool, messages_only: bool
    ) -> None:
        self._node = node
        self._session = start.session
        self._changed = changed
        self._wants_deltas = deltas
        self._messages_only = messages_only
        self._wanted = MESSAGES if messages_only else EVERYTHING
        self._number = start.turn
        self._sequence = start.sequence
        """Everything up to it, of the turn with the number, was sent or is not wanted."""
        self._turn: TurnPlace | None = None
        self._following = ExitStack()
        self._delta = 0
        self._told = start.sequence
        self._read = 0.0
        self.finished = False
        """All turns that there were when it was last looked have been read to their end."""
        self.held = False
        """There are events that no credit was left for."""

    def __enter__(self) -> "SessionLog":
        return self

    def __exit__(self, *_: object) -> None:
        self._following.close()

    def cursor(self) -> str:
        """The reader's place."""
        return TurnCursor(self._node.store.generation, self._session, self._number, self._sequence).text()

    async def next(self, room: int) -> Piece | None:
        """What follows the reader's place, with at most so many events; None when nothing does now."""
        self.held = self.finished = False
        while True:
            turn = self._turn or await self._find_turn()
            if not isinstance(turn, TurnPlace):
                self.finished = turn is None
                return turn
            await self._gather(turn)
            place = Place(turn.job_id, turn.row, self._sequence, self._wanted, EVENT_PAGE_BYTES)
            page = await self._node.logs.page(place)
            if page.read.deleted:
                return self._turns_gone(self._number)
            piece = self._piece(turn, page, room)
            if piece is not None or self.held:
                return piece
            if self._turn is turn and self._node.logs.is_current(place, page):
                return None

    def next_deltas(self) -> pb.ConverseResponse | None:
        """What is being said just now in the turn that the reader is in, as much as one message takes."""
        if self._turn is None or not self._wants_deltas:
            return None
        deltas, self._delta = self._node.deltas.after(self._turn.job_id, self._delta, self._sequence)
        if not deltas:
            return None
        said = pb.ConverseDeltas(job_id=job_id_text(self._turn.job_id), deltas=deltas)
        return pb.ConverseResponse(cursor=self.cursor(), deltas=said)

    async def _find_turn(self) -> TurnPlace | Piece | None:
        """Goes to the next turn; or says that some are gone before it. None when there is none."""
        turn, latest = await self._node.store.read(turn_from, self._session, self._number)
        if turn is None:
            return self._turns_gone(latest) if latest >= self._number else None
        if turn.number > self._number:
            return self._turns_gone(turn.number - 1)
        self._turn, self._delta, self._told = turn, 0, self._sequence
        self._following.enter_context(self._node.feed.join(turn.job_id, self._changed, deltas=self._wants_deltas))
        return turn

    def _leave_turn(self, number: int) -> None:
        """Goes on before a turn."""
        self._following.close()
        self._turn = None
        self._number, self._sequence = number, 0

    def _turns_gone(self, last: int) -> Piece:
        gap = watch_pb2.WatchGap(
            from_sequence=self._number,
            to_sequence=last,
            reason=watch_pb2.GAP_REASON_RETENTION,
            earliest_sequence=last + 1,
        )
        self._leave_turn(last + 1)
        return Piece(pb.ConverseResponse(cursor=self.cursor(), gap=pb.ConverseGap(gap=gap)))

    def _piece(self, turn: TurnPlace, page: LogPage, room: int) -> Piece | None:
        """What a page says to the reader, and the step past it."""
        read = page.read
        if read.gap is not None:
            self._sequence = read.last_sequence
            gap = watch_pb2.WatchGap(
                from_sequence=read.gap[0],
                to_sequence=read.gap[1],
                reason=watch_pb2.GAP_REASON_RETENTION,
                earliest_sequence=read.earliest,
            )
            said = pb.ConverseGap(job_id=job_id_text(turn.job_id), gap=gap)
            return Piece(pb.ConverseResponse(cursor=self.cursor(), gap=said))
        events = [event for event in events_of(page.batch) if self._is_wanted(event)]
        if events and room <= 0:
            self.held = True
            return None
        if len(events) > room:
            events = events[:room]
            self._sequence = event_pb2.Event.FromString(events[-1]).sequence
        elif read.ended:
            self._leave_turn(turn.number + 1)
        else:
            self._sequence = read.last_sequence
        return self._batch(turn, events)

    def _batch(self, turn: TurnPlace, events: list[bytes]) -> Piece | None:
        if not events:
            if self._sequence - self._told < UNTOLD_SEQUENCES_COUNT:
                return None
            self._told = self._sequence
            response = pb.ConverseResponse(cursor=self.cursor())
            set_time(response.heartbeat.time, self._node.clock.now())
            return Piece(response)
        self._told = self._sequence
        said = pb.ConverseBatch(job_id=job_id_text(turn.job_id), turn=turn.number)
        return Piece(turn_batch(self.cursor(), said, events), len(events))

    def _is_wanted(self, event: bytes) -> bool:
        if not self._messages_only:
            return True
        message = event_pb2.Event.FromString(event)
        if not message.HasField("output"):
            return True
        return message.output.claude.WhichOneof("kind") in _SAID

    async def _gather(self, turn: TurnPlace) -> None:
        """Waits a little when the log has many followers, so that all of them cost no more than a share of the
        process."""
        loop = asyncio.get_running_loop()
        left = self._read + GATHER_SECONDS_EACH * (self._node.feed.count(turn.job_id) - 1) - loop.time()
        if left > 0:
            await asyncio.sleep(left)
        self._read = loop.time()
