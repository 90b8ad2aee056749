"""What a client knows of a conversation: its place, what was asked and not answered, what waits for the reader, and how
much more the server may send. No I/O, no clock, no chance.

Both clients feed it the messages of Converse and send what it puts out. Events are handed on once each and in order,
across any number of streams; a hole that no gap explains is an error, never skipped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from headrace import errors, follow, statuses
from headrace.v1 import event_pb2, session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb

WINDOW_COUNT = 256
"""Events that the server may send ahead of what was read."""
UNREAD_BYTES_MAX = 8 * 1024 * 1024
"""With so much that was not read nothing more is taken, unless an answer is waited for."""
UNREAD_DELTAS_COUNT_MAX = 1024
"""More of them are dropped, with a marker."""

Item = (
    pb.ConverseOpened
    | event_pb2.Event
    | event_pb2.Delta
    | pb.ConverseInputs
    | session_pb2.Session
    | pb.ConverseGap
    | pb.ConverseEnd
    | follow.Reconnecting
)
_URGENT = (pb.ConverseInputs, session_pb2.Session, pb.ConverseEnd, follow.Reconnecting)
"""What a reader who has paused gets nevertheless."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """What waits for the reader; the cursor right after it, where it moves the reader's place."""

    item: Item
    cursor: str = ""
    size: int = 0


@dataclass(slots=True)
class _Asked:
    """A request that was not answered yet."""

    request: pb.ConverseRequest
    sent: bool = False


