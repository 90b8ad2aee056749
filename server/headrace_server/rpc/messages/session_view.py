"""What GetSession, and whoever else shows a session, reads of it, and the message made of that."""

from headrace.v1 import session_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.refusal import Refused
from headrace_server.rpc.messages.session_message import session_message
from headrace_server.runtime.registry import Registry
from headrace_server.store.sessions.listing import SeenSession, see_session
from headrace_server.store.sessions.session_row import not_found
from headrace_server.store.store import Store


async def get_session(store: Store, namespace: str, session_id: JobId) -> SeenSession:
    """Reads a session for a view. Raises Refused (NOT_FOUND)."""
    seen = await store.read(see_session, namespace, session_id)
    if seen is None:
        raise Refused(not_found(session_id))
    return seen


def full_message(seen: SeenSession, registry: Registry) -> session_pb2.Session:
    """A session with its process, as its worker last said."""
    return session_message(seen, registry.session_process(seen.session.worker, job_id_text(seen.session.id)))
