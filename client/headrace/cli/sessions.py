"""The commands about sessions, but for `chat`: `session create`, `list`, `show`, `send`, `answer` and others."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from headrace import session_specs, tasks
from headrace.cli import answering, following, options, submitting
from headrace.cli.describe import session_text
from headrace.cli.exits import Exit
from headrace.cli.transcript import Wanted
from headrace.cli.work import ConversationChoices
from headrace.v1 import session_pb2, session_service_pb2

sessions = typer.Typer(help="Conversations of several turns; `headrace chat` talks to one.", no_args_is_help=True)

SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]
Name = Annotated[str, typer.Option(help="A line for people.")]
Label = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A label; repeatable.")]


@dataclass(frozen=True, slots=True)
class NewSession:
    """What a new session may say besides how Claude works."""

    queue: Annotated[str, typer.Option(help="The queue of its turns.", show_default="`default`")] = ""
    owner: Annotated[str, typer.Option(help="Whom the work is for.", show_default="you")] = ""
    name: Name = ""
    label: Label = None
    idle: Annotated[str, typer.Option(help="How long an idle process is kept: 10m.", show_default="5 minutes")] = ""
    snapshots: Annotated[
        str, typer.Option(help="What is kept after each turn for another worker: none, transcript or workspace.")
    ] = ""

    def spec(self, work: tasks.ConversationOptions) -> session_pb2.SessionSpec:
        """The session, with how Claude works in it."""
        try:
            task = tasks.claude("", **work)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        chosen = session_specs.SessionOptions(
            queue=self.queue,
            owner=self.owner,
            display_name=self.name,
            labels=options.labels(self.label or []),
            snapshots=self.snapshots,
        )
        if self.idle:
            chosen["idle_timeout"] = options.duration(self.idle, "--idle")
        try:
            return session_specs.session(task, **chosen)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None


@sessions.command("create")
@options.command
async def create(new: NewSession, work: ConversationChoices, connection: options.Connection) -> Exit:
    """Create a session; nothing is started before its first turn. Prints its id."""
    async with connection.client() as server:
        made = await server.sessions.create(new.spec(work.chosen()))
    if connection.json and made.snapshot is not None:
        following.print_json(made.snapshot)
    else:
        print(made.id)
    return Exit.SUCCEEDED


@sessions.command("list")
@options.command
async def list_sessions(
    connection: options.Connection,
    filter: Annotated[str, typer.Option(help="E.g. 'state = IDLE AND owner = me'.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=options.LISTED_COUNT_MAX, help="Sessions at most.")] = 50,
) -> Exit:
    """List sessions, newest first."""
    found: list[session_pb2.Session] = []
    async with connection.client() as server:
        async for session in server.sessions.list(filter, page_size=min(limit, 500)):
            found.append(session)
            if len(found) == limit:
                break
    if connection.json:
        following.print_json(session_service_pb2.ListSessionsResponse(sessions=found))
    else:
        following.print_lines(session_text.session_table(found, options.now()) if found else ["no sessions"])
    return Exit.SUCCEEDED


def _print(session: session_pb2.Session, connection: options.Connection) -> Exit:
    if connection.json:
        following.print_json(session)
    else:
        following.print_lines(session_text.session_lines(session, options.now()))
    return Exit.SUCCEEDED


@sessions.command("show")
@options.command
async def show(session_id: SessionId, connection: options.Connection) -> Exit:
    """Show a session: its state, what it used, which worker holds it, what it asks."""
    async with connection.client() as server:
        return _print(await server.sessions.get(session_id), connection)


@sessions.command("send")
@options.command
async def send(
    session_id: SessionId,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What to say; `-` reads it from standard input.")],
    connection: options.Connection,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Print the turn's job id, and do not follow it.")] = False,
) -> Exit:
    """Say something, and follow the turn to its end; the exit status is that of its job, as with `run`."""
    async with connection.client() as server:
        job = await server.session(session_id).send(sys.stdin.read() if text == "-" else text)
        if no_wait:
            print(job.id)
            return Exit.SUCCEEDED
        view = following.view_for(connection, Wanted())
        return await following.present(job, view, way_back=submitting.way_back(job.id, connection))


sessions.command("answer")(answering.answer_session)


@sessions.command("interrupt")
@options.command
async def interrupt(session_id: SessionId, connection: options.Connection, reason: options.Reason = "") -> Exit:
    """End the turn that runs, not the session. Prints the turn's job id."""
    async with connection.client() as server:
        print((await server.session(session_id).interrupt(reason)).id)
    return Exit.SUCCEEDED


@sessions.command("update")
@options.command
async def update(
    session_id: SessionId,
    connection: options.Connection,
    name: Annotated[str | None, typer.Option(help="A line for people.")] = None,
    model: Annotated[str | None, typer.Option(help="Model name or alias; holds at once.")] = None,
    permission_mode: Annotated[str | None, typer.Option(help="As the CLI names it; holds at once.")] = None,
    ask: Annotated[bool | None, typer.Option("--ask/--deny", help="Wait for a person when the CLI asks.")] = None,
    etag: options.Etag = "",
) -> Exit:
    """Change how a session goes on."""
    changes = session_specs.SessionChanges()
    if name is not None:
        changes["display_name"] = name
    if model is not None:
        changes["model"] = model
    if permission_mode is not None:
        changes["permission_mode"] = permission_mode
    if ask is not None:
        changes["ask"] = ask
    if not changes:
        raise typer.BadParameter("say what to change: --name, --model, --permission-mode, --ask or --deny")
    async with connection.client() as server:
        return _print(await server.session(session_id).update(etag=etag, **changes), connection)


@sessions.command("fork")
@options.command
async def fork(session_id: SessionId, connection: options.Connection, name: Name = "") -> Exit:
    """Make a new session that goes on from where this one is; this one stays as it is. Prints its id."""
    async with connection.client() as server:
        made = await server.session(session_id).fork(display_name=name)
    print(made.id)
    return Exit.SUCCEEDED


@sessions.command("close")
@options.command
async def close(
    session_id: SessionId,
    connection: options.Connection,
    reason: options.Reason = "",
    finish_turn: Annotated[bool, typer.Option("--finish-turn", help="Let the turn that runs come to its end.")] = False,
) -> Exit:
    """Close a session: its process ends, and it takes no further turn."""
    async with connection.client() as server:
        return _print(await server.session(session_id).close(reason, finish_turn=finish_turn), connection)
