"""`event watch` and `event list`: what they ask for, and how they tell what happened."""

from __future__ import annotations

import json
import shlex
import signal
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.cli import narration
from headrace.cli.amounts import clock
from headrace.cli.describe import feed_text
from headrace.v1 import event_pb2, event_service_pb2, job_pb2, outcome_pb2, watch_pb2

JOB_ID = "0199b3a0-0000-7000-8000-000000000001"
DEADLINE_SECONDS = 20
BEGIN = Timestamp(seconds=1_700_000_000)
RESTORED = watch_pb2.GAP_REASON_RESTORED


def event(position: int, name: str = "", **kind: Any) -> event_service_pb2.FeedEvent:
    made = event_pb2.Event(job_id=JOB_ID, position=position, time=BEGIN, attempt=1, **kind)
    return event_service_pb2.FeedEvent(event=made, queue="q", owner="me", display_name=name)


BROKE = outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_CRASH, message="it broke")
STARTED = event(5, "Index", attempt_started=event_pb2.AttemptStarted(worker_id="w1"))
FAILED = event(6, failed=event_pb2.JobFailed(failure=BROKE))


def opened() -> event_service_pb2.WatchEventsResponse:
    return event_service_pb2.WatchEventsResponse(cursor="feed:1:4", opened=event_service_pb2.FeedOpened())


def batch(*events: event_service_pb2.FeedEvent) -> event_service_pb2.WatchEventsResponse:
    said = event_service_pb2.FeedBatch(events=events)
    return event_service_pb2.WatchEventsResponse(cursor=f"feed:1:{events[-1].event.position}", batch=said)


def gap(first: int, last: int, reason: watch_pb2.GapReason) -> event_service_pb2.FeedGap:
    return event_service_pb2.FeedGap(from_position=first, to_position=last, reason=reason)


def end(reason: watch_pb2.EndReason = watch_pb2.END_REASON_CAUGHT_UP) -> event_service_pb2.WatchEventsResponse:
    return event_service_pb2.WatchEventsResponse(end=event_service_pb2.FeedEnd(reason=reason))


def test_watch_tells_a_line_for_each_event_and_where_something_is_missing(headrace_command: Any, answers: Any) -> None:
    missing = event_service_pb2.WatchEventsResponse(cursor="c", gap=gap(1, 4, watch_pb2.GAP_REASON_RETENTION))
    answers.feeds = [[opened(), missing, batch(STARTED, FAILED), end()]]
    result = headrace_command("event", "watch", "--no-follow")
    when = clock(BEGIN)
    assert result.stdout.splitlines() == [
        f"{when}  {JOB_ID}  q 'Index'  attempt 1 started on w1",
        f"{when}  {JOB_ID}  q  ✗ failed: CRASH: it broke",
    ]
    assert "events of 1 to 4 are missing" in result.stderr
    assert result.exit_code == 0
    request = answers.requests[0]
    assert (request.scope, request.filter, request.no_follow) == (event_service_pb2.FEED_SCOPE_NAMESPACE, "", True)
    assert request.WhichOneof("start") == "from_beginning"


def test_watch_asks_for_what_its_options_say(headrace_command: Any, answers: Any) -> None:
    answers.feeds = [[opened(), end()]]
    chosen = ["--mine", "--type", "attempt-failed", "--type", "failed", "--queue", "q", "--label", "team=search"]
    begun = ["--from", "2026-01-31T08:00:00+00:00", "--max-rate", "10KiB", "--job", JOB_ID, "--filter", "owner = anna"]
    assert headrace_command("event", "watch", *chosen, *begun).exit_code == 0
    request = answers.requests[0]
    assert request.filter == (
        f'type = (attempt_failed OR failed) AND queue = "q" AND job_id = "{JOB_ID}" AND labels.team = "search"'
        " AND owner = anna"
    )
    assert (request.scope, request.max_bytes_per_second) == (event_service_pb2.FEED_SCOPE_OWN, 10 * 1024)
    assert request.start_time.ToJsonString() == "2026-01-31T08:00:00Z"


@pytest.mark.parametrize(
    ("options", "start", "cursor"),
    [([], None, ""), (["--from", "beginning"], "from_beginning", ""), (["--cursor", "feed:1:9"], None, "feed:1:9")],
)
def test_where_a_watch_begins(
    headrace_command: Any, answers: Any, options: list[str], start: str | None, cursor: str
) -> None:
    answers.feeds = [[opened(), end()]]
    assert headrace_command("event", "watch", *options).exit_code == 0
    assert (answers.requests[0].WhichOneof("start"), answers.requests[0].cursor) == (start, cursor)


def test_a_watch_begins_at_one_place_only(headrace_command: Any) -> None:
    result = headrace_command("event", "watch", "--from", "beginning", "--cursor", "c")
    assert (result.exit_code, "not both" in result.stderr) == (2, True)


