"""`top` on a terminal: one task reads the server again and again, the other shows what is there and obeys keys.

Whatever ends it (a key, Ctrl-C, a signal, an error), the terminal is given back as it was.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

from rich.console import Console
from rich.live import Live

from headrace import errors
from headrace.cli.top import view
from headrace.cli.top.keyboard import Keyboard
from headrace.cli.top.reading import Reader

DELAY_MAX_SECONDS = 10.0
CLOCK_SECONDS = 1.0


class Board:
    """What is to be shown; whoever changes it says so."""

    def __init__(self, scene: view.Scene) -> None:
        self.scene = scene
        self.changed = asyncio.Event()
        self.going = asyncio.Event()
        self.going.set()
        self.done = False

    def put(self, scene: view.Scene) -> None:
        """Shows this from now on."""
        self.scene = scene
        self.changed.set()

    def choose(self, choices: view.Choices) -> None:
        """A person chose; a paused board is not read anew."""
        (self.going.clear if choices.paused else self.going.set)()
        self.put(replace(self.scene, choices=choices))

    def end(self) -> None:
        """Enough."""
        self.done = True
        self.changed.set()


async def poll(board: Board, reader: Reader, seconds: float, clock: Callable[[], datetime]) -> None:
    """Reads the server until it is cancelled; after a failure with growing delays."""
    failures = 0
    while True:
        await board.going.wait()
        try:
            snapshot = await reader.read()
        except errors.HeadraceError as error:
            delay = min(DELAY_MAX_SECONDS, max(seconds, 1.0) * 2 ** min(failures, 5))
            failures += 1
            now = clock()
            before = board.scene.trouble
            trouble = view.Trouble(before.since if before else now, short(error), now + timedelta(seconds=delay))
            board.put(replace(board.scene, trouble=trouble))
            await asyncio.sleep(delay)
            continue
        failures = 0
        if board.going.is_set():
            board.put(replace(board.scene, snapshot=snapshot, trouble=None))
        await asyncio.sleep(seconds)


def short(error: errors.HeadraceError) -> str:
    """Why the server could not be read, in few words."""
    return error.cause if isinstance(error, errors.ConnectionFailed) else str(error)


async def show(board: Board, reader: Reader, seconds: float, clock: Callable[[], datetime], console: Console) -> None:
    """Shows the board on the whole terminal until a person has had enough."""
    async with asyncio.TaskGroup() as group:
        polling = group.create_task(poll(board, reader, seconds, clock))
        with (
            Keyboard() as keyboard,
            Live(console=console, screen=True, auto_refresh=False) as live,
            _listening(board, keyboard, live, clock),
        ):
            while not board.done:
                board.changed.clear()
                size = console.size
                live.update(view.frame(board.scene, size.width, size.height, clock()), refresh=True)
                await _change(board)
        polling.cancel()


async def _change(board: Board) -> None:
    """Waits until there is something new to show; the clock on the screen is, but for a paused one."""
    try:
        async with asyncio.timeout(None if board.scene.choices.paused else CLOCK_SECONDS):
            await board.changed.wait()
    except TimeoutError:
        return


@contextmanager
def _listening(board: Board, keyboard: Keyboard, live: Live, clock: Callable[[], datetime]) -> Iterator[None]:
    """Keys and signals while the screen is shown."""
    loop = asyncio.get_running_loop()

    def obey() -> None:
        for key in keyboard.read():
            if key in ("q", "Q"):
                board.end()
            else:
                shown = view.titles(board.scene, live.console.width, clock())
                board.choose(view.pressed(board.scene.choices, key, shown))

    def suspend() -> None:
        live.stop()
        keyboard.__exit__(None, None, None)
        os.kill(os.getpid(), signal.SIGSTOP)
        keyboard.__enter__()
        live.start()
        board.changed.set()

    handlers = {
        signal.SIGTERM: board.end,
        signal.SIGHUP: board.end,
        signal.SIGWINCH: board.changed.set,
        signal.SIGTSTP: suspend,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    if keyboard.descriptor is not None:
        loop.add_reader(keyboard.descriptor, obey)
    try:
        yield
    finally:
        if keyboard.descriptor is not None:
            loop.remove_reader(keyboard.descriptor)
        for number in handlers:
            loop.remove_signal_handler(number)
