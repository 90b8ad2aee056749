"""The commands that look at jobs: `job list`, `show`, `logs`, `explain`, `tree`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.text import Text

from headrace import client
from headrace.cli import answering, artifacts, following, job_changes, options, submitting, tree
from headrace.cli.describe import job_text
from headrace.cli.exits import Exit
from headrace.cli.log_options import LogOptions
from headrace.cli.ordered import Ordered
from headrace.cli.selection import Selection
from headrace.v1 import job_pb2, job_service_pb2

jobs = typer.Typer(help="Submit, list, follow, change and end jobs.", no_args_is_help=True, cls=Ordered)
jobs.add_typer(submitting.submit, name="submit")
jobs.command("update")(job_changes.update)
jobs.command("cancel")(job_changes.cancel)
jobs.command("retry")(job_changes.retry)
jobs.command("delete")(job_changes.delete)
jobs.command("tree")(tree.show_tree)
jobs.command("artifact")(artifacts.artifact)
jobs.command("answer")(answering.answer_job)

REFRESH_SECONDS = 2.0
PAGE_SIZE_MAX = 500

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
Limit = Annotated[int, typer.Option(min=1, max=options.LISTED_COUNT_MAX, help="Jobs at most.")]


@jobs.command("list")
@options.command
async def list_jobs(
    selection: Selection,
    connection: options.Connection,
    limit: Limit = 50,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it again every 2 s.")] = False,
) -> Exit:
    """List jobs, newest first; then how many there are in each state, of the --queue or in all."""
    async with connection.client() as server:
        if watch:
            await _watch(server, selection.text(), limit, connection)
        else:
            _print_jobs(await read(server, selection.text(), limit), connection)
    return Exit.SUCCEEDED


async def read(server: client.AsyncClient, filter: str, limit: int) -> job_service_pb2.ListJobsResponse:
    """Pages of jobs until there are `limit` of them."""
    found = job_service_pb2.ListJobsResponse()
    while True:
        size = min(PAGE_SIZE_MAX, limit - len(found.jobs))
        page = await server.list_page(filter, page_size=size, page_token=found.next_page_token)
        found.next_page_token = ""
        found.MergeFrom(page)
        if not found.next_page_token or len(found.jobs) >= limit:
            return found


def _lines(found: job_service_pb2.ListJobsResponse) -> list[str]:
    lines = job_text.job_table(found.jobs, options.now()) if found.jobs else ["no jobs"]
    counts = job_text.counts_line(found.state_counts)
    more = "there are more: raise --limit" if found.next_page_token else ""
    return lines + [text for text in (more, counts and f"in all: {counts}") if text]


def _print_jobs(found: job_service_pb2.ListJobsResponse, connection: options.Connection) -> None:
    if connection.json:
        following.print_json(found)
    else:
        following.print_lines(_lines(found))


async def _watch(server: client.AsyncClient, filter: str, limit: int, connection: options.Connection) -> None:
    if connection.json or not sys.stdout.isatty():
        async for found in _readings(server, filter, limit):
            if connection.json:
                following.print_json(found, indent=None)
            else:
                print("\n".join(_lines(found)), end="\n\n", flush=True)
        return
    with Live(console=Console(highlight=False), auto_refresh=False, screen=True) as live:
        async for found in _readings(server, filter, limit):
            live.update(Text("\n".join(_lines(found)), no_wrap=True, overflow="ellipsis"), refresh=True)


async def _readings(
    server: client.AsyncClient, filter: str, limit: int
) -> AsyncIterator[job_service_pb2.ListJobsResponse]:
    while True:
        yield await read(server, filter, limit)
        await asyncio.sleep(REFRESH_SECONDS)


@jobs.command("show")
@options.command
async def show(job_id: JobId, connection: options.Connection) -> Exit:
    """Show a job: its attempts, what it used, what it waits for, how it failed."""
    async with connection.client() as server:
        job = await server.job(job_id).get()
    if connection.json:
        following.print_json(job)
    else:
        following.print_lines(job_text.job_lines(job, options.now()))
    return Exit.SUCCEEDED


@jobs.command("logs")
@options.command
async def logs(
    wanted: LogOptions,
    connection: options.Connection,
    job_id: Annotated[
        str, typer.Argument(metavar="ID", help="The job's id.", show_default="the newest with --unique-key")
    ] = "",
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job ends.")] = False,
    raw: Annotated[bool, typer.Option("--raw", help="The bytes of Claude's frames, a line each.")] = False,
    unique_key: Annotated[str, typer.Option(help="The newest job with this key, instead of an id.")] = "",
    queue: Annotated[str, typer.Option(help="The queue of --unique-key.", show_default="`default`")] = "",
    wait: Annotated[bool, typer.Option("--wait", help="With --unique-key: wait until there is such a job.")] = False,
) -> Exit:
    """Print what a job said: a command's bytes exactly, Claude's words as text.

    With -f the exit status is the job's, as with `run`.
    """
    if bool(job_id) == bool(unique_key):
        raise typer.BadParameter("give a job's id, or --unique-key")
    asked = wanted.following()
    async with connection.client() as server:
        job = server.job(job_id) if job_id else await server.find(unique_key, queue=queue, wait=wait)
        is_claude = (await job.get()).spec.HasField("claude")
        view = following.view_for(connection, wanted.shown(lifecycle=follow and is_claude), status=follow and is_claude)
        if raw and not connection.json:
            view = following.raw_view()
        back = submitting.way_back(job.id, connection) if follow else ""
        ended = await following.present(job, view, wanted=asked, no_follow=not follow, way_back=back)
    return ended if follow else Exit.SUCCEEDED


@jobs.command("explain")
@options.command
async def explain(job_id: JobId, connection: options.Connection) -> Exit:
    """Say what a job waits for, in order."""
    async with connection.client() as server:
        answer = await server.job(job_id).explain()
        busy = answer.state in (job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_CANCELLING)
        held = await server.job(job_id).get() if busy and not connection.json else None
    if connection.json:
        following.print_json(answer)
    else:
        following.print_lines(job_text.explain_lines(answer, options.now(), held))
    return Exit.SUCCEEDED
