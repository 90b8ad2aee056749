"""What a follower sees of each event, without a terminal: items in, parts out."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from headrace import errors, follow
from headrace.cli import amounts, narration
from headrace.cli.describe import job_text
from headrace.cli.parts import Answer, Line, Part, Raw, one_line, printable
from headrace.cli.screens import LiveScreen, PlainScreen, break_line
from headrace.cli.standing import Standing
from headrace.cli.transcript import Transcript, Wanted
from headrace.v1 import event_pb2, input_pb2, job_pb2, outcome_pb2, watch_pb2

LATER = Timestamp(seconds=1_700_000_002)
OVERLOADED = outcome_pb2.Failure(
    failure_class=outcome_pb2.FAILURE_CLASS_OVERLOADED, message="overloaded_error", sign="status=529"
)
RETRY = job_pb2.RetryDecision(action=job_pb2.RETRY_ACTION_RETRY, rule="class OVERLOADED retries", next_time=LATER)
GIVE_UP = job_pb2.RetryDecision(action=job_pb2.RETRY_ACTION_FAIL, rule="max_attempts 3 reached")

LIFECYCLE: list[tuple[dict[str, Any], str]] = [
    ({"submitted": event_pb2.JobSubmitted(state=job_pb2.JOB_STATE_QUEUED)}, "submitted: QUEUED"),
    ({"queued": event_pb2.JobQueued(cause=event_pb2.QUEUED_CAUSE_DUE)}, "queued: its time has come"),
    ({"scheduled": event_pb2.JobScheduled()}, "waits for its time"),
    (
        {"attempt_assigned": event_pb2.AttemptAssigned(worker_id="w1", rule="least loaded")},
        "attempt 1 assigned to w1 (least loaded)",
    ),
    ({"attempt_started": event_pb2.AttemptStarted(worker_id="w1")}, "attempt 1 started on w1"),
    (
        {"attempt_released": event_pb2.AttemptReleased(cause=event_pb2.RELEASE_CAUSE_DECLINED, message="full")},
        "attempt 1 went back unstarted: DECLINED: full",
    ),
    (
        {"attempt_failed": event_pb2.AttemptFailed(failure=OVERLOADED, decision=RETRY)},
        "attempt 1 failed: OVERLOADED: overloaded_error (status=529); next in 2.0 s (class OVERLOADED retries)",
    ),
    (
        {"attempt_failed": event_pb2.AttemptFailed(failure=OVERLOADED, decision=GIVE_UP)},
        "attempt 1 failed: OVERLOADED: overloaded_error (status=529); no further attempt (max_attempts 3 reached)",
    ),
    (
        {"attempt_lost": event_pb2.AttemptLost(worker_id="w1", reason="lease ended", decision=RETRY)},
        "attempt 1 lost with worker w1: lease ended; next in 2.0 s (class OVERLOADED retries)",
    ),
    (
        {"attempt_handed_back": event_pb2.AttemptHandedBack(worker_id="w1")},
        "attempt 1 handed back by w1; next at once",
    ),
    (
        {
            "attempt_timed_out": event_pb2.AttemptTimedOut(
                timeout=outcome_pb2.TIMEOUT_KIND_SILENCE, message="30 s without output"
            )
        },
        "attempt 1 passed its silence timeout: 30 s without output; its worker is told to end it",
    ),
    ({"attempt_snoozed": event_pb2.AttemptSnoozed(reason="not ready")}, "attempt 1 put itself off: not ready"),
    (
        {
            "input_requested": event_pb2.InputRequested(
                request=input_pb2.InputRequest(tool_name="Bash", input_json='{"command": "rm x"}')
            )
        },
        "waits for an answer: Bash rm x",
    ),
    (
        {"input_resolved": event_pb2.InputResolved(resolution=input_pb2.INPUT_RESOLUTION_DENIED, actor="ann")},
        "request for an answer denied by ann",
    ),
    ({"cancel_requested": event_pb2.CancelRequested(reason="enough", actor="ann")}, "cancel requested by ann: enough"),
    (
        {"cancel_stepped": event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_TERMINATE)},
        "cancel: SIGTERM to the process tree",
    ),
    (
        {"cancel_stepped": event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_TREE_GONE)},
        "cancel: process tree gone, 0 left",
    ),
    (
        {
            "cancel_requested": event_pb2.CancelRequested(
                cause=job_pb2.CANCEL_CAUSE_SUPERSEDED, superseded_by_job_id="k"
            )
        },
        "cancel requested (job k takes its place)",
    ),
    (
        {
            "updated": event_pb2.JobUpdated(
                update_mask=FieldMask(paths=["priority", "labels"]),
                spec=job_pb2.JobSpec(priority=5, labels={"a": "b"}),
            )
        },
        "updated: priority 5, labels a=b",
    ),
    (
        {"output_truncated": event_pb2.OutputTruncated(output_bytes_max=64 << 20)},
        "output past 64.0 MiB is not kept; the job goes on",
    ),
]


def texts(parts: list[Part]) -> list[str]:
    return [part.text for part in parts if isinstance(part, Line)]


def said(parts: list[Part]) -> str:
    """The answer as a reader sees it, with a `|` where a line was closed."""
    return "".join(part.text + ("|" if part.end else "") for part in parts if isinstance(part, Answer))


def tell(*items: follow.Item, wanted: Wanted | None = None) -> list[Part]:
    transcript = Transcript(wanted or Wanted())
    return [part for item in items for part in transcript.feed(item)]


def delta(text: str, message_id: str = "m1", block: int = 0) -> event_pb2.Delta:
    return event_pb2.Delta(text=text, message_id=message_id, block_index=block)


@pytest.mark.parametrize(("kind", "text"), LIFECYCLE, ids=[next(iter(kind)) for kind, _ in LIFECYCLE])
def test_each_event_of_a_jobs_life_is_a_line(log: Any, kind: dict[str, Any], text: str) -> None:
    assert texts(tell(*log.add(**kind).events)) == [text]


def test_no_kind_of_event_is_without_its_words() -> None:
    kinds = {field.name for field in event_pb2.Event.DESCRIPTOR.oneofs_by_name["kind"].fields}
    told_by_the_end = {"succeeded", "failed", "cancelled", "expired", "skipped"}
    assert set(narration.NARRATORS) | told_by_the_end | {"output"} == kinds


def test_deltas_are_said_once_and_piece_by_piece(log: Any) -> None:
    whole = log.says("Hello world").events[0]
    parts = tell(delta("Hel"), delta("lo "), delta("world"), whole)
    assert [part.text for part in parts if isinstance(part, Answer)] == ["Hel", "lo ", "world", ""]
    assert said(parts) == "Hello world|"


def test_what_the_deltas_left_out_comes_from_the_whole_message(log: Any) -> None:
    whole = log.says("Hello world").events[0]
    assert said(tell(delta("Hel"), whole)) == "Hello world|"
    assert said(tell(whole)) == "Hello world|"


def test_after_dropped_deltas_the_rest_comes_from_the_whole_message(log: Any) -> None:
    whole = log.says("Hello world").events[0]
    dropped = event_pb2.Delta(message_id="m1", dropped=3)
    assert said(tell(delta("Hel"), dropped, delta("rld"), whole)) == "Hello world|"


def test_after_a_reconnect_repeated_deltas_are_not_said_again(log: Any) -> None:
    whole = log.says("Hello world").events[0]
    lost = follow.Reconnecting(errors.ConnectionFailed("x", "the stream was cut"), 0.1)
    parts = tell(delta("Hel"), lost, delta("Hel"), delta("lo"), whole)
    assert said(parts) == "Hello world|"
    assert texts(parts) == ["connection lost: the stream was cut; trying again"]


def test_deltas_of_a_message_that_is_already_whole_are_not_said(log: Any) -> None:
    whole = log.says("Hello").events[0]
    assert said(tell(whole, delta("Hel"), delta("lo"))) == "Hello|"


def test_deltas_that_turn_out_wrong_are_followed_by_the_truth(log: Any) -> None:
    whole = log.says("Goodbye").events[0]
    assert said(tell(delta("Hel"), whole)) == "Hel|Goodbye|"


def test_blocks_of_one_message_are_kept_apart(log: Any) -> None:
    first, second = log.says("One").says("Two").events
    assert said(tell(delta("One"), first, delta("Tw", block=1), second)) == "One|Two|"


def test_an_attempt_that_fails_in_the_middle_of_a_word_ends_its_line(log: Any) -> None:
    failed = log.add(attempt_failed=event_pb2.AttemptFailed(failure=OVERLOADED, decision=RETRY)).events[0]
    parts = tell(delta("Hel"), failed, delta("Hello", message_id="m2"))
    assert said(parts) == "Hel|Hello"


def test_the_final_text_is_told_only_when_nothing_else_told_it(log: Any) -> None:
    succeeded = event_pb2.JobSucceeded(result=outcome_pb2.Result(claude=outcome_pb2.ClaudeResult(text="The end")))
    heard = log.says("The end").add(succeeded=succeeded).events
    assert said(tell(*heard)) == "The end|"
    assert said(tell(heard[-1])) == "The end|"


def test_tool_calls_and_results_are_compact(log: Any) -> None:
    use = event_pb2.ToolUse(tool_use_id="t", name="Bash", input_json='{"command": "echo hi\\n  there", "x": 1}')
    result = event_pb2.ToolResult(tool_use_id="t", text="hi\nthere\n\n")
    denied = event_pb2.ToolResult(tool_use_id="t", text="no permission", is_error=True)
    for role, block in (
        ("assistant", event_pb2.ContentBlock(tool_use=use)),
        ("user", event_pb2.ContentBlock(tool_result=result)),
        ("user", event_pb2.ContentBlock(tool_result=denied)),
    ):
        message = event_pb2.ClaudeMessage(message_id="m1", blocks=[block])
        log.output(claude=event_pb2.ClaudeFrame(**{role: message}))  # type: ignore[arg-type]  # by role
    assert texts(tell(*log.events)) == ["● Bash echo hi there", "  ⎿ hi (+1 line)", "  ⎿ failed: no permission"]


def test_what_a_subagent_says_is_not_part_of_the_answer(log: Any) -> None:
    message = event_pb2.ClaudeMessage(
        message_id="m2", parent_tool_use_id="t", blocks=[event_pb2.ContentBlock(text="I look around")]
    )
    log.output(claude=event_pb2.ClaudeFrame(assistant=message))
    parts = tell(event_pb2.Delta(text="I look", message_id="m2", parent_tool_use_id="t"), *log.events)
    assert said(parts) == ""
    assert texts(parts) == ["  ┆ I look around"]


def test_simulated_output_is_marked_once(log: Any) -> None:
    log.says("a", "m1", simulated=True).says("b", "m2", simulated=True)
    opened = watch_pb2.WatchOpened(job=job_pb2.Job(simulated=True))
    assert sum("simulated" in text for text in texts(tell(opened, *log.events))) == 1


def test_frames_that_matter_to_a_person_are_lines(log: Any) -> None:
    retry = event_pb2.ClaudeApiRetry(
        attempt=1, max_retries=2, retry_delay_millis=1500, error_status=529, error="overloaded"
    )
    for frame in (
        event_pb2.ClaudeFrame(init=event_pb2.ClaudeInit(claude_session_id="s", model="opus", version="2")),
        event_pb2.ClaudeFrame(api_retry=retry),
        event_pb2.ClaudeFrame(rate_limit=event_pb2.ClaudeRateLimit(status="allowed")),
        event_pb2.ClaudeFrame(rate_limit=event_pb2.ClaudeRateLimit(status="rejected", limit_type="five_hour")),
        event_pb2.ClaudeFrame(turn_result=event_pb2.ClaudeTurnResult(subtype="error_max_turns", is_error=True)),
        event_pb2.ClaudeFrame(unknown=event_pb2.ClaudeUnknown(type="new")),
    ):
        log.output(claude=frame)
    assert texts(tell(*log.events, wanted=Wanted(lifecycle=False))) == [
        "session s, model opus, Claude Code 2",
        "the model's service failed: 529 overloaded; Claude Code tries again in 1.5 s (1/2)",
        "usage limit five_hour: rejected",
        "the turn failed: error_max_turns",
        "a frame of unknown type 'new' was kept",
    ]


def test_waiting_reasons_are_told_when_they_are_news() -> None:
    reason = job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_NO_WORKER, message="no worker is connected")
    opened = watch_pb2.WatchOpened(job=job_pb2.Job(state=job_pb2.JOB_STATE_QUEUED, wait_reasons=[reason]))
    assert texts(tell(opened, opened)) == ["waiting: no worker is connected"]


def test_a_view_of_the_output_alone_has_no_lines_about_it(log: Any) -> None:
    log.started().chunk(b"data")
    assert tell(*log.events, wanted=Wanted(lifecycle=False, tools=False)) == [Raw(b"data")]


def test_a_gap_is_told() -> None:
    gap = watch_pb2.WatchGap(from_sequence=1, to_sequence=9, reason=watch_pb2.GAP_REASON_RETENTION)
    assert texts(tell(gap)) == ["events 1 to 9 are missing: retention removed them"]


def test_an_event_of_a_later_version_is_skipped() -> None:
    assert tell(event_pb2.Event(sequence=1)) == []


def test_the_status_line_follows_the_job(log: Any, usage: Any) -> None:
    standing = Standing()
    now = datetime.fromtimestamp(1_700_000_065, UTC)
    assert standing.line(now) == "connecting"
    reason = job_pb2.WaitReason(message="no free slot")
    standing.feed(
        watch_pb2.WatchOpened(
            job=job_pb2.Job(
                state=job_pb2.JOB_STATE_QUEUED, create_time=Timestamp(seconds=1_700_000_060), wait_reasons=[reason]
            )
        )
    )
    assert standing.line(now) == "QUEUED · 5 s · waiting: no free slot"
    for event in log.started().output(usage=usage).events:
        standing.feed(event)
    standing.feed(event_pb2.Delta(tool_name="Bash"))
    tally = "2 turns · 1 tool call · 1.2k in / 340 out tokens · $0.0123"
    assert standing.line(now) == f"RUNNING · 1 min 05 s · {tally} · calls Bash"
    log.add(attempt_failed=event_pb2.AttemptFailed(usage=usage, decision=RETRY), at=60)
    standing.feed(log.events[-1])
    assert standing.line(now) == f"SCHEDULED · 5 s · {tally}"
    standing.feed(follow.Reconnecting(errors.ConnectionFailed("x", "y"), 2.0))
    assert standing.line(now).endswith("connection lost, next try in 2.0 s")


def test_plain_streams_keep_bytes_exact_and_lines_apart() -> None:
    stdout, stderr = io.BytesIO(), io.BytesIO()
    with PlainScreen(stdout, stderr) as screen:
        for part in (
            Answer("Hel"),
            Answer("lo"),
            Line("● Bash\x1b[2J"),
            Answer("x\n", end=True),
            Raw(b"\xff"),
            Line("z"),
        ):
            screen.show(part)
        screen.show(Answer("cut"))
    assert stdout.getvalue() == b"Hello\nx\n\xffcut\n"
    assert stderr.getvalue() == "● Bash[2J\nz\n".encode()


def test_a_terminal_shows_whole_lines_above_the_status() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=40, height=10, color_system=None)
    with LiveScreen(console, lambda: "RUNNING · 1 s") as screen:
        for part in (Answer("Hello "), Answer("world", end=True), Line("● Bash echo"), Raw(b"\x1b[31mred\x1b[0m\r\n")):
            screen.show(part)
    shown = written.getvalue()
    assert "RUNNING · 1 s" in shown
    for line in ("Hello world", "● Bash echo", "red"):
        assert shown.count(line) == 1


@pytest.mark.parametrize(
    ("text", "pieces"),
    [("hello world", ("hello", "world")), ("helloworld!", ("hellowor", "ld!")), ("hello wo", ("hello wo", ""))],
)
def test_a_long_line_is_broken_at_a_space(text: str, pieces: tuple[str, str]) -> None:
    assert break_line(text + (" " if not pieces[1] else ""), 8) == pieces


def test_text_for_a_terminal_has_no_control_characters() -> None:
    assert printable("a\x1b]0;title\x07b\x9b1m\tc\n") == "a]0;titleb1m\tc\n"
    assert one_line("  many\n words  ", 8) == "many wo…"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.85, "850 ms"), (12.34, "12.3 s"), (59.99, "1 min 00 s"), (125, "2 min 05 s"), (11_400, "3 h 10 min")],
)
def test_a_length_of_time_reads_well(seconds: float, text: str) -> None:
    assert amounts.elapsed(seconds) == text


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("1m30s", 90), ("2h", 7200), ("500ms", 0.5), ("0", 0)])
def test_a_length_of_time_is_read(text: str, seconds: float) -> None:
    assert amounts.parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5x", "-5s", "1m-3s"])
def test_what_is_not_a_length_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a length of time"):
        amounts.parse_duration(text)


def test_show_says_why_a_job_waits() -> None:
    reason = job_pb2.WaitReason(cause=job_pb2.WAIT_CAUSE_TIME, message="waits for its schedule time")
    job = job_pb2.Job(id="j", state=job_pb2.JOB_STATE_SCHEDULED, wait_reasons=[reason])
    lines = job_text.job_lines(job, datetime.fromtimestamp(1_700_000_000, UTC))
    assert "because    waits for its schedule time" in lines


def test_show_says_how_each_attempt_went_and_why_the_job_failed(usage: Any) -> None:
    failure = outcome_pb2.Failure(
        failure_class=outcome_pb2.FAILURE_CLASS_CRASH, message="died", sign="signal=9", detail="line 1\nline 2"
    )
    failure.retry_after.CopyFrom(Duration(seconds=3))
    attempt = job_pb2.Attempt(
        number=2,
        worker_id="w1",
        outcome=job_pb2.ATTEMPT_OUTCOME_FAILED,
        failure=failure,
        usage=usage,
        decision=GIVE_UP,
        late_result=job_pb2.LateResult(),
    )
    job = job_pb2.Job(
        id="j", state=job_pb2.JOB_STATE_FAILED, failure=failure, attempts=[attempt], usage=usage, simulated=True
    )
    lines = job_text.job_lines(job, datetime.fromtimestamp(1_700_000_000, UTC))
    assert "state      FAILED  (simulated)" in lines
    assert "used       2 turns, 1 tool call, 1.2k in / 340 out tokens, $0.0123" in lines
    assert "TRY  WORKER  OUTCOME  CLASS  THEN" in "\n".join(lines)
    row = next(line for line in lines if line.startswith("2    w1"))
    for words in (
        "failed",
        "CRASH",
        "fail (max_attempts 3 reached)",
        "2 turns, 1 tool call",
        "died (signal=9); a result",
    ):
        assert words in row
    assert lines[-6:] == [
        "failure    CRASH",
        "message    died",
        "sign       signal=9",
        "asks for   3.0 s of patience",
        "  line 1",
        "  line 2",
    ]
