"""What a handler returned, as who follows its job sees it."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.cli.parts import Answer
from headrace.cli.transcript import Transcript, Wanted
from headrace.v1 import event_pb2, outcome_pb2


def told(log: Any, value: dict[str, Any], wanted: Wanted) -> list[Answer]:
    result = outcome_pb2.Result(handler={"value": value})
    events = log.add(succeeded=event_pb2.JobSucceeded(result=result)).events
    parts = [part for event in events for part in Transcript(wanted).feed(event)]
    return [part for part in parts if isinstance(part, Answer)]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"struct_value": {"sum": 3}}, '{"sum": 3.0}'),
        ({"string_value": "zwölf\n"}, r'"zwölf\n"'),
        ({"bool_value": False}, "false"),
    ],
)
def test_it_is_told_as_json_on_a_line(log: Any, value: dict[str, Any], line: str) -> None:
    assert told(log, value, Wanted()) == [Answer(line, end=True)]


def test_nothing_is_not_told(log: Any) -> None:
    assert told(log, {"null_value": "NULL_VALUE"}, Wanted()) == []


def test_a_log_alone_is_told_without_it(log: Any) -> None:
    assert told(log, {"bool_value": True}, Wanted(lifecycle=False)) == []
