"""`schedule create`: a timing, and a job said as in `job submit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace import policies, tasks
from headrace.cli import following, options, work
from headrace.cli.choices import CatchUp, Overlap
from headrace.cli.describe import schedule_text
from headrace.cli.exits import Exit
from headrace.cli.specs import SpecChoices
from headrace.v1 import schedule_pb2, task_pb2

create = typer.Typer(help="Make a schedule.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The schedule's name.")]
TIMING = "Timing"


@dataclass(frozen=True, slots=True)
class Timing:
    """When a schedule makes its job."""

    cron: Annotated[
        str, typer.Option(help="Five fields, or six with seconds first: '0 3 * * *'.", rich_help_panel=TIMING)
    ] = ""
    every: Annotated[
        str, typer.Option(help="Every so long, instead of --cron: 15m; at least 1s.", rich_help_panel=TIMING)
    ] = ""
    tz: Annotated[
        str | None,
        typer.Option(
            "--tz",
            help="Zone of --cron, e.g. Europe/Berlin; with --every only that in which ticks are shown.",
            show_default="UTC",
            rich_help_panel=TIMING,
        ),
    ] = None
    catch_up: Annotated[
        CatchUp | None, typer.Option(help="Missed ticks to make up for.", show_default="last", rich_help_panel=TIMING)
    ] = None
    catch_up_window: Annotated[
        str, typer.Option(help="With `all`: none older than this.", show_default="1d", rich_help_panel=TIMING)
    ] = ""
    catch_up_max: Annotated[
        int, typer.Option(min=0, max=1000, help="With `all`: so many at most; 0: 100.", rich_help_panel=TIMING)
    ] = 0
    overlap: Annotated[
        Overlap | None, typer.Option(help="While an earlier job runs.", show_default="skip", rich_help_panel=TIMING)
    ] = None
    jitter: Annotated[
        str,
        typer.Option(help="Each job is made up to this long after its tick.", show_default="0", rich_help_panel=TIMING),
    ] = ""

    def options(self) -> policies.ScheduleOptions:
        """What was said, for the client."""
        made = policies.ScheduleOptions()
        if self.cron and self.every:
            raise typer.BadParameter("give --cron or --every, not both", param_hint="--cron")
        if self.cron:
            made["cron"] = self.cron
        if self.every:
            made["interval"] = options.duration(self.every, "--every")
        if self.tz is not None:
            made["time_zone"] = self.tz
        if self.catch_up:
            window = options.optional_duration(self.catch_up_window, "--catch-up-window")
            made["catch_up"] = policies.catch_up(self.catch_up.value, window=window, max_count=self.catch_up_max)
        elif self.catch_up_window or self.catch_up_max:
            raise typer.BadParameter("needs --catch-up all", param_hint="--catch-up-window")
        if self.overlap:
            made["overlap"] = self.overlap.value
        if self.jitter:
            made["jitter"] = options.duration(self.jitter, "--jitter")
        return made


def print_schedule(schedule: schedule_pb2.Schedule, connection: options.Connection) -> Exit:
    """Prints a schedule after a change, or as it is."""
    if connection.json:
        following.print_json(schedule)
    else:
        following.print_lines(schedule_text.schedule_lines(schedule, options.now()))
    return Exit.SUCCEEDED


@create.command("claude")
@options.command
async def create_claude(
    name: Name,
    prompt: work.Prompt,
    timing: Timing,
    claude: work.ClaudeChoices,
    spec: SpecChoices,
    connection: options.Connection,
) -> Exit:
    """Make a schedule of a Claude job."""
    return await _create(name, claude.task(prompt), timing, spec, connection)


@create.command("command")
@options.command
async def create_command(
    name: Name,
    program: work.Program,
    timing: Timing,
    command: work.CommandChoices,
    spec: SpecChoices,
    connection: options.Connection,
) -> Exit:
    """Make a schedule of a program, run without a shell: NAME --cron '0 3 * * *' -- PROGRAM [ARG]…"""
    return await _create(name, command.task(program), timing, spec, connection)


@create.command("handler")
@options.command
async def create_handler(
    name: Name,
    handler: work.Handler,
    timing: Timing,
    spec: SpecChoices,
    connection: options.Connection,
    input: work.Input = "",
) -> Exit:
    """Make a schedule of a call of a registered function."""
    return await _create(name, work.handler_task(handler, input), timing, spec, connection)


async def _create(
    name: str, task: tasks.Task, timing: Timing, spec: SpecChoices, connection: options.Connection
) -> Exit:
    chosen, when = spec.options(), timing.options()
    if "cron" not in when and "interval" not in when:
        raise typer.BadParameter("give --cron or --every", param_hint="--cron")
    if not spec.display_name and isinstance(task, task_pb2.ClaudeTask):
        chosen["display_name"] = work.display_name(task.prompt)
    async with connection.client() as server:
        made = await server.schedules.create(name, tasks.spec(task, **chosen), **when)
    return print_schedule(made, connection)
