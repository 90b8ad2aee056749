"""The options that commands share, each stated once, and how a command takes a group of them as one value."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import typer

import headrace
from headrace import channel, errors
from headrace.cli import amounts, exits
from headrace.cli.exits import Exit

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Etag = Annotated[str, typer.Option(help="Refuse when it has changed since it had this etag.")]
Reason = Annotated[str, typer.Option(help="For people; kept with the change.")]


COUNT_MAX = 2**31 - 1
"""What a count of the contract can hold. As a bound it would only fill the help."""
LISTED_COUNT_MAX = 1_000_000
USD_MAX = 1_000_000_000


def countable(value: int | None) -> int | None:
    """A callback for counts that have no bound of their own."""
    if value is not None and value > COUNT_MAX:
        raise typer.BadParameter(f"{value} is too many; at most {COUNT_MAX} are allowed")
    return value


class Format(StrEnum):
    """How a command prints what it has to say."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Connection:
    """Which server, and how to print."""

    server: Annotated[
        str, typer.Option("--server", envvar="HEADRACE_SERVER", help="The server: host:port or unix:PATH.")
    ] = channel.DEFAULT_ADDRESS
    namespace: Annotated[str, typer.Option(help="The namespace.", show_default="`default`")] = ""
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TEXT

    @property
    def json(self) -> bool:
        return self.output is Format.JSON

    def client(self, *, deadline_seconds: float = channel.DEADLINE_SECONDS) -> headrace.AsyncClient:
        """A client of the server."""
        try:
            return headrace.connect(self.server, namespace=self.namespace, deadline_seconds=deadline_seconds)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--server") from None


def labels(pairs: list[str], option: str = "--label") -> dict[str, str]:
    """Labels of `KEY=VALUE` pairs."""
    made = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint=option)
        made[key] = value
    return made


def duration(text: str, option: str | None = None) -> float:
    """Seconds of an option's length of time."""
    try:
        return amounts.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def optional_duration(text: str, option: str) -> float | None:
    """The same; None for an option that was not given."""
    return duration(text, option) if text else None


def size(text: str, option: str) -> int:
    """Bytes of an option's size."""
    try:
        return amounts.parse_size(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def moment(text: str, option: str) -> datetime:
    """The time of an option: ISO 8601, local when it names no offset."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time: write 2026-01-31T08:00", param_hint=option) from None


def past(text: str, option: str) -> datetime:
    """A time, or a length of time ago."""
    try:
        return now() - timedelta(seconds=amounts.parse_duration(text))
    except ValueError:
        return moment(text, option)


def start_time(at: str, delay: str, now: datetime) -> datetime | None:
    """The time that `--at` or `--in` say; None when neither does."""
    if at and delay:
        raise typer.BadParameter("give --at or --in, not both", param_hint="--at")
    if at:
        return moment(at, "--at")
    return now + timedelta(seconds=duration(delay, "--in")) if delay else None


def is_asked() -> bool:
    """Whether a person is there to be asked."""
    return sys.stdin.isatty()


def confirm(question: str, assumed: bool) -> None:
    """Asks a person before much is changed; without one, `--yes` has to say it. A no ends the command."""
    if assumed:
        return
    if not is_asked():
        raise typer.BadParameter("nobody can be asked here: say so with --yes", param_hint="--yes")
    typer.confirm(question, abort=True, err=True)


def now() -> datetime:
    """The wall clock, for ages and delays only."""
    return datetime.now(UTC)


def command(function: Callable[..., Any]) -> Callable[..., None]:
    """Makes a typer command: groups become single options, an error one clear line, a returned Exit the exit status."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, type[Any]] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
    for group in groups.values():
        parameters += _parameters(group)

    def run(**values: Any) -> None:
        for name, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise typer.BadParameter(f"{value} is not a number", param_hint=f"--{name.replace('_', '-')}")
        for name, group in groups.items():
            values[name] = _group(group, values)
        raise typer.Exit(_finish(function, values))

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    return run


def _group(group: type[Any], values: dict[str, Any]) -> Any:
    """The group of what was given; groups inside it likewise."""
    hints = get_type_hints(group, include_extras=True)
    return group(
        **{
            one.name: _group(hints[one.name], values) if is_dataclass(hints[one.name]) else values.pop(one.name)
            for one in fields(group)
        }
    )


def _parameters(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    made: list[inspect.Parameter] = []
    for one in fields(group):
        hint = hints[one.name]
        if is_dataclass(hint):
            made += _parameters(hint)  # type: ignore[arg-type]  # groups are classes
        else:
            made.append(
                inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=hint)
            )
    return made


def _finish(function: Callable[..., Any], values: dict[str, Any]) -> int:
    try:
        result = function(**values)
        if inspect.iscoroutine(result):
            result = asyncio.run(result)
        sys.stdout.flush()
        return int(result or Exit.SUCCEEDED)
    except errors.HeadraceError as error:
        for line in exits.error_lines(error):
            print(line, file=sys.stderr)
        return exits.of_error(error)
    except KeyboardInterrupt:
        return Exit.DETACHED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE_CLOSED