class Conversing:
    """One conversation, across any number of streams. `outbox` is what has to be sent on the one that is open."""

    def __init__(
        self,
        opening: pb.ConverseOpen,
        chance: Callable[[], float],
        patience_seconds: float = follow.PATIENCE_SECONDS,
        window: int = WINDOW_COUNT,
    ) -> None:
        if window < 1:
            raise ValueError(f"a window of {window} events lets none through; at least 1 is needed")
        self._opening = opening
        self._patience = follow.Patience(chance, patience_seconds)
        self._window = window
        self._ready: deque[_Ready] = deque()
        self._unread_bytes = self._unread_events = self._unread_deltas = 0
        self._granted = 0
        """Events that the server may still send on this stream."""
        self._asked: dict[int, _Asked] = {}
        self._settled: dict[int, pb.ConverseDone | errors.HeadraceError] = {}
        self._number = 0
        self._received = opening.cursor
        """The place after everything that was received."""
        later = bool(opening.cursor) or opening.HasField("last_turns")
        self._turn: int | None = None if later else 0
        self._sequence: int | None = None if later else 0
        self.cursor = opening.cursor
        """The place after everything that was handed on."""
        self.session: session_pb2.Session | None = None
        self.inputs: tuple[session_pb2.OpenInput, ...] = ()
        self.job_id = ""
        self.paused = False
        self.ended = self.draining = False
        self._is_open = False
        """The server has opened the stream: what is said before is lost with a stream that it refuses."""
        self.outbox: deque[pb.ConverseRequest] = deque()

    def begin(self) -> None:
        """A new stream begins: fills the outbox with what opens it, and with everything that was not answered."""
        self.draining = self._is_open = False
        opening = pb.ConverseOpen()
        opening.CopyFrom(self._opening)
        if self._received:
            opening.cursor = self._received
            opening.ClearField("last_turns")
        self._granted = 0 if self.paused else max(0, self._window - self._unread_events)
        opening.credit = self._granted
        self.outbox.clear()
        self.outbox.append(pb.ConverseRequest(number=self._next_number(), open=opening))
        for asked in self._asked.values():
            self.outbox.append(asked.request)

    def ask(self, **kind: Any) -> int:
        """Puts a request into the outbox; its number, under which `answered` will have what became of it."""
        if self.ended:
            raise errors.HeadraceError("the conversation is over: its session has ended")
        request = pb.ConverseRequest(number=self._next_number(), **kind)
        self._asked[request.number] = _Asked(request)
        self.outbox.append(request)
        return request.number

    def next_request(self) -> pb.ConverseRequest | None:
        """What is to be sent next; None when there is nothing."""
        if not self.outbox or not (self._is_open or self.outbox[0].HasField("open")):
            return None
        request = self.outbox.popleft()
        if request.number in self._asked:
            self._asked[request.number].sent = True
        return request

    def answered(self, number: int) -> pb.ConverseDone | None:
        """What became of a request, once; None while that is not known. Raises why it failed."""
        answer = self._settled.pop(number, None)
        if isinstance(answer, errors.HeadraceError):
            raise answer
        return answer

    def forget(self, number: int) -> None:
        """Nobody waits for the answer any more."""
        self._asked.pop(number, None)
        self._settled.pop(number, None)

    def fail(self, cause: errors.HeadraceError) -> None:
        """Nothing will ever be answered, because the conversation is over."""
        self._settled.update(dict.fromkeys(self._asked, cause))
        self._asked.clear()

    def pause(self) -> None:
        """Hands on no events until `resume`; requests for input, changes of the session and the end still come."""
        self.paused = True

    def resume(self) -> None:
        """Hands on everything again."""
        self.paused = False
        self._grant()

    @property
    def takes_more(self) -> bool:
        """Whether a message may be read: not while much was not read, unless somebody waits for an answer."""
        return self._unread_bytes < UNREAD_BYTES_MAX or bool(self._asked) or self.paused

    def take(self) -> Item | None:
        """The next item for the reader; None when none is there."""
        if self.paused:
            urgent = next((one for one in self._ready if isinstance(one.item, _URGENT)), None)
            if urgent is None:
                return None
            self._ready.remove(urgent)
            return urgent.item
        if not self._ready:
            return None
        ready = self._ready.popleft()
        self.cursor = ready.cursor or self.cursor
        self._unread_bytes -= ready.size
        if isinstance(ready.item, event_pb2.Event):
            self._unread_events -= 1
            self.job_id = ready.item.job_id
            self._grant()
        elif isinstance(ready.item, event_pb2.Delta):
            self._unread_deltas -= 1
        return ready.item

    def accept(self, message: pb.ConverseResponse) -> None:
        """Takes a message of the server. Raises StreamBroken for a hole."""
        kind = message.WhichOneof("kind")
        self._patience.heard(progress=kind not in ("opened", "end"))
        if kind == "deltas":
            self._add_deltas(message.deltas.deltas)
        elif kind == "done":
            self._settle(message.done)
        else:
            items = list(self._items(kind, message))
            for item in items:
                self._add(item, message.cursor if item is items[-1] else "")
        self._received = message.cursor or self._received

    def broken(self, cause: errors.HeadraceError, now: float) -> follow.Reconnecting:
        """When to open the next stream after one broke. Raises the cause when that is pointless or has taken too long.

        What may have been done already and can't be said twice has failed.
        """
        self._granted = 0
        for number, asked in list(self._asked.items()):
            if asked.sent and asked.request.WhichOneof("kind") == "interrupt":
                self._settled[number] = cause
                del self._asked[number]
        step = self._patience.broken(cause, now)
        self._add(step)
        return step

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _grant(self) -> None:
        """Lets the server send more, once a part of the window has been read."""
        room = self._window - self._unread_events - self._granted
        if self.paused or self.ended or room < max(1, self._window // 4):
            return
        self._granted += room
        self.outbox.append(pb.ConverseRequest(number=self._next_number(), credit=pb.ConverseCredit(events=room)))

    def _add(self, item: Item, cursor: str = "") -> None:
        size = item.ByteSize() if isinstance(item, event_pb2.Event) else 0
        self._unread_bytes += size
        self._ready.append(_Ready(item, cursor, size))

    def _add_deltas(self, deltas: Any) -> None:
        for delta in deltas:
            if self._unread_deltas < UNREAD_DELTAS_COUNT_MAX:
                self._unread_deltas += 1
                self._add(delta)
                continue
            last = self._ready[-1].item
            if isinstance(last, event_pb2.Delta) and last.WhichOneof("kind") == "dropped":
                last.dropped += 1
            else:
                self._unread_deltas += 1
                self._add(event_pb2.Delta(attempt=delta.attempt, after_sequence=delta.after_sequence, dropped=1))

    def _items(self, kind: str | None, message: pb.ConverseResponse) -> Iterator[Item]:
        match kind:
            case "opened":
                self._is_open = True
                self.session = message.opened.session
                self.inputs = tuple(message.opened.session.open_inputs)
                yield message.opened
            case "batch":
                yield from self._new_events(message.batch)
            case "inputs":
                self.inputs = tuple(message.inputs.open)
                yield message.inputs
            case "session":
                self.session = message.session
                yield message.session
            case "gap":
                yield from self._at_gap(message.gap)
            case "end":
                yield from self._at_end(message.end)

    def _new_events(self, batch: pb.ConverseBatch) -> Iterator[event_pb2.Event]:
        if self._turn is not None and batch.turn > self._turn + 1:
            raise errors.StreamBroken(f"turns {self._turn + 1} to {batch.turn - 1} are missing, and no gap says why")
        self._granted = max(0, self._granted - len(batch.events))
        if self._turn is not None and batch.turn < self._turn:
            return
        if batch.turn != self._turn:
            # A stream that was opened within a turn knows no place before its first event.
            self._sequence = None if self._turn is None else 0
            self._turn = batch.turn
        for event in batch.events:
            if self._is_new(event):
                self._unread_events += 1
                yield event

    def _is_new(self, event: event_pb2.Event) -> bool:
        last = self._sequence
        if last is not None and event.sequence <= last:
            return False
        if last is not None and event.sequence != last + 1 and not self._opening.without_raw_frames:
            raise errors.StreamBroken(
                f"events {last + 1} to {event.sequence - 1} of turn {event.job_id} are missing, and no gap says why"
            )
        self._sequence = event.sequence
        return True

    def _at_gap(self, gap: pb.ConverseGap) -> Iterator[pb.ConverseGap]:
        if not gap.job_id:
            self._turn, self._sequence = gap.gap.to_sequence, None
        elif gap.gap.reason == watch_pb2.GAP_REASON_RESTORED:
            self._turn = self._sequence = None
        else:
            self._sequence = gap.gap.to_sequence
        yield gap

    def _at_end(self, end: pb.ConverseEnd) -> Iterator[pb.ConverseEnd]:
        if end.reason == watch_pb2.END_REASON_DRAINING:
            self.draining = True
            return
        if end.HasField("session"):
            self.session = end.session
        self.ended = True
        self.fail(errors.HeadraceError("the session has ended, and this was not answered"))
        yield end

    def _settle(self, done: pb.ConverseDone) -> None:
        if self._asked.pop(done.number, None) is None:
            return
        self._settled[done.number] = statuses.from_item(done.error) if done.HasField("error") else done
