"""What an error of the Messages API means for a job: its class, and how long to wait before the next attempt. Pure."""

from collections.abc import Mapping
from typing import Final

import httpx2
from anthropic import APIConnectionError, APIError, APIStatusError

from headrace.worker import HandlerFailure

API_ERRORS: Final = (APIError, httpx2.TransportError)
"""What a call raises; the second when the stream breaks off."""

BY_TYPE: Final[Mapping[str, str]] = {
    "authentication_error": "AUTH",
    "permission_error": "AUTH",
    "billing_error": "BILLING",
    "rate_limit_error": "RATE_LIMITED",
    "overloaded_error": "OVERLOADED",
    "api_error": "OVERLOADED",
    "timeout_error": "OVERLOADED",
    "invalid_request_error": "INVALID",
    "not_found_error": "INVALID",
    "request_too_large": "INVALID",
}
"""The type stands in the error's body, also inside a stream that began well, whose status is 200."""
BY_STATUS: Final[Mapping[int, str]] = {401: "AUTH", 402: "BILLING", 403: "AUTH", 408: "NETWORK", 429: "RATE_LIMITED"}


def failure_of(error: Exception) -> HandlerFailure:
    """The failure that the handler raises instead."""
    if isinstance(error, APIStatusError):
        kind = type_of(error)
        return HandlerFailure(
            f"the Messages API answered {error.status_code}: {text_of(error)}",
            BY_TYPE.get(kind) or class_of_status(error.status_code),
            retry_after=retry_after(error.response.headers),
            sign=f"status={error.status_code} {kind}".strip(),
        )
    if isinstance(error, APIConnectionError | httpx2.TransportError):
        return HandlerFailure(f"the connection to the Messages API failed: {error.__cause__ or error}", "NETWORK")
    return HandlerFailure(f"the Messages API's answer can't be read: {error}", "ERROR")


def class_of_status(status: int) -> str:
    """The class when the body does not say."""
    if status in BY_STATUS:
        return BY_STATUS[status]
    return "OVERLOADED" if status >= 500 else "INVALID"


def type_of(error: APIStatusError) -> str:
    """The API's word for the error; empty when a proxy said something else."""
    return str(part_of(error, "type"))


def text_of(error: APIStatusError) -> str:
    """What the API says about it."""
    return str(part_of(error, "message") or error.message)


def part_of(error: APIStatusError, name: str) -> object:
    """A part of the error in the body."""
    inner = error.body.get("error") if isinstance(error.body, dict) else None
    return inner.get(name, "") if isinstance(inner, dict) else ""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the API asks to wait; None when it does not, or gives a date."""
    try:
        seconds = float(headers.get("retry-after", ""))
    except ValueError:
        return None
    return seconds if seconds >= 0 else None
