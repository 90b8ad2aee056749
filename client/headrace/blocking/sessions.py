"""Sessions in the blocking client: finding them, and everything that can be asked of one or done to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Unpack

from headrace import calls, converse, session_specs
from headrace.blocking.connection import Connection
from headrace.blocking.conversation import Conversation
from headrace.blocking.handles import Job
from headrace.blocking.resources import PAGE_SIZE
from headrace.v1 import input_pb2, job_pb2, session_pb2


class Session:
    """A handle of a session on the server. Dropping it changes nothing."""

    def __init__(
        self,
        connection: Connection,
        session_id: str,
        *,
        snapshot: session_pb2.Session | None = None,
        deduplicated: bool = False,
    ) -> None:
        self._connection = connection
        self.id = session_id
        self.snapshot = snapshot
        """The session as it was made; None for a handle made by id."""
        self.deduplicated = deduplicated
        """True when its request id had made it before."""

    def get(self) -> session_pb2.Session:
        """The session as it is now."""
        return self._connection.run(calls.sessions.get(self._connection.namespace, self.id))

    def converse(self, **options: Unpack[calls.ConverseOptions]) -> Conversation:
        """The session on one stream: say things, answer and interrupt while reading what happens, across turns."""
        opening = calls.sessions.opening(self._connection.namespace, self.id, options)
        window = options.get("window", converse.WINDOW_COUNT)
        return Conversation(self._connection, self._connection.conversing(opening, window))

    def send(self, text: str, *, request_id: str | None = None) -> Job:
        """Says something: the session's next turn, which is a job. When it returns, the turn is durable."""
        response = self._connection.run(calls.sessions.send(self._connection.namespace, self.id, text, request_id))
        return Job(self._connection, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    def answer(
        self,
        request_id: str,
        *,
        allow: bool,
        message: str = "",
        updated_input: Mapping[str, Any] | None = None,
        interrupt: bool = False,
    ) -> input_pb2.InputResolution:
        """Answers what the active turn asks. `message` is the reason of a denial, or the answer to a question.

        Raises InputResolved when somebody was first, or nobody answered in time.
        """
        said = session_specs.answer(request_id, allow, message, updated_input, interrupt)
        return self._connection.run(calls.sessions.answer(self._connection.namespace, self.id, said))

    def interrupt(self, reason: str = "") -> Job:
        """Ends the active turn, which is returned; the session goes on. Raises NoActiveTurn."""
        job = self._connection.run(calls.sessions.interrupt(self._connection.namespace, self.id, reason))
        return Job(self._connection, job.id, snapshot=job)

    def update(self, *, etag: str = "", **changes: Unpack[session_specs.SessionChanges]) -> session_pb2.Session:
        """Changes what is given of the settings. The etag is compared when it isn't empty; raises StaleEtag."""
        spec, mask = session_specs.changes(changes)
        return self._connection.run(calls.sessions.update(self._connection.namespace, self.id, spec, mask, etag))

    def fork(
        self, *, display_name: str = "", labels: Mapping[str, str] | None = None, request_id: str | None = None
    ) -> Session:
        """A new session that goes on from where this one is now. Raises SessionEmpty before its first turn."""
        response = self._connection.run(
            calls.sessions.fork(self._connection.namespace, self.id, display_name, labels, request_id)
        )
        return Session(
            self._connection, response.session.id, snapshot=response.session, deduplicated=response.deduplicated
        )

    def close(self, reason: str = "", *, finish_turn: bool = False) -> session_pb2.Session:
        """Closes the session; with `finish_turn` the active turn may end first. Succeeds when it is closed already."""
        return self._connection.run(calls.sessions.close(self._connection.namespace, self.id, reason, finish_turn))

    def turns(self, *, page_size: int = PAGE_SIZE) -> Iterator[job_pb2.Job]:
        """Its turns, newest first; pages are read as they are needed."""
        return self._connection.pages(
            lambda token: calls.jobs.page(
                self._connection.namespace, calls.sessions.turns_of(self.id), page_size, token
            )
        )


class Sessions:
    """The sessions of the client's namespace."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        settings: session_specs.Settings | None = None,
        *,
        request_id: str | None = None,
        **options: Unpack[session_specs.SessionOptions],
    ) -> Session:
        """Makes a session from options, or from a Claude task without prompt or a spec. Nothing is started yet."""
        spec = session_specs.session(settings, **options)
        response = self._connection.run(calls.sessions.create(self._connection.namespace, spec, request_id))
        return Session(
            self._connection, response.session.id, snapshot=response.session, deduplicated=response.deduplicated
        )

    def get(self, session_id: str) -> session_pb2.Session:
        """A session as it is now."""
        return self._connection.run(calls.sessions.get(self._connection.namespace, session_id))

    def list(self, filter: str = "", *, page_size: int = PAGE_SIZE) -> Iterator[session_pb2.Session]:
        """All sessions that the filter matches, newest first; pages are read as they are needed."""
        return self._connection.pages(
            lambda token: calls.sessions.page(self._connection.namespace, filter, page_size, token)
        )
