"""Saying something in a session: the next turn, a job like any other (X1, S1)."""

import hashlib
from dataclasses import replace

from headrace.v1 import job_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.refusal import Refusal
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.planning import repeated
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.session_row import find_session

_FINGERPRINT_VERSION = b"\x04"
"""Of a message, whatever the settings of its session are meanwhile; never that of a spec."""


def send_message(
    ledger: Ledger, namespace: str, session_id: JobId, request_id: str, text: str, actor: str, traceparent: str
) -> Accepted | Refusal:
    """Submits the next turn of a session."""
    fingerprint = _fingerprint(session_id, text)
    earlier = repeated(ledger, namespace, request_id, fingerprint)
    if earlier is not None:
        return earlier
    session = find_session(ledger, namespace, session_id)
    if isinstance(session, Refusal):
        return session
    spec = job_pb2.JobSpec()
    spec.claude.prompt = text
    spec.claude.session_id = job_id_text(session_id)
    new = new_job(namespace, request_id, spec, actor, traceparent)
    return submit_each(ledger, [replace(new, fingerprint=fingerprint)])[0]


def _fingerprint(session_id: JobId, text: str) -> bytes:
    return _FINGERPRINT_VERSION + hashlib.blake2b(session_id + text.encode(), digest_size=16).digest()
