"""Decides why a conversation failed: evidence in, failure out, the most trusted sign first.

Pure; `sign` names what the class was read from. Trust falls from the last result over the last assistant error, the
last word on a usage limit, the last retry and standard error to the exit status.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from google.protobuf import duration_pb2

from headrace.v1 import outcome_pb2
from headrace_worker.executors.claude.frames import result_text
from headrace_worker.executors.claude.wire import Body, integer, mapping, text
from headrace_worker.executors.failures import failure, signal_name
from headrace_worker.process import ExitStatus

AUTH = outcome_pb2.FAILURE_CLASS_AUTH
BILLING = outcome_pb2.FAILURE_CLASS_BILLING
BUDGET = outcome_pb2.FAILURE_CLASS_BUDGET
CANCELLED = outcome_pb2.FAILURE_CLASS_CANCELLED
CONTEXT = outcome_pb2.FAILURE_CLASS_CONTEXT
CRASH = outcome_pb2.FAILURE_CLASS_CRASH
ERROR = outcome_pb2.FAILURE_CLASS_ERROR
INVALID = outcome_pb2.FAILURE_CLASS_INVALID
NETWORK = outcome_pb2.FAILURE_CLASS_NETWORK
OVERLOADED = outcome_pb2.FAILURE_CLASS_OVERLOADED
QUOTA = outcome_pb2.FAILURE_CLASS_QUOTA
RATE_LIMITED = outcome_pb2.FAILURE_CLASS_RATE_LIMITED
SCHEMA = outcome_pb2.FAILURE_CLASS_SCHEMA
STALL = outcome_pb2.FAILURE_CLASS_STALL
TURN_LIMIT = outcome_pb2.FAILURE_CLASS_TURN_LIMIT
UNKNOWN_OUTCOME = outcome_pb2.FAILURE_CLASS_UNKNOWN_OUTCOME

CRASH_SIGNALS = (4, 6, 7, 8, 9, 11)
EXIT_CODE_OF_SIGNAL = 128
SUBTYPES: Mapping[str, outcome_pb2.FailureClass] = {
    "error_max_turns": TURN_LIMIT,
    "error_max_budget_usd": BUDGET,
    "error_max_structured_output_retries": SCHEMA,
}
TERMINAL_REASONS: Mapping[str, outcome_pb2.FailureClass] = {
    "max_turns": TURN_LIMIT,
    "budget_exhausted": BUDGET,
    "prompt_too_long": CONTEXT,
    "blocking_limit": CONTEXT,
    "rapid_refill_breaker": CONTEXT,
}
API_ERRORS: Mapping[str, outcome_pb2.FailureClass] = {
    "connection_failed": NETWORK,
    "connection_error": NETWORK,
    "timeout": NETWORK,
    "authentication_failed": AUTH,
    "authentication_error": AUTH,
    "permission_error": AUTH,
    "oauth_org_not_allowed": AUTH,
    "billing_error": BILLING,
    "rate_limit": RATE_LIMITED,
    "rate_limit_error": RATE_LIMITED,
    "overloaded": OVERLOADED,
    "overloaded_error": OVERLOADED,
    "server_error": OVERLOADED,
    "api_error": OVERLOADED,
    "request_too_large": CONTEXT,
    "prompt_too_long": CONTEXT,
    "invalid_request": INVALID,
    "invalid_request_error": INVALID,
    "model_not_found": INVALID,
    "not_found_error": INVALID,
    "usage_limit_reached": QUOTA,
}
TEXTS: tuple[tuple[re.Pattern[str], outcome_pb2.FailureClass], ...] = (
    (re.compile(r"credit balance|spend(ing)? limit|billing", re.I), BILLING),
    (re.compile(r"you've hit your .{0,40}limit|usage[ _]limit[ _]reached", re.I), QUOTA),
    (re.compile(r"not logged in|invalid api key|please run /login|oauth token .{0,20}(expired|revoked)", re.I), AUTH),
    (re.compile(r"prompt is too long|prompt_too_long|context window|request too large", re.I), CONTEXT),
    (re.compile(r"overloaded|internal server error", re.I), OVERLOADED),
    (re.compile(r"ECONNRE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|connection (error|refused|reset)|fetch failed", re.I), NETWORK),
)
REFINED_BY_TEXT = frozenset({INVALID, RATE_LIMITED})
"""A status may say less than the text beside it: 400 for an empty balance, 429 for a used-up quota."""
UNKNOWN_SESSION = "No conversation found with session ID"
RESET_IN_TEXT = re.compile(r"limit reached\|(\d{10})\b")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when the conversation is over."""

    exit: ExitStatus
    frames: int = 0
    result: Body | None = None
    assistant_error: Body | None = None
    rate_limit: Body | None = None
    api_retry: Body | None = None
    stderr: str = ""
    stalled_phase: str = ""
    """The phase whose watchdog ended it, if one did and no good result followed."""
    silence: str = ""
    """What was known of it then."""
    auth_interrupt: bool = False
    """Whether it was interrupted because a credential is refused."""
    resumed_attempt: bool = False
    """Whether it was to go on where an earlier attempt stopped."""
    ended_by_person: str = ""
    """What somebody said who denied a permission and ended the turn with it."""


