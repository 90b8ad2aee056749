"""Direct calls of the Messages API as jobs: streamed text, use, classes of failure, cancels. No model is asked."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane
from e2e.story import OUT, Story, action_of, class_of
from examples.conftest import working
from headrace import blocking
from headrace.v1 import outcome_pb2
from model_server.server import ScriptedModelServer

WORKER = "messages_api.worker"
WORDS = "These words come from a scripted model, a few at a time."
QUICK = headrace.retry_policy(max_attempts=2, initial_backoff=0.05, max_backoff=0.1)


def script(*answers: dict[str, Any]) -> str:
    return f"SCRIPT<<{json.dumps(answers)}>>"


@pytest.fixture(scope="module")
def worker(plane: ControlPlane, models: ScriptedModelServer) -> Iterator[subprocess.Popen[bytes]]:
    """A worker that asks the scripted model."""
    with working(plane, WORKER, ANTHROPIC_BASE_URL=models.url, ANTHROPIC_API_KEY="made-up") as worker:
        yield worker


def ask(client: blocking.Client, prompt: str, **more: Any) -> Story:
    """The whole story of a job."""
    task = headrace.handler("ask", {"prompt": prompt, **more})
    return Story(client.submit(task, retry_policy=QUICK)).finish()


@pytest.mark.usefixtures("worker")
def test_the_text_is_streamed_and_returned_with_what_it_used(
    client: blocking.Client, models: ScriptedModelServer
) -> None:
    usage = {"input_tokens": 300, "output_tokens": 40, "cache_read_input_tokens": 7}
    prompt = script({"text": WORDS, "delta_milliseconds": 5, "usage": usage})
    story = ask(client, prompt, model="m-1", system="Be brief.", max_tokens=99)

    assert story.state == "SUCCEEDED", story.job.failure
    assert story.bytes_of(OUT).decode() == WORDS
    assert len(story.all("chunk")) > 1
    assert headrace.Outcome(story.job).value == {
        "text": WORDS,
        "model": "m-1",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 300, "output_tokens": 40},
    }
    assert story.job.usage == outcome_pb2.Usage(turns=1, input_tokens=300, output_tokens=40, cache_read_tokens=7)
    (call,) = [call for call in models.model_calls if call.body["messages"][0]["content"] == prompt]
    assert (call.body["system"], call.body["max_tokens"], call.body["stream"]) == ("Be brief.", 99, True)
    assert "made-up" in call.headers.get("x-api-key", "") + call.headers.get("authorization", "")


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("answer", "failure_class"),
    [
        ({"status": 400}, "INVALID"),
        ({"status": 401}, "AUTH"),
        ({"status": 403}, "AUTH"),
        ({"status": 404}, "INVALID"),
        ({"status": 413}, "INVALID"),
    ],
    ids=lambda value: str(value.get("status")) if isinstance(value, dict) else "",
)
def test_r2_what_can_never_work_is_not_tried_again(
    client: blocking.Client, answer: dict[str, Any], failure_class: str
) -> None:
    story = ask(client, script(answer, {"text": "never said"}))
    assert (story.state, class_of(story.job.failure), story.job.attempt_count) == ("FAILED", failure_class, 1)
    assert f"status={answer['status']}" in story.job.failure.sign
    assert "scripted failure" in story.job.failure.message


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("answer", "failure_class"),
    [
        ({"status": 429}, "RATE_LIMITED"),
        ({"status": 500}, "OVERLOADED"),
        ({"status": 529}, "OVERLOADED"),
        ({"text": WORDS, "sse_error": "overloaded_error"}, "OVERLOADED"),
        ({"text": WORDS, "sse_error": "rate_limit_error"}, "RATE_LIMITED"),
        ({"text": WORDS, "cut": True}, "NETWORK"),
    ],
    ids=["429", "500", "529", "overloaded in the stream", "limited in the stream", "cut"],
)
def test_r2_what_passes_is_tried_again_by_the_jobs_policy(
    client: blocking.Client, answer: dict[str, Any], failure_class: str
) -> None:
    story = ask(client, script(answer, {"text": "back again"}))
    assert (story.state, headrace.Outcome(story.job).value["text"]) == ("SUCCEEDED", "back again")
    (failed,) = story.all("attempt_failed")
    assert (class_of(failed.failure), action_of(failed.decision)) == (failure_class, "RETRY")


@pytest.mark.usefixtures("worker")
def test_r1_the_wait_that_the_api_asks_for_is_honoured(client: blocking.Client) -> None:
    story = ask(client, script({"status": 429, "retry_after": 1}, {"text": "back again"}))
    (failed,) = story.all("attempt_failed")
    assert failed.failure.retry_after.seconds == 1
    moment = next(event.time for event in story.events if event.HasField("attempt_failed"))
    assert (failed.decision.next_time.ToDatetime() - moment.ToDatetime()).total_seconds() >= 1
    assert story.state == "SUCCEEDED"


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("prompt", ["", "  "])
def test_a_prompt_without_words_is_refused(client: blocking.Client, models: ScriptedModelServer, prompt: str) -> None:
    before = len(models.model_calls)
    story = ask(client, prompt)
    assert (class_of(story.job.failure), story.job.attempt_count) == ("INVALID", 1)
    assert len(models.model_calls) == before


@pytest.mark.usefixtures("worker")
def test_a_job_is_cancelled_while_the_model_is_silent(client: blocking.Client) -> None:
    job = client.submit(headrace.handler("ask", {"prompt": script({"text": WORDS, "hang": True})}))
    story = Story(job).until_kind("chunk")
    job.cancel("too slow")
    assert story.finish().state == "CANCELLED"