def test_a_cut_is_told_once_and_the_events_go_on(headrace_command: Any, answers: Any) -> None:
    answers.feeds = [[opened(), batch(STARTED)], [opened(), batch(STARTED, FAILED), end()]]
    result = headrace_command("event", "watch")
    assert len(result.stdout.splitlines()) == 2
    assert result.stderr.count("connection lost") == 1
    assert answers.requests[1].cursor == "feed:1:5"


def test_a_revoked_right_is_told_and_fails(headrace_command: Any, answers: Any) -> None:
    answers.feeds = [[opened(), end(watch_pb2.END_REASON_PERMISSION_REVOKED)]]
    result = headrace_command("event", "watch")
    assert (result.exit_code, "revoked" in result.stderr) == (1, True)


def test_json_is_a_line_for_each_event_and_gap(headrace_command: Any, answers: Any) -> None:
    missing = event_service_pb2.WatchEventsResponse(cursor="c", gap=gap(1, 3, RESTORED))
    answers.feeds = [[opened(), missing, batch(STARTED), end()]]
    result = headrace_command("event", "watch", "-o", "json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert lines[0] == {"gap": {"fromPosition": "1", "toPosition": "3", "reason": "GAP_REASON_RESTORED"}}
    assert lines[1]["event"]["attemptStarted"] == {"workerId": "w1"}
    assert (lines[1]["queue"], lines[1]["displayName"], len(lines)) == ("q", "Index", 2)


def test_an_interrupted_watch_says_how_to_go_on(start_command: Any, answers: Any) -> None:
    answers.feeds = [[opened(), batch(STARTED)]]
    process = start_command("event", "watch")
    assert b"attempt 1 started" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, stderr.decode()) == (
        130,
        "headrace: go on with: headrace event watch --cursor feed:1:5\n",
    )


def test_the_way_to_go_on_asks_for_the_same_events(start_command: Any, answers: Any) -> None:
    answers.feeds = [[opened(), batch(STARTED)]]
    asked = ["--queue", "q", "--filter", "type = failed", "--type", "a", "--type", "b", "--label", "k=v", "--mine"]
    process = start_command("event", "watch", *asked)
    assert b"attempt 1 started" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=DEADLINE_SECONDS)
    told = shlex.split(stderr.decode().strip().removeprefix("headrace: go on with: headrace event watch "))
    assert (sorted(told), told[-2:]) == (sorted([*asked, "--cursor", "feed:1:5"]), ["--cursor", "feed:1:5"])


def test_list_tells_the_newest_events_of_a_range(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["ListEvents"] = event_service_pb2.ListEventsResponse(events=[FAILED, STARTED])
    before = datetime.now(UTC)  # the command reads the wall clock
    result = headrace_command("event", "list", "--from", "10m", "--until", "1m", "--limit", "1", "--oldest-first")
    assert result.stdout.splitlines() == [f"{clock(BEGIN)}  {JOB_ID}  q  ✗ failed: CRASH: it broke"]
    request = answers.requests[0]
    assert (request.page_size, request.oldest_first) == (1, True)
    assert abs(request.start_time.ToDatetime(UTC) - (before - timedelta(minutes=10))) < timedelta(minutes=1)
    assert request.end_time.ToDatetime(UTC) > request.start_time.ToDatetime(UTC)


def test_a_list_as_json_is_one_document(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["ListEvents"] = event_service_pb2.ListEventsResponse(events=[STARTED])
    listed = json.loads(headrace_command("event", "list", "-o", "json").stdout)
    assert [one["event"]["position"] for one in listed["events"]] == ["5"]


def test_a_list_without_events_says_so(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["ListEvents"] = event_service_pb2.ListEventsResponse()
    assert headrace_command("event", "list").stdout == "no events\n"


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"submitted": event_pb2.JobSubmitted(state=job_pb2.JOB_STATE_QUEUED)}, "submitted: QUEUED"),
        ({"succeeded": event_pb2.JobSucceeded()}, "✓ succeeded"),
        (
            {"cancelled": event_pb2.JobCancelled(cancellation=job_pb2.Cancellation(actor="anna", reason="late"))},
            "✗ cancelled by anna: late",
        ),
        ({"expired": event_pb2.JobExpired(failure=BROKE)}, "✗ expired: CRASH: it broke"),
        ({"skipped": event_pb2.JobSkipped(failure=BROKE)}, "✗ skipped: CRASH: it broke"),
        ({}, "something that this version does not know"),
    ],
)
def test_every_event_is_told_in_words(kind: dict[str, Any], expected: str) -> None:
    assert feed_text.what_happened(event(1, **kind).event) == expected


def test_every_kind_but_output_has_words() -> None:
    kinds = {one.name for one in event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields}
    assert kinds - {"output"} == narration.NARRATORS.keys() | feed_text.ENDED.keys()


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (gap(3, 3, watch_pb2.GAP_REASON_RETENTION), "event 3 is missing: it was removed with its job"),
        (
            gap(1, 9, RESTORED),
            "the store was restored from a backup: events up to 9 may be others than those seen",
        ),
    ],
)
def test_gaps_say_why(said: event_service_pb2.FeedGap, expected: str) -> None:
    assert feed_text.gap_line(said) == expected
