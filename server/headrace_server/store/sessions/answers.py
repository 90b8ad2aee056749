"""Answering what the turns of a session ask of a person, when the caller names the session and not the job (X3)."""

from headrace.v1 import input_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import InputResolution
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.attempts.inputs import answer
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.session_row import find_session


def answer_in_session(
    ledger: Ledger, namespace: str, session_id: JobId, given: input_pb2.InputAnswer, actor: str
) -> InputResolution | Refusal:
    """Answers a request of the latest turn that has made one of this id, and says how it was resolved."""
    session = find_session(ledger, namespace, session_id)
    if isinstance(session, Refusal):
        return session
    found = ledger.query(
        "SELECT jobs.id FROM session_turns JOIN inputs ON inputs.job = session_turns.job"
        " JOIN jobs ON jobs.job = session_turns.job"
        " WHERE session_turns.session = ? AND inputs.request_id = ? ORDER BY session_turns.number DESC LIMIT 1",
        (session.row, given.request_id),
    )
    if found:
        return answer(ledger, namespace, JobId(bytes(found[0][0])), given, actor)
    text = job_id_text(session_id)
    message = f"session {text} has asked nothing under the id {given.request_id!r}"
    return Refusal(
        Reason.NOT_FOUND, message, "headrace.v1.InputRequest", given.request_id, metadata={"session_id": text}
    )
