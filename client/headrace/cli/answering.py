"""The commands that answer what a job or a session asks: `job answer`, `session answer`. Nothing is allowed unsaid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from headrace.cli import inputs, options
from headrace.cli.exits import Exit
from headrace.v1 import input_pb2, job_pb2

Allow = Annotated[bool | None, typer.Option("--allow/--deny", help="Let the tool run, or not.")]
Request = Annotated[str, typer.Argument(metavar="REQUEST", help="Absent: the only one that is open.")]
Message = Annotated[str, typer.Option("--message", "-m", help="Why not, for the model; or the answer to its question.")]
Input = Annotated[str, typer.Option(metavar="JSON", help="With --allow: another input for the tool, or @FILE.")]
Interrupt = Annotated[bool, typer.Option("--interrupt", help="With --deny: end the turn as well.")]


@options.command
async def answer_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    connection: options.Connection,
    request_id: Request = "",
    allow: Allow = None,
    message: Message = "",
    input: Input = "",
    interrupt: Interrupt = False,
) -> Exit:
    """Answer what a job asks: allow it, or deny it; the first answer wins. Prints what became of the request.

    A question of the model is answered by --message alone.
    """
    changed = inputs.json_object(input, "--input") if input else None
    async with connection.client() as server:
        job = server.job(job_id)
        if allow is None or not request_id:
            asked = _chosen("job", (await job.get()).open_inputs, request_id)
            request_id, allow = asked.request_id, _decided(allow, asked, message)
        said = await job.answer(request_id, allow=allow, message=message, updated_input=changed, interrupt=interrupt)
    return _told(said)


@options.command
async def answer_session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The session's id.")],
    connection: options.Connection,
    request_id: Request = "",
    allow: Allow = None,
    message: Message = "",
    input: Input = "",
    interrupt: Interrupt = False,
) -> Exit:
    """Answer what the session asks: allow it, or deny it; the first answer wins. Prints what became of the request.

    A question of the model is answered by --message alone.
    """
    changed = inputs.json_object(input, "--input") if input else None
    async with connection.client() as server:
        session = server.session(session_id)
        if allow is None or not request_id:
            open_inputs = [_summary(one.request) for one in (await session.get()).open_inputs]
            asked = _chosen("session", open_inputs, request_id)
            request_id, allow = asked.request_id, _decided(allow, asked, message)
        said = await session.answer(
            request_id, allow=allow, message=message, updated_input=changed, interrupt=interrupt
        )
    return _told(said)


def _told(said: input_pb2.InputResolution) -> Exit:
    print(input_pb2.InputResolution.Name(said).removeprefix("INPUT_RESOLUTION_").lower())
    return Exit.SUCCEEDED


def _summary(request: input_pb2.InputRequest) -> job_pb2.OpenInputSummary:
    return job_pb2.OpenInputSummary(request_id=request.request_id, tool_name=request.tool_name)


def _chosen(whose: str, open_inputs: Sequence[job_pb2.OpenInputSummary], request_id: str) -> job_pb2.OpenInputSummary:
    """The request that is meant: without an id the only one, so that nobody allows what he has not read."""
    asked = [one for one in open_inputs if request_id in ("", one.request_id)]
    if len(asked) == 1:
        return asked[0]
    names = ", ".join(f"{one.request_id} ({one.tool_name or 'a question'})" for one in open_inputs)
    what = f"the {whose} asks: {names}" if open_inputs else f"the {whose} asks nothing just now"
    raise typer.BadParameter(what, param_hint="REQUEST")


def _decided(allow: bool | None, asked: job_pb2.OpenInputSummary, message: str) -> bool:
    if allow is None and (asked.tool_name or not message):
        raise typer.BadParameter("say --allow or --deny; a question is answered by --message", param_hint="--allow")
    return allow is not False
