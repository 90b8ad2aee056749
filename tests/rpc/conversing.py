"""A store with conversations on its sessions: streams that keep what they are sent, and say what a test wants."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from headrace.v1 import event_pb2, session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.rpc.session_service import SessionService
from headrace_server.rpc.streams.converse import Conversing, converse
from headrace_server.rpc.streams.converse_requests import Verbs
from headrace_server.runtime.scheduler import Scheduler
from rpc.log_reading import Node as LogNode

DEADLINE_SECONDS = 30
Written = Callable[[pb.ConverseResponse], Awaitable[None]]


class Caller:
    """Who calls a unary rpc."""

    principal = "me"
    traceparent = ""


class Talk(Caller):
    """A conversation that a test has: the side of the call that the server writes to, and what the client says.

    It goes on whenever the store's loop runs, that is while a test drives a verb or waits for something.
    """

    def __init__(self, node: "Node", written: Written | None, opening: pb.ConverseOpen) -> None:
        self.messages: list[pb.ConverseResponse] = []
        self._node = node
        self._written = written
        self._requests: asyncio.Queue[pb.ConverseRequest | None] = asyncio.Queue()
        self._number = 0
        self._changed = asyncio.Event()
        self.say(open=opening)
        self._serving = node.bench.run(self._start())

    async def _start(self) -> "asyncio.Task[None]":
        call: Any = self
        return asyncio.create_task(converse(self._node.conversing, self._said(), call))

    async def _said(self) -> AsyncIterator[pb.ConverseRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def write(self, message: Any) -> None:
        copied = pb.ConverseResponse()
        copied.ParseFromString(message if isinstance(message, bytes) else message.SerializeToString())
        self.messages.append(copied)
        self._changed.set()
        if self._written is not None:
            await self._written(copied)

    def say(self, **kind: Any) -> int:
        """Sends a request; its number."""
        self._number += 1
        self._requests.put_nowait(pb.ConverseRequest(number=self._number, **kind))
        return self._number

    @property
    def unread(self) -> int:
        """Requests that the server has not read."""
        return self._requests.qsize()

    def hang_up(self) -> None:
        """Says nothing more."""
        self._requests.put_nowait(None)

    def until(self, find: Callable[["Talk"], Any]) -> Any:
        """Waits until something has come; what it is."""

        async def wait() -> Any:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while not (found := find(self)) and not self._serving.done():
                    self._changed.clear()
                    change = asyncio.ensure_future(self._changed.wait())
                    await asyncio.wait((change, self._serving), return_when=asyncio.FIRST_COMPLETED)
                    change.cancel()
            return found or find(self)

        found = self._node.bench.run(wait())
        if not found and self._serving.done():
            self._serving.result()
        assert found, "the conversation is over"
        return found

    def until_events(self, count: int) -> None:
        """Waits for so many events."""
        self.until(lambda talk: len(talk.places()) >= count)

    def done(self, number: int) -> pb.ConverseDone:
        """What became of a request."""
        found: pb.ConverseDone = self.until(lambda talk: next((d for d in talk.dones() if d.number == number), None))
        return found

    def settle(self) -> None:
        """Until the server has nothing more to do: all requests are answered, and then it says that nothing happens."""
        self.done(self.say(credit=pb.ConverseCredit(events=0)))
        count = len(self.messages)
        self.until(lambda talk: any(message.HasField("heartbeat") for message in talk.messages[count:]))

    def until_quiet(self) -> None:
        """Until the server says that nothing happens, or that its place has moved, or that this is the end."""
        self.until(lambda talk: any(one.HasField("heartbeat") or one.HasField("end") for one in talk.messages))

    def end(self) -> watch_pb2.EndReason:
        """Waits for the end; why it came."""
        self._node.bench.run(asyncio.wait_for(self._serving, DEADLINE_SECONDS))
        return self.messages[-1].end.reason

    def cut(self) -> str:
        """The connection breaks; the last cursor."""

        async def leave() -> None:
            self._serving.cancel()
            await asyncio.wait((self._serving,))

        self._node.bench.run(leave())
        return self.cursor

    @property
    def cursor(self) -> str:
        """The last one."""
        return self.messages[-1].cursor if self.messages else ""

    def kinds(self) -> list[str | None]:
        return [message.WhichOneof("kind") for message in self.messages]

    def dones(self) -> list[pb.ConverseDone]:
        return [message.done for message in self.messages if message.HasField("done")]

    def inputs(self) -> list[list[str]]:
        """The ids of what was asked, each time it was told."""
        told = [message.inputs for message in self.messages if message.HasField("inputs")]
        return [[one.request.request_id for one in inputs.open] for inputs in told]

    def states(self) -> list[session_pb2.SessionState]:
        """Of the session, each time it was told."""
        return [message.session.state for message in self.messages if message.HasField("session")]

    def events(self) -> list[event_pb2.Event]:
        return [event for message in self.messages for event in message.batch.events]

    def places(self) -> list[tuple[int, int]]:
        """Turn and sequence of every event."""
        batches = [message.batch for message in self.messages]
        return [(batch.turn, event.sequence) for batch in batches for event in batch.events]

    def deltas(self) -> list[str]:
        return [delta.text for message in self.messages for delta in message.deltas.deltas]

    def gaps(self) -> list[pb.ConverseGap]:
        return [message.gap for message in self.messages if message.HasField("gap")]


class Node(LogNode):
    """A store, and what conversations share."""

    def __init__(self, folder: Path, heartbeat_seconds: float = 0.05) -> None:
        super().__init__(folder, heartbeat_seconds)
        self.bench.observers.append(lambda effects: self.feed.wake(effects.sessions))
        scheduler = Scheduler(self.bench.store, self.all.registry, self.bench.clock)
        service = SessionService(self.bench.store, scheduler, self.all.registry, self.all)
        verbs = Verbs(
            service.create_session,
            service.send_message,
            service.answer_request,
            service.interrupt_session,
            service.update_session,
        )
        self.conversing = Conversing(self.all, verbs)
        self.talks: list[Talk] = []

    def talk(self, session: JobId | None = None, written: Written | None = None, **opening: Any) -> Talk:
        """Opens a conversation; of a session that is there, or as the fields say."""
        if session is not None:
            opening["session_id"] = job_id_text(session)
        talk = Talk(self, written, pb.ConverseOpen(**opening))
        self.talks.append(talk)
        return talk

    def answer(self, request: pb.AnswerRequestRequest) -> None:
        """Answers as the unary rpc does."""
        call: Any = Caller()

        async def run() -> None:
            await self.conversing.verbs.answer(request, call)

        self.bench.run(run())

    def close(self) -> None:
        """Ends every conversation, and closes the store."""
        for talk in self.talks:
            talk.cut()
        self.bench.close()
