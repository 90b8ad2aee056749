"""The filter of ListJobs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.job_filter import JobFilter
from headrace_server.core.refusal import Reason, Refused
from headrace_server.core.states import JobState
from headrace_server.rpc.filters import parse_filter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", JobFilter()),
        ("   ", JobFilter()),
        ("state = RUNNING", JobFilter(states=frozenset({"RUNNING"}))),
        ("state=RUNNING", JobFilter(states=frozenset({"RUNNING"}))),
        ('state = "RUNNING"', JobFilter(states=frozenset({"RUNNING"}))),
        ("state = (RUNNING OR QUEUED)", JobFilter(states=frozenset({"RUNNING", "QUEUED"}))),
        ("queue = (a OR b OR a)", JobFilter(queues=("a", "b"))),
        ("worker_id = (w-1)", JobFilter(worker_ids=("w-1",))),
        (r'owner = "a \"b\" \\ (c) AND"', JobFilter(owners=('a "b" \\ (c) AND',))),
        ('owner = "OR"', JobFilter(owners=("OR",))),
        ('labels.team = ""', JobFilter(labels=(("team", ("",)),))),
        ("labels.a.b-c = x", JobFilter(labels=(("a.b-c", ("x",)),))),
        ("owner = anna@example.org", JobFilter(owners=("anna@example.org",))),
        (
            'state = (RUNNING OR QUEUED) AND labels.team = "search" AND labels.tier = (1 OR 2)',
            JobFilter(states=frozenset({"RUNNING", "QUEUED"}), labels=(("team", ("search",)), ("tier", ("1", "2")))),
        ),
    ],
)
def test_filters_that_are_read(text: str, expected: JobFilter) -> None:
    assert parse_filter(text) == expected


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (
            "stat = RUNNING",
            "at 1: a field is expected, one of state, queue, owner, worker_id, session_id, labels.KEY, not 'stat'",
        ),
        ("state = JOGGING", "at 9: 'JOGGING' is no state; states are SCHEDULED, BLOCKED"),
        ("state = running", "at 9: 'running' is no state"),
        ("state : RUNNING", "at 7: '=' is expected, not ':'"),
        ("state != RUNNING", "at 7: '=' is expected, not '!='"),
        ("state =", "at 8: a value of state is expected, not the end"),
        ("state = RUNNING OR state = QUEUED", "at 17: AND or the end is expected, not 'OR'"),
        ("state = RUNNING AND", "at 20: a field is expected"),
        ("state = RUNNING AND state = QUEUED", "at 21: 'state' is there twice; join its values: (a OR b)"),
        ("labels.a = 1 AND labels.a = 2", "at 18: 'labels.a' is there twice"),
        ("queue = (a OR b", "at 16: OR or ')' is expected, not the end"),
        ("queue = (a, b)", "at 13: OR or ')' is expected, not 'b'"),
        ("queue = (a AND b)", "at 12: OR or ')' is expected, not 'AND'"),
        ("queue = ()", "at 10: a value of queue is expected"),
        ("queue = (a OR)", "at 14: a value of queue is expected"),
        ('queue = ""', "at 9: a value of queue must not be empty"),
        ('owner = "anna', "at 9: a quoted value is not closed"),
        (r'owner = "a\n"', "at 9: a quoted value is not closed, or has a \\ before neither"),
        ('"state" = RUNNING', "at 1: a field is expected"),
        ("labels. = x", "at 1: a field is expected"),
        ("labels.Team = x", "at 1: a field is expected"),
        ("(state = RUNNING)", "at 1: a field is expected"),
        ("owner = " + "x" * 2048, "has 2056 characters; at most 2048 are allowed"),
    ],
)
def test_filters_that_are_refused_say_where_and_what(text: str, part: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_filter(text)
    refusal = caught.value.refusal
    assert refusal.reason is Reason.INVALID_FIELD
    assert refusal.violations[0].field == "filter"
    assert part in refusal.violations[0].description


def read_or_reason(text: str) -> JobFilter | Reason:
    try:
        return parse_filter(text)
    except Refused as refused:
        return refused.refusal.reason


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text: str) -> None:
    outcome = read_or_reason(text)
    assert isinstance(outcome, JobFilter) or outcome is Reason.INVALID_FIELD


PIECES = ["state", "queue", "labels.a", "=", "(", ")", "OR", "AND", '"x"', "RUNNING", "y", " ", '"', "\\", "!"]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(" ".join))
def test_any_order_of_the_grammars_pieces_is_read_or_refused(text: str) -> None:
    outcome = read_or_reason(text)
    assert isinstance(outcome, JobFilter) or outcome is Reason.INVALID_FIELD


def quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(
    states=st.sets(st.sampled_from([state.name for state in JobState]), min_size=1),
    owners=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=5, unique=True),
    label=st.text(max_size=20),
)
def test_what_is_quoted_comes_back(states: set[str], owners: list[str], label: str) -> None:
    text = (
        f"state = ({' OR '.join(sorted(states))}) AND owner = ({' OR '.join(map(quoted, owners))})"
        f" AND labels.team = {quoted(label)}"
    )
    expected = JobFilter(states=frozenset(states), owners=tuple(owners), labels=(("team", (label,)),))
    assert parse_filter(text) == expected
