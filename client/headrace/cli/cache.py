"""The commands about the answers that workers keep: `cache show`, `invalidate`."""

from __future__ import annotations

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.cli import amounts, following, options
from headrace.cli.describe import cache_text
from headrace.cli.exits import Exit
from headrace.v1 import admin_service_pb2

cache = typer.Typer(help="See and invalidate the answers that workers keep for `--cache`.", no_args_is_help=True)


@cache.command("show")
@options.command
async def show(connection: options.Connection) -> Exit:
    """Show what connected workers keep, all together and each, how often it helped, and since when answers count."""
    async with connection.client() as server:
        found = await server.response_cache.get()
        if connection.json:
            following.print_json(found)
            return Exit.SUCCEEDED
        workers = [worker async for worker in server.workers.list()]
    following.print_lines(cache_text.cache_lines(found, workers, options.now()))
    return Exit.SUCCEEDED


@cache.command("invalidate")
@options.command
async def invalidate(connection: options.Connection, reason: options.Reason = "", yes: options.Yes = False) -> Exit:
    """Have no answer given again that a job of the namespace asked for until now, on any worker. It asks first."""
    options.confirm(f"Invalidate every kept answer of namespace {connection.namespace or 'default'}?", yes)
    async with connection.client() as server:
        time = Timestamp()
        time.FromDatetime(await server.response_cache.invalidate(reason=reason))
    if connection.json:
        following.print_json(admin_service_pb2.InvalidateResponseCacheResponse(invalidate_time=time))
    else:
        print(f"answers that jobs asked for until {amounts.clock(time)} are not given again")
    return Exit.SUCCEEDED
