"""The commands about the settings of a namespace: `settings show`, `set`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli import following, inputs, options
from headrace.cli.exits import Exit
from headrace.v1 import settings_pb2

settings = typer.Typer(
    help="Limits on the sessions of a namespace, and what its Claude jobs and sessions get where they say nothing.",
    no_args_is_help=True,
)

Source = Annotated[
    str, typer.Argument(metavar="JSON|@FILE", help="All settings, as `show` prints them; its etag is compared.")
]


@settings.command("show")
@options.command
async def show(connection: options.Connection) -> Exit:
    """Print the settings as JSON: change them, and give them to `settings set`."""
    async with connection.client() as server:
        following.print_json(await server.settings())
    return Exit.SUCCEEDED


@settings.command("set")
@options.command
async def replace(
    source: Source,
    connection: options.Connection,
    check: Annotated[bool, typer.Option("--check", help="Name every fault, and change nothing.")] = False,
) -> Exit:
    """Replace the settings as a whole: what is left out is empty from now on. Jobs that were submitted stay as they
    are."""
    wanted = settings_pb2.NamespaceSettings()
    inputs.parse_message(inputs.json_object(source, "JSON"), wanted, "JSON")
    async with connection.client() as server:
        following.print_json(await server.update_settings(wanted, validate_only=check))
    return Exit.SUCCEEDED
