"""SessionService: check, call, convert, return."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from headrace.v1 import job_pb2, session_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.ids import JobId, parse_job_id
from headrace_server.core.job import InputResolution, Job
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.messages.job_message import job_message
from headrace_server.rpc.messages.session_message import session_message
from headrace_server.rpc.messages.session_view import full_message, get_session
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.page_token import LIST_BYTES_MAX, decode_page_token, encode_page_token, page_rows, row_of
from headrace_server.rpc.session_filters import parse_session_filter
from headrace_server.rpc.streams.converse import Conversing, converse
from headrace_server.rpc.streams.converse_requests import Verbs
from headrace_server.rpc.streams.follow import Following
from headrace_server.runtime.registry import Registry
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.store.attempts.inputs import answer
from headrace_server.store.codec import number
from headrace_server.store.ledger import Ledger
from headrace_server.store.records import reads
from headrace_server.store.sessions.answers import answer_in_session
from headrace_server.store.sessions.listing import SeenSession, list_sessions, see_session
from headrace_server.store.sessions.sessions import (
    Fork,
    Made,
    close_session,
    create_session,
    fork_session,
    interrupt_session,
)
from headrace_server.store.sessions.settings import SessionChange, update_session
from headrace_server.store.sessions.turns import send_message
from headrace_server.store.store import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SessionService:
    """The servicer of `headrace.v1.SessionService`."""

    store: Store
    scheduler: Scheduler
    registry: Registry
    following: Following

    async def create_session(self, request: pb.CreateSessionRequest, call: Call) -> pb.CreateSessionResponse:
        namespace, actor = namespace_of(request.namespace), call.principal
        request.spec.DiscardUnknownFields()
        made = _done(
            await self.store.write(
                lambda ledger: create_session(ledger, namespace, request.request_id, request.spec, actor)
            )
        )
        return pb.CreateSessionResponse(session=await self._made(namespace, made), deduplicated=made.deduplicated)

    async def get_session(self, request: pb.GetSessionRequest, call: Call) -> pb.GetSessionResponse:
        seen = await get_session(self.store, namespace_of(request.namespace), parse_job_id(request.session_id))
        return pb.GetSessionResponse(session=full_message(seen, self.registry))

    async def list_sessions(self, request: pb.ListSessionsRequest, call: Call) -> pb.ListSessionsResponse:
        namespace = namespace_of(request.namespace)
        wanted = parse_session_filter(request.filter)
        count = page_rows(request.page_size)
        before = row_of(decode_page_token(request.page_token, "ListSessions", namespace, request.filter))
        listed = await self.store.read(list_sessions, namespace, wanted, before, count)
        response, size, next_before = pb.ListSessionsResponse(), 0, listed.before
        for seen in listed.sessions:
            message = session_message(seen)
            size += message.ByteSize()
            if response.sessions and size > LIST_BYTES_MAX:
                break
            response.sessions.append(message)
            next_before = seen.session.row if len(response.sessions) < len(listed.sessions) else listed.before
        if next_before is not None:
            response.next_page_token = encode_page_token((next_before,), "ListSessions", namespace, request.filter)
        return response

    async def update_session(self, request: pb.UpdateSessionRequest, call: Call) -> pb.UpdateSessionResponse:
        namespace, session_id = namespace_of(request.namespace), parse_job_id(request.session_id)
        request.spec.DiscardUnknownFields()
        change = SessionChange(tuple(request.update_mask.paths), request.spec, request.etag, call.principal)
        _done(await self.store.write(lambda ledger: update_session(ledger, namespace, session_id, change)))
        return pb.UpdateSessionResponse(session=await self._message(namespace, session_id))

    async def send_message(self, request: pb.SendMessageRequest, call: Call) -> pb.SendMessageResponse:
        namespace, session_id = namespace_of(request.namespace), parse_job_id(request.session_id)
        actor, traceparent = call.principal, call.traceparent
        sending = self.store.write(
            lambda ledger: send_message(
                ledger, namespace, session_id, request.request_id, request.text, actor, traceparent
            )
        )
        self.scheduler.queued()
        accepted = _done(await sending)
        return pb.SendMessageResponse(
            job=await _job_message(self.store, accepted.job), deduplicated=accepted.deduplicated
        )

    async def answer_request(self, request: pb.AnswerRequestRequest, call: Call) -> pb.AnswerRequestResponse:
        namespace, actor = namespace_of(request.namespace), call.principal

        def verb(ledger: Ledger) -> InputResolution | Refusal:
            if request.WhichOneof("subject") == "session_id":
                session_id = parse_job_id(request.session_id)
                return answer_in_session(ledger, namespace, session_id, request.answer, actor)
            return answer(ledger, namespace, parse_job_id(request.job_id), request.answer, actor)

        return pb.AnswerRequestResponse(resolution=number(_done(await self.store.write(verb))))

    async def interrupt_session(self, request: pb.InterruptSessionRequest, call: Call) -> pb.InterruptSessionResponse:
        namespace, session_id = namespace_of(request.namespace), parse_job_id(request.session_id)
        job = _done(
            await self.store.write(
                lambda ledger: interrupt_session(ledger, namespace, session_id, request.reason, call.principal)
            )
        )
        return pb.InterruptSessionResponse(job=await _job_message(self.store, job))

    async def fork_session(self, request: pb.ForkSessionRequest, call: Call) -> pb.ForkSessionResponse:
        namespace, actor = namespace_of(request.namespace), call.principal
        fork = Fork(parse_job_id(request.session_id), request.display_name, dict(request.labels))
        made = _done(
            await self.store.write(lambda ledger: fork_session(ledger, namespace, request.request_id, fork, actor))
        )
        return pb.ForkSessionResponse(session=await self._made(namespace, made), deduplicated=made.deduplicated)

    async def close_session(self, request: pb.CloseSessionRequest, call: Call) -> pb.CloseSessionResponse:
        namespace, session_id, actor = namespace_of(request.namespace), parse_job_id(request.session_id), call.principal
        _done(
            await self.store.write(
                lambda ledger: close_session(
                    ledger, namespace, session_id, request.reason, actor, finish_turn=request.finish_turn
                )
            )
        )
        return pb.CloseSessionResponse(session=await self._message(namespace, session_id))

    async def converse(self, requests: AsyncIterator[pb.ConverseRequest], call: Call) -> None:
        verbs = Verbs(
            self.create_session, self.send_message, self.answer_request, self.interrupt_session, self.update_session
        )
        await converse(Conversing(self.following, verbs), requests, call)

    async def _message(self, namespace: str, session_id: JobId) -> session_pb2.Session:
        return full_message(await get_session(self.store, namespace, session_id), self.registry)

    async def _made(self, namespace: str, made: Made) -> session_pb2.Session:
        """A session that a verb has answered; of one that is removed there is no more than that."""
        seen = await self.store.read(see_session, namespace, made.session.id)
        return full_message(seen or SeenSession(made.session), self.registry)


async def _job_message(store: Store, job: Job) -> job_pb2.Job:
    """A job that a verb has answered, in JOB_VIEW_BASIC."""
    specs = await store.read(reads.get_specs, [job])
    return job_message(job, specs.get(job.row, b""), full=False)


def _done(answered: T | Refusal) -> T:
    if isinstance(answered, Refusal):
        raise Refused(answered)
    return answered
