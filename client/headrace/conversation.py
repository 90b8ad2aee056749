"""A conversation of the asyncio client: one task reads its stream and opens it again when it breaks. What messages mean
and what is sent is `converse`'s to say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import grpc.aio

from headrace import calls, errors, follow, session_specs, statuses
from headrace.connection import Connection
from headrace.converse import Conversing, Item
from headrace.handles import Job
from headrace.v1 import input_pb2, session_pb2
from headrace.v1 import session_service_pb2 as pb


class Conversation:
    """A session on one stream that survives cuts: say things, answer and interrupt while reading what happens.

    Use it with `async with`, and read with `async for`: events of all turns in order, once each; with `deltas` also
    pieces of messages as they are said; `ConverseInputs` whenever what is asked of a person changes; the session when
    it changes; a `ConverseGap` where events are gone for good; `ConverseEnd` last. The server sends no more than a
    window ahead of what is read, so reading slowly is all that it takes to slow it down.
    """

    def __init__(self, connection: Connection, conversing: Conversing) -> None:
        self._connection = connection
        self._conversing = conversing
        self._reading: asyncio.Task[None] | None = None
        self._failed: BaseException | None = None
        self._bell = asyncio.Event()
        self._closed = False

    @property
    def cursor(self) -> str:
        """Everything before it was handed on: keep it in order to continue later, also with another client."""
        return self._conversing.cursor

    @property
    def session(self) -> session_pb2.Session | None:
        """The session as it was last told; None before the stream was open."""
        return self._conversing.session

    @property
    def inputs(self) -> tuple[session_pb2.OpenInput, ...]:
        """What is asked of a person, as it was last told, oldest first."""
        return self._conversing.inputs

    @property
    def job_id(self) -> str:
        """The turn of the event that was handed on last; empty before the first one."""
        return self._conversing.job_id

    async def send(self, text: str, *, request_id: str | None = None) -> Job:
        """Says something; returns the turn when it is durable. Safe across cuts: it becomes one turn."""
        made = calls.new_request_id() if request_id is None else request_id
        done = await self._ask(message=pb.ConverseMessage(text=text, request_id=made))
        return Job(self._connection, done.job_id)

    async def answer(
        self,
        request_id: str,
        *,
        allow: bool,
        message: str = "",
        updated_input: Mapping[str, Any] | None = None,
        interrupt: bool = False,
    ) -> input_pb2.InputResolution:
        """Answers a request for input. Raises InputResolved when somebody was first."""
        said = session_specs.answer(request_id, allow, message, updated_input, interrupt)
        return (await self._ask(answer=said)).resolution

    async def interrupt(self, reason: str = "") -> Job:
        """Ends the active turn, not the session. Raises NoActiveTurn; ConnectionFailed when a cut hid the answer."""
        done = await self._ask(interrupt=pb.ConverseInterrupt(reason=reason))
        return Job(self._connection, done.job_id)

    async def update(self, **changes: Unpack[session_specs.SessionChanges]) -> None:
        """Changes what is given of the session's settings."""
        spec, mask = session_specs.changes(changes)
        await self._ask(settings=pb.ConverseSettings(spec=spec, update_mask=mask))

    def pause(self) -> None:
        """Has no events handed on until `resume`; requests for input and changes of the session still are."""
        self._conversing.pause()
        self._ring()

    def resume(self) -> None:
        """Has everything handed on again."""
        self._conversing.resume()
        self._ring()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        self._start()
        held_up = not self._conversing.takes_more
        while (item := self._conversing.take()) is None:
            if self._failed is not None:
                raise self._failed
            if self._closed or (self._conversing.ended and not self._conversing.paused):
                raise StopAsyncIteration
            await self._bell.wait()
        if held_up or self._conversing.outbox:
            self._ring()
        return item

    async def __aenter__(self) -> Self:
        self._start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the stream; the session and its turn go on."""
        self._closed = True
        self._ring()
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    def _start(self) -> None:
        if self._reading is None and not self._closed:
            self._reading = asyncio.create_task(self._run())

    def _ring(self) -> None:
        """Wakes everybody who waits for a change."""
        self._bell.set()
        self._bell = asyncio.Event()

    async def _ask(self, **kind: Any) -> pb.ConverseDone:
        self._start()
        number = self._conversing.ask(**kind)
        self._ring()
        try:
            async with asyncio.timeout(self._connection.deadline_seconds + self._connection.patience_seconds):
                while (done := self._conversing.answered(number)) is None:
                    if self._failed is not None:
                        raise self._failed
                    if self._closed:
                        raise errors.HeadraceError("the conversation was closed before this was answered")
                    await self._bell.wait()
        except TimeoutError:
            raise errors.DeadlineExceeded("no answer came in time; whether it took effect is not known") from None
        finally:
            self._conversing.forget(number)
        return done

    async def _run(self) -> None:
        try:
            while not self._conversing.ended:
                cause = await self._read_stream()
                if cause is not None:
                    step = self._conversing.broken(cause, asyncio.get_running_loop().time())
                    self._ring()
                    await asyncio.sleep(step.delay)
        except Exception as error:
            self._failed = error
        finally:
            self._ring()

    async def _read_stream(self) -> errors.HeadraceError | None:
        """Reads one stream to its end; says why it broke, or None when nothing will follow."""
        self._conversing.begin()
        over = asyncio.Event()
        call = self._connection.open_conversation(self._requests(over))
        address = self._connection.address
        try:
            return await self._read_messages(call)
        except TimeoutError:
            return follow.silent(address)
        except grpc.aio.AioRpcError as error:
            return statuses.from_rpc(error, address)
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            raise errors.HeadraceError("the client was closed while a conversation was open") from None
        finally:
            over.set()
            call.cancel()
            self._ring()

    async def _read_messages(self, call: Any) -> errors.HeadraceError | None:
        while True:
            while not self._conversing.takes_more:
                await self._bell.wait()
            async with asyncio.timeout(follow.SILENCE_SECONDS):
                message = await call.read()
            if not isinstance(message, pb.ConverseResponse):
                return follow.cut(self._connection.address)
            self._conversing.accept(message)
            self._ring()
            if self._conversing.draining:
                return follow.drained(self._connection.address)
            if self._conversing.ended:
                return None

    async def _requests(self, over: asyncio.Event) -> AsyncIterator[pb.ConverseRequest]:
        """What is sent on one stream, as it comes up."""
        while not over.is_set():
            bell = self._bell
            if (request := self._conversing.next_request()) is not None:
                yield request
            else:
                await bell.wait()
