"""Failures of the model API, as the real program reports them: retries, a synthetic answer, a result that calls
itself a success and is an error.

Owns the table of failures and their frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from headrace_worker.simulator.output import Json
from headrace_worker.simulator.script import ScriptError
from headrace_worker.simulator.session import Session, Turn, TurnEndError

_RETRIES_DEFAULT = 10
_FIRST_DELAY_SECONDS = 0.5
_DELAY_SECONDS_MAX = 40.0
_GATEWAY = "If it persists, check your inference gateway."


@dataclass(frozen=True, slots=True)
class Failure:
    """One way for the API to fail."""

    status: int | None
    error: str
    text: str
    kind: str | None = None
    """The API's own name for it."""
    retry_error: str | None = None
    """What `api_retry` calls it; None: it is not retried."""
    extra: Mapping[str, Any] = field(default_factory=dict)


_LIMITS = {
    "five_hour": "5-hour limit",
    "seven_day": "weekly limit",
    "seven_day_opus": "Opus limit",
    "seven_day_sonnet": "Sonnet limit",
}
_OVERLOADED = "API Error: Repeated 529 Overloaded errors. The API is at capacity — this is usually temporary."
_SERVER = "API Error: 500 Internal server error. This is a server-side issue, usually temporary."
_RATE = "API Error: Request rejected (429) · This request would exceed your rate limit."
_REFUSED = "API Error: Connection refused — a firewall or proxy may be blocking it (ECONNREFUSED)"

FAILURES: Mapping[str, Failure] = {
    "400": Failure(400, "invalid_request", "API Error: 400 Bad request.", "invalid_request_error"),
    "401": Failure(
        401,
        "authentication_failed",
        "Invalid API key · Fix external API key",
        "authentication_error",
        "authentication_failed",
    ),
    "403": Failure(
        403,
        "authentication_failed",
        "API Error: 403 Your account does not have access.",
        "permission_error",
        "authentication_failed",
    ),
    "404": Failure(
        404, "model_not_found", "There's an issue with the selected model. It may not exist.", "not_found_error"
    ),
    "413": Failure(413, "invalid_request", "Request too large", "request_too_large"),
    "429": Failure(429, "rate_limit", _RATE, "rate_limit_error", "rate_limit"),
    "500": Failure(500, "server_error", f"{_SERVER} {_GATEWAY}", "api_error", "server_error"),
    "529": Failure(529, "server_error", f"{_OVERLOADED} {_GATEWAY}", "overloaded_error", "overloaded"),
    "network": Failure(None, "server_error", _REFUSED, None, "unknown", {"api_error": "connection_failed"}),
    "no_key": Failure(None, "authentication_failed", "Not logged in · Please run /login"),
    "quota": Failure(429, "rate_limit", "", "rate_limit_error", extra={"api_error": "usage_limit_reached"}),
    "billing": Failure(400, "billing_error", "Credit balance is too low", "invalid_request_error"),
    "prompt_too_long": Failure(400, "invalid_request", "Prompt is too long", "invalid_request_error"),
}


def fail(session: Session, turn: Turn, arguments: Json) -> None:
    """Plays a failure and ends the turn."""
    name = str(arguments.get("kind") or arguments.get("status") or "500")
    failure = FAILURES.get(name)
    if failure is None:
        raise ScriptError(f"no such API failure: {name}")
    session.send_requesting()
    retry(session, failure, arguments)
    limit = rejected(session, arguments) if name == "quota" else None
    if limit is not None:
        tell_limit(session, limit)
    text = str(arguments.get("text") or (failure.text if limit is None else limit_words(limit)))
    status = {} if failure.status is None else {"api_error_status": failure.status, "api_error_type": failure.kind}
    stated = {} if limit is None else {"api_error_params": {"rate_limit_info": limit}}
    frame = session.frames.synthetic(text, failure.error, {**status, **failure.extra, **stated})
    session.send(frame)
    session.keep("assistant", frame["message"])
    turn.text = text
    raise TurnEndError(
        "success",
        "api_error",
        stop_reason="stop_sequence",
        result=text,
        **{"api_error_status": failure.status, **status, **failure.extra},
    )


def retry(session: Session, failure: Failure, arguments: Json) -> None:
    """The series of `api_retry` frames, with the waits between them."""
    if failure.retry_error is None:
        return
    maximum = int(arguments.get("retries", retries_allowed(session)))
    given = arguments.get("retry_milliseconds")
    stated = float(arguments.get("retry_after", 0))
    for attempt in range(1, maximum + 1):
        usual = min(_DELAY_SECONDS_MAX, _FIRST_DELAY_SECONDS * 2 ** (attempt - 1)) * session.ids.between(1.0, 1.2)
        usual = stated + session.ids.between(0.1, 0.7) if stated else usual
        seconds = usual if given is None else float(given) / 1000
        session.send(
            session.frames.api_retry(attempt, maximum, round(seconds * 1000), failure.status, failure.retry_error)
        )
        if given is None:
            session.timing.natural(seconds)
        else:
            session.timing.exactly(seconds)


def retries_allowed(session: Session) -> int:
    """How often the program repeats a call by itself."""
    configured = session.environment.get("CLAUDE_CODE_MAX_RETRIES", "")
    return int(configured) if configured.isdecimal() else _RETRIES_DEFAULT


def rejected(session: Session, arguments: Json) -> Json:
    """The window is used up."""
    resets_at = session.timing.epoch_seconds() + round(float(arguments.get("resets_in_seconds", 3600)))
    return {
        "status": "rejected",
        "resetsAt": int(arguments.get("resets_at", resets_at)),
        "rateLimitType": str(arguments.get("claim", "five_hour")),
        "overageStatus": "rejected",
        "overageDisabledReason": "org_level_disabled",
        "isUsingOverage": False,
    }


def tell_limit(session: Session, limit: Json) -> None:
    """Says how a usage limit stands, when that is not what was said last."""
    if limit != session.limit_told:
        session.limit_told = limit
        session.send(session.frames.rate_limit(limit))


def tell_limit_is_over(session: Session) -> None:
    """Says so with the first answer after one that a usage limit refused."""
    if session.limit_told is not None:
        tell_limit(session, {"status": "allowed", "isUsingOverage": False})
        session.limit_told = None


def limit_words(limit: Json) -> str:
    """The program's own sentence on a limit that is used up."""
    resets = datetime.fromtimestamp(limit["resetsAt"], UTC)
    time = f"{resets.hour % 12 or 12}:{resets:%M%p}".lower()
    return f"You've hit your {_LIMITS.get(limit['rateLimitType'], 'usage limit')} · resets {time} (UTC)"
