"""The worker's ends of a program's standard streams.

A reader takes from the pipe only while somebody waits for data, so a program whose output nobody takes is slowed by the
kernel. A writer gives up on a program that takes nothing. Neither knows what the bytes are.
"""

import asyncio
import os

from headrace_worker.executors.limits import CHUNK_BYTES_MAX


class PipeReader:
    """The reading end of a non-blocking pipe, which it owns. One reader at a time."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._waiting: asyncio.Future[None] | None = None
        self._end_when_empty = False

    async def read(self, bytes_max: int = CHUNK_BYTES_MAX) -> bytes:
        """What there is, at least one byte; empty at the end."""
        # Bytes are taken after the last point where this can be cancelled, so none is lost.
        await asyncio.sleep(0)
        while self._handle >= 0:
            try:
                return os.read(self._handle, bytes_max)
            except BlockingIOError:
                if self._end_when_empty:
                    break
                await self._readable()
        return b""

    def end_when_empty(self) -> None:
        """Nobody writes any more: what the pipe holds is all. For a pipe that a stranger may still hold open."""
        self._end_when_empty = True
        self._wake()

    def close(self) -> None:
        """Gives the pipe back; whoever reads it sees its end."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            asyncio.get_running_loop().remove_reader(handle)
            os.close(handle)
        self._wake()

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_reader(self._handle, self._wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if self._handle >= 0:
                loop.remove_reader(self._handle)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class PipeWriter:
    """The writing end of a non-blocking pipe, which it owns. One writer at a time."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._waiting: asyncio.Future[None] | None = None

    async def write(self, data: bytes, timeout_seconds: float) -> None:
        """Writes all of it.

        Raises TimeoutError when the program takes nothing for that long, and BrokenPipeError when it will take no more;
        a part may have been written.
        """
        rest = memoryview(data)
        while rest:
            if self._handle < 0:
                raise BrokenPipeError("standard input is closed")
            try:
                rest = rest[os.write(self._handle, rest) :]
            except BlockingIOError:
                async with asyncio.timeout(timeout_seconds):
                    await self._writable()

    def close(self) -> None:
        """The program sees the end of its input; a write that waits fails."""
        handle, self._handle = self._handle, -1
        if handle >= 0:
            asyncio.get_running_loop().remove_writer(handle)
            os.close(handle)
        self._wake()

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        self._waiting = loop.create_future()
        loop.add_writer(self._handle, self._wake)
        try:
            await self._waiting
        finally:
            self._waiting = None
            if self._handle >= 0:
                loop.remove_writer(self._handle)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