@dataclass(frozen=True, slots=True)
class _Finding:
    failure_class: outcome_pb2.FailureClass
    sign: str
    message: str = ""


def classify(evidence: Evidence, now: float) -> outcome_pb2.Failure | None:
    """Why it failed, or None when its last result is a success. `now` in seconds since 1970."""
    if is_success(evidence.result) and not evidence.stalled_phase:
        return None
    finding = _find(evidence)
    found = failure(finding.failure_class, finding.message or _message(evidence), finding.sign, evidence.stderr)
    if evidence.exit.signal:
        found.signal = evidence.exit.signal
    delay = _retry_after(finding.failure_class, evidence, now)
    if delay is not None:
        found.retry_after.CopyFrom(duration_pb2.Duration(seconds=int(delay), nanos=int(delay % 1 * 1e9)))
    return found


def is_success(result: Body | None) -> bool:
    """Whether a turn ended well. An API failure has the subtype `success` too."""
    return result is not None and result.get("is_error") is not True and text(result, "subtype") in ("success", "")


def is_aborted(result: Body | None) -> bool:
    """Whether a turn was cut off by an interrupt or a signal."""
    return result is not None and text(result, "terminal_reason").startswith("aborted_")


def _find(evidence: Evidence) -> _Finding:
    if evidence.ended_by_person and is_aborted(evidence.result):
        return _Finding(CANCELLED, "answer.interrupt", f"a person ended the turn: {evidence.ended_by_person}")
    if evidence.stalled_phase:
        return _Finding(STALL, f"watchdog={evidence.stalled_phase}", evidence.silence)
    if evidence.auth_interrupt and evidence.api_retry is not None:
        return _Finding(AUTH, _retry_sign(evidence.api_retry), "the model's service refuses the credential")
    finding = _from_result(evidence) or _from_assistant(evidence)
    if finding is not None:
        return _refined(finding, evidence)
    return _from_rate_limit(evidence) or _from_retry(evidence) or _from_stderr(evidence) or _from_exit(evidence)


def _from_result(evidence: Evidence) -> _Finding | None:
    result = evidence.result
    if result is None:
        return None
    if UNKNOWN_SESSION in result_text(result):
        kind = UNKNOWN_OUTCOME if evidence.resumed_attempt else INVALID
        return _Finding(kind, "result.errors=unknown_session")
    subtype, reason = text(result, "subtype"), text(result, "terminal_reason")
    if subtype in SUBTYPES:
        return _Finding(SUBTYPES[subtype], f"result.subtype={subtype}")
    if reason in TERMINAL_REASONS:
        return _Finding(TERMINAL_REASONS[reason], f"result.terminal_reason={reason}")
    return _from_error_fields(result, "result")


def _from_assistant(evidence: Evidence) -> _Finding | None:
    error = evidence.assistant_error
    if error is None:
        return None
    found = _from_error_fields(error, "assistant")
    if found is not None:
        return found
    name = text(error, "error")
    return _Finding(API_ERRORS[name], f"assistant.error={name}") if name in API_ERRORS else None


def _from_error_fields(frame: Body, source: str) -> _Finding | None:
    status = integer(frame, "api_error_status")
    if status:
        return _Finding(_class_of_status(status), f"{source}.api_error_status={status}")
    for name in ("api_error", "api_error_type"):
        value = text(frame, name)
        if value in API_ERRORS:
            return _Finding(API_ERRORS[value], f"{source}.{name}={value}")
    return None


def _class_of_status(status: int) -> outcome_pb2.FailureClass:
    match status:
        case 401 | 403:
            return AUTH
        case 402:
            return BILLING
        case 408:
            return NETWORK
        case 413:
            return CONTEXT
        case 429:
            return RATE_LIMITED
        case _ if status >= 500:
            return OVERLOADED
    return INVALID


