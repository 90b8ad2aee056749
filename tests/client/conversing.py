"""A scripted SessionService for the client's tests: each Converse stream plays the next script."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from headrace.v1 import event_pb2, input_pb2, session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb

SESSION_ID = "0199b3a0-0000-7000-8000-000000000009"


class Side:
    """The server's side of one stream."""

    def __init__(self, requests: AsyncIterator[pb.ConverseRequest], context: Any) -> None:
        self._requests = requests
        self._context = context
        self.heard: list[pb.ConverseRequest] = []

    async def hear(self, kind: str) -> pb.ConverseRequest:
        """The next request of a kind; those before it are kept in `heard`."""
        async for request in self._requests:
            self.heard.append(request)
            if request.WhichOneof("kind") == kind:
                return request
        raise AssertionError(f"the client went away before it said {kind}")

    async def say(self, *messages: pb.ConverseResponse) -> None:
        for message in messages:
            await self._context.write(message)

    async def done(self, request: pb.ConverseRequest, **what: Any) -> None:
        await self.say(pb.ConverseResponse(done=pb.ConverseDone(number=request.number, **what)))

    async def breaks(self) -> None:
        """Fails as a proxy does: UNAVAILABLE without details."""
        await self._context.abort(grpc.StatusCode.UNAVAILABLE, "connection reset by peer")

    async def refuses(self, code: grpc.StatusCode, message: str) -> None:
        await self._context.abort(code, message)

    async def rest(self) -> None:
        """Until the client goes away."""
        async for request in self._requests:
            self.heard.append(request)


Script = Callable[[Side], Awaitable[None]]


@dataclass
class FakeSessions:
    """Plays scripts; remembers what opened each stream."""

    scripts: list[Script] = field(default_factory=list)
    opened: list[pb.ConverseOpen] = field(default_factory=list)
    sides: list[Side] = field(default_factory=list)
    failed: list[BaseException] = field(default_factory=list)
    played: asyncio.Event = field(default_factory=asyncio.Event)
    """All scripts have been played."""

    async def converse(self, request_iterator: Any, context: Any) -> None:
        side = Side(request_iterator, context)
        self.sides.append(side)
        script = self.scripts.pop(0)
        self.opened.append((await side.hear("open")).open)
        try:
            await script(side)
        except (AssertionError, TypeError) as error:
            self.failed.append(error)
            raise
        finally:
            if not self.scripts:
                self.played.set()


@asynccontextmanager
async def served(folder: Path, *scripts: Script) -> AsyncIterator[tuple[FakeSessions, str]]:
    """A real server on a socket in a folder that plays the scripts, one for each stream."""
    sessions = FakeSessions(scripts=list(scripts))
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        sessions.converse, pb.ConverseRequest.FromString, pb.ConverseResponse.SerializeToString
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("headrace.v1.SessionService", {"Converse": handler}),)
    )
    address = f"unix:{folder / 's'}"
    server.add_insecure_port(address)
    await server.start()
    try:
        yield sessions, address
    finally:
        await server.stop(None)
    assert sessions.failed == []


def job_of(turn: int) -> str:
    return f"0199b3a0-0000-7000-8000-0000000001{turn:02}"


def opened(state: session_pb2.SessionState = session_pb2.SESSION_STATE_IDLE) -> pb.ConverseResponse:
    session = session_pb2.Session(id=SESSION_ID, state=state)
    return pb.ConverseResponse(opened=pb.ConverseOpened(session=session))


def batch(turn: int, *sequences: int) -> pb.ConverseResponse:
    events = [event_pb2.Event(job_id=job_of(turn), sequence=sequence) for sequence in sequences]
    said = pb.ConverseBatch(job_id=job_of(turn), turn=turn, events=events)
    return pb.ConverseResponse(cursor=f"{turn}:{sequences[-1]}", batch=said)


def inputs(*request_ids: str) -> pb.ConverseResponse:
    asked = [session_pb2.OpenInput(request=input_pb2.InputRequest(request_id=one)) for one in request_ids]
    return pb.ConverseResponse(inputs=pb.ConverseInputs(open=asked))


def deltas(turn: int, *texts: str) -> pb.ConverseResponse:
    said = [event_pb2.Delta(attempt=1, text=text) for text in texts]
    return pb.ConverseResponse(deltas=pb.ConverseDeltas(job_id=job_of(turn), deltas=said))


def turns_gone(first: int, last: int) -> pb.ConverseResponse:
    gap = watch_pb2.WatchGap(from_sequence=first, to_sequence=last, reason=watch_pb2.GAP_REASON_RETENTION)
    return pb.ConverseResponse(cursor=f"{last + 1}:0", gap=pb.ConverseGap(gap=gap))


def gone(turn: int, first: int, last: int) -> pb.ConverseResponse:
    gap = watch_pb2.WatchGap(from_sequence=first, to_sequence=last, reason=watch_pb2.GAP_REASON_RETENTION)
    return pb.ConverseResponse(cursor=f"{turn}:{last}", gap=pb.ConverseGap(job_id=job_of(turn), gap=gap))


def ended(reason: watch_pb2.EndReason = watch_pb2.END_REASON_SESSION_ENDED) -> pb.ConverseResponse:
    session = session_pb2.Session(id=SESSION_ID, state=session_pb2.SESSION_STATE_CLOSED)
    return pb.ConverseResponse(end=pb.ConverseEnd(reason=reason, session=session))
