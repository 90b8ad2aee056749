"""Headrace, for Python programs: submit jobs, follow them, get their results.

    async with headrace.connect("localhost:7410") as client:
        job = await client.submit(headrace.claude("Say hello"))
        outcome = await job.result()

`headrace.blocking` has the same words for scripts. `headrace.Worker`, and what its handlers raise (`Snooze`,
`HandlerFailure`, `InvalidInput`), need the extra `worker`: they are imported on use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from headrace import blocking, errors
from headrace.calls import Submitted, item, ref
from headrace.client import AsyncClient, Conversation, Events, FeedEvents, FeedWatch, Job, Session, Watch, connect
from headrace.errors import (
    CallFailed,
    ConnectionFailed,
    DeadlineExceeded,
    HeadraceError,
    JobCancelled,
    JobDeleted,
    JobDidNotSucceed,
    JobExpired,
    JobFailed,
    JobSkipped,
    StreamBroken,
)
from headrace.follow import Reconnecting
from headrace.outcomes import Outcome
from headrace.policies import (
    catch_up,
    fairness,
    placement,
    queue,
    rate_limit,
    retry_policy,
    schedule,
    timeouts,
    unique_key,
)
from headrace.session_specs import session
from headrace.tasks import claude, command, handler, spec

if TYPE_CHECKING:
    from headrace.worker import HandlerFailure, InvalidInput, Snooze, Worker

__all__ = [
    "AsyncClient",
    "CallFailed",
    "ConnectionFailed",
    "Conversation",
    "DeadlineExceeded",
    "Events",
    "FeedEvents",
    "FeedWatch",
    "HandlerFailure",
    "HeadraceError",
    "InvalidInput",
    "Job",
    "JobCancelled",
    "JobDeleted",
    "JobDidNotSucceed",
    "JobExpired",
    "JobFailed",
    "JobSkipped",
    "Outcome",
    "Reconnecting",
    "Session",
    "Snooze",
    "StreamBroken",
    "Submitted",
    "Watch",
    "Worker",
    "blocking",
    "catch_up",
    "claude",
    "command",
    "connect",
    "errors",
    "fairness",
    "handler",
    "item",
    "placement",
    "queue",
    "rate_limit",
    "ref",
    "retry_policy",
    "schedule",
    "session",
    "spec",
    "timeouts",
    "unique_key",
]


def __getattr__(name: str) -> Any:
    if name in ("HandlerFailure", "InvalidInput", "Snooze", "Worker"):
        return getattr(importlib.import_module("headrace.worker"), name)
    raise AttributeError(f"module 'headrace' has no attribute {name!r}")
