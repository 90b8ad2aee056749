"""The command `headrace chat`: shows a session as it goes on, and does what is typed."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated

import typer

from headrace import client, converse, errors
from headrace.cli import exits, following, options
from headrace.cli.chat import words
from headrace.cli.chat.faces import Face, Interrupted, PlainFace, TerminalFace
from headrace.cli.chat.view import ChatView
from headrace.cli.exits import Exit
from headrace.cli.parts import Line, Tone
from headrace.cli.sessions import NewSession
from headrace.cli.submitting import way_to
from headrace.cli.work import ConversationChoices
from headrace.conversation import Conversation
from headrace.sessions import Session
from headrace.v1 import event_pb2, session_pb2

INTERRUPT_REASON = "interrupted at a terminal"
OVER = frozenset({session_pb2.SESSION_STATE_CLOSED, session_pb2.SESSION_STATE_LOST})


@options.command
async def chat(
    new: NewSession,
    work: ConversationChoices,
    connection: options.Connection,
    session_id: Annotated[str, typer.Argument(metavar="[ID]", help="A session.", show_default="a new one")] = "",
    last: Annotated[int, typer.Option(min=0, max=100_000, help="Turns that are shown of what was said before.")] = 3,
    no_ask: Annotated[bool, typer.Option("--no-ask", help="Of a new session: deny what would be asked.")] = False,
) -> Exit:
    """Talk with Claude: live text, permissions asked here, Ctrl-C interrupts the turn, Ctrl-D leaves.

    The session goes on without you: come back with its id, from any machine. /help lists what can be typed. Without a
    terminal each line of standard input is a message, and the command ends when all of them are answered.
    """
    async with connection.client() as server:
        if session_id:
            session = server.session(session_id)
        else:
            chosen = work.chosen()
            chosen["ask"] = not no_ask
            session = await server.sessions.create(new.spec(chosen))
        talk = _Talk(server, session, connection)
        try:
            return await talk.run(last)
        finally:
            if not talk.over:
                way = way_to(["headrace", "chat", session.id], connection)
                print(f"detached; the session goes on. Return with: {way}", file=sys.stderr)


class _Talk:
    """One person at one session."""

    def __init__(self, server: client.AsyncClient, session: Session, connection: options.Connection) -> None:
        self._server = server
        self._session = session
        self._json = connection.json
        self._mine: dict[str, None] = {}
        """Turns that were said here."""
        self._heard = asyncio.Event()
        self._saying = asyncio.Lock()
        """Held until it is known which turn became of what was said here."""
        self.over = False
        """The session has ended, whether that was shown or not."""
        self._refused = False
        """Something that was said here was not taken."""
        self.view = ChatView(options.now)

    async def run(self, last: int) -> Exit:
        """Until the person leaves or the session ends."""
        live = sys.stdin.isatty() and sys.stdout.isatty() and not self._json
        face: Face = TerminalFace(self.view.status) if live else PlainFace()
        self._refused = self.over = (await self._session.get()).state in OVER
        with face:
            async with self._session.converse(last_turns=last, deltas=live) as talk:
                tasks = {asyncio.create_task(self._read(talk, face))}
                if not self.over:
                    tasks.add(asyncio.create_task(self._type(talk, face)))
                try:
                    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                finally:
                    for task in tasks:
                        task.cancel()
                    await asyncio.wait(tasks)
                    self.over = self.view.over or (talk.session is not None and talk.session.state in OVER)
        if live:
            return Exit.SUCCEEDED
        return Exit.FAILED if self._refused else exits.BY_STATE.get(self.view.last_state, Exit.SUCCEEDED)

    async def _read(self, talk: Conversation, face: Face) -> None:
        async for item in talk:
            if self._json and isinstance(item, event_pb2.Event):
                following.print_json(item, indent=None)
            if self.view.is_new_turn(item):
                await self._show_said(item, face)
            for part in self.view.feed(item):
                if not self._json:
                    face.show(part)
            self._heard.set()

    async def _show_said(self, item: converse.Item, face: Face) -> None:
        """What somebody else said, or this person before."""
        assert isinstance(item, event_pb2.Event)
        async with self._saying:
            pass
        if item.job_id in self._mine or self._json:
            return
        try:
            job = await self._server.job(item.job_id).get()
        except errors.HeadraceError:
            return
        said = "(begun by Claude Code itself)" if job.background else job.spec.claude.prompt
        for line in said.splitlines():
            face.show(Line(f"> {line}", Tone.TOOL))

    async def _type(self, talk: Conversation, face: Face) -> None:
        while (line := await face.read_line()) is not None:
            action = words.Interrupt() if isinstance(line, Interrupted) else words.action_of(line, self.view.asked)
            if isinstance(action, words.Detach):
                return
            try:
                await self._do(talk, action, face, by_key=isinstance(line, Interrupted))
            except errors.CallFailed as refused:
                self._refused = True
                for text in exits.error_lines(refused):
                    face.show(Line(text, Tone.WARNING))
            except ValueError as error:
                face.show(Line(str(error), Tone.WARNING))
        while not self._mine.keys() <= self.view.ended_turns and isinstance(face, PlainFace):
            self._heard.clear()
            await self._heard.wait()

    async def _do(self, talk: Conversation, action: words.Action | None, face: Face, *, by_key: bool) -> None:
        match action:
            case words.Say():
                async with self._saying:
                    self._mine[(await talk.send(action.text)).id] = None
            case words.Reply():
                asked = action.request.request.request_id
                await talk.answer(asked, allow=action.allow, message=action.message)
            case words.Change(model=""):
                await talk.update(permission_mode=action.permission_mode)
            case words.Change():
                await talk.update(model=action.model)
            case words.Fork():
                made = await self._session.fork(display_name=action.name)
                face.show(Line(f"forked: headrace chat {made.id}"))
            case words.Interrupt() if by_key and not self.view.is_busy:
                face.show(Line("no turn runs; Ctrl-D leaves, /close closes the session"))
            case words.Interrupt():
                await talk.interrupt(INTERRUPT_REASON)
            case words.Close():
                await self._session.close("closed at a terminal")
            case words.Tell():
                for line in action.lines:
                    face.show(Line(line))
