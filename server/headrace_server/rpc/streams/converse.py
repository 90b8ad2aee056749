"""A conversation: one stream on which a session is driven and followed (X1, X3, E1, E4, E9).

Requests are carried out one after the other, in the order in which they came, while a writer of its own sends what
there is: answers first, then what is asked of a person and what has changed of the session, then events and deltas, one
page at a time. So a reader who has granted no events, or is far behind, still gets what it has to answer.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from headrace.v1 import session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.ids import JobId, parse_job_id
from headrace_server.core.limits import CONVERSE_ANSWERS_COUNT_MAX, EVENT_PAGE_COUNT
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.checks.validate_converse import check_credit, check_open, not_open_again
from headrace_server.rpc.errors import to_item_error
from headrace_server.rpc.messages.session_message import session_message
from headrace_server.rpc.messages.session_view import get_session
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.streams.converse_cursor import TurnCursor, parse_turn_cursor
from headrace_server.rpc.streams.converse_events import SessionLog
from headrace_server.rpc.streams.converse_requests import Verbs, carry_out, create
from headrace_server.rpc.streams.follow import Following
from headrace_server.rpc.streams.lane_end import end_lane
from headrace_server.store.codec import set_time
from headrace_server.store.sessions.listing import SeenSession
from headrace_server.store.sessions.places import number_before_last
from headrace_server.store.sessions.session_row import StoredSession

_OVER = frozenset((session_pb2.SESSION_STATE_CLOSED, session_pb2.SESSION_STATE_LOST))


@dataclass(frozen=True, slots=True)
class Conversing:
    """What every conversation of this node shares."""

    node: Following
    verbs: Verbs


async def converse(conversing: Conversing, requests: AsyncIterator[pb.ConverseRequest], call: Call) -> None:
    """Serves one Converse stream until the client leaves, all of a session that has ended was sent, or the server
    drains."""
    first = await anext(aiter(requests), None)
    if first is None:
        return
    refusal = check_open(first)
    if refusal is not None:
        raise Refused(refusal)
    opening = first.open
    made = opening.WhichOneof("subject") == "create"
    session_id = parse_job_id(await create(conversing.verbs, opening, call) if made else opening.session_id)
    namespace = namespace_of(opening.namespace)
    with conversing.node.feed.follow(session_id) as changed:
        version = conversing.node.feed.version(session_id)
        seen = await get_session(conversing.node.store, namespace, session_id)
        start = await _start(conversing.node, opening, seen.session)
        with SessionLog(
            conversing.node, start, changed, deltas=opening.deltas, messages_only=opening.without_raw_frames
        ) as log:
            await _Conversation(conversing, requests, call, opening, session_id, changed, log).run(seen, version)


async def _start(node: Following, opening: pb.ConverseOpen, session: StoredSession) -> TurnCursor:
    """The place at which a conversation begins."""
    generation = node.store.generation
    if opening.cursor:
        return parse_turn_cursor(opening.cursor, generation, session.row, session.turns)
    number = 1
    if opening.HasField("last_turns"):
        number = await node.store.read(number_before_last, session.row, opening.last_turns)
    return TurnCursor(generation, session.row, number, 0)


class _Conversation:
    def __init__(
        self,
        conversing: Conversing,
        requests: AsyncIterator[pb.ConverseRequest],
        call: Call,
        opening: pb.ConverseOpen,
        session_id: JobId,
        changed: asyncio.Event,
        log: SessionLog,
    ) -> None:
        self._all = conversing
        self._node = conversing.node
        self._requests = requests
        self._call = call
        self._namespace = namespace_of(opening.namespace)
        self._session_id = session_id
        self._changed = changed
        self._log = log
        self._credit = opening.credit if opening.HasField("credit") else None
        """Events that may still be sent; None when nothing bounds them."""
        self._dones: deque[pb.ConverseDone] = deque()
        self._answers = asyncio.Semaphore(CONVERSE_ANSWERS_COUNT_MAX)
        self._seen = 0
        """Version of the session in the feed when it was last looked at."""
        self._told = session_pb2.Session()
        self._loop = asyncio.get_running_loop()
        self._written = 0.0
        self._leaving = False

    async def run(self, seen: SeenSession, version: int) -> None:
        """`version`: of the session in the feed, not later than what was seen."""
        self._seen = version
        await self._open(_told(seen))
        writing = asyncio.ensure_future(self._write_all())
        reading = asyncio.ensure_future(self._read())
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            if not writing.done():
                reading.result()
                await asyncio.wait((writing,))
            writing.result()
        finally:
            self._leaving = True
            self._changed.set()
            await end_lane(writing, reading)

    async def _read(self) -> None:
        """Carries out what the client asks for. Its last word does not end the stream: it may still read."""
        async for request in self._requests:
            if self._node.draining.is_set():
                return
            await self._answers.acquire()
            self._dones.append(await self._carry_out(request))
            self._changed.set()

    async def _carry_out(self, request: pb.ConverseRequest) -> pb.ConverseDone:
        match request.WhichOneof("kind"):
            case "open":
                raise Refused(_refusal_of_second_open())
            case "credit":
                done = pb.ConverseDone(number=request.number)
                refusal = check_credit(request.credit)
                if refusal is not None:
                    done.error.CopyFrom(to_item_error(refusal))
                elif self._credit is not None:
                    self._credit += request.credit.events
            case _:
                session_id = self._told.id
                done = await carry_out(self._all.verbs, self._namespace, session_id, request, self._call)
        set_time(done.time, self._node.store.now())
        return done

    async def _open(self, session: session_pb2.Session) -> None:
        self._told.CopyFrom(session)
        opened = pb.ConverseOpened(session=session, generation=self._node.store.generation)
        await self._write(pb.ConverseResponse(cursor=self._log.cursor(), opened=opened))
        if session.open_inputs:
            await self._say_inputs(session)

    async def _write_all(self) -> None:
        while not self._leaving:
            self._changed.clear()
            await self._say_dones()
            if self._node.draining.is_set():
                return await self._end(watch_pb2.END_REASON_DRAINING)
            await self._say_session()
            if await self._say_events() or await self._say_deltas():
                continue
            if self._log.finished and self._is_over():
                return await self._end(watch_pb2.END_REASON_SESSION_ENDED)
            await self._wait()

    async def _say_dones(self) -> None:
        while self._dones:
            await self._write(pb.ConverseResponse(cursor=self._log.cursor(), done=self._dones.popleft()))
            self._answers.release()

    async def _say_session(self) -> None:
        """Says what is asked of a person, and how the session is, when that has changed."""
        version = self._node.feed.version(self._session_id)
        if version == self._seen:
            return
        self._seen = version
        session = _told(await get_session(self._node.store, self._namespace, self._session_id))
        inputs_differ = list(session.open_inputs) != list(self._told.open_inputs)
        if inputs_differ:
            await self._say_inputs(session)
        if inputs_differ or session != self._told:
            self._told.CopyFrom(session)
            await self._write(pb.ConverseResponse(cursor=self._log.cursor(), session=session))

    async def _say_inputs(self, session: session_pb2.Session) -> None:
        inputs = pb.ConverseInputs(open=session.open_inputs)
        await self._write(pb.ConverseResponse(cursor=self._log.cursor(), inputs=inputs))

    async def _say_events(self) -> bool:
        """Sends one page of events, as far as the credit goes; whether there was anything to send."""
        piece = await self._log.next(EVENT_PAGE_COUNT if self._credit is None else self._credit)
        if piece is None:
            return False
        if self._credit is not None:
            self._credit -= piece.events_count
        await self._write(piece.message)
        return True

    async def _say_deltas(self) -> bool:
        """Sends what is being said just now, when everything before it was sent; a reader without credit has paused."""
        deltas = self._log.next_deltas() if self._credit != 0 else None
        if deltas is not None:
            await self._write(deltas)
        return deltas is not None

    def _is_over(self) -> bool:
        return self._told.state in _OVER and not self._told.pending_turn_count

    async def _wait(self) -> None:
        """Waits until there may be more, with a heartbeat whenever nothing happens."""
        quiet = self._written + self._node.heartbeat_seconds - self._loop.time()
        try:
            async with asyncio.timeout(max(0.0, quiet)):
                await self._changed.wait()
        except TimeoutError:
            response = pb.ConverseResponse(cursor=self._log.cursor())
            set_time(response.heartbeat.time, self._node.clock.now())
            await self._write(response)

    async def _end(self, reason: watch_pb2.EndReason) -> None:
        end = pb.ConverseEnd(reason=reason, session=self._told)
        await self._write(pb.ConverseResponse(cursor=self._log.cursor(), end=end))

    async def _write(self, message: pb.ConverseResponse | bytes) -> None:
        await self._call.write(message)
        self._written = self._loop.time()


def _told(seen: SeenSession) -> session_pb2.Session:
    """A session as a conversation tells it: without what only GetSession says."""
    return session_message(replace(seen, forks=()))


def _refusal_of_second_open() -> Refusal:
    refusal = not_open_again().refusal()
    assert refusal is not None, "there is a fault in it"
    return refusal
