"""The command line of the simulated program: which flags exist, what they take, and how a mistake is answered.

Owns parsing only. What a flag does is decided where it is used.
"""

import json
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any


class Arity(Enum):
    """How many values a flag takes."""

    NONE = auto()
    ONE = auto()
    OPTIONAL = auto()
    MANY = auto()


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag: the name that options are stored under and how it is spelt in messages."""

    name: str
    arity: Arity
    placeholder: str = ""
    choices: tuple[str, ...] = ()


class UsageError(Exception):
    """A command line that the program refuses: its text goes to stderr, the exit code is 1."""


OUTPUT_FORMATS = ("text", "json", "stream-json")
INPUT_FORMATS = ("text", "stream-json")
PERMISSION_MODES = ("acceptEdits", "auto", "bypassPermissions", "default", "manual", "dontAsk", "plan")

_FLAGS = (
    Flag("--print", Arity.NONE),
    Flag("--version", Arity.NONE),
    Flag("--help", Arity.NONE),
    Flag("--verbose", Arity.NONE),
    Flag("--include-partial-messages", Arity.NONE),
    Flag("--include-hook-events", Arity.NONE),
    Flag("--replay-user-messages", Arity.NONE),
    Flag("--fork-session", Arity.NONE),
    Flag("--strict-mcp-config", Arity.NONE),
    Flag("--dangerously-skip-permissions", Arity.NONE),
    Flag("--no-session-persistence", Arity.NONE),
    Flag("--disable-slash-commands", Arity.NONE),
    Flag("--output-format", Arity.ONE, "<format>", OUTPUT_FORMATS),
    Flag("--input-format", Arity.ONE, "<format>", INPUT_FORMATS),
    Flag("--permission-mode", Arity.ONE, "<mode>", PERMISSION_MODES),
    Flag("--permission-prompt-tool", Arity.ONE, "<tool>"),
    Flag("--model", Arity.ONE, "<model>"),
    Flag("--fallback-model", Arity.ONE, "<model>"),
    Flag("--effort", Arity.ONE, "<level>"),
    Flag("--max-turns", Arity.ONE, "<turns>"),
    Flag("--max-budget-usd", Arity.ONE, "<amount>"),
    Flag("--system-prompt", Arity.ONE, "<prompt>"),
    Flag("--append-system-prompt", Arity.ONE, "<prompt>"),
    Flag("--json-schema", Arity.ONE, "<schema>"),
    Flag("--settings", Arity.ONE, "<file-or-json>"),
    Flag("--setting-sources", Arity.ONE, "<sources>"),
    Flag("--session-id", Arity.ONE, "<uuid>"),
    Flag("--resume", Arity.OPTIONAL, "[value]"),
    Flag("--debug", Arity.OPTIONAL, "[filter]"),
    Flag("--allowedTools", Arity.MANY, "<tools...>"),
    Flag("--disallowedTools", Arity.MANY, "<tools...>"),
    Flag("--tools", Arity.MANY, "<tools...>"),
    Flag("--mcp-config", Arity.MANY, "<configs...>"),
    Flag("--add-dir", Arity.MANY, "<directories...>"),
    Flag("--betas", Arity.MANY, "<betas...>"),
)
_SPELLINGS = {
    "-p": "--print",
    "-v": "--version",
    "-h": "--help",
    "-d": "--debug",
    "-r": "--resume",
    "--allowed-tools": "--allowedTools",
    "--disallowed-tools": "--disallowedTools",
}
_BY_NAME = {flag.name: flag for flag in _FLAGS}


@dataclass(frozen=True, slots=True)
class Options:
    """A command line that was understood."""

    prompt: str | None = None
    version: bool = False
    help: bool = False
    output_format: str = "text"
    input_format: str = "text"
    partial_messages: bool = False
    replay_user_messages: bool = False
    asks_host: bool = False
    """`--permission-prompt-tool stdio`: questions go to the host as control requests."""
    permission_mode: str = "default"
    model: str = "claude-opus-5-5"
    max_turns: int | None = None
    max_budget_usd: float | None = None
    allowed_tools: tuple[str, ...] = ()
    disallowed_tools: tuple[str, ...] = ()
    json_schema: Mapping[str, Any] | None = None
    add_dirs: tuple[str, ...] = ()
    session_id: str | None = None
    resume: str | None = None
    fork_session: bool = False
    persist: bool = True


@dataclass(slots=True)
class _Words:
    """What stood on the command line, before it is interpreted."""

    values: dict[str, list[str]] = field(default_factory=dict)
    positional: list[str] = field(default_factory=list)

    def has(self, name: str) -> bool:
        return name in self.values

    def last(self, name: str) -> str | None:
        given = self.values.get(name)
        return given[-1] if given else None

    def listed(self, name: str) -> tuple[str, ...]:
        return tuple(item for value in self.values.get(name, []) for item in _split_list(value) if item)


def parse(arguments: Sequence[str], *, is_root: bool) -> Options:
    """Returns the options, or raises UsageError with the program's own words."""
    words = _read(arguments)
    if words.has("--version") or words.has("--help"):
        return Options(version=words.has("--version"), help=words.has("--help"))
    options = _interpret(words)
    _check(options, verbose=words.has("--verbose"), is_root=is_root)
    return options


