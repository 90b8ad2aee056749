"""The host's side of the conversation: stdin, read by a thread that answers control requests the moment they come.

Owns what was received: waiting user messages, replies to our requests, whether an interrupt or the end of input is
there. What a message leads to is not its business.
"""

import json
import os
import threading
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from headrace_worker.simulator.frames import Frames, greeting
from headrace_worker.simulator.output import Json, Output

_STDIN = 0
_READ_BYTES = 65536


@dataclass(frozen=True, slots=True)
class UserMessage:
    """One user line."""

    content: str | list[Any]
    uuid: str | None = None

    @property
    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        parts = [block.get("text", "") for block in self.content if isinstance(block, dict)]
        return "\n".join(part for part in parts if part)


@dataclass(slots=True)
class Switches:
    """What a host may change, and which kinds of deafness a script has asked for."""

    permission_mode: str
    model: str
    ignores_interrupt: bool = False
    ignores_end: bool = False
    may_bypass: bool = False
    """Whether it was launched so that no permission is asked for."""
    frozen: bool = False
    """A hung program answers nothing, not even a control request."""


class Host:
    """Everything that comes from stdin."""

    def __init__(
        self, output: Output, switches: Switches, frames: Frames, known: Collection[str] = frozenset()
    ) -> None:
        """`frames` is this thread's own, so that its ids do not depend on when a line comes. `known`: ids of lines that
        are in the conversation already."""
        self._output = output
        self._switches = switches
        self._frames = frames
        self._known = set(known)
        self._asked: str | None = None
        self._changed = threading.Condition()
        self._messages: deque[UserMessage] = deque()
        self._replies: dict[str, Json] = {}
        self._ended = False
        self._busy = False
        self._interrupted = False
        self._stopped = False

    def start(self) -> None:
        threading.Thread(target=self._run, name="stdin", daemon=True).start()

    def next_message(self, seconds: float | None = None) -> UserMessage | None:
        """Waits for a user line; None when the input ended, or after `seconds` without one."""
        with self._changed:
            self._changed.wait_for(lambda: self._messages or self._is_over(), seconds)
            return self._messages.popleft() if self._messages and not self._stopped else None

    def is_over(self) -> bool:
        with self._changed:
            return self._is_over() and not self._messages

    def has_ended(self) -> bool:
        with self._changed:
            return self._is_over()

    def queued(self) -> list[str]:
        """The ids of the user lines that wait."""
        return [message.uuid for message in self._messages if message.uuid is not None]

    def begin_turn(self) -> None:
        with self._changed:
            self._busy, self._interrupted = True, False

    def end_turn(self) -> None:
        with self._changed:
            self._busy = self._interrupted = False

    def interrupt(self) -> None:
        """Ends the running turn, if there is one."""
        with self._changed:
            self._interrupted = self._busy
            self._changed.notify_all()

    def stop(self) -> None:
        """Ends the running turn and takes no further message."""
        with self._changed:
            self._stopped = True
            self._messages.clear()
            self.interrupt()

    @property
    def is_interrupted(self) -> bool:
        return self._interrupted

    @property
    def is_stopped(self) -> bool:
        return self._stopped

    def wait_interrupt(self, seconds: float) -> bool:
        """Waits at most `seconds`; True as soon as an interrupt is there."""
        with self._changed:
            return self._changed.wait_for(lambda: self._interrupted, seconds)

    def wait_reply(self, request_id: str, seconds: float | None = None) -> Json | None:
        """The answer to a request of ours; None when an interrupt, the end of input or the time comes first."""
        with self._changed:
            self._asked = request_id
            self._changed.wait_for(lambda: request_id in self._replies or self._interrupted or self._is_over(), seconds)
            self._asked = None
            return self._replies.pop(request_id, None)

    def _is_over(self) -> bool:
        return self._stopped or (self._ended and not self._switches.ignores_end)

    def _run(self) -> None:
        rest = b""
        while True:
            chunk = os.read(_STDIN, _READ_BYTES)
            if self._switches.frozen:
                continue
            if not chunk:
                break
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._take(line)
        self._take(rest)
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            frame = json.loads(line)
        except ValueError:
            os.write(2, b"Error parsing streaming input line (type=unknown, %d chars): SyntaxError\n" % len(line))
            self._output.drain(1.0)
            os._exit(1)
        kind = frame.get("type") if isinstance(frame, dict) else None
        if kind == "user":
            self._take_message(frame)
        elif kind == "control_request":
            self._answer(frame.get("request_id"), frame.get("request") or {})
        elif kind == "control_response":
            self._take_reply(frame.get("response") or {})

    def _take_message(self, frame: Json) -> None:
        message = UserMessage((frame.get("message") or {}).get("content", ""), frame.get("uuid"))
        if message.uuid in self._known:
            self._output.send(self._frames.lifecycle(str(message.uuid), "completed"))
            return
        if message.uuid is not None:
            self._known.add(message.uuid)
            self._output.send(self._frames.lifecycle(message.uuid, "queued"))
        with self._changed:
            self._messages.append(message)
            self._changed.notify_all()

    def _take_reply(self, response: Json) -> None:
        with self._changed:
            self._replies[str(response.get("request_id"))] = response
            self._changed.notify_all()

    def _answer(self, request_id: str | None, request: Json) -> None:
        match request.get("subtype"):
            case "initialize":
                self._succeed(request_id, greeting(self._switches.permission_mode, os.getpid()))
            case "interrupt":
                if not self._switches.ignores_interrupt:
                    self._take_back_question()
                    self._succeed(request_id, {"still_queued": self.queued()})
                    self.interrupt()
            case "set_permission_mode" if request.get("mode") == "bypassPermissions" and not self._switches.may_bypass:
                said = "Cannot set permission mode to bypassPermissions because the session was not launched with it"
                self._refuse(request_id, said, "bypass_not_launched")
            case "set_permission_mode":
                self._switches.permission_mode = str(request.get("mode", "default"))
                self._succeed(request_id, {"mode": self._switches.permission_mode})
                self._output.send(self._frames.status(None, permissionMode=self._switches.permission_mode))
            case "set_model":
                self._switches.model = str(request.get("model") or self._switches.model)
                said = f"<local-command-stdout>Set model to `{self._switches.model}`</local-command-stdout>"
                self._output.send(self._frames.replayed(said, None))
                self._succeed(request_id, {"model": self._switches.model})
            case unknown:
                self._refuse(request_id, f"Unsupported control request subtype: {unknown}", "unsupported_request")

    def _take_back_question(self) -> None:
        with self._changed:
            if self._asked is not None and self._asked not in self._replies:
                self._output.send(self._frames.cancel_request(self._asked))

    def _refuse(self, request_id: str | None, said: str, code: str) -> None:
        error = {"subtype": "error", "request_id": request_id, "error": said, "error_code": code}
        self._output.send({"type": "control_response", "response": error})

    def _succeed(self, request_id: str | None, response: Json) -> None:
        answer = {"subtype": "success", "request_id": request_id, "response": response}
        self._output.send({"type": "control_response", "response": answer})
