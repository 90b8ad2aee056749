"""A conversation of the blocking client: one thread reads its stream and opens it again when it breaks. What messages
mean and what is sent is `converse`'s to say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, Unpack

import grpc

from headrace import calls, errors, follow, session_specs, silence, statuses
from headrace.blocking.connection import Connection
from headrace.blocking.handles import Job
from headrace.converse import Conversing, Item
from headrace.v1 import input_pb2, session_pb2
from headrace.v1 import session_service_pb2 as pb


class Conversation:
    """As `headrace.Conversation`, for threads: one may read while others say things and answer."""

    def __init__(self, connection: Connection, conversing: Conversing) -> None:
        self._connection = connection
        self._conversing = conversing
        self._changed = threading.Condition()
        """Held by whoever uses `_conversing`."""
        self._reading: threading.Thread | None = None
        self._failed: BaseException | None = None
        self._call: Any = None
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

    def send(self, text: str, *, request_id: str | None = None) -> Job:
        """Says something; returns the turn when it is durable. Safe across cuts: it becomes one turn."""
        made = calls.new_request_id() if request_id is None else request_id
        done = self._ask(message=pb.ConverseMessage(text=text, request_id=made))
        return Job(self._connection, done.job_id)

    def answer(
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
        return self._ask(answer=said).resolution

    def interrupt(self, reason: str = "") -> Job:
        """Ends the active turn, not the session. Raises NoActiveTurn; ConnectionFailed when a cut hid the answer."""
        done = self._ask(interrupt=pb.ConverseInterrupt(reason=reason))
        return Job(self._connection, done.job_id)

    def update(self, **changes: Unpack[session_specs.SessionChanges]) -> None:
        """Changes what is given of the session's settings."""
        spec, mask = session_specs.changes(changes)
        self._ask(settings=pb.ConverseSettings(spec=spec, update_mask=mask))

    def pause(self) -> None:
        """Has no events handed on until `resume`; requests for input and changes of the session still are."""
        with self._changed:
            self._conversing.pause()
            self._changed.notify_all()

    def resume(self) -> None:
        """Has everything handed on again."""
        with self._changed:
            self._conversing.resume()
            self._changed.notify_all()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        with self._changed:
            self._start()
            held_up = not self._conversing.takes_more
            while (item := self._conversing.take()) is None:
                if self._failed is not None:
                    raise self._failed
                if self._closed or (self._conversing.ended and not self._conversing.paused):
                    raise StopIteration
                self._changed.wait()
            if held_up or self._conversing.outbox:
                self._changed.notify_all()
            return item

    def __enter__(self) -> Self:
        with self._changed:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the stream, from any thread; the session and its turn go on."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            call = self._call
        if call is not None:
            call.cancel()

    def _start(self) -> None:
        if self._reading is None and not self._closed:
            self._reading = threading.Thread(target=self._run, name="headrace-conversation", daemon=True)
            self._reading.start()

    def _ask(self, **kind: Any) -> pb.ConverseDone:
        until = time.monotonic() + self._connection.deadline_seconds + self._connection.patience_seconds
        with self._changed:
            self._start()
            number = self._conversing.ask(**kind)
            self._changed.notify_all()
            try:
                while (done := self._conversing.answered(number)) is None:
                    if self._failed is not None:
                        raise self._failed
                    if self._closed:
                        raise errors.HeadraceError("the conversation was closed before this was answered")
                    if not self._changed.wait(max(0.0, until - time.monotonic())):
                        raise errors.DeadlineExceeded("no answer came in time; whether it took effect is not known")
            finally:
                self._conversing.forget(number)
        return done

    def _run(self) -> None:
        quiet = silence.Silence(follow.SILENCE_SECONDS)
        try:
            while not (self._conversing.ended or self._closed):
                cause = self._read_stream(quiet)
                if cause is not None and not self._closed:
                    self._rest(cause)
        except Exception as error:
            self._failed = error
        finally:
            quiet.stop()
            with self._changed:
                self._changed.notify_all()

    def _rest(self, cause: errors.HeadraceError) -> None:
        """Waits before the next stream."""
        with self._changed:
            step = self._conversing.broken(cause, time.monotonic())
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._closed, step.delay)

    def _read_stream(self, quiet: silence.Silence) -> errors.HeadraceError | None:
        """Reads one stream to its end; says why it broke, or None when nothing will follow."""
        over = threading.Event()
        with self._changed:
            self._conversing.begin()
            call = self._call = self._connection.open_conversation(self._requests(over.is_set))
        try:
            return self._read_messages(call, quiet)
        except StopIteration:
            return follow.cut(self._connection.address)
        except grpc.RpcError as error:
            address = self._connection.address
            return follow.silent(address) if quiet.fired else statuses.from_rpc(error, address)
        finally:
            over.set()
            call.cancel()
            with self._changed:
                self._call = None
                self._changed.notify_all()

    def _read_messages(self, call: Any, quiet: silence.Silence) -> errors.HeadraceError | None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._conversing.takes_more or self._closed)
            quiet.watch(call.cancel)
            try:
                message = next(call)
            finally:
                quiet.rest()
            with self._changed:
                self._conversing.accept(message)
                self._changed.notify_all()
                if self._conversing.draining:
                    return follow.drained(self._connection.address)
                if self._conversing.ended:
                    return None
        return None

    def _requests(self, is_over: Callable[[], bool]) -> Iterator[pb.ConverseRequest]:
        """What is sent on one stream, as it comes up; run by a thread of gRPC's."""
        while True:
            with self._changed:
                while (request := self._conversing.next_request()) is None:
                    if is_over() or self._closed:
                        return
                    self._changed.wait()
            yield request
