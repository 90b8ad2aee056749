"""The commands that make jobs: `run`, and `job submit` of a Claude turn, a program, a handler, or a file of many."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace import calls, client, tasks
from headrace.cli import exits, following, inputs, options, work
from headrace.cli.exits import Exit
from headrace.cli.specs import SpecChoices, SubmitChoices
from headrace.cli.transcript import Wanted
from headrace.v1 import job_pb2, job_service_pb2, task_pb2

submit = typer.Typer(help="Submit a job.", no_args_is_help=True)

Follow = Annotated[bool, typer.Option("-f", "--follow", help="Follow the job to its end.")]


@options.command
async def run(
    prompt: work.Prompt,
    claude: work.ClaudeChoices,
    spec: SpecChoices,
    choices: SubmitChoices,
    connection: options.Connection,
) -> Exit:
    """Run a Claude job and follow it to its end.

    Exit status: 0 succeeded, 1 failed, 2 usage, 3 cancelled, 4 expired or skipped, 5 server not reached, 130 detached.
    """
    return await _submit(claude.task(prompt), spec, choices, connection, follow=True)


@submit.command("claude")
@options.command
async def submit_claude(
    prompt: work.Prompt,
    claude: work.ClaudeChoices,
    spec: SpecChoices,
    choices: SubmitChoices,
    connection: options.Connection,
    follow: Follow = False,
) -> Exit:
    """Submit a Claude job; prints its id."""
    return await _submit(claude.task(prompt), spec, choices, connection, follow)


@submit.command("command", context_settings={"allow_interspersed_args": False})
@options.command
async def submit_command(
    program: work.Program,
    command: work.CommandChoices,
    spec: SpecChoices,
    choices: SubmitChoices,
    connection: options.Connection,
    follow: Follow = False,
) -> Exit:
    """Submit a program, run without a shell; prints the job's id. Put `--` before it."""
    return await _submit(command.task(program), spec, choices, connection, follow)


@submit.command("handler")
@options.command
async def submit_handler(
    name: work.Handler,
    spec: SpecChoices,
    choices: SubmitChoices,
    connection: options.Connection,
    input: work.Input = "",
    follow: Follow = False,
) -> Exit:
    """Submit a call of a registered function; prints the job's id."""
    return await _submit(work.handler_task(name, input), spec, choices, connection, follow)


async def _submit(
    task: tasks.Task, spec: SpecChoices, choices: SubmitChoices, connection: options.Connection, follow: bool
) -> Exit:
    chosen = spec.options()
    start = choices.start(options.now())
    if start is not None:
        chosen["schedule_time"] = start
    if not spec.display_name and isinstance(task, task_pb2.ClaudeTask):
        chosen["display_name"] = work.display_name(task.prompt)
    async with connection.client() as server:
        job = await server.submit(task, request_id=choices.request_id, validate_only=choices.check, **chosen)
        if not follow or choices.check:
            _print_job(job, choices.check, connection)
            return Exit.SUCCEEDED
        if not connection.json:
            print(f"job {job.id}{' (submitted before)' if job.deduplicated else ''}", file=sys.stderr, flush=True)
        view = following.view_for(connection, Wanted())
        return await following.present(job, view, way_back=way_back(job.id, connection))


def _print_job(job: client.Job, check: bool, connection: options.Connection) -> None:
    if not connection.json:
        print("it would be accepted" if check else job.id)
        return
    snapshot = job.snapshot or job_pb2.Job(id=job.id)
    following.print_json(job_service_pb2.SubmitJobResponse(job=snapshot, deduplicated=job.deduplicated))


@submit.command("file")
@options.command
async def submit_file(
    path: Annotated[str, typer.Argument(metavar="FILE", help="A JSON file; `-` is standard input.")],
    connection: options.Connection,
    atomic: Annotated[bool, typer.Option("--atomic", help="All or nothing.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Check everything, store nothing.")] = False,
) -> Exit:
    """Submit up to 1,000 jobs that may depend on each other, in one call; prints their ids, a line each.

    The file holds a list of items in the contract's names, e.g. [{"ref": "a", "spec": {"handler": {"name": "h"}}},
    {"spec": {"handler": {"name": "h"}, "dependencies": [{"ref": "a"}]}}]. Exit status 1 when any is refused.
    """
    items = read_items(path)
    async with connection.client() as server:
        call = calls.jobs.submit_many(server.namespace, items, atomic, check)
        response = await server.run(calls.Call(call.method, call.request, _whole))
    if connection.json:
        following.print_json(response)
    else:
        _print_results(items, call.read(response), check)
    return Exit.FAILED if any(one.HasField("error") for one in response.results) else Exit.SUCCEEDED


def _whole(response: job_service_pb2.SubmitJobsResponse) -> job_service_pb2.SubmitJobsResponse:
    return response


def read_items(path: str) -> list[job_service_pb2.SubmitJobsItem]:
    """The items of a file: a list of them, or a SubmitJobsRequest; each with a request id of its own."""
    value: Any = inputs.json_value(sys.stdin.read() if path == "-" else f"@{Path(path)}", "FILE")
    request = job_service_pb2.SubmitJobsRequest()
    inputs.parse_message({"items": value} if isinstance(value, list) else value, request, "FILE")
    for item in request.items:
        item.request_id = item.request_id or calls.new_request_id()
    return list(request.items)


def _print_results(
    items: list[job_service_pb2.SubmitJobsItem], results: Sequence[calls.Submitted], check: bool
) -> None:
    for number, (item, result) in enumerate(zip(items, results, strict=True)):
        ref = f"  {item.ref}" if item.ref else ""
        if result.error is None:
            print(("it would be accepted" if check else result.job_id) + ref)
            continue
        for line in exits.error_lines(result.error):
            print(line.replace("headrace:", f"item {number}{ref}:", 1), file=sys.stderr)


def way_back(job_id: str, connection: options.Connection) -> str:
    """The command that follows the job again, at the same server."""
    return way_to(["headrace", "job", "logs", "-f", job_id], connection)


def way_to(parts: list[str], connection: options.Connection) -> str:
    """A command, at the same server."""
    if connection.server != (os.environ.get("HEADRACE_SERVER") or options.Connection().server):
        parts += ["--server", connection.server]
    if connection.namespace:
        parts += ["--namespace", connection.namespace]
    return shlex.join(parts)
