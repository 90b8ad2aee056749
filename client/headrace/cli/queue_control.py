"""The commands that stop and empty queues: `queue pause`, `resume`, `drain`, `purge`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from headrace.cli import amounts, following, options
from headrace.cli.describe import queue_text
from headrace.cli.exits import Exit
from headrace.v1 import queue_pb2, queue_service_pb2

Name = Annotated[str, typer.Argument(metavar="NAME", help="The queue's name.")]


def print_queue(queue: queue_pb2.Queue, connection: options.Connection) -> Exit:
    """Prints a queue after a change, or as it is."""
    if connection.json:
        following.print_json(queue)
    else:
        following.print_lines(queue_text.queue_lines(queue, options.now()))
    return Exit.SUCCEEDED


@options.command
async def pause(
    name: Name,
    connection: options.Connection,
    reason: options.Reason = "",
    duration: Annotated[
        str, typer.Option("--for", help="Ends by itself after this time: 1h.", show_default="never")
    ] = "",
) -> Exit:
    """Have nothing of a queue start; what runs goes on, and submits are accepted."""
    async with connection.client() as server:
        length = options.optional_duration(duration, "--for")
        return print_queue(await server.queues.pause(name, reason=reason, duration=length), connection)


@options.command
async def resume(name: Name, connection: options.Connection) -> Exit:
    """End the pause and the drain of a queue."""
    async with connection.client() as server:
        return print_queue(await server.queues.resume(name), connection)


@options.command
async def drain(
    name: Name,
    connection: options.Connection,
    reason: options.Reason = "",
    grace: Annotated[
        str, typer.Option(help="What still runs then goes back, unburned: 10m.", show_default="it runs on to its end")
    ] = "",
) -> Exit:
    """Have nothing of a queue start, and what runs end or go back, until `queue resume`."""
    async with connection.client() as server:
        length = options.optional_duration(grace, "--grace")
        return print_queue(await server.queues.drain(name, reason=reason, grace=length), connection)


@options.command
async def purge(
    name: Name,
    connection: options.Connection,
    reason: options.Reason = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many, and change nothing.")] = False,
    yes: options.Yes = False,
) -> Exit:
    """Cancel everything that waits in a queue; what has started goes on. It says first how many, and asks."""
    async with connection.client() as server:
        there = await server.queues.purge(name, validate_only=True)
        total = there.cancelled_count + there.remaining_count
        if dry_run:
            return _print_purge(there, f"{amounts.plural(total, 'job')} would be cancelled", connection)
        if total:
            options.confirm(f"Cancel {amounts.plural(total, 'job')} of queue {name}?", yes)
        done = queue_service_pb2.PurgeQueueResponse()
        while True:
            part = await server.queues.purge(name, reason=reason)
            done.cancelled_count += part.cancelled_count
            done.remaining_count = part.remaining_count
            if not part.remaining_count or not part.cancelled_count:
                break
            print(f"{done.cancelled_count} cancelled, {part.remaining_count} left", file=sys.stderr)
    return _print_purge(done, f"{amounts.plural(done.cancelled_count, 'job')} cancelled", connection)


def _print_purge(purged: queue_service_pb2.PurgeQueueResponse, text: str, connection: options.Connection) -> Exit:
    if connection.json:
        following.print_json(purged)
    else:
        print(text)
    return Exit.SUCCEEDED
