"""Reads the filter of the feed, by the grammar of `filters`."""

from headrace.v1 import event_pb2
from headrace_server.core.event_filter import EventFilter
from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.rpc.checks.violations import UUID_TEXT, Violations
from headrace_server.rpc.filters import FilterError, labels_of, read_terms

FIELDS = ("type", "queue", "owner", "job_id", "worker_id", "schedule", "session_id")
_IDS = {"job_id": "job id", "session_id": "session id"}
TYPES = tuple(
    field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields if field.name != "output"
)
"""Names of the kinds of events that the feed has."""


def parse_event_filter(text: str) -> EventFilter:
    """The meaning of a filter; an empty one narrows nothing. Raises Refused (INVALID_FIELD, `filter`)."""
    try:
        return _parse(text)
    except FilterError as error:
        violation = Violation("filter", str(error))
        raise Refused(Refusal(Reason.INVALID_FIELD, f"filter {error}", violations=(violation,))) from None


def check_event_filter(text: str, path: str, violations: Violations) -> None:
    """The same as a check of a field."""
    try:
        _parse(text)
    except FilterError as error:
        violations.add(path, str(error))


def _parse(text: str) -> EventFilter:
    terms = read_terms(text, FIELDS, _fault)
    return EventFilter(
        types=frozenset(terms.get("type", ())),
        queues=frozenset(terms.get("queue", ())),
        owners=frozenset(terms.get("owner", ())),
        job_ids=frozenset(terms.get("job_id", ())),
        worker_ids=frozenset(terms.get("worker_id", ())),
        schedules=frozenset(terms.get("schedule", ())),
        session_ids=frozenset(terms.get("session_id", ())),
        labels=labels_of(terms),
    )


def _fault(field: str, value: str) -> str:
    if field == "type" and value not in TYPES:
        return f"is no type of event in the feed; types are {', '.join(TYPES)}"
    if field in _IDS and not UUID_TEXT.fullmatch(value):
        return f"is no {_IDS[field]}, a UUID in its lower-case text form"
    return ""
