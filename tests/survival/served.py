"""A control plane inside the test's process, on a loop and thread of its own, so that a test can look at its store.

Owns the thread, the folder's engine and the channel. It knows nothing of what is sent.
"""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc

from headrace_server.app import App
from headrace_server.runtime.clock import Clock
from headrace_server.settings import Settings
from headrace_server.store.engine import Connection
from headrace_server.store.sqlite import SqliteEngine
from store.checkers import check_store

T = TypeVar("T")
START_SECONDS = 20.0


class Served:
    """`App` without a local worker; a context manager that checks the store once all has ended."""

    def __init__(self, data: Path, clock: Clock | None = None, **settings: Any) -> None:
        self.data = data
        self._settings = Settings(data=data, listen="127.0.0.1:0", workers=0, **settings)
        self._clock = clock
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="served")
        self.target = ""

    def __enter__(self) -> "Served":
        self._thread.start()
        self.app = self._call(self._started)
        self.channel: Any = grpc.insecure_channel(self.target, options=[("grpc.max_receive_message_length", -1)])
        return self

    async def _started(self) -> App:
        app = App(self._settings, self._clock)
        address = await app.start()
        self.target = f"{address.host}:{address.port}"
        return app

    def unary(self, method: str, request: bytes, timeout: float = 10.0) -> bytes:
        """One call with bytes as they are; `method` such as `headrace.v1.JobService/GetJob`. Raises grpc.RpcError."""
        answer: bytes = self.channel.unary_unary(f"/{method}")(request, timeout=timeout)
        return answer

    def _call(self, function: Callable[..., Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(START_SECONDS)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()
        self._call(self.app.stop)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        if kind is None:
            read_store(self.data, check_store)


def read_store(data: Path, query: Callable[[Connection], T]) -> T:
    """Reads a store that nobody serves."""
    engine = SqliteEngine(data)
    try:
        with engine.reading() as connection:
            return query(connection)
    finally:
        engine.close()
