"""`audit list`: what people and services changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from headrace.cli import amounts, following, options
from headrace.cli.describe import tables
from headrace.cli.exits import Exit
from headrace.cli.parts import one_line
from headrace.v1 import admin_service_pb2

audit = typer.Typer(help="See what people and services changed.", no_args_is_help=True)

COLUMNS = ("NUMBER", "TIME", "ACTOR", "ACTION", "RESOURCE", "DETAIL")


@audit.command("list")
@options.command
async def list_entries(
    connection: options.Connection,
    kind: Annotated[str, typer.Option("--type", help="Of this kind, e.g. job, queue, capacity.")] = "",
    name: Annotated[str, typer.Option("--name", help="Of the thing with this id or name.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=options.LISTED_COUNT_MAX, help="Entries at most.")] = 50,
) -> Exit:
    """List changes, newest first. Submits are in the logs of their jobs, not in here."""
    found: list[admin_service_pb2.AuditEntry] = []
    async with connection.client() as server:
        async for entry in server.audit(resource_type=kind, resource_name=name, page_size=min(limit, 500)):
            found.append(entry)
            if len(found) == limit:
                break
    if connection.json:
        following.print_json(admin_service_pb2.ListAuditEntriesResponse(entries=found))
    else:
        following.print_lines(table(found) if found else ["no entries"])
    return Exit.SUCCEEDED


def table(entries: Sequence[admin_service_pb2.AuditEntry]) -> list[str]:
    """Entries, a line each."""
    return tables.table(COLUMNS, [_row(entry) for entry in entries])


def _row(entry: admin_service_pb2.AuditEntry) -> tuple[str, ...]:
    return (
        str(entry.number),
        amounts.clock(entry.time),
        entry.actor,
        entry.action,
        " ".join(filter(None, [entry.resource_type, entry.resource_name])),
        one_line(entry.detail, 200),
    )
