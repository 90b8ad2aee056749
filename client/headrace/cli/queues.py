"""The commands about what queues are: `queue list`, `show`, `create`, `update`, `delete`, `stats`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import typer

from headrace import client, policies, tasks, words
from headrace.cli import following, options, queue_control
from headrace.cli.choices import Scope
from headrace.cli.describe import queue_text
from headrace.cli.exits import Exit
from headrace.cli.ordered import Ordered
from headrace.cli.queue_control import Name, print_queue
from headrace.cli.specs import RetryChoices, TimeoutChoices
from headrace.v1 import queue_pb2, queue_service_pb2

queues = typer.Typer(help="Make queues, set their policy, stop and empty them.", no_args_is_help=True, cls=Ordered)
queues.command("pause")(queue_control.pause)
queues.command("resume")(queue_control.resume)
queues.command("drain")(queue_control.drain)
queues.command("purge")(queue_control.purge)

ANY_EXECUTOR = "any"
NUMBERS = ("max_queued", "max_concurrency", "max_concurrency_per_key")


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a queue; what is not given is not set."""

    max_queued: Annotated[
        int | None, typer.Option(min=1, max=10_000_000, help="Jobs that may wait.", show_default="10,000")
    ] = None
    max_concurrency: Annotated[
        int | None, typer.Option(min=0, callback=options.countable, help="Jobs that may run at once; 0: no limit.")
    ] = None
    max_concurrency_per_key: Annotated[
        int | None,
        typer.Option(min=0, callback=options.countable, help="The same for each concurrency key; 0: no limit."),
    ] = None
    rate: Annotated[str | None, typer.Option(help="Starts in a time: 10/1m, 100/1h; 0/1s: no limit.")] = None
    burst: Annotated[
        int | None,
        typer.Option(min=0, callback=options.countable, help="Of --rate, starts that may come at once; 0: all."),
    ] = None
    rate_per_key: Annotated[str | None, typer.Option(help="The same for each concurrency key.")] = None
    burst_per_key: Annotated[
        int | None, typer.Option(min=0, callback=options.countable, help="Of --rate-per-key, the same.")
    ] = None
    fairness: Annotated[Scope | None, typer.Option(help="Among whom slots are shared out.", show_default="none")] = None
    weight: Annotated[
        list[str] | None, typer.Option(help="NAME=SHARE of an owner or key, e.g. ann=2; repeatable; others have 1.")
    ] = None
    executor: Annotated[
        list[str] | None, typer.Option(help="claude, command or handler: what it takes; repeatable; any: all.")
    ] = None
    retry: RetryChoices = field(default_factory=RetryChoices)
    limits: TimeoutChoices = field(default_factory=TimeoutChoices)

    @property
    def is_partial(self) -> bool:
        """Whether it changes parts of a field, which has to be read first."""
        return self.retry.given or self.limits.given or bool(self.weight)

    def apply(self, queue: queue_pb2.Queue) -> list[str]:
        """Sets what is given over what is there; returns the names of the fields that were set."""
        paths = [name for name in NUMBERS if getattr(self, name) is not None]
        for name in paths:
            setattr(queue, name, getattr(self, name))
        paths += self._apply_rates(queue)
        if self.fairness is not None or self.weight:
            self._apply_fairness(queue)
            paths.append("fairness")
        if self.executor:
            queue.executors[:] = [name for name in self.executor if name != ANY_EXECUTOR]
            paths.append("executors")
        if self.retry.given:
            queue.retry_policy.MergeFrom(self.retry.policy())
            paths.append("retry_policy")
        if self.limits.given:
            _set_timeouts(queue, self.limits)
            paths.append("timeouts")
        return paths

    def _apply_rates(self, queue: queue_pb2.Queue) -> list[str]:
        paths = []
        for path, text, burst, option in (
            ("rate_limit", self.rate, self.burst, "--rate"),
            ("rate_limit_per_key", self.rate_per_key, self.burst_per_key, "--rate-per-key"),
        ):
            if text is None and burst is not None:
                raise typer.BadParameter(f"needs {option}", param_hint=option.replace("rate", "burst"))
            if text is not None:
                getattr(queue, path).CopyFrom(rate_limit(text, burst or 0, option))
                paths.append(path)
        return paths

    def _apply_fairness(self, queue: queue_pb2.Queue) -> None:
        if self.fairness is not None:
            queue.fairness.scope = words.value_of(queue_pb2.FairnessScope, self.fairness)
        elif queue.fairness.scope in (queue_pb2.FAIRNESS_SCOPE_UNSPECIFIED, queue_pb2.FAIRNESS_SCOPE_NONE):
            queue.fairness.scope = queue_pb2.FAIRNESS_SCOPE_OWNER
        for name, share in options.labels(self.weight or [], "--weight").items():
            try:
                queue.fairness.weights[name] = float(share)
            except ValueError:
                raise typer.BadParameter(f"{share!r} is not a number", param_hint="--weight") from None


