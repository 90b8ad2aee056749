"""Where a conversation is shown and typed: a terminal with a prompt that stays at the bottom, or plain streams."""

from __future__ import annotations

import asyncio
import codecs
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from types import TracebackType
from typing import Protocol, Self

from prompt_toolkit import PromptSession
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.patch_stdout import patch_stdout
from rich.console import Console
from rich.text import Text

from headrace.cli.parts import Answer, Line, Part, Raw, printable
from headrace.cli.screens import STYLES, PlainScreen, Screen, break_line

REFRESH_SECONDS = 0.5
LINE_CHARACTERS_MAX = 1 << 20


class Interrupted:
    """Ctrl-C instead of a line."""


class Face(Screen, Protocol):
    """A place where a conversation is shown and typed."""

    async def read_line(self) -> str | Interrupted | None:
        """The next line; None when no more will come."""
        ...


class PlainFace:
    """Standard input, a line a message; what is said goes to standard output, all else to standard error."""

    def __init__(self) -> None:
        self._screen = PlainScreen(sys.stdout.buffer, sys.stderr.buffer)

    def __enter__(self) -> Self:
        self._screen.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._screen.__exit__(kind, error, trace)

    def show(self, part: Part) -> None:
        self._screen.show(part)

    async def read_line(self) -> str | Interrupted | None:
        """A thread of its own reads, so that nothing else waits; it ends with the process."""
        return await _in_daemon(sys.stdin.readline) or None


class _RawInput(Vt100Input):
    """A terminal that stays raw while lines are written above the prompt: in cooked mode it would swallow a Ctrl-D that
    comes meanwhile."""

    def cooked_mode(self) -> AbstractContextManager[None]:
        return nullcontext()


class TerminalFace:
    """A terminal: whole lines scroll up, the line in the making and the prompt stay at the bottom."""

    def __init__(self, status: Callable[[], str]) -> None:
        self._status = status
        self._unfinished = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._console = Console(highlight=False)
        self._prompt: PromptSession[str] = PromptSession(input=_RawInput(sys.stdin))
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        # Also between two prompts, for the same reason.
        self._stack.enter_context(self._prompt.app.input.raw_mode())
        self._stack.enter_context(patch_stdout(raw=True))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_line()
        self._stack.close()

    def show(self, part: Part) -> None:
        match part:
            case Answer():
                self._append(printable(part.text))
                if part.end:
                    self._finish_line()
            case Raw():
                self._append(printable(self._decoder.decode(part.data)))
            case Line():
                self._finish_line()
                self._console.print(Text(printable(part.text), style=STYLES[part.tone]), soft_wrap=True)
        if self._prompt.app.is_running:
            self._prompt.app.invalidate()

    async def read_line(self) -> str | Interrupted | None:
        try:
            line = await self._prompt.prompt_async(self._message, refresh_interval=REFRESH_SECONDS)
            while line.endswith("\\"):
                line = line[:-1] + "\n" + await self._prompt.prompt_async("… ")
        except KeyboardInterrupt:
            return Interrupted()
        except EOFError:
            return None
        return line

    def _message(self) -> FormattedText:
        parts = [("", self._unfinished + "\n")] if self._unfinished else []
        return FormattedText([*parts, ("ansibrightblack", self._status() + "\n"), ("bold", "> ")])

    def _append(self, text: str) -> None:
        *whole, self._unfinished = (self._unfinished + text).split("\n")
        for line in whole:
            self._console.print(Text(line), soft_wrap=True)
        while len(self._unfinished) >= self._console.width:
            head, self._unfinished = break_line(self._unfinished, self._console.width - 1)
            self._console.print(Text(head), soft_wrap=True)

    def _finish_line(self) -> None:
        if self._unfinished:
            line, self._unfinished = self._unfinished, ""
            self._console.print(Text(line), soft_wrap=True)


async def _in_daemon(read: Callable[[int], str]) -> str:
    """What a blocking read returns, from a thread that no end of the program waits for."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()

    def tell(line: str) -> None:
        if not answer.done():
            answer.set_result(line)

    def run() -> None:
        line = read(LINE_CHARACTERS_MAX)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, line)

    threading.Thread(target=run, name="headrace-stdin", daemon=True).start()
    return await answer
