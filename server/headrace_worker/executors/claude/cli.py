"""A running CLI: its pipes, its control protocol, and which turn each of its frames belongs to.

It lives as long as its process, through any number of turns. What a turn means, when it has been silent too long and
what becomes of it is decided elsewhere.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from headrace_worker.executors.claude.control import CONTROL_TYPES, Control, InputLane, user_message
from headrace_worker.executors.claude.framer import Framer, Line
from headrace_worker.executors.claude.hearing import LIFECYCLE, Hearing
from headrace_worker.executors.claude.turn import Turn
from headrace_worker.executors.claude.wire import Frame, mappings, parse, text
from headrace_worker.executors.limits import (
    OWN_TURN_BYTES_MAX,
    PRELUDE_BYTES_MAX,
    PRELUDE_COUNT_MAX,
    STDERR_TAIL_BYTES_MAX,
    STDIN_LANE_BYTES_MAX,
    STDIN_WRITE_SECONDS,
)
from headrace_worker.process import ProcessTree

OnOwnTurn = Callable[[Hearing], None]
DEAF = f"the CLI asks and takes no answers: more than {STDIN_LANE_BYTES_MAX} bytes wait for it"

logger = logging.getLogger(__name__)


class Cli:
    """Make it once the process runs; it takes what the process says from then on. `close` it when the tree is gone."""

    def __init__(self, tree: ProcessTree, spool_folder: Path, on_own_turn: OnOwnTurn | None = None) -> None:
        """`on_own_turn` is called with each turn that the CLI begins by itself; None: whatever is said is one turn."""
        self.tree = tree
        self.background = False
        """Whether tasks run that will start a turn of their own when they end."""
        self.input_closed = False
        self.model = ""
        """The model that it was started with or given since; empty for its own choice."""
        self.permission_mode = ""
        self._spool_folder = spool_folder
        self._on_own_turn = on_own_turn
        self._framer = Framer()
        self._input = InputLane(tree.stdin, STDIN_WRITE_SECONDS, self._input_full)
        self.control = Control(self._input)
        self._stderr_tail = b""
        self._last: Turn | None = None
        """The fold of the turn before."""
        self._running: Hearing | None = None
        """The turn that the CLI is in."""
        self._said: Hearing | None = None
        """The turn whose message was said, and which the CLI has not begun."""
        self._message = ""
        """The id of that message."""
        self._unsaid: Mapping[str, Any] | None = None
        """The message, while it waits for the end of another turn."""
        self._tells = False
        """Whether the CLI tells what becomes of messages."""
        self._prelude: deque[Frame] = deque()
        """What was said between two turns."""
        self._outputs = [asyncio.create_task(self._read()), asyncio.create_task(self._read_stderr())]
        self._writer = asyncio.create_task(self._input.run())

    @property
    def running(self) -> Hearing | None:
        """The turn that the CLI is in."""
        return self._running

    @property
    def is_deaf(self) -> bool:
        """Whether nothing can be said to it any more."""
        return self._input.over

    @property
    def stderr(self) -> str:
        """The end of what it wrote to standard error during the last turn."""
        return self._stderr_tail.decode("utf-8", "replace")

    def expect(self) -> Hearing:
        """The turn that is to come next; what is said from now on belongs to it, unless it is the CLI's own."""
        self._stderr_tail = b""
        self._said, self._message = Hearing(self._last, self._spool_folder), ""
        return self._said

    def say(self, hearing: Hearing, prompt: str, message: str = "") -> None:
        """Says a message, whose turn is the given one. `message`: its id, under which the CLI keeps it.

        A turn that the CLI has begun by itself meanwhile is waited for: the message would be taken into that one.
        """
        self._said, self._message = hearing, message
        self._unsaid = user_message(prompt, message)
        hearing.waits = self._running not in (None, hearing)
        if not hearing.waits:
            self._say_unsaid(hearing)

    def leave(self, hearing: Hearing) -> None:
        """Nobody waits for the turn any more."""
        if self._said is hearing:
            self._said = self._unsaid = None

    def close_input(self) -> None:
        """The CLI sees the end of its input, and is to finish and exit."""
        self.input_closed = True
        self._input.close()

    async def wait_output(self) -> None:
        """Waits until everything was read that the process had written."""
        await asyncio.wait(self._outputs)

    async def close(self) -> None:
        """Gives back the tasks. Call it when the tree is gone."""
        tasks = [*self._outputs, self._writer]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for hearing in (self._running, self._said):
            if hearing is not None:
                hearing.finish()

    async def _read(self) -> None:
        try:
            while data := await self.tree.stdout.read():
                self._take(self._framer.feed(data))
            self._take(self._framer.finish())
        finally:
            for hearing in (self._running, self._said):
                if hearing is not None:
                    hearing.finish()

    async def _read_stderr(self) -> None:
        while data := await self.tree.stderr.read():
            self._stderr_tail = (self._stderr_tail + data)[-STDERR_TAIL_BYTES_MAX:]

    def _take(self, lines: list[Line]) -> None:
        for line in lines:
            if line.data.strip():
                self._hear(parse(line))

    def _hear(self, frame: Frame) -> None:
        hearing = self._belongs_to(frame)
        if frame.type in CONTROL_TYPES:
            self.control.hear(frame, None if hearing is None else hearing.asking)
        elif frame.subtype == "background_tasks_changed" and frame.body is not None:
            self.background = bool(mappings(frame.body, "tasks"))
        if hearing is None:
            self._keep(frame)
            return
        hearing.hear(frame)
        if self._on_own_turn is not None and self._running is hearing and frame.type == "result":
            self._last, self._running = hearing.turn, None
            if self._said is not None:
                self._say_unsaid(self._said)

    def _belongs_to(self, frame: Frame) -> Hearing | None:
        if self._on_own_turn is None:
            return self._running or self._said
        if frame.type == LIFECYCLE:
            self._note_lifecycle(text(frame.body, "command_uuid"), text(frame.body, "state"))
        begins = frame.type == "system" and frame.subtype == "init" and self._running is None
        if begins and (self._said is None or (self._tells and self._message)):
            self._running = self._begin_own(self._on_own_turn)
        elif begins:
            self._start_said()
        return self._running or self._said

    def _input_full(self) -> None:
        for hearing in (self._running, self._said):
            if hearing is not None:
                hearing.fail(DEAF, "stdin")

    def _say_unsaid(self, hearing: Hearing) -> None:
        if self._unsaid is not None:
            hearing.said()
            self._input.say(self._unsaid)
            self._unsaid = None
            hearing.waits = False
            hearing.on_news(None)

    def _note_lifecycle(self, message: str, state: str) -> None:
        if self._said is None or message != self._message:
            return
        self._tells = True
        if state == "started":
            self._start_said()

    def _start_said(self) -> None:
        if self._running is not None:
            # It had begun a turn by itself before it read the message, and takes the message into that one.
            self._running.absorb()
        self._running, self._said = self._said, None

    def _begin_own(self, on_own_turn: OnOwnTurn) -> Hearing:
        hearing = Hearing(self._last, self._spool_folder, OWN_TURN_BYTES_MAX)
        while self._prelude:
            hearing.hear(self._prelude.popleft())
        on_own_turn(hearing)
        return hearing

    def _keep(self, frame: Frame) -> None:
        """Between two turns: it is told with the next turn that the CLI begins by itself."""
        if frame.type in CONTROL_TYPES or len(frame.line.data) > PRELUDE_BYTES_MAX:
            return
        self._prelude.append(frame)
        if len(self._prelude) > PRELUDE_COUNT_MAX:
            self._prelude.popleft()
