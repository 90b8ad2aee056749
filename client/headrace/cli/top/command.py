"""The command `headrace top`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Annotated, Any

import typer
from google.protobuf import json_format
from rich.console import Console

from headrace.cli import options
from headrace.cli.exits import Exit
from headrace.cli.top import screen, view
from headrace.cli.top.reading import PAGE_SIZE, Reader, Snapshot

DEADLINE_SECONDS = 10.0
PIPE_WIDTH = 160
"""Where there is no terminal whose width could be asked for."""


@options.command
async def top(
    connection: options.Connection,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds from one refresh to the next.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and exit.")] = False,
) -> Exit:
    """Watch queues, running jobs and workers, live, on the whole terminal.

    Keys: q ends it; p pauses and resumes; tab goes to the next panel; left and right choose the column that it is
    sorted by, r turns the order round; up and down scroll. A server that goes away is waited for. Rates and times are
    those of the last five minutes. With -o json, or where standard output is no terminal, a frame for each refresh.
    """
    async with connection.client(deadline_seconds=DEADLINE_SECONDS) as server:
        reader = Reader(server, options.now)
        scene = view.Scene(server.address, server.namespace, None, None, view.Choices())
        if once or connection.json or not sys.stdout.isatty():
            await _print_frames(reader, scene, connection, None if once else interval)
        else:
            board = screen.Board(scene)
            await screen.show(board, reader, interval, options.now, Console(highlight=False))
    return Exit.SUCCEEDED


async def _print_frames(
    reader: Reader, scene: view.Scene, connection: options.Connection, interval: float | None
) -> None:
    width = Console().width if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_WIDTH
    while True:
        snapshot = await reader.read(statistics_max=PAGE_SIZE)
        if connection.json:
            print(json.dumps(as_json(snapshot), ensure_ascii=False), flush=True)
        else:
            seen = view.Scene(scene.address, scene.namespace, snapshot, None, scene.choices)
            lines = view.frame(seen, width, None, snapshot.time).plain.splitlines()
            print("\n".join(line.rstrip() for line in lines), flush=True)
        if interval is None:
            return
        if not connection.json:
            print()
        await asyncio.sleep(interval)


def as_json(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot in the contract's names."""
    return {
        "time": snapshot.time.isoformat(),
        "stateCounts": [json_format.MessageToDict(one) for one in snapshot.counts],
        "queues": [json_format.MessageToDict(one) for one in snapshot.queues],
        "statistics": [json_format.MessageToDict(one) for one in snapshot.statistics.values()],
        "jobs": [json_format.MessageToDict(one) for one in snapshot.jobs],
        "workers": [json_format.MessageToDict(one) for one in snapshot.workers],
        "alerts": [json_format.MessageToDict(one) for one in snapshot.alerts],
    }
