"""The options that commands share, each stated once, and how a command takes a group of them as one value."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, get_type_hints

import typer

import headrace
from headrace import channel, errors, tasks
from headrace.cli import amounts, exits
from headrace.cli.exits import Exit
from headrace.v1 import job_pb2


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
    namespace: Annotated[str, typer.Option(help="The namespace; empty means `default`.")] = ""
    output: Annotated[Format, typer.Option("-o", "--output", help="How to print.")] = Format.TEXT

    @property
    def json(self) -> bool:
        return self.output is Format.JSON

    def client(self) -> headrace.AsyncClient:
        """A client of the server."""
        try:
            return headrace.connect(self.server, namespace=self.namespace)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--server") from None


@dataclass(frozen=True, slots=True)
class SpecChoices:
    """What every kind of job may say."""

    queue: Annotated[str, typer.Option(help="The queue; empty means `default`.")] = ""
    display_name: Annotated[str, typer.Option("--name", help="A line for people.")] = ""
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; may be repeated.")] = None
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Head start over arrival time.")] = 0
    owner: Annotated[str, typer.Option(help="Whom the work is for.")] = ""
    request_id: Annotated[str | None, typer.Option(help="Makes the submit idempotent; absent means a fresh id.")] = None
    unique_key: Annotated[str, typer.Option(help="At most one job with this key is active.")] = ""
    concurrency_key: Annotated[str, typer.Option(help="Jobs with this key share the queue's limit per key.")] = ""
    after: Annotated[list[str] | None, typer.Option(help="Id of a job that has to succeed first; repeatable.")] = None
    delay: Annotated[str, typer.Option(help="Not started before this time has passed, e.g. 10m.")] = ""
    max_attempts: Annotated[int, typer.Option(min=0, max=100, help="Attempts in all; 0 means the default.")] = 0
    queue_timeout: Annotated[str, typer.Option(help="From submit to the first start.")] = ""
    run_timeout: Annotated[str, typer.Option(help="For one attempt.")] = ""
    total_timeout: Annotated[str, typer.Option(help="From submit to the end.")] = ""

    def options(self, now: datetime) -> tasks.SpecOptions:
        """The options for `submit`."""
        made = tasks.SpecOptions(
            queue=self.queue,
            display_name=self.display_name,
            labels=labels(self.label or []),
            priority=self.priority,
            owner=self.owner,
            concurrency_key=self.concurrency_key,
            after=self.after or [],
        )
        if self.unique_key:
            made["unique_key"] = self.unique_key
        if self.max_attempts:
            made["retry_policy"] = job_pb2.RetryPolicy(max_attempts=self.max_attempts)
        if self.delay:
            made["schedule_time"] = now + timedelta(seconds=duration(self.delay))
        if self.queue_timeout or self.run_timeout or self.total_timeout:
            made["timeouts"] = self._timeouts()
        return made

    def _timeouts(self) -> job_pb2.Timeouts:
        given = {name: getattr(self, name) for name in ("queue_timeout", "run_timeout", "total_timeout")}
        return job_pb2.Timeouts(**{name: tasks.duration(duration(text)) for name, text in given.items() if text})


def labels(pairs: list[str]) -> dict[str, str]:
    """Labels of `KEY=VALUE` pairs."""
    made = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE", param_hint="--label")
        made[key] = value
    return made


def duration(text: str) -> float:
    """Seconds of an option's length of time."""
    try:
        return amounts.parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def now() -> datetime:
    """The wall clock, for ages and delays only."""
    return datetime.now(UTC)


def command(function: Callable[..., Any]) -> Callable[..., None]:
    """Makes a typer command: groups become single options, an error one clear line, a returned Exit the exit status."""
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {}
    parameters: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if is_dataclass(hints[name]):
            groups[name] = hints[name]
        else:
            parameters.append(parameter.replace(annotation=hints[name], kind=inspect.Parameter.KEYWORD_ONLY))
    for group in groups.values():
        parameters += _parameters(group)

    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        raise typer.Exit(_finish(function, values))

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    return run


def _parameters(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=hints[field.name]
        )
        for field in fields(group)
    ]


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
