"""The commands that answer what a job or a session asks: `job answer`, `session answer`. Nothing is allowed unsaid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

import headrace
from headrace import errors
from headrace.cli import inputs, options
from headrace.cli.exits import Exit
from headrace.v1 import input_pb2, job_pb2


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered to which request. Without its id it is the only one that is open."""

    request_id: Annotated[str, typer.Argument(metavar="REQUEST", help="Absent: the only one that is open.")] = ""
    allow: Annotated[bool | None, typer.Option("--allow/--deny", help="Let the tool run, or not.")] = None
    message: Annotated[
        str, typer.Option("--message", "-m", help="Why not, for the model; or the answer to its question.")
    ] = ""
    input: Annotated[str, typer.Option(metavar="JSON", help="With --allow: another input for the tool, or @FILE.")] = ""
    interrupt: Annotated[bool, typer.Option("--interrupt", help="With --deny: end the turn as well.")] = False

    async def give(self, asker: headrace.Job | headrace.Session) -> Exit:
        """Answers the asker, and prints what became of the request. Looks first when what is said leaves that open."""
        changed = inputs.json_object(self.input, "--input") if self.input else None
        request_id, allow = self.request_id, self.allow
        if allow is None or not request_id:
            asked = _chosen(await _asked_by(asker), request_id)
            request_id, allow = asked.request_id, _decided(allow, asked, self.message)
        resolution = await asker.answer(
            request_id, allow=allow, message=self.message, updated_input=changed, interrupt=self.interrupt
        )
        print(input_pb2.InputResolution.Name(resolution).removeprefix("INPUT_RESOLUTION_").lower())
        return Exit.SUCCEEDED


@options.command
async def answer_job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    answer: Answer,
    connection: options.Connection,
) -> Exit:
    """Answer what a job asks: allow it, or deny it; the first answer wins. Prints what became of the request.

    A question of the model is answered by --message alone.
    """
    async with connection.client() as server:
        return await answer.give(server.job(job_id))


@options.command
async def answer_session(
    session_id: Annotated[str, typer.Argument(metavar="ID", help="The session's id.")],
    answer: Answer,
    connection: options.Connection,
) -> Exit:
    """Answer what the session asks: allow it, or deny it; the first answer wins. Prints what became of the request.

    A question of the model is answered by --message alone.
    """
    async with connection.client() as server:
        return await answer.give(server.session(session_id))


async def _asked_by(asker: headrace.Job | headrace.Session) -> list[job_pb2.OpenInputSummary]:
    if isinstance(asker, headrace.Job):
        return list((await asker.get()).open_inputs)
    requests = [one.request for one in (await asker.get()).open_inputs]
    return [job_pb2.OpenInputSummary(request_id=one.request_id, tool_name=one.tool_name) for one in requests]


def _chosen(open_inputs: Sequence[job_pb2.OpenInputSummary], request_id: str) -> job_pb2.OpenInputSummary:
    """The request that is meant: without an id the only one, so that nobody allows what he has not read."""
    asked = [one for one in open_inputs if request_id in ("", one.request_id)]
    if len(asked) == 1:
        return asked[0]
    if not open_inputs:
        raise errors.HeadraceError("nothing is asked just now")
    names = ", ".join(f"{one.request_id} ({one.tool_name or 'a question'})" for one in open_inputs)
    raise typer.BadParameter(f"these are open: {names}", param_hint="REQUEST")


def _decided(allow: bool | None, asked: job_pb2.OpenInputSummary, message: str) -> bool:
    if allow is None and (asked.tool_name or not message):
        raise typer.BadParameter("say --allow or --deny; a question is answered by --message", param_hint="--allow")
    return allow is not False
