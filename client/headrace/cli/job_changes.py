"""The commands that change jobs: `job update`, `cancel`, `retry`, `delete`; the last three also many at once."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Annotated, Any

import typer

from headrace import client, errors, outcomes
from headrace.cli import amounts, exits, following, narration, options
from headrace.cli.exits import Exit
from headrace.cli.selection import JobIds, Selection, either
from headrace.v1 import job_service_pb2

AT_ONCE = 8

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and change nothing.")]


@options.command
async def update(
    job_id: JobId,
    connection: options.Connection,
    priority: Annotated[int | None, typer.Option(min=-100, max=100, help="The new priority.")] = None,
    at: Annotated[str, typer.Option(help="Not started before this time: 2026-01-31T08:00, local or +02:00.")] = "",
    delay: Annotated[str, typer.Option("--in", help="Not started before this time has passed; 0: at once.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; all labels are replaced by these.")] = None,
    no_labels: Annotated[bool, typer.Option("--no-labels", help="Remove all labels.")] = False,
    etag: options.Etag = "",
) -> Exit:
    """Change priority, start time or labels of a job that has not started; prints its state."""
    start = options.start_time(at, delay, options.now())
    labels = {} if no_labels else options.labels(label) if label else None
    if priority is None and start is None and labels is None:
        raise typer.BadParameter("nothing to change: give --priority, --at, --in, --label or --no-labels")
    async with connection.client() as server:
        job = await server.job(job_id).update(priority=priority, schedule_time=start, labels=labels, etag=etag)
    if connection.json:
        following.print_json(job)
    else:
        print(narration.state_word(job.state))
    return Exit.SUCCEEDED


@options.command
async def cancel(
    connection: options.Connection,
    selection: Selection,
    job_ids: JobIds = None,
    reason: options.Reason = "",
    dry_run: DryRun = False,
    yes: options.Yes = False,
) -> Exit:
    """Cancel jobs, by id or by filter; prints the state of each.

    With a filter it says first how many there are, and asks. Exit status 1 when any was not cancelled.
    """
    filter = either(job_ids, selection)
    async with connection.client() as server:
        if filter:
            return await _cancel_matching(server, filter, reason, dry_run, yes, connection)
        if dry_run:
            raise typer.BadParameter("needs a filter", param_hint="--dry-run")
        ids = job_ids or []
        if len(ids) > 1:
            return await _each(ids, lambda one: _state_of(server.job(one).cancel(reason)), connection)
        job = await server.job(ids[0]).cancel(reason)
    if connection.json:
        following.print_json(job)
    else:
        print(narration.state_word(job.state))
    return Exit.SUCCEEDED


async def _cancel_matching(
    server: client.AsyncClient, filter: str, reason: str, dry_run: bool, yes: bool, connection: options.Connection
) -> Exit:
    if not dry_run and not yes:
        matching = [one async for one in server.cancel_all(filter, reason=reason, validate_only=True)]
        if not matching:
            return _told(job_service_pb2.CancelJobsResponse(), connection, "no job matches")
        options.confirm(f"Cancel {amounts.plural(len(matching), 'job')}?", yes)
    results = [one async for one in server.cancel_all(filter, reason=reason, validate_only=dry_run)]
    done = sum(1 for one in results if not one.HasField("error"))
    word = "would be cancelled" if dry_run else "cancelled or being cancelled"
    if not connection.json:
        following.print_lines(_result_line(one) for one in results)
    summary = f"{amounts.plural(done, 'job')} {word}" if results else "no job matches"
    _told(job_service_pb2.CancelJobsResponse(results=results), connection, summary)
    return Exit.SUCCEEDED if done == len(results) else Exit.FAILED


def _result_line(one: job_service_pb2.CancelJobsResult) -> str:
    refused = f"  refused: {one.error.message}" if one.HasField("error") else ""
    return f"{one.job_id}  {narration.state_word(one.state)}{refused}"


def _told(response: job_service_pb2.CancelJobsResponse, connection: options.Connection, summary: str) -> Exit:
    if connection.json:
        following.print_json(response)
    else:
        print(summary, file=sys.stderr)
    return Exit.SUCCEEDED


@options.command
async def retry(
    connection: options.Connection,
    job_ids: Annotated[list[str], typer.Argument(metavar="ID", help="Jobs that have ended.")],
    request_id: Annotated[
        str | None, typer.Option(help="Makes it idempotent, of one job.", show_default="a fresh id")
    ] = None,
) -> Exit:
    """Make a new job from each of these, which have ended; prints the new ids."""
    if request_id and len(job_ids) > 1:
        raise typer.BadParameter("is for one job", param_hint="--request-id")
    async with connection.client() as server:
        if len(job_ids) > 1:
            return await _each(job_ids, lambda one: _new_id(server.job(one).retry()), connection)
        job = await server.job(job_ids[0]).retry(request_id=request_id)
    if connection.json:
        following.print_json(job_service_pb2.RetryJobResponse(job=job.snapshot, deduplicated=job.deduplicated))
    else:
        print(job.id)
    return Exit.SUCCEEDED


@options.command
async def delete(
    connection: options.Connection,
    selection: Selection,
    job_ids: JobIds = None,
    dry_run: DryRun = False,
    yes: options.Yes = False,
    etag: options.Etag = "",
) -> Exit:
    """Delete jobs that have ended, with their logs, by id or by filter.

    With a filter it deletes those that have ended of what matches; it says first how many there are, and asks.
    """
    filter = either(job_ids, selection)
    if etag and (filter or len(job_ids or []) > 1):
        raise typer.BadParameter("is for one job", param_hint="--etag")
    async with connection.client() as server:
        ids = job_ids or [one async for one in _ended(server, selection)]
        if filter and not ids:
            print("no job that has ended matches", file=sys.stderr)
        if dry_run:
            following.print_lines(ids)
            return Exit.SUCCEEDED
        if filter and ids:
            options.confirm(f"Delete {amounts.plural(len(ids), 'job')} with their logs?", yes)
        return await _each(ids, lambda one: _deleted(server.job(one).delete(etag=etag)), connection)


async def _ended(server: client.AsyncClient, selection: Selection) -> AsyncIterator[str]:
    if not selection.state and "state" not in selection.filter:
        selection = replace(
            selection, state=[narration.state_word(state) for state in sorted(outcomes.TERMINAL_STATES)]
        )
    async for job in server.list(selection.text(), page_size=500):
        if job.state in outcomes.TERMINAL_STATES:
            yield job.id


async def _state_of(job: Awaitable[Any]) -> str:
    return narration.state_word((await job).state)


async def _new_id(job: Awaitable[client.Job]) -> str:
    return (await job).id


async def _deleted(done: Awaitable[None]) -> str:
    await done
    return "deleted"


async def _each(ids: Iterable[str], act: Callable[[str], Awaitable[str]], connection: options.Connection) -> Exit:
    """Does the same to each job, a few at once; a line for each, in order; a refusal of one stops no other.

    With one job alone a refusal is raised, as in any command.
    """
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(job_id: str) -> str | errors.CallFailed:
        async with turns:
            try:
                return await act(job_id)
            except errors.CallFailed as error:
                return error

    listed = list(ids)
    if len(listed) == 1:
        _print_one(listed[0], await act(listed[0]), connection)
        return Exit.SUCCEEDED
    exit = Exit.SUCCEEDED
    for job_id, result in zip(listed, await asyncio.gather(*map(one, listed)), strict=True):
        exit = Exit.FAILED if isinstance(result, errors.CallFailed) else exit
        _print_one(job_id, result, connection)
    return exit


def _print_one(job_id: str, result: str | errors.CallFailed, connection: options.Connection) -> None:
    if isinstance(result, str):
        print(json.dumps({"jobId": job_id, "result": result}) if connection.json else f"{job_id}  {result}")
        return
    if connection.json:
        print(json.dumps({"jobId": job_id, "error": result.message, "reason": result.reason}))
    for line in exits.error_lines(result):
        print(line.replace("headrace:", f"{job_id}:", 1), file=sys.stderr)
