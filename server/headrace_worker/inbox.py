"""What the server says to one running attempt besides its end: answers to what it has asked, and changes of settings.

A command is carried out once, however often it comes, and acknowledged each time it has been. No stream in here.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from headrace.v1 import error_pb2, input_pb2, worker_service_pb2
from headrace_worker.executors.contract import TooManyAsked
from headrace_worker.limits import (
    COMMAND_ERRORS_COUNT_MAX,
    COMMAND_MESSAGE_CHARACTERS_MAX,
    INPUTS_OPEN_COUNT_MAX,
    SETTINGS_WAITING_COUNT_MAX,
)

INVALID_ARGUMENT = 3
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
FAILED_PRECONDITION = 9
UNIMPLEMENTED = 12
"""google.rpc.Code"""

Acknowledge = Callable[[int, error_pb2.ItemError | None], None]


class Change:
    """A change of settings; implements `contract.SettingsChange`."""

    __slots__ = ("_settle", "settings")

    def __init__(self, settings: worker_service_pb2.SettingsCommand, settle: Callable[[str], None]) -> None:
        self.settings = settings
        self._settle = settle

    def done(self) -> None:
        """See `contract.SettingsChange`."""
        self._settle("")

    def refuse(self, why: str) -> None:
        """See `contract.SettingsChange`."""
        self._settle(why or "it was refused")


class Inbox:
    """The commands of one attempt."""

    def __init__(self, acknowledge: Acknowledge) -> None:
        self._acknowledge = acknowledge
        self._open: dict[str, asyncio.Future[input_pb2.InputAnswer]] = {}
        self._changes: deque[Change] = deque()
        self._changed = asyncio.Event()
        self._floor = 0
        """Commands up to this one have come."""
        self._beyond: set[int] = set()
        """Those after it that have come, too."""
        self._taken: set[int] = set()
        """Those that are being carried out."""
        self._errors: dict[int, error_pb2.ItemError] = {}
        """Why the latest of those failed that could not be carried out."""

    def open(self, request_id: str) -> "asyncio.Future[input_pb2.InputAnswer]":
        """What the answer to a request comes by. Raises TooManyAsked."""
        if request_id in self._open:
            raise TooManyAsked(f"the request {request_id!r} is open already")
        if len(self._open) >= INPUTS_OPEN_COUNT_MAX:
            raise TooManyAsked(f"{INPUTS_OPEN_COUNT_MAX} requests are open already")
        answer: asyncio.Future[input_pb2.InputAnswer] = asyncio.get_running_loop().create_future()
        self._open[request_id] = answer
        return answer

    def close(self, request_id: str) -> None:
        """Nobody waits for the answer any more."""
        self._open.pop(request_id, None)

    def take(self, command: worker_service_pb2.AttemptCommand) -> None:
        """Carries out a command, unless it was before."""
        number = command.command_number
        if number in self._taken:
            return
        if number <= self._floor or number in self._beyond:
            self._acknowledge(number, self._errors.get(number))
            return
        self._note(number)
        kind = command.WhichOneof("kind")
        if kind == "answer":
            self._answer(number, command.answer)
        elif kind == "settings":
            self._change(number, command.settings)
        else:
            self._settle(
                number,
                _error(UNIMPLEMENTED, "this worker does not know such a command", error_pb2.ERROR_REASON_NOT_SUPPORTED),
            )

    async def next_change(self) -> Change:
        """Waits for the next change of settings."""
        while not self._changes:
            self._changed.clear()
            await self._changed.wait()
        return self._changes.popleft()

    def end(self) -> None:
        """The attempt has ended: what waits is not carried out any more."""
        for number in tuple(self._taken):
            self._settle(number, _error(FAILED_PRECONDITION, "the attempt has ended", error_pb2.ERROR_REASON_JOB_ENDED))
        self._changes.clear()

    def _note(self, number: int) -> None:
        self._beyond.add(number)
        while self._floor + 1 in self._beyond:
            self._floor += 1
            self._beyond.discard(self._floor)

    def _answer(self, number: int, answer: input_pb2.InputAnswer) -> None:
        waiting = self._open.get(answer.request_id)
        if waiting is None or waiting.done():
            self._settle(
                number, _error(NOT_FOUND, "nothing waits for this answer any more", error_pb2.ERROR_REASON_NOT_FOUND)
            )
        else:
            waiting.set_result(answer)
            self._settle(number, None)

    def _change(self, number: int, settings: worker_service_pb2.SettingsCommand) -> None:
        if len(self._changes) >= SETTINGS_WAITING_COUNT_MAX:
            text = f"{SETTINGS_WAITING_COUNT_MAX} changes of settings wait already"
            self._settle(number, _error(RESOURCE_EXHAUSTED, text, error_pb2.ERROR_REASON_TOO_MANY_CALLS))
            return
        self._taken.add(number)

        def settle(why: str) -> None:
            if number in self._taken:
                self._settle(
                    number, _error(INVALID_ARGUMENT, why, error_pb2.ERROR_REASON_INVALID_FIELD) if why else None
                )

        self._changes.append(Change(settings, settle))
        self._changed.set()

    def _settle(self, number: int, error: error_pb2.ItemError | None) -> None:
        self._taken.discard(number)
        if error is not None:
            self._errors[number] = error
            if len(self._errors) > COMMAND_ERRORS_COUNT_MAX:
                del self._errors[next(iter(self._errors))]
        self._acknowledge(number, error)


def not_held() -> error_pb2.ItemError:
    """Why a command for an attempt that is not there, or has ended, is not carried out."""
    return _error(NOT_FOUND, "the attempt does not run here", error_pb2.ERROR_REASON_NOT_FOUND)


def _error(code: int, message: str, reason: error_pb2.ErrorReason) -> error_pb2.ItemError:
    return error_pb2.ItemError(code=code, reason=reason, message=message[:COMMAND_MESSAGE_CHARACTERS_MAX])
