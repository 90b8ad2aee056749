"""The commands about workers: `worker list`, `show`, `drain`, `undrain`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli import following, options
from headrace.cli.describe import worker_text
from headrace.cli.exits import Exit
from headrace.v1 import worker_pb2, worker_service_pb2

workers = typer.Typer(help="See and drain the workers that the server knows.", no_args_is_help=True)

WorkerId = Annotated[str, typer.Argument(metavar="ID", help="The worker's id.")]


@workers.command("list")
@options.command
async def list_workers(connection: options.Connection) -> Exit:
    """List workers by id."""
    async with connection.client() as server:
        found = [worker async for worker in server.workers.list()]
    if connection.json:
        following.print_json(worker_service_pb2.ListWorkersResponse(workers=found))
    else:
        following.print_lines(worker_text.worker_table(found, options.now()) if found else ["no workers"])
    return Exit.SUCCEEDED


def _print(worker: worker_pb2.Worker, connection: options.Connection) -> Exit:
    if connection.json:
        following.print_json(worker)
    else:
        following.print_lines(worker_text.worker_lines(worker, options.now()))
    return Exit.SUCCEEDED


@workers.command("show")
@options.command
async def show(worker_id: WorkerId, connection: options.Connection) -> Exit:
    """Show a worker: what it can run, how busy it is, what its host has left."""
    async with connection.client() as server:
        return _print(await server.workers.get(worker_id), connection)


@workers.command("drain")
@options.command
async def drain(
    worker_id: WorkerId,
    connection: options.Connection,
    grace: Annotated[
        str,
        typer.Option(help="What still runs then goes back to its queue: 10m.", show_default="it runs on to its end"),
    ] = "",
    exit: Annotated[bool, typer.Option("--exit", help="It exits once it is empty.")] = False,
) -> Exit:
    """Give a worker no more work; what it runs goes on to its end, or goes back after a grace."""
    async with connection.client() as server:
        length = options.optional_duration(grace, "--grace")
        return _print(await server.workers.drain(worker_id, exit=exit, grace=length), connection)


@workers.command("undrain")
@options.command
async def undrain(worker_id: WorkerId, connection: options.Connection) -> Exit:
    """Give a drained worker work again."""
    async with connection.client() as server:
        worker = await server.workers.undrain(worker_id)
    if worker.state == worker_pb2.WORKER_STATE_DRAINING and not connection.json:
        print(f"{worker_id} is undrained: it takes work from its next renewal on, in some seconds")
        return Exit.SUCCEEDED
    return _print(worker, connection)
