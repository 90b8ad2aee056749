"""What a typed line asks for. Pure: it knows only whether something is asked of the person just now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headrace.v1 import input_pb2, session_pb2

HELP = (
    "type what you want to say; a line that ends with \\ goes on in the next one",
    "y, or n [why]        answers a permission; a question is answered by what you type",
    "/allow, /deny [why]  the same, also beside a question",
    "/say TEXT            says it, also while something is asked",
    "/interrupt           ends the turn that runs (Ctrl-C)",
    "/model NAME          another model, from now on",
    "/mode MODE           another permission mode: default, acceptEdits, plan, dontAsk, bypassPermissions",
    "/fork [NAME]         a new session that goes on from here",
    "/close               closes the session",
    "/detach              leaves; the session goes on (Ctrl-D)",
)


@dataclass(frozen=True, slots=True)
class Say:
    """The next turn."""

    text: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to what is asked."""

    request: session_pb2.OpenInput
    allow: bool
    message: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """Another model or permission mode; empty leaves it."""

    model: str = ""
    permission_mode: str = ""


@dataclass(frozen=True, slots=True)
class Fork:
    """A new session from here."""

    name: str


@dataclass(frozen=True, slots=True)
class Tell:
    """Nothing is to be done but to tell the person something."""

    lines: tuple[str, ...]


class Interrupt:
    """The turn that runs is to end."""


class Close:
    """The session is to be closed."""


class Detach:
    """The person leaves."""


Action = Say | Reply | Change | Fork | Tell | Interrupt | Close | Detach


def action_of(line: str, asked: session_pb2.OpenInput | None) -> Action | None:
    """What a line asks for; None when it is empty. `asked` is the oldest thing that nobody has answered."""
    text = line.strip()
    if not text:
        return None
    if text.startswith("/"):
        name, _, rest = text[1:].partition(" ")
        command = COMMANDS.get(name)
        return command(rest.strip(), asked) if command else Tell((f"there is no /{name}; /help lists what there is",))
    if asked is None:
        return Say(line)
    if asked.request.kind == input_pb2.INPUT_KIND_QUESTION:
        return Reply(asked, True, text)
    return _reply(text, asked)


def _reply(text: str, asked: session_pb2.OpenInput) -> Action:
    word, _, rest = text.partition(" ")
    if word.lower() in ("y", "yes") and not rest:
        return Reply(asked, True)
    if word.lower() in ("n", "no"):
        return Reply(asked, False, rest.strip())
    return Tell(("answer y, or n [why]; /say TEXT says something all the same",))


def _answer(allow: bool) -> Callable[[str, session_pb2.OpenInput | None], Action]:
    def answer(rest: str, asked: session_pb2.OpenInput | None) -> Action:
        return Reply(asked, allow, rest) if asked is not None else Tell(("nothing is asked just now",))

    return answer


def _needs(what: str, action: Callable[[str], Action]) -> Callable[[str, session_pb2.OpenInput | None], Action]:
    def with_word(rest: str, asked: session_pb2.OpenInput | None) -> Action:
        return action(rest) if rest else Tell((f"say which: {what}",))

    return with_word


COMMANDS: dict[str, Callable[[str, session_pb2.OpenInput | None], Action]] = {
    "help": lambda rest, asked: Tell(HELP),
    "say": _needs("/say TEXT", Say),
    "allow": _answer(True),
    "deny": _answer(False),
    "interrupt": lambda rest, asked: Interrupt(),
    "model": _needs("/model NAME", lambda rest: Change(model=rest)),
    "mode": _needs("/mode MODE", lambda rest: Change(permission_mode=rest)),
    "fork": lambda rest, asked: Fork(rest),
    "close": lambda rest, asked: Close(),
    "detach": lambda rest, asked: Detach(),
    "quit": lambda rest, asked: Detach(),
    "exit": lambda rest, asked: Detach(),
}
