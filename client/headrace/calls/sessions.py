"""The unary calls of SessionService, and what opens a conversation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

from google.protobuf.field_mask_pb2 import FieldMask

from headrace.calls.call import Call, Page, new_request_id
from headrace.options import check_names
from headrace.v1 import input_pb2, job_pb2, session_pb2, session_service_pb2


class ConverseOptions(TypedDict, total=False):
    """What of a session is read on a stream; all of it, from its first turn, unless said otherwise."""

    cursor: str
    """Go on after this place."""
    last_turns: int
    """Begin with the last so many turns that ended, and the one that is active."""
    deltas: bool
    """Also pieces of messages as they are said, which may be lost; the whole message always follows as an event."""
    raw_frames: bool
    """False leaves out output but messages of the model and results."""
    window: int
    """Events that the server may send ahead of what was read; 256 unless said otherwise."""


def create(
    namespace: str, spec: session_pb2.SessionSpec, request_id: str | None
) -> Call[session_service_pb2.CreateSessionResponse]:
    request = session_service_pb2.CreateSessionRequest(
        namespace=namespace, request_id=new_request_id() if request_id is None else request_id, spec=spec
    )
    return Call(lambda s: s.sessions.CreateSession, request, lambda response: response)


def get(namespace: str, session_id: str) -> Call[session_pb2.Session]:
    request = session_service_pb2.GetSessionRequest(namespace=namespace, session_id=session_id)
    return Call(lambda s: s.sessions.GetSession, request, lambda response: response.session)


def page(namespace: str, filter: str, page_size: int, page_token: str) -> Call[Page[session_pb2.Session]]:
    request = session_service_pb2.ListSessionsRequest(
        namespace=namespace, filter=filter, page_size=page_size, page_token=page_token
    )
    return Call(
        lambda s: s.sessions.ListSessions,
        request,
        lambda response: Page(response.sessions, response.next_page_token),
    )


def update(
    namespace: str, session_id: str, spec: session_pb2.SessionSpec, mask: FieldMask, etag: str
) -> Call[session_pb2.Session]:
    request = session_service_pb2.UpdateSessionRequest(
        namespace=namespace, session_id=session_id, spec=spec, update_mask=mask, etag=etag
    )
    return Call(lambda s: s.sessions.UpdateSession, request, lambda response: response.session)


def send(
    namespace: str, session_id: str, text: str, request_id: str | None
) -> Call[session_service_pb2.SendMessageResponse]:
    request = session_service_pb2.SendMessageRequest(
        namespace=namespace,
        session_id=session_id,
        text=text,
        request_id=new_request_id() if request_id is None else request_id,
    )
    return Call(lambda s: s.sessions.SendMessage, request, lambda response: response)


def answer(namespace: str, session_id: str, said: input_pb2.InputAnswer) -> Call[input_pb2.InputResolution]:
    request = session_service_pb2.AnswerRequestRequest(namespace=namespace, session_id=session_id, answer=said)
    return Call(lambda s: s.sessions.AnswerRequest, request, lambda response: response.resolution)


def answer_job(namespace: str, job_id: str, said: input_pb2.InputAnswer) -> Call[input_pb2.InputResolution]:
    request = session_service_pb2.AnswerRequestRequest(namespace=namespace, job_id=job_id, answer=said)
    return Call(lambda s: s.sessions.AnswerRequest, request, lambda response: response.resolution)


def interrupt(namespace: str, session_id: str, reason: str) -> Call[job_pb2.Job]:
    request = session_service_pb2.InterruptSessionRequest(namespace=namespace, session_id=session_id, reason=reason)
    return Call(lambda s: s.sessions.InterruptSession, request, lambda response: response.job)


def fork(
    namespace: str,
    session_id: str,
    display_name: str,
    labels: Mapping[str, str] | None,
    request_id: str | None,
) -> Call[session_service_pb2.ForkSessionResponse]:
    request = session_service_pb2.ForkSessionRequest(
        namespace=namespace,
        session_id=session_id,
        display_name=display_name,
        labels=labels,
        request_id=new_request_id() if request_id is None else request_id,
    )
    return Call(lambda s: s.sessions.ForkSession, request, lambda response: response)


def close(namespace: str, session_id: str, reason: str, finish_turn: bool) -> Call[session_pb2.Session]:
    request = session_service_pb2.CloseSessionRequest(
        namespace=namespace, session_id=session_id, reason=reason, finish_turn=finish_turn
    )
    return Call(lambda s: s.sessions.CloseSession, request, lambda response: response.session)


def opening(namespace: str, session_id: str, options: ConverseOptions) -> session_service_pb2.ConverseOpen:
    """What opens a conversation on a session that is there; how much is granted is said for each stream anew."""
    check_names(options, ConverseOptions)
    return session_service_pb2.ConverseOpen(
        namespace=namespace,
        session_id=session_id,
        cursor=options.get("cursor", ""),
        last_turns=options.get("last_turns"),
        deltas=options.get("deltas", False),
        without_raw_frames=not options.get("raw_frames", True),
    )


def turns_of(session_id: str) -> str:
    """The filter of ListJobs for the turns of a session."""
    return f'session_id = "{session_id}"'
