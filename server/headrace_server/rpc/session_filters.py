"""Reads the filter of ListSessions, by the grammar of `filters`."""

from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.core.sessions import SessionFilter, SessionState
from headrace_server.rpc.checks.violations import Violations
from headrace_server.rpc.filters import FilterError, labels_of, read_terms

FIELDS = ("state", "queue", "owner", "worker_id")


def parse_session_filter(text: str) -> SessionFilter:
    """The meaning of a filter; an empty one narrows nothing. Raises Refused (INVALID_FIELD, `filter`)."""
    try:
        return _parse(text)
    except FilterError as error:
        violation = Violation("filter", str(error))
        raise Refused(Refusal(Reason.INVALID_FIELD, f"filter {error}", violations=(violation,))) from None


def check_session_filter(text: str, path: str, violations: Violations) -> None:
    """The same as a check of a field."""
    try:
        _parse(text)
    except FilterError as error:
        violations.add(path, str(error))


def _parse(text: str) -> SessionFilter:
    terms = read_terms(text, FIELDS, _fault)
    return SessionFilter(
        states=frozenset(SessionState[name] for name in terms.pop("state", ())),
        queues=terms.pop("queue", ()),
        owners=terms.pop("owner", ()),
        worker_ids=terms.pop("worker_id", ()),
        labels=labels_of(terms),
    )


def _fault(field: str, value: str) -> str:
    if field != "state" or value in SessionState.__members__:
        return ""
    return f"is no state of a session; states are {', '.join(SessionState.__members__)}"