def _read(arguments: Sequence[str]) -> _Words:
    words = _Words()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            words.positional.extend(rest)
            break
        if not word.startswith("-") or word == "-":
            words.positional.append(word)
            continue
        spelling, equals, value = word.partition("=")
        flag = _BY_NAME.get(_SPELLINGS.get(spelling, spelling))
        if flag is None or (equals and flag.arity is Arity.NONE):
            raise UsageError(f"error: unknown option '{word}'")
        given = [value] if equals else list(_take(flag, rest))
        words.values.setdefault(flag.name, []).extend(given)
    return words


def _take(flag: Flag, rest: list[str]) -> Iterator[str]:
    """Takes the values of a flag from the words that follow it."""
    if flag.arity is Arity.NONE:
        return
    if flag.arity is Arity.OPTIONAL:
        if rest and not rest[0].startswith("-"):
            yield rest.pop(0)
        return
    if not rest:
        raise UsageError(f"error: option '{flag.name} {flag.placeholder}' argument missing")
    yield rest.pop(0)
    while flag.arity is Arity.MANY and rest and not rest[0].startswith("-"):
        yield rest.pop(0)


def _interpret(words: _Words) -> Options:
    for flag in _FLAGS:
        value = words.last(flag.name)
        if flag.choices and value is not None and value not in flag.choices:
            raise UsageError(
                f"error: option '{flag.name} {flag.placeholder}' argument '{value}' is invalid. "
                f"Allowed choices are {', '.join(flag.choices)}."
            )
    skip = words.has("--dangerously-skip-permissions")
    mode = words.last("--permission-mode") or "default"
    return Options(
        prompt=words.positional[0] if words.positional else None,
        output_format=words.last("--output-format") or "text",
        input_format=words.last("--input-format") or "text",
        partial_messages=words.has("--include-partial-messages"),
        replay_user_messages=words.has("--replay-user-messages"),
        asks_host=words.last("--permission-prompt-tool") == "stdio",
        permission_mode="bypassPermissions" if skip else mode.replace("manual", "default"),
        model=words.last("--model") or "claude-opus-5-5",
        max_turns=_whole_number("--max-turns <turns>", words.last("--max-turns")),
        max_budget_usd=_amount("--max-budget-usd <amount>", words.last("--max-budget-usd")),
        allowed_tools=words.listed("--allowedTools"),
        disallowed_tools=words.listed("--disallowedTools"),
        json_schema=_schema(words.last("--json-schema")),
        add_dirs=tuple(words.values.get("--add-dir", [])),
        session_id=words.last("--session-id"),
        resume=words.last("--resume"),
        fork_session=words.has("--fork-session"),
        persist=not words.has("--no-session-persistence"),
    )


def _check(options: Options, *, verbose: bool, is_root: bool) -> None:
    if options.permission_mode == "bypassPermissions" and is_root:
        raise UsageError("--dangerously-skip-permissions cannot be used with root/sudo privileges for security reasons")
    if options.session_id is not None and not _is_uuid(options.session_id):
        raise UsageError("Error: Invalid session ID. Must be a valid UUID.")
    if options.session_id and options.resume and not options.fork_session:
        raise UsageError(
            "Error: --session-id can only be used with --continue or --resume if --fork-session is also specified."
        )
    if options.input_format == "stream-json" and options.output_format != "stream-json":
        raise UsageError("Error: --input-format=stream-json requires output-format=stream-json.")
    if options.output_format == "stream-json" and not verbose:
        raise UsageError("Error: When using --print, --output-format=stream-json requires --verbose")


def _split_list(text: str) -> Iterator[str]:
    """Splits at commas and blanks outside of parentheses, so that `Bash(echo a, b)` stays one rule."""
    depth, start = 0, 0
    for place, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and character in ", ":
            yield text[start:place]
            start = place + 1
    yield text[start:]


def _whole_number(option: str, value: str | None) -> int | None:
    if value is None:
        return None
    if not value.isdecimal():
        raise UsageError(f"error: option '{option}' argument '{value}' is invalid. must be a number")
    return int(value)


def _amount(option: str, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        amount = float(value)
    except ValueError:
        amount = math.nan
    if not (0 < amount < math.inf):
        raise UsageError(f"error: option '{option}' argument '{value}' is invalid. must be a positive number")
    return amount


def _schema(text: str | None) -> Mapping[str, Any] | None:
    if text is None:
        return None
    try:
        schema = json.loads(text)
    except ValueError as problem:
        raise UsageError(f"Error: --json-schema is not valid JSON: {problem}") from problem
    if not isinstance(schema, dict):
        raise UsageError("Error: --json-schema must be a JSON object")
    return schema


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except ValueError:
        return False
