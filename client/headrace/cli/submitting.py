"""The commands that make jobs: `run`, `job submit claude`, `job submit command`, `job submit handler`."""

from __future__ import annotations

import json
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace import client, tasks
from headrace.cli import following, options
from headrace.cli.exits import Exit
from headrace.cli.parts import one_line
from headrace.cli.transcript import Wanted
from headrace.v1 import job_pb2, job_service_pb2, task_pb2

NAME_CHARACTERS = 60

submit = typer.Typer(help="Submit a job.", no_args_is_help=True)

Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="What to say; `-` reads it from standard input.")]
Follow = Annotated[bool, typer.Option("-f", "--follow", help="Follow the job to its end.")]


@dataclass(frozen=True, slots=True)
class ClaudeChoices:
    """What a Claude turn may say."""

    folder: Annotated[str, typer.Option(help="An existing folder to work in; absent means a new empty one.")] = ""
    repository: Annotated[str, typer.Option(help="A git repository to make a worktree of.")] = ""
    ref: Annotated[str, typer.Option(help="What to check out in the worktree; absent means HEAD.")] = ""
    session: Annotated[str, typer.Option(help="The session that this turn continues.")] = ""
    model: Annotated[str, typer.Option(help="Model name or alias.")] = ""
    fallback_model: Annotated[str, typer.Option(help="The model when that one is overloaded.")] = ""
    allowed_tool: Annotated[list[str] | None, typer.Option(help="A tool that runs unasked; repeatable.")] = None
    disallowed_tool: Annotated[list[str] | None, typer.Option(help="A tool that is not offered; repeatable.")] = None
    permission_mode: Annotated[str, typer.Option(help="default, acceptEdits, plan, bypassPermissions or dontAsk.")] = ""
    ask: Annotated[bool, typer.Option("--ask", help="Wait for a person when the CLI asks.")] = False
    system_prompt: Annotated[str, typer.Option(help="Text added to the CLI's system prompt.")] = ""
    max_turns: Annotated[int, typer.Option(min=0, help="Model calls at most.")] = 0
    max_cost: Annotated[float, typer.Option(min=0, help="Cost at most, in US dollars.")] = 0.0
    output_schema: Annotated[str, typer.Option(help="JSON Schema of the answer: JSON text, or @FILE.")] = ""
    profile: Annotated[str, typer.Option(help="Environment profile on the worker.")] = ""

    def task(self, prompt: str) -> tasks.Task:
        """The task; a relative folder is taken from here."""
        chosen = tasks.ClaudeOptions(
            folder=absolute(self.folder),
            repository=absolute(self.repository),
            ref=self.ref,
            session_id=self.session,
            model=self.model,
            fallback_model=self.fallback_model,
            allowed_tools=self.allowed_tool or [],
            disallowed_tools=self.disallowed_tool or [],
            permission_mode=self.permission_mode,
            ask=self.ask,
            append_system_prompt=self.system_prompt,
            max_turns=self.max_turns,
            max_cost_usd=self.max_cost,
            environment_profile=self.profile,
        )
        if self.output_schema:
            chosen["output_schema"] = json_object(self.output_schema, "--output-schema")
        try:
            return tasks.claude(sys.stdin.read() if prompt == "-" else prompt, **chosen)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None


@options.command
async def run(prompt: Prompt, claude: ClaudeChoices, spec: options.SpecChoices, connection: options.Connection) -> Exit:
    """Run a Claude job and follow it to its end.

    Exit status: 0 succeeded, 1 failed, 2 usage, 3 cancelled, 4 expired or skipped, 5 server not reached, 130 detached.
    """
    return await _submit(claude.task(prompt), spec, connection, follow=True)


@submit.command("claude")
@options.command
async def submit_claude(
    prompt: Prompt,
    claude: ClaudeChoices,
    spec: options.SpecChoices,
    connection: options.Connection,
    follow: Follow = False,
) -> Exit:
    """Submit a Claude job; prints its id."""
    return await _submit(claude.task(prompt), spec, connection, follow)


@submit.command("command", context_settings={"allow_interspersed_args": False})
@options.command
async def submit_command(
    program: Annotated[list[str], typer.Argument(metavar="PROGRAM [ARG]…", help="The program and its arguments.")],
    spec: options.SpecChoices,
    connection: options.Connection,
    folder: Annotated[str, typer.Option(help="An existing folder to run in; absent means a new empty one.")] = "",
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for its environment; repeatable.")] = None,
    stdin: Annotated[str, typer.Option(help="File for its standard input; `-` is this command's own.")] = "",
    follow: Follow = False,
) -> Exit:
    """Submit a program, run without a shell; prints the job's id. Put `--` before it."""
    task = tasks.command(
        program[0],
        *program[1:],
        folder=absolute(folder),
        environment=options.labels(env or []),
        stdin=read_bytes(stdin, "--stdin"),
    )
    return await _submit(task, spec, connection, follow)


@submit.command("handler")
@options.command
async def submit_handler(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The handler's registered name.")],
    spec: options.SpecChoices,
    connection: options.Connection,
    input: Annotated[str, typer.Option(metavar="JSON", help="Its input: a JSON object, or @FILE.")] = "",
    follow: Follow = False,
) -> Exit:
    """Submit a call of a registered function; prints the job's id."""
    return await _submit(
        tasks.handler(name, json_object(input, "--input") if input else None), spec, connection, follow
    )


async def _submit(task: tasks.Task, spec: options.SpecChoices, connection: options.Connection, follow: bool) -> Exit:
    chosen = spec.options(options.now())
    if not spec.display_name and isinstance(task, task_pb2.ClaudeTask):
        # A list shows no prompts: they may be long. Its beginning tells one job from another.
        chosen["display_name"] = one_line(task.prompt, NAME_CHARACTERS)
    async with connection.client() as server:
        job = await server.submit(task, request_id=spec.request_id, **chosen)
        if not follow:
            _print_job(job, connection)
            return Exit.SUCCEEDED
        if not connection.json:
            print(f"job {job.id}{' (submitted before)' if job.deduplicated else ''}", file=sys.stderr, flush=True)
        view = following.view_for(connection, Wanted())
        return await following.present(job, view, way_back=way_back(job.id, connection))


def _print_job(job: client.Job, connection: options.Connection) -> None:
    if not connection.json:
        print(job.id)
        return
    snapshot = job.snapshot or job_pb2.Job(id=job.id)
    following.print_json(job_service_pb2.SubmitJobResponse(job=snapshot, deduplicated=job.deduplicated))


def way_back(job_id: str, connection: options.Connection) -> str:
    """The command that follows the job again, at the same server."""
    parts = ["headrace", "job", "logs", "-f", job_id]
    if connection.server != options.Connection().server and "HEADRACE_SERVER" not in os.environ:
        parts += ["--server", connection.server]
    if connection.namespace:
        parts += ["--namespace", connection.namespace]
    return shlex.join(parts)


def absolute(folder: str) -> str:
    """The folder's absolute path; empty stays empty."""
    return str(Path(folder).expanduser().absolute()) if folder else ""


def json_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object given as text or as @FILE."""
    try:
        value = json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except (ValueError, OSError) as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
    if not isinstance(value, dict):
        raise typer.BadParameter("a JSON object is needed, e.g. '{\"name\": 1}'", param_hint=option)
    return value


def read_bytes(source: str, option: str) -> bytes:
    """The bytes of a file, or of standard input for `-`."""
    try:
        return b"" if not source else sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None
