"""Reads the filter of ListJobs, a small subset of AIP-160; `event_filters` reads that of the feed by the same grammar.

    filter = [ term { "AND" term } ] ;
    term   = field "=" ( value | "(" value { "OR" value } ")" ) ;
    value  = bare word | '"' text with \\" and \\\\ '"' ;

Errors name the place, counted from 1, and what is allowed there.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from headrace_server.core import limits
from headrace_server.core.ids import parse_job_id
from headrace_server.core.job_filter import JobFilter
from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.core.states import ENDED, JobState
from headrace_server.rpc.checks.violations import LABEL_KEY, UUID_TEXT, Violations

FIELDS = ("state", "queue", "owner", "worker_id", "session_id")
LABELS_PREFIX = "labels."
STATE_NAMES = frozenset(state.name for state in JobState)

_TOKEN = re.compile(
    r"""\s+
      | (?P<symbol> [()] | [=!<>:~]+ )
      | "(?P<quoted> (?: [^"\\] | \\["\\] )* )"
      | (?P<word> [^\s()=!<>:~"]+ )
    """,
    re.VERBOSE,
)


class FilterError(Exception):
    """The text is no filter; the message says where and why."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    """`symbol`, `quoted`, `word` or `end`."""
    text: str
    position: int

    def is_word(self, word: str) -> bool:
        return self.kind == "word" and self.text == word

    def shown(self) -> str:
        return "the end" if self.kind == "end" else f"'{self.text[:32]}'"


def parse_filter(text: str) -> JobFilter:
    """The meaning of a filter; an empty one narrows nothing. Raises Refused (INVALID_FIELD, `filter`)."""
    try:
        return _parse(text)
    except FilterError as error:
        violation = Violation("filter", str(error))
        raise Refused(Refusal(Reason.INVALID_FIELD, f"filter {error}", violations=(violation,))) from None


def live_only(wanted: JobFilter) -> JobFilter | None:
    """The same filter for jobs that have not ended; None when it asks for ended ones only."""
    states = frozenset(state.name for state in JobState if state not in ENDED)
    narrowed = states & wanted.states if wanted.states else states
    return replace(wanted, states=narrowed) if narrowed else None


def check_filter(text: str, path: str, violations: Violations) -> None:
    """The same as a check of a field."""
    try:
        _parse(text)
    except FilterError as error:
        violations.add(path, str(error))


def _parse(text: str) -> JobFilter:
    terms = read_terms(text, FIELDS, _fault)
    return JobFilter(
        states=frozenset(terms.pop("state", ())),
        queues=terms.pop("queue", ()),
        owners=terms.pop("owner", ()),
        worker_ids=terms.pop("worker_id", ()),
        session_ids=tuple(map(parse_job_id, terms.pop("session_id", ()))),
        labels=labels_of(terms),
    )


def _fault(field: str, value: str) -> str:
    if field == "session_id" and not UUID_TEXT.fullmatch(value):
        return "is no session id, a UUID in its lower-case text form"
    if field != "state" or value in STATE_NAMES:
        return ""
    return f"is no state; states are {', '.join(state.name for state in JobState)}"


def read_terms(text: str, fields: Sequence[str], fault: Callable[[str, str], str]) -> dict[str, tuple[str, ...]]:
    """The values of each field that is named, of `fields` and labels; `fault` says what is wrong with a value, or is
    empty. Raises FilterError."""
    if len(text) > limits.FILTER_CHARACTERS_MAX:
        raise FilterError(f"has {len(text)} characters; at most {limits.FILTER_CHARACTERS_MAX} are allowed")
    return dict(_Reader(list(_tokens(text)), fields, fault).terms())


def labels_of(terms: dict[str, tuple[str, ...]]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The terms that are about labels, by the label's key."""
    return tuple(
        (name.removeprefix(LABELS_PREFIX), values) for name, values in terms.items() if name.startswith(LABELS_PREFIX)
    )


def _tokens(text: str) -> Iterator[_Token]:
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise FilterError(f'at {position + 1}: a quoted value is not closed, or has a \\ before neither " nor \\')
        if match.lastgroup is not None:
            content = match[match.lastgroup]
            if match.lastgroup == "quoted":
                content = re.sub(r"\\(.)", r"\1", content)
            yield _Token(match.lastgroup, content, position + 1)
        position = match.end()
    yield _Token("end", "", len(text) + 1)


class _Reader:
    """Reads terms off a list of tokens."""

    def __init__(self, tokens: Sequence[_Token], fields: Sequence[str], fault: Callable[[str, str], str]) -> None:
        self._tokens = tokens
        self._fields = fields
        self._fault = fault
        self._index = 0

    def terms(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        seen: set[str] = set()
        if self._peek().kind == "end":
            return
        while True:
            field = self._field(seen)
            self._symbol("=")
            yield field.text, self._values(field.text)
            token = self._next()
            if token.kind == "end":
                return
            if not token.is_word("AND"):
                raise FilterError(f"at {token.position}: AND or the end is expected, not {token.shown()}")

    def _peek(self) -> _Token:
        return self._tokens[self._index]

    def _next(self) -> _Token:
        token = self._tokens[self._index]
        self._index = min(self._index + 1, len(self._tokens) - 1)
        return token

    def _field(self, seen: set[str]) -> _Token:
        token = self._next()
        known = token.text in self._fields or (
            token.text.startswith(LABELS_PREFIX) and LABEL_KEY.fullmatch(token.text.removeprefix(LABELS_PREFIX))
        )
        if token.kind != "word" or not known:
            allowed = ", ".join((*self._fields, "labels.KEY"))
            raise FilterError(f"at {token.position}: a field is expected, one of {allowed}, not {token.shown()}")
        if token.text in seen:
            raise FilterError(f"at {token.position}: {token.shown()} is there twice; join its values: (a OR b)")
        seen.add(token.text)
        return token

    def _symbol(self, symbol: str) -> None:
        token = self._next()
        if (token.kind, token.text) != ("symbol", symbol):
            raise FilterError(f"at {token.position}: '{symbol}' is expected, not {token.shown()}")

    def _values(self, field: str) -> tuple[str, ...]:
        token = self._peek()
        if (token.kind, token.text) != ("symbol", "("):
            return (self._value(field),)
        self._next()
        values = [self._value(field)]
        while True:
            token = self._next()
            if (token.kind, token.text) == ("symbol", ")"):
                return tuple(dict.fromkeys(values))
            if not token.is_word("OR"):
                raise FilterError(f"at {token.position}: OR or ')' is expected, not {token.shown()}")
            values.append(self._value(field))

    def _value(self, field: str) -> str:
        token = self._next()
        if token.kind not in ("word", "quoted") or (token.kind == "word" and token.text in ("AND", "OR", "NOT")):
            raise FilterError(f"at {token.position}: a value of {field} is expected, not {token.shown()}")
        fault = self._fault(field, token.text)
        if fault:
            raise FilterError(f"at {token.position}: {token.shown()} {fault}")
        if not token.text and not field.startswith(LABELS_PREFIX):
            raise FilterError(f"at {token.position}: a value of {field} must not be empty")
        return token.text
