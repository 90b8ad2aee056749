"""The commands about queues: `queue list`, `show`, `create`, `update`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from headrace import tasks
from headrace.cli import describe, following, options
from headrace.cli.exits import Exit
from headrace.v1 import queue_pb2, queue_service_pb2

queues = typer.Typer(help="Make queues and set their policy.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name.")]


class Scope(StrEnum):
    """Among whom slots are shared out."""

    NONE = "none"
    OWNER = "owner"
    KEY = "key"


SCOPES = {
    Scope.NONE: queue_pb2.FAIRNESS_SCOPE_NONE,
    Scope.OWNER: queue_pb2.FAIRNESS_SCOPE_OWNER,
    Scope.KEY: queue_pb2.FAIRNESS_SCOPE_KEY,
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a queue; what is not given is not set."""

    max_queued: Annotated[int | None, typer.Option(min=1, help="Jobs that may wait.")] = None
    max_concurrency: Annotated[int | None, typer.Option(min=0, help="Jobs that may run at once; 0: no limit.")] = None
    max_concurrency_per_key: Annotated[int | None, typer.Option(min=0, help="The same for each key.")] = None
    fairness: Annotated[Scope | None, typer.Option(help="Among whom slots are shared out.")] = None
    weight: Annotated[list[str] | None, typer.Option(help="NAME=SHARE of an owner or key; repeatable.")] = None
    rate: Annotated[str | None, typer.Option(help="Starts in a time, e.g. 10/1m; 0/1s: no limit.")] = None
    rate_per_key: Annotated[str | None, typer.Option(help="The same for each concurrency key.")] = None
    executor: Annotated[list[str] | None, typer.Option(help="A kind of task that it takes; repeatable.")] = None
    max_attempts: Annotated[int | None, typer.Option(min=1, max=100, help="For jobs without a retry policy.")] = None

    def apply(self, queue: queue_pb2.Queue) -> list[str]:
        """Sets what is given; returns the names of the fields that were set."""
        paths = [name for name in NUMBERS if getattr(self, name) is not None]
        for name in paths:
            setattr(queue, name, getattr(self, name))
        if self.fairness is not None or self.weight:
            self._apply_fairness(queue)
            paths.append("fairness")
        if self.rate is not None:
            queue.rate_limit.CopyFrom(rate_limit(self.rate))
            paths.append("rate_limit")
        if self.rate_per_key is not None:
            queue.rate_limit_per_key.CopyFrom(rate_limit(self.rate_per_key))
            paths.append("rate_limit_per_key")
        if self.executor:
            queue.executors[:] = self.executor
            paths.append("executors")
        if self.max_attempts is not None:
            queue.retry_policy.max_attempts = self.max_attempts
            paths.append("retry_policy")
        return paths

    def _apply_fairness(self, queue: queue_pb2.Queue) -> None:
        scope = self.fairness or Scope.OWNER
        queue.fairness.scope = SCOPES[scope]
        for name, share in options.labels(self.weight or []).items():
            try:
                queue.fairness.weights[name] = float(share)
            except ValueError:
                raise typer.BadParameter(f"{share!r} is not a number", param_hint="--weight") from None


NUMBERS = ("max_queued", "max_concurrency", "max_concurrency_per_key")


def rate_limit(text: str) -> queue_pb2.RateLimit:
    """A rate limit of `COUNT/TIME`."""
    count, slash, period = text.partition("/")
    if not slash or not count.isdigit():
        raise typer.BadParameter(f"{text!r} is not COUNT/TIME, e.g. 10/1m", param_hint="--rate")
    return queue_pb2.RateLimit(count=int(count), period=tasks.duration(options.duration(period)))


def _print(queue: queue_pb2.Queue, connection: options.Connection) -> Exit:
    if connection.json:
        following.print_json(queue)
    else:
        print("\n".join(describe.queue_lines(queue)))
    return Exit.SUCCEEDED


@queues.command("list")
@options.command
async def list_queues(connection: options.Connection) -> Exit:
    """List queues by name."""
    async with connection.client() as server:
        found = [queue async for queue in server.queues.list()]
    if connection.json:
        following.print_json(queue_service_pb2.ListQueuesResponse(queues=found))
    else:
        print("\n".join(describe.queue_table(found)))
    return Exit.SUCCEEDED


@queues.command("show")
@options.command
async def show(name: Name, connection: options.Connection) -> Exit:
    """Show a queue: its policy and its counts."""
    async with connection.client() as server:
        return _print(await server.queues.get(name), connection)


@queues.command("create")
@options.command
async def create(
    name: Name,
    policy: Policy,
    connection: options.Connection,
    priority_head_start: Annotated[str, typer.Option(help="What a point of priority is worth; fixed.")] = "",
) -> Exit:
    """Make a queue."""
    queue = queue_pb2.Queue(name=name)
    policy.apply(queue)
    if priority_head_start:
        queue.priority_head_start.CopyFrom(tasks.duration(options.duration(priority_head_start)))
    async with connection.client() as server:
        return _print(await server.queues.create(queue), connection)


@queues.command("update")
@options.command
async def update(
    name: Name,
    policy: Policy,
    connection: options.Connection,
    etag: Annotated[str, typer.Option(help="Refuse when the queue has changed since.")] = "",
) -> Exit:
    """Change what is given of a queue's policy, also for the jobs that wait in it."""
    queue = queue_pb2.Queue(name=name, etag=etag)
    paths = policy.apply(queue)
    if not paths:
        raise typer.BadParameter("nothing to change: give at least one option of the policy")
    async with connection.client() as server:
        return _print(await server.queues.update(queue, paths), connection)
