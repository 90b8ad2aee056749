"""Sessions driven one verb a transaction: what tests say in them, with short defaults."""

from typing import Any

from headrace.v1 import job_pb2, session_pb2, settings_pb2, task_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.refusal import Refusal
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.records.settings import replace_settings
from headrace_server.store.sessions.session_row import StoredSession, read_session
from headrace_server.store.sessions.sessions import Fork, Made, close_session, create_session, fork_session
from headrace_server.store.sessions.turns import send_message
from store.driving import HOME, NAMESPACE, Bench, chunk, frame

CONVERSATION = "conversation-1"


def session_spec(**task: Any) -> session_pb2.SessionSpec:
    """Of a session whose turns have these settings."""
    return session_pb2.SessionSpec(task=task_pb2.ClaudeTask(**task))


class Conversing:
    """One session of a store, and the worker that mostly holds it."""

    def __init__(self, bench: Bench, session: StoredSession) -> None:
        self.bench = bench
        self.id = session.id

    @property
    def row(self) -> StoredSession:
        """The session as it stands in the store."""
        found = self.bench.read(lambda connection: read_session(connection.rows, self.id))
        assert found is not None
        return found

    def try_to_say(self, text: str = "hi", request_id: str = "") -> Accepted | Refusal:
        """Says something."""
        return self.bench.write(send_message, NAMESPACE, self.id, request_id, text, "tester", "")

    def say(self, text: str = "hi", request_id: str = "") -> Job:
        """Says something that has to be accepted."""
        accepted = self.try_to_say(text, request_id)
        assert isinstance(accepted, Accepted), accepted
        return accepted.job

    def start(self, job_id: JobId, holder: Holder = HOME, *, dirty: bool = False, talks: bool = True) -> Lease:
        """The turn that has to be next starts on a worker, and its conversation begins or goes on."""
        lease = self.bench.assign(job_id, holder)
        self.bench.hear(holder, starts=[lease])
        if talks:
            self.bench.append(lease, frame(1, CONVERSATION, dirty=dirty), holder=holder)
        elif dirty:
            self.bench.append(lease, chunk(1, dirty=True), holder=holder)
        return lease

    def turn(self, text: str = "hi", holder: Holder = HOME, **finish: Any) -> Job:
        """A turn from its message to its end."""
        job = self.say(text)
        self.bench.finish(self.start(job.id, holder), holder, outputs=1, **finish)
        return self.bench.job(job.id)

    def close(self, reason: str = "", *, finish_turn: bool = False) -> StoredSession:
        """Closes it."""
        closed = self.bench.write(close_session, NAMESPACE, self.id, reason, "tester", finish_turn=finish_turn)
        assert isinstance(closed, StoredSession), closed
        return closed

    def fork(self, request_id: str = "") -> "Conversing":
        """A session that goes on from here."""
        made = self.bench.write(fork_session, NAMESPACE, request_id, Fork(self.id, "", {}), "tester")
        assert isinstance(made, Made), made
        return Conversing(self.bench, made.session)


def converse(bench: Bench, spec: session_pb2.SessionSpec | None = None, request_id: str = "") -> Conversing:
    """A new session."""
    made = bench.write(create_session, NAMESPACE, request_id, spec or session_pb2.SessionSpec(), "tester")
    assert isinstance(made, Made), made
    return Conversing(bench, made.session)


def turn_job(session_id: JobId, prompt: str = "hi", **task: Any) -> job_pb2.JobSpec:
    """A turn as a job that somebody submits."""
    return job_pb2.JobSpec(claude=task_pb2.ClaudeTask(prompt=prompt, session_id=job_id_text(session_id), **task))


def limit_sessions(bench: Bench, **limits: int) -> None:
    """Sets limits on the sessions of the namespace; the others are the default."""
    wanted = settings_pb2.NamespaceSettings(sessions=settings_pb2.SessionLimits(**limits))
    made = bench.write(replace_settings, NAMESPACE, wanted, "tester", validate_only=False)
    assert isinstance(made, settings_pb2.NamespaceSettings), made
