"""What goes wrong with the service, the connection or the process, with the simulated CLI and with the real one."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.executors.claude.session_turn import GO_ON
from headrace_worker.executors.contract import Failed
from worker.conforming import Conform, Spoken, conforming, sign_of, spoken_of, told, until, until_speaking
from worker.session_running import SESSION, SessionWorker, class_of, text_of

CLOSED_PORT = "http://127.0.0.1:9"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=["simulated", "real"])
def spoken(request: pytest.FixtureRequest) -> Spoken:
    """Each kind of CLI."""
    return spoken_of(request)


@pytest.fixture
def conform(
    spoken: Spoken,
    tmp_path: Path,
    attempt_of: Callable[..., Any],
    base_environment: dict[str, str],
    processes: Any,
) -> Conform:
    """Runs a test with a worker that has such a CLI."""
    return conforming(spoken, tmp_path, attempt_of, base_environment, processes)


async def until_written(worker: SessionWorker, words: str) -> None:
    """Waits until the CLI has written the words to its transcript, which it does a little after saying them."""
    projects = worker.folder / "data" / "sessions" / SESSION / "config" / "projects"
    await worker.until(lambda: any(words in path.read_text() for path in projects.glob("*/*.jsonl")))


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
    ("number", "sign"),
    [
        (signal.SIGTERM, "exit_code=143"),
        (signal.SIGKILL, "signal=9"),
        (signal.SIGINT, "result.terminal_reason=aborted_streaming"),
    ],
)
def test_killed_from_outside(spoken: Spoken, conform: Conform, number: signal.Signals, sign: str) -> None:
    async def main(worker: SessionWorker) -> None:
        attempt = worker.attempt(spoken.prompt({"text": "some words that never end at all", "hang": True}))
        running = asyncio.create_task(worker.run(attempt))
        await until_speaking(attempt)
        await until_written(worker, "never end at all")
        (pid,) = worker.process_ids()
        os.kill(pid, number)
        outcome = await running
        assert (class_of(outcome), sign_of(outcome)) == ("CRASH", sign)
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
