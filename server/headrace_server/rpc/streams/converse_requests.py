"""What a client asks for on a conversation, carried out by the unary rpcs that mean the same: the same checks, the same
verbs, the same refusals. What it led to is a `ConverseDone`; a refusal ends nothing."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from google.protobuf.message import Message

from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.rpc.call import Call
from headrace_server.rpc.checks.validation import CHECKS
from headrace_server.rpc.errors import to_item_error

Asked = TypeVar("Asked", bound=Message)
Answered = TypeVar("Answered", bound=Message)


@dataclass(frozen=True, slots=True)
class Verbs:
    """The unary rpcs of SessionService that a conversation carries out."""

    create: Callable[[pb.CreateSessionRequest, Call], Awaitable[pb.CreateSessionResponse]]
    send: Callable[[pb.SendMessageRequest, Call], Awaitable[pb.SendMessageResponse]]
    answer: Callable[[pb.AnswerRequestRequest, Call], Awaitable[pb.AnswerRequestResponse]]
    interrupt: Callable[[pb.InterruptSessionRequest, Call], Awaitable[pb.InterruptSessionResponse]]
    update: Callable[[pb.UpdateSessionRequest, Call], Awaitable[pb.UpdateSessionResponse]]


async def create(verbs: Verbs, opening: pb.ConverseOpen, call: Call) -> str:
    """Makes the session that a conversation begins with; its id. Raises Refused."""
    request = pb.CreateSessionRequest(namespace=opening.namespace, request_id=opening.request_id, spec=opening.create)
    response = await _checked(verbs.create, request, call, {"spec": "open.create"})
    return response.session.id


async def carry_out(
    verbs: Verbs, namespace: str, session_id: str, request: pb.ConverseRequest, call: Call
) -> pb.ConverseDone:
    """Does what a request on the stream asks for; says why not when it is refused."""
    done = pb.ConverseDone(number=request.number)
    try:
        match request.WhichOneof("kind"):
            case "message":
                await _say(verbs, namespace, session_id, request.message, call, done)
            case "answer":
                answer = pb.AnswerRequestRequest(namespace=namespace, session_id=session_id, answer=request.answer)
                done.resolution = (await _checked(verbs.answer, answer, call, {})).resolution
            case "interrupt":
                reason = request.interrupt.reason
                interrupt = pb.InterruptSessionRequest(namespace=namespace, session_id=session_id, reason=reason)
                paths = {"reason": "interrupt.reason"}
                done.job_id = (await _checked(verbs.interrupt, interrupt, call, paths)).job.id
            case "settings":
                await _change(verbs, namespace, session_id, request.settings, call)
            case _:
                violation = Violation("kind", "is required")
                raise Refused(Refusal(Reason.INVALID_FIELD, "kind is required", violations=(violation,)))
    except Refused as refused:
        done.error.CopyFrom(to_item_error(refused.refusal))
    return done


async def _say(
    verbs: Verbs, namespace: str, session_id: str, said: pb.ConverseMessage, call: Call, done: pb.ConverseDone
) -> None:
    request = pb.SendMessageRequest(
        namespace=namespace, session_id=session_id, request_id=said.request_id, text=said.text
    )
    paths = {"text": "message.text", "request_id": "message.request_id"}
    done.job_id = (await _checked(verbs.send, request, call, paths)).job.id


async def _change(verbs: Verbs, namespace: str, session_id: str, settings: pb.ConverseSettings, call: Call) -> None:
    request = pb.UpdateSessionRequest(namespace=namespace, session_id=session_id, spec=settings.spec)
    request.update_mask.CopyFrom(settings.update_mask)
    await _checked(verbs.update, request, call, {"spec": "settings.spec", "update_mask": "settings.update_mask"})


async def _checked(
    method: Callable[[Asked, Call], Awaitable[Answered]], request: Asked, call: Call, paths: dict[str, str]
) -> Answered:
    """Carries out an rpc after its checks; `paths` are those of the stream's message for the first parts of those of
    the request."""
    check: Callable[[Any], Refusal | None] | None = CHECKS.get(request.DESCRIPTOR.full_name)
    refusal = check(request) if check is not None else None
    if refusal is None:
        return await method(request, call)
    violations = tuple(replace(one, field=_path(one.field, paths)) for one in refusal.violations)
    raise Refused(replace(refusal, violations=violations))


def _path(field: str, paths: dict[str, str]) -> str:
    first, dot, rest = field.partition(".")
    return paths.get(first, first) + dot + rest
