"""The commands about schedules that are there: `schedule list`, `show`, `update`, `pause`, `resume`, `trigger`, …"""

from __future__ import annotations

from typing import Annotated

import typer

from headrace import policies
from headrace.cli import following, inputs, options, scheduling
from headrace.cli.describe import schedule_text
from headrace.cli.exits import Exit
from headrace.cli.ordered import Ordered
from headrace.cli.scheduling import Name, Timing, print_schedule
from headrace.v1 import job_pb2, schedule_service_pb2

schedules = typer.Typer(help="Make jobs at certain times.", no_args_is_help=True, cls=Ordered)
schedules.add_typer(scheduling.create, name="create")


@schedules.command("list")
@options.command
async def list_schedules(connection: options.Connection) -> Exit:
    """List schedules by name."""
    async with connection.client() as server:
        found = [one async for one in server.schedules.list()]
    if connection.json:
        following.print_json(schedule_service_pb2.ListSchedulesResponse(schedules=found))
    else:
        following.print_lines(schedule_text.schedule_table(found, options.now()) if found else ["no schedules"])
    return Exit.SUCCEEDED


@schedules.command("show")
@options.command
async def show(name: Name, connection: options.Connection) -> Exit:
    """Show a schedule: its timing, its job, and what became of its latest ticks."""
    async with connection.client() as server:
        return print_schedule(await server.schedules.get(name), connection)


@schedules.command("update")
@options.command
async def update(
    name: Name,
    timing: Timing,
    connection: options.Connection,
    spec: Annotated[
        str, typer.Option(metavar="JSON", help="The whole job in the contract's names: JSON text, or @FILE.")
    ] = "",
    etag: options.Etag = "",
) -> Exit:
    """Change what is given of a schedule; ticks from now on follow it, and none is invented for the past.

    What is not given stays as it is; the defaults below are those of a new schedule.
    """
    job = None
    if spec:
        job = job_pb2.JobSpec()
        inputs.parse_message(inputs.json_object(spec, "--spec"), job, "--spec")
    chosen = timing.options()
    if job is None and not chosen:
        raise typer.BadParameter("nothing to change: give at least one option")
    async with connection.client() as server:
        return print_schedule(await server.schedules.update(name, job, etag=etag, **chosen), connection)


@schedules.command("pause")
@options.command
async def pause(name: Name, connection: options.Connection, reason: options.Reason = "") -> Exit:
    """Have a schedule make no jobs until it is resumed."""
    async with connection.client() as server:
        return print_schedule(await server.schedules.pause(name, reason=reason), connection)


@schedules.command("resume")
@options.command
async def resume(name: Name, connection: options.Connection) -> Exit:
    """Have a schedule make jobs again; what it missed follows its catch-up policy."""
    async with connection.client() as server:
        return print_schedule(await server.schedules.resume(name), connection)


@schedules.command("trigger")
@options.command
async def trigger(
    name: Name,
    connection: options.Connection,
    request_id: Annotated[str | None, typer.Option(help="Makes it idempotent.", show_default="a fresh id")] = None,
) -> Exit:
    """Make the schedule's job now, besides its ticks, also while it is paused; prints the job's id."""
    async with connection.client() as server:
        job = await server.schedules.trigger(name, request_id=request_id)
    if connection.json:
        answer = schedule_service_pb2.TriggerScheduleResponse(job=job.snapshot, deduplicated=job.deduplicated)
        following.print_json(answer)
    else:
        print(job.id)
    return Exit.SUCCEEDED


@schedules.command("delete")
@options.command
async def delete(name: Name, connection: options.Connection, etag: options.Etag = "") -> Exit:
    """Delete a schedule; the jobs that it made stay."""
    async with connection.client() as server:
        await server.schedules.delete(name, etag=etag)
    if connection.json:
        following.print_json(schedule_service_pb2.DeleteScheduleResponse())
    return Exit.SUCCEEDED


@schedules.command("preview")
@options.command
async def preview(
    timing: Timing,
    connection: options.Connection,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A schedule.", show_default="what --cron or --every say")
    ] = "",
    count: Annotated[int, typer.Option(min=1, max=100, help="Ticks.")] = 10,
    start: Annotated[str, typer.Option("--from", help="From this time on: 2027-03-27T00:00.", show_default="now")] = "",
) -> Exit:
    """Show the next ticks in UTC and in the schedule's zone, of a schedule that is there or only thought of."""
    chosen = timing.options()
    if bool(name) == bool(chosen):
        raise typer.BadParameter("give the name of a schedule, or a timing: --cron or --every")
    subject = name or policies.schedule("", **chosen)
    moment = options.moment(start, "--from") if start else None
    async with connection.client() as server:
        ticks = await server.schedules.preview(subject, start=moment, count=count)
    if connection.json:
        following.print_json(schedule_service_pb2.PreviewScheduleResponse(ticks=ticks))
    else:
        following.print_lines(schedule_text.tick_table(ticks, options.now()))
    return Exit.SUCCEEDED
