"""What the clients send for each unary call of SessionService, and how they read the answer: rows of `test_faces`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import headrace
from headrace.v1 import input_pb2, job_pb2, session_pb2
from headrace.v1 import session_service_pb2 as pb

SESSION_CALLS: dict[str, tuple[Callable[[Any], Any], dict[str, Any], Any]] = {
    "CreateSession": (
        lambda c: (
            c.sessions.create(
                request_id="r",
                queue="q",
                labels={"a": "b"},
                idle_timeout=0,
                model="opus",
                ask=True,
                folder="/x",
                max_turns=3,
                timeouts=headrace.timeouts(input=60),
            ).id
        ),
        {
            "requestId": "r",
            "spec": {
                "queue": "q",
                "labels": {"a": "b"},
                "idleTimeout": "0s",
                "timeouts": {"inputTimeout": "60s"},
                "task": {
                    "model": "opus",
                    "permissionPrompts": "PERMISSION_PROMPTS_ASK",
                    "workspace": {"folder": "/x"},
                    "limits": {"maxTurns": 3},
                },
            },
        },
        pb.CreateSessionResponse(session=session_pb2.Session(id="j")),
    ),
    "GetSession": (
        lambda c: c.session("s").get().id,
        {"sessionId": "s"},
        pb.GetSessionResponse(session=session_pb2.Session(id="j")),
    ),
    "ListSessions": (
        lambda c: next(c.sessions.list("state = IDLE")).id,
        {"filter": "state = IDLE", "pageSize": 100},
        pb.ListSessionsResponse(sessions=[session_pb2.Session(id="j")]),
    ),
    "UpdateSession": (
        lambda c: (
            c.session("s")
            .update(etag="e", permission_mode="plan", ask=False, max_cost_usd=1.5, max_turns=2, priority=0, labels={})
            .id
        ),
        {
            "sessionId": "s",
            "etag": "e",
            "spec": {
                "task": {
                    "permissionMode": "PERMISSION_MODE_PLAN",
                    "limits": {"maxTurns": 2, "maxCostUsdMicros": "1500000"},
                }
            },
            "updateMask": "task.permissionMode,task.permissionPrompts,task.limits,priority,labels",
        },
        pb.UpdateSessionResponse(session=session_pb2.Session(id="j")),
    ),
    "SendMessage": (
        lambda c: c.session("s").send("hello", request_id="r").id,
        {"sessionId": "s", "text": "hello", "requestId": "r"},
        pb.SendMessageResponse(job=job_pb2.Job(id="j")),
    ),
    "AnswerRequest": (
        lambda c: (
            "j"
            if c.session("s").answer("q", allow=False, message="no", interrupt=True)
            == input_pb2.INPUT_RESOLUTION_DENIED
            else ""
        ),
        {"sessionId": "s", "answer": {"requestId": "q", "message": "no", "interrupt": True}},
        pb.AnswerRequestResponse(resolution=input_pb2.INPUT_RESOLUTION_DENIED),
    ),
    "InterruptSession": (
        lambda c: c.session("s").interrupt("enough").id,
        {"sessionId": "s", "reason": "enough"},
        pb.InterruptSessionResponse(job=job_pb2.Job(id="j")),
    ),
    "ForkSession": (
        lambda c: c.session("s").fork(display_name="other", labels={"a": "b"}, request_id="r").id,
        {"sessionId": "s", "displayName": "other", "labels": {"a": "b"}, "requestId": "r"},
        pb.ForkSessionResponse(session=session_pb2.Session(id="j")),
    ),
    "CloseSession": (
        lambda c: c.session("s").close("done", finish_turn=True).id,
        {"sessionId": "s", "reason": "done", "finishTurn": True},
        pb.CloseSessionResponse(session=session_pb2.Session(id="j")),
    ),
}
