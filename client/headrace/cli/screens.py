"""Where the parts of a view go: plain streams, or a terminal with a status line. Nothing is decided about content here.

Plain: what the job says goes to standard output, everything about it to standard error.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from rich.cells import cell_len, chop_cells
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from headrace.cli.parts import Answer, Line, Part, Raw, Tone, printable

STYLES = {
    Tone.NOTE: "dim",
    Tone.TOOL: "cyan",
    Tone.DETAIL: "dim",
    Tone.WARNING: "yellow",
    Tone.GOOD: "bold green",
    Tone.BAD: "bold red",
}
SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"


class Screen(Protocol):
    """Shows parts as they come."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def show(self, part: Part) -> None: ...


class PlainScreen:
    """Two byte streams. Bytes of output arrive exactly; each part is flushed, so a pipe sees it at once."""

    def __init__(self, stdout: BinaryIO, stderr: BinaryIO) -> None:
        self._stdout = stdout
        self._stderr = stderr
        self._in_answer = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None or not issubclass(kind, BrokenPipeError):
            self._end_answer()

    def show(self, part: Part) -> None:
        match part:
            case Answer():
                if part.text:
                    self._write(self._stdout, part.text.encode())
                    self._in_answer = not part.text.endswith("\n")
                if part.end:
                    self._end_answer()
            case Raw():
                self._write(self._stderr if part.to_stderr else self._stdout, part.data)
            case Line():
                self._end_answer()
                self._write(self._stderr, f"{printable(part.text)}\n".encode())

    def _end_answer(self) -> None:
        if self._in_answer:
            self._in_answer = False
            self._write(self._stdout, b"\n")

    def _write(self, stream: BinaryIO, data: bytes) -> None:
        stream.write(data)
        stream.flush()


class LiveScreen:
    """A terminal: whole lines scroll up, the line in the making and the status line stay at the bottom."""

    def __init__(self, console: Console, status: Callable[[], str]) -> None:
        self._console = console
        self._status = status
        self._unfinished = ""
        self._unfinished_shown = False
        self._turns = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._live = Live(
            console=console,
            get_renderable=self._bottom,
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish_line()
        self._live.__exit__(kind, error, trace)

    def show(self, part: Part) -> None:
        match part:
            case Answer():
                self._append(printable(part.text))
                if part.end:
                    self._finish_line()
            case Raw():
                self._append(self._decoder.decode(part.data).replace("\r\n", "\n"))
            case Line():
                self._finish_line()
                self._print(Text(printable(part.text), style=STYLES[part.tone]))

    def _append(self, text: str) -> None:
        *whole, self._unfinished = (self._unfinished + text).split("\n")
        for line in whole:
            self._print_line(line)
        while cell_len(self._unfinished) > self._console.width - 1:
            head, self._unfinished = break_line(self._unfinished, self._console.width - 1)
            self._print_line(head)

    def _finish_line(self) -> None:
        if self._unfinished:
            line, self._unfinished = self._unfinished, ""
            self._print_line(line)

    def _print_line(self, line: str) -> None:
        self._print(Text.from_ansi(line.rsplit("\r", 1)[-1]))

    def _print(self, text: Text) -> None:
        if self._unfinished_shown:
            self._live.refresh()  # else the old unfinished line would stand below its own whole
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def _bottom(self) -> RenderableType:
        self._turns += 1
        self._unfinished_shown = bool(self._unfinished)
        status = Text(f"{SPINNER[self._turns % len(SPINNER)]} {self._status()}", style="dim", no_wrap=True)
        status.truncate(max(1, self._console.width - 1), overflow="ellipsis")
        if not self._unfinished:
            return status
        return Group(Text.from_ansi(self._unfinished.rsplit("\r", 1)[-1]), status)


def break_line(text: str, width: int) -> tuple[str, str]:
    """The beginning of a text that fits into `width` cells, broken at a space where there is one, and the rest."""
    fits = len(chop_cells(text, max(2, width))[0])
    space = text.rfind(" ", 1, fits + 1)
    return (text[:space], text[space + 1 :]) if space > 0 else (text[:fits], text[fits:])
