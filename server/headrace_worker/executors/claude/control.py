"""The control protocol: our requests to the CLI and its requests to us, matched with their answers.

Requests are handled the moment they are read, and never wait for the data lane. Who may allow what is decided by those
whom the turn asks; between two turns nobody is, so a permission is denied with a reason the model can act on.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import Mapping
from typing import Any

from headrace_worker.executors.claude.asking import Asking, Question
from headrace_worker.executors.claude.permission import DENIED
from headrace_worker.executors.claude.wire import Body, Frame, mapping, reread, text
from headrace_worker.pipe import PipeWriter

CONTROL_TYPES = frozenset({"control_request", "control_response", "control_cancel_request"})

logger = logging.getLogger(__name__)


class ControlRefused(Exception):
    """The CLI answered a request of ours with an error."""


class InputLane:
    """What is said to the CLI, in order. Saying never waits; one task writes."""

    def __init__(self, stdin: PipeWriter, timeout_seconds: float) -> None:
        self._stdin = stdin
        self._timeout_seconds = timeout_seconds
        self._lines: asyncio.Queue[bytes | None] = asyncio.Queue()

    def say(self, message: Mapping[str, Any]) -> None:
        """Adds a line."""
        self._lines.put_nowait(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """After the lines so far, the CLI sees the end of its input."""
        self._lines.put_nowait(None)

    async def run(self) -> None:
        """Writes until closed, or until the CLI takes no more."""
        try:
            while (line := await self._lines.get()) is not None:
                await self._stdin.write(line, self._timeout_seconds)
        except (BrokenPipeError, TimeoutError) as error:
            logger.warning("the CLI takes no more input", extra={"fault": repr(error)})
        finally:
            self._stdin.close()


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
            self._take(text(frame.body, "request_id"), mapping(reread(frame), "request"), asking)
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

    def _take(self, request_id: str, request: Body, asking: Asking | None) -> None:
        subtype = text(request, "subtype")
        if subtype != "can_use_tool":
            self._answer(request_id, {"subtype": "error", "error": f"this host does not answer {subtype!r}"})
            return

        def reply(response: Mapping[str, Any]) -> None:
            self._answer(request_id, {"subtype": "success", "response": response})

        if asking is None:
            reply({"behavior": "deny", "message": DENIED})
        else:
            asking.ask(Question(request_id, request, reply))

    def _answer(self, request_id: str, response: Mapping[str, Any]) -> None:
        self._lane.say({"type": "control_response", "response": {"request_id": request_id, **response}})


def user_message(prompt: str, identity: str = "") -> dict[str, Any]:
    """What the user says, as a line to the CLI, which keeps it under its id and takes an id only once."""
    message = {"role": "user", "content": prompt}
    line = {"type": "user", "message": message, "parent_tool_use_id": None, "session_id": ""}
    return {**line, "uuid": identity} if identity else line
