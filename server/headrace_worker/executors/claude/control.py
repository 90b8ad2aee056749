"""The control protocol: our requests to the CLI and its requests to us, matched with their answers.

Requests are handled the moment they are read, and never wait for the data lane. Who may allow what is decided by those
whom the turn asks; between two turns nobody is, so a permission is denied with a reason the model can act on.
"""

import asyncio
import itertools
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from headrace_worker.executors.claude.asking import Asking, Question
from headrace_worker.executors.claude.permission import DENIED
from headrace_worker.executors.claude.wire import Body, Frame, mapping, reread, text
from headrace_worker.executors.limits import STDIN_LANE_BYTES_MAX
from headrace_worker.pipe import PipeWriter

CONTROL_TYPES = frozenset({"control_request", "control_response", "control_cancel_request"})

logger = logging.getLogger(__name__)


class ControlRefused(Exception):
    """The CLI answered a request of ours with an error."""


class InputLane:
    """What is said to the CLI, in order. Saying never waits; one task writes. Once a line was left out, no other is
    said: an answer that is missing makes all others worthless."""

    def __init__(self, stdin: PipeWriter, timeout_seconds: float, on_full: Callable[[], None]) -> None:
        """`on_full` is called when a line is left out because too much waits."""
        self.over = False
        """Whether nothing more is said."""
        self._stdin = stdin
        self._timeout_seconds = timeout_seconds
        self._on_full = on_full
        self._lines: deque[bytes] = deque()
        self.waiting_bytes = 0
        """With the line that is being written."""
        self._closed = False
        self._news = asyncio.Event()

    def say(self, message: Mapping[str, Any]) -> None:
        """Adds a line."""
        if self.over or self._closed:
            return
        line = json.dumps(message).encode() + b"\n"
        if self.waiting_bytes and self.waiting_bytes + len(line) > STDIN_LANE_BYTES_MAX:
            self._give_up()
            self._on_full()
            return
        self._lines.append(line)
        self.waiting_bytes += len(line)
        self._news.set()

    def close(self) -> None:
        """After the lines so far, the CLI sees the end of its input."""
        self._closed = True
        self._news.set()

    async def run(self) -> None:
        """Writes until closed, or until the CLI takes no more."""
        try:
            while await self._has_line():
                line = self._lines.popleft()
                await self._stdin.write(line, self._timeout_seconds)
                self.waiting_bytes = max(0, self.waiting_bytes - len(line))
        except (BrokenPipeError, TimeoutError) as error:
            logger.warning("the CLI takes no more input", extra={"fault": repr(error)})
        finally:
            self._give_up()
            self._stdin.close()

    async def _has_line(self) -> bool:
        while not self._lines and not self._closed:
            self._news.clear()
            await self._news.wait()
        return bool(self._lines)

    def _give_up(self) -> None:
        self.over = self._closed = True
        self._lines.clear()
        self.waiting_bytes = 0
        self._news.set()


class Control:
    """Both directions of the control protocol over one input lane."""

    def __init__(self, lane: InputLane) -> None:
        self._lane = lane
        self._numbers = itertools.count(1)
        self._open: dict[str, asyncio.Future[Body]] = {}

    async def request(self, subtype: str, **fields: Any) -> Body:
        """Asks the CLI and waits for its answer; the caller sets the time.

        Raises ControlRefused when the answer is an error.
        """
        request_id = f"headrace-{next(self._numbers)}"
        answer: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        self._open[request_id] = answer
        self._lane.say({"type": "control_request", "request_id": request_id, "request": {"subtype": subtype, **fields}})
        try:
            return await answer
        finally:
            del self._open[request_id]

    def hear(self, frame: Frame, asking: Asking | None) -> None:
        """Takes a control frame of the CLI. `asking`: where the turn that it is in has its requests answered."""
        if frame.body is None:
            return
        if frame.type == "control_response":
            self._resolve(mapping(frame.body, "response"))
        elif frame.type == "control_request":
            self._take(frame, asking)
        elif asking is not None:
            asking.withdraw(text(frame.body, "request_id"))

    def _resolve(self, response: Body) -> None:
        answer = self._open.get(text(response, "request_id"))
        if answer is None or answer.done():
            return
        if text(response, "subtype") == "error":
            answer.set_exception(ControlRefused(text(response, "error")))
        else:
            answer.set_result(mapping(response, "response"))

    def _take(self, frame: Frame, asking: Asking | None) -> None:
        request_id, subtype = text(frame.body, "request_id"), text(mapping(frame.body, "request"), "subtype")
        if subtype != "can_use_tool":
            self._answer(request_id, {"subtype": "error", "error": f"this host does not answer {subtype!r}"})
            return

        def reply(response: Mapping[str, Any]) -> None:
            self._answer(request_id, {"subtype": "success", "response": response})

        if asking is None:
            reply({"behavior": "deny", "message": DENIED})
        else:
            asking.ask(Question(request_id, mapping(reread(frame), "request"), reply, len(frame.line.data)))

    def _answer(self, request_id: str, response: Mapping[str, Any]) -> None:
        self._lane.say({"type": "control_response", "response": {"request_id": request_id, **response}})


def user_message(prompt: str, identity: str = "") -> dict[str, Any]:
    """What the user says, as a line to the CLI, which keeps it under its id and takes an id only once."""
    message = {"role": "user", "content": prompt}
    line = {"type": "user", "message": message, "parent_tool_use_id": None, "session_id": ""}
    return {**line, "uuid": identity} if identity else line