def _refined(finding: _Finding, evidence: Evidence) -> _Finding:
    if finding.failure_class not in REFINED_BY_TEXT:
        return finding
    limit = _from_rate_limit(evidence)
    if finding.failure_class == RATE_LIMITED and limit is not None:
        return limit
    by_text = _class_of_text(_message(evidence))
    if by_text in (BILLING, CONTEXT, QUOTA):
        return _Finding(by_text, f"{finding.sign} text")
    return finding


def _from_rate_limit(evidence: Evidence) -> _Finding | None:
    limit, source = _limit_of(evidence)
    if text(limit, "status") != "rejected":
        return None
    kind = text(limit, "rateLimitType")
    return _Finding(QUOTA, f"{source}.status=rejected", f"the usage limit {kind} is reached".replace("  ", " "))


def _limit_of(evidence: Evidence) -> tuple[Body, str]:
    """How a usage limit stands, and who said it. A CLI has an event for it only when that has changed since the turn
    before; then the error alone tells it."""
    if evidence.rate_limit is not None:
        return evidence.rate_limit, "rate_limit_event"
    stated = mapping(evidence.assistant_error, "api_error_params")
    return mapping(stated, "rate_limit_info"), "assistant.api_error_params"


def _from_retry(evidence: Evidence) -> _Finding | None:
    retry = evidence.api_retry
    if retry is None:
        return None
    status, name = integer(retry, "error_status"), text(retry, "error")
    if status:
        return _Finding(_class_of_status(status), _retry_sign(retry))
    known = API_ERRORS.get(name, NETWORK)
    return _Finding(NETWORK if known == OVERLOADED else known, _retry_sign(retry))


def _retry_sign(retry: Body) -> str:
    return f"api_retry.error_status={integer(retry, 'error_status') or 'null'} error={text(retry, 'error')}"


def _from_stderr(evidence: Evidence) -> _Finding | None:
    """Standard error counts when the program ended by itself with a complaint; else it may be any old warning."""
    if evidence.exit.code != 1 and evidence.result is None:
        return None
    said = result_text(evidence.result) if evidence.result is not None else evidence.stderr
    source = "result.text" if evidence.result is not None else "stderr"
    by_text = _class_of_text(said)
    if by_text is not None:
        return _Finding(by_text, source)
    if evidence.frames == 0 and evidence.stderr.strip():
        return _Finding(INVALID, "exit_code=1 without a frame", evidence.stderr.strip().splitlines()[0])
    return None


def _class_of_text(said: str) -> outcome_pb2.FailureClass | None:
    return next((found for pattern, found in TEXTS if pattern.search(said)), None)


def _from_exit(evidence: Evidence) -> _Finding:
    status = evidence.exit
    if evidence.result is not None:
        reason = text(evidence.result, "terminal_reason") or text(evidence.result, "subtype")
        return _Finding(CRASH if is_aborted(evidence.result) else ERROR, f"result.terminal_reason={reason}")
    if status.signal:
        return _Finding(CRASH, f"signal={status.signal}", f"the CLI was ended by {signal_name(status.signal)}")
    if status.code > EXIT_CODE_OF_SIGNAL and status.code - EXIT_CODE_OF_SIGNAL in CRASH_SIGNALS:
        number = status.code - EXIT_CODE_OF_SIGNAL
        return _Finding(CRASH, f"exit_code={status.code}", f"the CLI was ended by {signal_name(number)}")
    return _Finding(CRASH, f"exit_code={status.code}", "the CLI ended without a result")


def _message(evidence: Evidence) -> str:
    """The best line for a person."""
    if evidence.result is not None and result_text(evidence.result):
        return result_text(evidence.result)
    lines = evidence.stderr.strip().splitlines()
    return lines[-1] if lines else "the CLI ended without a result"


def _retry_after(failure_class: outcome_pb2.FailureClass, evidence: Evidence, now: float) -> float | None:
    """What the service asks to wait for, zero when that is over; None when it did not say."""
    if failure_class == QUOTA:
        stated = RESET_IN_TEXT.search(_message(evidence))
        resets_at = integer(_limit_of(evidence)[0], "resetsAt") or (int(stated.group(1)) if stated else 0)
        return max(0.0, resets_at - now) if resets_at else None
    if failure_class == RATE_LIMITED and evidence.api_retry is not None:
        return integer(evidence.api_retry, "retry_delay_ms") / 1000
    return None