def _set_timeouts(queue: queue_pb2.Queue, limits: TimeoutChoices) -> None:
    for one, value in limits.timeouts().ListFields():
        getattr(queue.timeouts, one.name).CopyFrom(value)


def rate_limit(text: str, burst: int, option: str) -> queue_pb2.RateLimit:
    """A rate limit of `COUNT/TIME`."""
    count, slash, period = text.partition("/")
    if not slash or not count.isdigit():
        raise typer.BadParameter(f"{text!r} is not COUNT/TIME, e.g. 10/1m", param_hint=option)
    if int(count) > options.COUNT_MAX:
        raise typer.BadParameter(f"{count} is too many; at most {options.COUNT_MAX} are allowed", param_hint=option)
    seconds = options.duration(period if period[:1].isdigit() else f"1{period}", option)
    return policies.rate_limit(int(count), seconds, burst=burst)


@queues.command("list")
@options.command
async def list_queues(connection: options.Connection) -> Exit:
    """List queues by name."""
    async with connection.client() as server:
        found = [queue async for queue in server.queues.list()]
    if connection.json:
        following.print_json(queue_service_pb2.ListQueuesResponse(queues=found))
    else:
        following.print_lines(queue_text.queue_table(found))
    return Exit.SUCCEEDED


@queues.command("show")
@options.command
async def show(name: Name, connection: options.Connection) -> Exit:
    """Show a queue: its policy and its counts."""
    async with connection.client() as server:
        return print_queue(await server.queues.get(name), connection)


@queues.command("create")
@options.command
async def create(
    name: Name,
    policy: Policy,
    connection: options.Connection,
    priority_head_start: Annotated[
        str, typer.Option(help="Head start of one point of priority; fixed for good.", show_default="60s")
    ] = "",
) -> Exit:
    """Make a queue."""
    queue = queue_pb2.Queue(name=name)
    policy.apply(queue)
    if priority_head_start:
        seconds = options.duration(priority_head_start, "--priority-head-start")
        queue.priority_head_start.CopyFrom(tasks.duration(seconds))
    async with connection.client() as server:
        return print_queue(await server.queues.create(queue), connection)


@queues.command("update")
@options.command
async def update(name: Name, policy: Policy, connection: options.Connection, etag: options.Etag = "") -> Exit:
    """Change what is given of a queue's policy, also for the jobs that wait in it.

    Single timeouts, parts of the retry policy and single weights are changed beside those that are there. What is not
    given stays as it is; the defaults below are those of a new queue.
    """
    if not policy.apply(queue_pb2.Queue()):
        raise typer.BadParameter("nothing to change: give at least one option of the policy")
    async with connection.client() as server:
        return print_queue(await _updated(server, name, policy, etag), connection)


async def _updated(server: client.AsyncClient, name: str, policy: Policy, etag: str) -> queue_pb2.Queue:
    changed = queue_pb2.Queue(name=name)
    if policy.is_partial:
        now = await server.queues.get(name)
        for path in ("retry_policy", "timeouts", "fairness"):
            getattr(changed, path).CopyFrom(getattr(now, path))
        etag = etag or now.etag
    changed.etag = etag
    return await server.queues.update(changed, policy.apply(changed))


@queues.command("delete")
@options.command
async def delete(name: Name, connection: options.Connection, etag: options.Etag = "") -> Exit:
    """Delete a queue that nothing needs: no live job, no schedule, no open session. Ended jobs stay."""
    async with connection.client() as server:
        await server.queues.delete(name, etag=etag)
    if connection.json:
        following.print_json(queue_service_pb2.DeleteQueueResponse())
    return Exit.SUCCEEDED


@queues.command("stats")
@options.command
async def stats(
    connection: options.Connection,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The queue.", show_default="a line for each")] = "",
    window: Annotated[str, typer.Option(help="The time to look back, 1m to 1d.", show_default="5m")] = "",
) -> Exit:
    """Say how queues do: counts, rates, waiting and running times, failures by class, the oldest job that waits."""
    length = options.optional_duration(window, "--window")
    async with connection.client() as server:
        names = [name] if name else [queue.name async for queue in server.queues.list()]
        found = [await server.queues.statistics(one, window=length) for one in names]
    now = options.now()
    if connection.json:
        for one in found:
            following.print_json(one, indent=2 if name else None)
    else:
        following.print_lines(
            queue_text.statistics_lines(found[0], now) if name else queue_text.statistics_table(found, now)
        )
    return Exit.SUCCEEDED
