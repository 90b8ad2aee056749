"""What goes wrong with the service, the connection or the process, with the simulated CLI and with the real one."""

import asyncio
import json
import os
import signal
import time

import pytest

from headrace_worker.executors.claude.session_turn import GO_ON
from headrace_worker.executors.contract import Failed
from worker.conforming import LOGIN, Conform, Spoken, sign_of, told, until, until_speaking
from worker.session_running import SESSION, SessionWorker, class_of, text_of

CLOSED_PORT = "http://127.0.0.1:9"

pytestmark = pytest.mark.timeout(120)


async def until_written(worker: SessionWorker, words: str) -> None:
    """Waits until the CLI has written the words to its transcript, which it does a little after saying them."""
    projects = worker.folder / "data" / "sessions" / SESSION / "config" / "projects"
    await worker.until(lambda: any(has_message(path.read_text(), words) for path in projects.glob("*/*.jsonl")))


def has_message(transcript: str, words: str) -> bool:
    """Whether the words are in what the user said or a tool gave back. What waits in a queue is noted before."""
    lines = [line for line in transcript.splitlines(keepends=True) if words in line and line.endswith("\n")]
    return any(json.loads(line).get("type") == "user" for line in lines)


@pytest.mark.parametrize(
    ("status", "expected", "sign"),
    [
        (401, "AUTH", "api_retry.error_status=401 error=authentication_failed"),
        (404, "INVALID", "result.api_error_status=404"),
        (413, "CONTEXT", "result.api_error_status=413"),
        (429, "RATE_LIMITED", "result.api_error_status=429"),
        (500, "OVERLOADED", "result.api_error_status=500"),
        (529, "OVERLOADED", "result.api_error_status=529"),
    ],
)
def test_r2_failures_of_the_service(spoken: Spoken, conform: Conform, status: int, expected: str, sign: str) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(spoken.failing(status))
        outcome = await worker.run(attempt)
        assert (class_of(outcome), sign_of(outcome)) == (expected, sign)
        assert isinstance(outcome, Failed)
        assert outcome.failure.retry_after.ToTimedelta().total_seconds() < 1
        assert outcome.failure.partial_result.claude.claude_session_id == worker.claude_session_ids[SESSION]
        if expected != "AUTH":
            assert told(attempt) == ["init", "assistant", "turn_result"]
            assert len(worker.process_ids()) == 1

    conform(main)


def test_r1_a_stated_retry_after_is_kept(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        outcome = await worker.turn(spoken.failing(429, retry_after=2))
        assert class_of(outcome) == "RATE_LIMITED"
        assert isinstance(outcome, Failed)
        assert 2 <= outcome.failure.retry_after.ToTimedelta().total_seconds() < 3

    conform(main)


@pytest.mark.parametrize(("claim", "words"), [("five_hour", "5-hour limit"), ("seven_day_opus", "Opus limit")])
def test_x5_a_usage_limit_says_when_it_resets_each_time_it_is_met(
    spoken: Spoken, conform: Conform, claim: str, words: str
) -> None:
    async def main(worker: SessionWorker) -> None:
        resets_at = int(time.time()) + 3600
        event, error = "rate_limit_event", "assistant.api_error_params"
        for number, (at, source) in enumerate(((resets_at, event), (resets_at, error), (resets_at + 60, event))):
            attempt = worker.attempt(spoken.limited(claim, at, f"answer {number}"))
            outcome = await worker.run(attempt)
            assert (class_of(outcome), sign_of(outcome)) == ("QUOTA", f"{source}.status=rejected")
            assert isinstance(outcome, Failed)
            assert outcome.failure.message == f"the usage limit {claim} is reached"
            assert 3400 < outcome.failure.retry_after.ToTimedelta().total_seconds() <= 3660
            told_limit = ["rate_limit"] if source == event else []
            assert told(attempt, "rate_limit", "api_retry") == ["init", *told_limit, "assistant", "turn_result"]
            assert words in attempt.frames()[-1].turn_result.text
        assert len(worker.process_ids()) == 1
        attempt = worker.attempt(spoken.prompt({"text": "after the reset"}))
        assert text_of(await worker.run(attempt)) == "after the reset"
        assert told(attempt, "rate_limit") == ["init", "assistant", "rate_limit", "turn_result"]

    conform(main, **LOGIN)


def test_refused_connection(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        prompt = spoken.prompt({"fault": "api_error", "kind": "network"}) if spoken.simulated else "hello"
        attempt = worker.attempt(prompt)
        outcome = await worker.run(attempt)
        assert (class_of(outcome), sign_of(outcome)) == ("NETWORK", "result.api_error=connection_failed")
        assert told(attempt) == ["init", "assistant", "turn_result"]

    conform(main, **({} if spoken.simulated else {"ANTHROPIC_BASE_URL": CLOSED_PORT}))


def test_a_stream_that_is_cut_is_asked_for_again(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(spoken.prompt({"text": "some words, then", "cut": True}, {"text": "whole"}))
        outcome = await worker.run(attempt)
        assert text_of(outcome) == "whole"
        assert told(attempt) == ["init", "assistant", "turn_result"]

    conform(main)


def test_a_stream_that_is_cut_every_time_is_left_for_a_plain_call(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        cut = {"text": "some words, then", "cut": True}
        attempt = worker.attempt(spoken.prompt(*[cut] * (2 if spoken.simulated else 3)))
        assert text_of(await worker.run(attempt)) == "some words, then"
        assert told(attempt) == ["init", "assistant", "turn_result"]

    conform(main)


@pytest.mark.parametrize(
    ("number", "signs"),
    [
        (signal.SIGTERM, {"exit_code=143"}),
        (signal.SIGKILL, {"signal=9"}),
        # After SIGINT the CLI ends with 0, mostly after a last result.
        (signal.SIGINT, {"result.terminal_reason=aborted_streaming", "exit_code=0"}),
    ],
)
def test_killed_from_outside(spoken: Spoken, conform: Conform, number: signal.Signals, signs: set[str]) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(spoken.prompt({"text": "some words that never end at all", "hang": True}))
        running = asyncio.create_task(worker.run(attempt))
        await until_speaking(attempt)
        await until_written(worker, "never end at all")
        (pid,) = worker.process_ids()
        os.kill(pid, number)
        outcome = await running
        assert class_of(outcome) == "CRASH"
        assert sign_of(outcome) in signs
        assert worker.process_ids() == []
        assert text_of(await worker.turn(spoken.prompt({"text": "next"}))) == "next"
        assert len(worker.messages()) == 2

    conform(main)


def test_r6_a_turn_that_was_cut_off_goes_on_where_it_was(spoken: Spoken, conform: Conform) -> None:
    async def main(worker: SessionWorker) -> None:
        glob = {"name": "Glob", "input": {"pattern": "*"}}
        prompt = spoken.prompt(
            {"text": "first", "tools": [glob]}, {"text": "rest, at length", "hang": True}, {"text": "end"}
        )
        attempt = worker.attempt(prompt, job_id="job")
        running = asyncio.create_task(worker.run(attempt))
        await until(attempt, "user")
        await worker.until(lambda: "rest" in "".join(delta.text for delta in attempt.deltas))
        (pid,) = worker.process_ids()
        await until_written(worker, "tool_result")
        os.kill(pid, signal.SIGKILL)
        assert class_of(await running) == "CRASH"
        second = await worker.turn(prompt, job_id="job", attempt=2)
        assert text_of(second) == "end"
        assert worker.messages() == [prompt, GO_ON]

    conform(main)
