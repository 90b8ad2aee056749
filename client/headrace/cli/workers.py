"""The commands about workers: `worker list`, `worker show`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli import describe, following, options
from headrace.cli.exits import Exit
from headrace.v1 import worker_service_pb2

workers = typer.Typer(help="See the workers that the server knows.", no_args_is_help=True)


@workers.command("list")
@options.command
async def list_workers(connection: options.Connection) -> Exit:
    """List workers by id."""
    async with connection.client() as server:
        found = [worker async for worker in server.workers.list()]
    if connection.json:
        following.print_json(worker_service_pb2.ListWorkersResponse(workers=found))
    else:
        print("\n".join(describe.worker_table(found, options.now()) if found else ["no workers"]))
    return Exit.SUCCEEDED


@workers.command("show")
@options.command
async def show(
    worker_id: Annotated[str, typer.Argument(metavar="ID", help="The worker's id.")], connection: options.Connection
) -> Exit:
    """Show a worker: what it can run, and how busy it is."""
    async with connection.client() as server:
        worker = await server.workers.get(worker_id)
    if connection.json:
        following.print_json(worker)
    else:
        print("\n".join(describe.worker_lines(worker, options.now())))
    return Exit.SUCCEEDED
