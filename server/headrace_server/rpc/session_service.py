"""SessionService: check, call, convert, return."""

from dataclasses import dataclass

from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.ids import parse_job_id
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.new_job import namespace_of
from headrace_server.store.attempts.inputs import answer
from headrace_server.store.codec import number
from headrace_server.store.store import Store


@dataclass(frozen=True, slots=True)
class SessionService:
    """The servicer of `headrace.v1.SessionService`."""

    store: Store

    async def answer_request(self, request: pb.AnswerRequestRequest, call: Call) -> pb.AnswerRequestResponse:
        if request.HasField("session_id"):
            raise Refused(Refusal(Reason.NOT_SUPPORTED, "session_id is not supported: name the job that waits"))
        namespace, job_id = namespace_of(request.namespace), parse_job_id(request.job_id)
        answered = await self.store.write(
            lambda ledger: answer(ledger, namespace, job_id, request.answer, call.principal)
        )
        if isinstance(answered, Refusal):
            raise Refused(answered)
        return pb.AnswerRequestResponse(resolution=number(answered))
