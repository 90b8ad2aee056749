"""The commands about capacity domains and budgets: `capacity list`, `open`, `close`; `budget list`, `set`, `delete`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.cli import following, options
from headrace.cli.choices import Period
from headrace.cli.describe import capacity_text
from headrace.cli.exits import Exit
from headrace.v1 import admin_service_pb2, capacity_pb2

capacity = typer.Typer(
    help="See, open and close capacity domains: what a credential may ask of a family of models.", no_args_is_help=True
)
budget = typer.Typer(help="See and set what Claude jobs may spend.", no_args_is_help=True)

Domain = Annotated[str, typer.Argument(metavar="NAME", help="<environment profile or default>/<model family>.")]
Reason = Annotated[str, typer.Option(help="Why, for those whose jobs wait and for the audit log.")]
Owner = Annotated[str, typer.Option(help="Only for jobs of this owner.", show_default="all of the namespace")]
OfPeriod = Annotated[Period, typer.Option(help="What the limits are for: a day in UTC, or all time.")]


@capacity.command("list")
@options.command
async def list_domains(connection: options.Connection) -> Exit:
    """List the domains that have jobs, and those that are not simply open."""
    async with connection.client() as server:
        found = [domain async for domain in server.capacity.list()]
    if connection.json:
        following.print_json(admin_service_pb2.ListCapacityDomainsResponse(domains=found))
    else:
        following.print_lines(capacity_text.domain_table(found) if found else ["no capacity domains"])
    return Exit.SUCCEEDED


def _print_domain(domain: capacity_pb2.CapacityDomain, connection: options.Connection) -> Exit:
    if connection.json:
        following.print_json(domain)
    else:
        following.print_lines([capacity_text.domain_line(domain)])
    return Exit.SUCCEEDED


@capacity.command("open")
@options.command
async def open_domain(name: Domain, connection: options.Connection, reason: Reason = "") -> Exit:
    """Let one job of a domain try; when the service answers it, the others follow."""
    async with connection.client() as server:
        return _print_domain(await server.capacity.open(name, reason=reason), connection)


@capacity.command("close")
@options.command
async def close_domain(
    name: Domain,
    connection: options.Connection,
    reason: Reason = "",
    length: Annotated[
        str, typer.Option("--for", help="For how long: 8h.", show_default="until somebody opens it")
    ] = "",
) -> Exit:
    """Start no job of a domain; what runs goes on."""
    async with connection.client() as server:
        duration = options.optional_duration(length, "--for")
        return _print_domain(await server.capacity.close(name, reason=reason, duration=duration), connection)


@budget.command("list")
@options.command
async def list_budgets(connection: options.Connection, owner: Owner = "") -> Exit:
    """List budgets with what is spent, reserved and left."""
    async with connection.client() as server:
        found = [one async for one in server.budgets.list(owner)]
    if connection.json:
        following.print_json(admin_service_pb2.ListBudgetsResponse(budgets=found))
    else:
        following.print_lines(capacity_text.budget_table(found) if found else ["no budgets"])
    return Exit.SUCCEEDED


@budget.command("set")
@options.command
async def set_budget(
    connection: options.Connection,
    owner: Owner = "",
    period: OfPeriod = Period.DAY,
    usd: Annotated[float, typer.Option(min=0, max=options.USD_MAX, help="US dollars at most; 0 is no limit.")] = 0,
    tokens: Annotated[int, typer.Option(min=0, max=10**15, help="Tokens of all kinds at most; 0 is no limit.")] = 0,
    warn: Annotated[float, typer.Option(min=0, max=1, help="The part from which on an alert stands; 0 is 0.8.")] = 0,
    reservation: Annotated[
        float,
        typer.Option(
            min=0, max=options.USD_MAX, help="US dollars that a job without a limit of its own reserves; 0 is 1."
        ),
    ] = 0,
) -> Exit:
    """Set what Claude jobs of an owner, or of the namespace, may spend; what was spent stays."""
    async with connection.client() as server:
        try:
            made = await server.budgets.set(
                owner,
                period=period.value,
                max_cost_usd=usd,
                max_tokens=tokens,
                warn_fraction=warn,
                reservation_usd=reservation,
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
    if connection.json:
        following.print_json(made)
    else:
        following.print_lines(capacity_text.budget_table([made]))
    return Exit.SUCCEEDED


@budget.command("delete")
@options.command
async def delete_budget(connection: options.Connection, owner: Owner = "", period: OfPeriod = Period.DAY) -> Exit:
    """Delete a budget; jobs that waited for it go on."""
    async with connection.client() as server:
        await server.budgets.delete(owner, period=period.value)
    return Exit.SUCCEEDED
