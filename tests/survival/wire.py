"""A network between two ends: a TCP proxy that delays, throttles, stands still, swallows, half-closes, cuts, refuses.

Owns its connections and how they behave. It knows nothing of what goes through.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

PIECE_BYTES = 16 * 1024
PIECES_COUNT_MAX = 16
RESET = struct.pack("ii", 1, 0)
"""As the kernel wants it: linger, and for no time."""


@dataclass(eq=False)
class _Link:
    """One connection through the wire: its two ends."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    lost: bool = False
    """Nothing gets through any more, and nobody is told."""
    ended: set[asyncio.StreamWriter] = field(default_factory=set)
    """Ends that will get no more."""

    def end(self, writer: asyncio.StreamWriter) -> None:
        """Tells one end that no more will come."""
        if writer not in self.ended and not writer.is_closing():
            self.ended.add(writer)
            with contextlib.suppress(OSError):
                writer.write_eof()

    def reset(self) -> None:
        for writer in (self.client, self.server):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class Wire:
    """Connections to its address go to the target, as it allows."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._links: set[_Link] = set()
        self._through = asyncio.Event()
        self._through.set()
        self._refusing = self._swallowing = False
        self.address = ""
        self.delay_seconds = 0.0
        """For each piece, in each direction."""
        self.bytes_per_second = 0
        """In each direction of each connection; zero sets no limit."""
        self._made = asyncio.Event()

    def cut(self) -> None:
        """Resets every connection, as a router does that has forgotten them; new ones get through."""
        for link in list(self._links):
            link.reset()

    def half_close(self, *, towards_client: bool) -> None:
        """Ends one direction of every connection; the other one goes on."""
        for link in self._links:
            writer = link.client if towards_client else link.server
            link.end(writer)

    def stand_still(self) -> None:
        """Nothing gets through until `go_on`; nothing is lost."""
        self._through.clear()

    def go_on(self) -> None:
        """What was held up gets through."""
        self._through.set()

    def swallow(self) -> None:
        """What is sent from now on is lost, on new connections too, and nobody is told. Until `restore`."""
        self._swallowing = True
        for link in self._links:
            link.lost = True

    def restore(self) -> None:
        """New connections get through; those that were there never will."""
        self._swallowing = False

    def refuse(self) -> None:
        """Resets every connection, and each new one. Until `accept`."""
        self._refusing = True
        self.cut()

    def accept(self) -> None:
        """New connections get through again."""
        self._refusing = False

    async def wait_reconnect(self) -> None:
        """Waits until somebody connects anew."""
        self._made.clear()
        await self._made.wait()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Takes a connection to its end."""
        self._made.set()
        try:
            from_server, to_server = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link(writer, to_server, lost=self._swallowing)
        self._links.add(link)
        if self._refusing:
            link.reset()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._carry(link, reader, to_server))
                both.create_task(self._carry(link, from_server, writer))
        finally:
            link.reset()
            self._links.discard(link)

    async def _carry(self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one direction to its end. What is delayed is on its way meanwhile, a bounded number of pieces."""
        loop = asyncio.get_running_loop()
        coming: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(PIECES_COUNT_MAX)
        delivering = asyncio.ensure_future(self._deliver(link, coming, writer))
        try:
            with contextlib.suppress(OSError):
                while piece := await reader.read(PIECE_BYTES):
                    await coming.put((loop.time() + self.delay_seconds, piece))
            await coming.put((loop.time() + self.delay_seconds, b""))
            await delivering
        finally:
            delivering.cancel()

    async def _deliver(
        self, link: _Link, coming: "asyncio.Queue[tuple[float, bytes]]", writer: asyncio.StreamWriter
    ) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, piece = await coming.get()
            await self._through.wait()
            slow = len(piece) / self.bytes_per_second if self.bytes_per_second else 0.0
            await asyncio.sleep(max(due - loop.time(), slow))
            if not (link.lost or writer in link.ended or writer.is_closing()):
                if not piece:
                    link.end(writer)
                    return
                writer.write(piece)
                with contextlib.suppress(OSError):
                    await writer.drain()
            elif not piece:
                return


@asynccontextmanager
async def wire(target: str) -> AsyncIterator[Wire]:
    """A wire to the target, as long as the block is entered."""
    made = Wire(target)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taking = asyncio.ensure_future(made.connected(reader, writer))
        connections.add(taking)
        taking.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    made.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for taking in connections:
            taking.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
