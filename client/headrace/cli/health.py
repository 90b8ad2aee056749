"""`health`: how the server does, once or again and again."""

from __future__ import annotations

import sys
from contextlib import aclosing
from typing import Annotated

import typer

from headrace import follow
from headrace.cli import following, options
from headrace.cli.describe import health_text
from headrace.cli.exits import Exit
from headrace.cli.parts import one_line
from headrace.v1 import admin_service_pb2


@options.command
async def health(
    connection: options.Connection,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on until it is interrupted.")] = False,
    interval: Annotated[float, typer.Option(min=1, max=60, help="Seconds from one line to the next.")] = 5.0,
) -> Exit:
    """Show how the server does, and which alerts stand. Exits with 1 when it takes no work.

    With --watch it goes on until it is interrupted, and waits for a server that goes away.
    """
    told = health_text.Told()
    async with connection.client() as server, aclosing(server.watch_health(interval=interval)) as stream:
        async for item in stream:
            if isinstance(item, follow.Reconnecting):
                if watch:
                    print(f"headrace: {one_line(str(item.cause), 200)}; trying again", file=sys.stderr, flush=True)
                continue
            _print(item, connection, told if watch else None)
            if not watch:
                return Exit.SUCCEEDED if item.serving else Exit.FAILED
    return Exit.SUCCEEDED


def _print(
    message: admin_service_pb2.WatchHealthResponse, connection: options.Connection, told: health_text.Told | None
) -> None:
    if connection.json:
        following.print_json(message, indent=2 if told is None else None)
    else:
        following.print_lines(health_text.lines(message) if told is None else told.lines(message))
    sys.stdout.flush()
