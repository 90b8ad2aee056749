"""The real CLI through the whole path, against a scripted model on loopback: state, class, usage and cost are right."""

import json
from pathlib import Path
from typing import Any

import headrace
from e2e.control_plane import ControlPlane
from e2e.story import Story, action_of, class_of, kind_of
from headrace import blocking
from headrace.v1 import event_pb2, job_pb2
from model_server.server import ScriptedModelServer

WORDS = "These words come from a scripted model, a few at a time."
QUICK = job_pb2.RetryPolicy(
    max_attempts=2, initial_backoff=headrace.tasks.duration(0.05), max_backoff=headrace.tasks.duration(0.1)
)


def script(*answers: dict[str, Any]) -> str:
    return f"SCRIPT<<{json.dumps(answers)}>>"


def calls_about(models: ScriptedModelServer, prompt: str) -> int:
    return sum(json.dumps(prompt) in json.dumps(call.body) for call in models.model_calls)


def test_a_text_job_streams_the_models_words_and_bills_what_the_cli_says(real_client: blocking.Client) -> None:
    prompt = script({"text": WORDS, "delta_milliseconds": 30, "usage": {"input_tokens": 300, "output_tokens": 40}})
    story = Story(real_client.submit(headrace.claude(prompt))).finish()

    assert story.state == "SUCCEEDED"
    assert story.job.result.claude.text == WORDS == "".join(block.text for block in story.blocks)
    message = next(frame.assistant for frame in story.frames if frame.HasField("assistant"))
    said = [delta for delta in story.deltas if delta.message_id == message.message_id and delta.text]
    assert len(said) > 1
    assert WORDS.startswith("".join(delta.text for delta in said))
    assert story.items.index(said[0]) < next(
        place
        for place, item in enumerate(story.items)
        if isinstance(item, event_pb2.Event) and kind_of(item) == "assistant"
    )
    used, claimed = story.job.usage, story.result_frame()
    assert (used.turns, used.input_tokens, used.output_tokens, used.tool_calls) == (1, 300, 40, 0)
    assert used.cost_usd_micros == round(claimed["total_cost_usd"] * 1e6) > 0
    assert story.all("succeeded")[0].usage == used
    assert story.job.claude_session_id == story.job.result.claude.claude_session_id == claimed["session_id"]
    assert (story.job.simulated, story.job.attempt_count) == (False, 1)
    assert not any(frame.simulated for frame in story.frames)


def test_an_allowed_tool_runs_in_the_folder_and_its_result_goes_to_the_model(
    real_plane: ControlPlane, real_client: blocking.Client
) -> None:
    folder = real_plane.folder / "tools"
    folder.mkdir()
    command = {"name": "Bash", "input": {"command": "echo hi > made; cat made", "description": "make a file"}}
    prompt = script({"text": "Running it.", "tools": [command]}, {"text": "done"})
    task = headrace.claude(prompt, folder=str(folder), allowed_tools=["Bash"])
    story = Story(real_client.submit(task)).finish()

    assert story.state == "SUCCEEDED"
    assert (folder / "made").read_text() == "hi\n"
    assert [block.WhichOneof("kind") for block in story.blocks] == ["text", "tool_use", "text"]
    (result,) = [block.tool_result for message in story.all("user") for block in message.blocks]
    assert (result.text, result.is_error) == ("hi", False)
    assert result.tool_use_id == story.blocks[1].tool_use.tool_use_id
    assert (story.job.usage.turns, story.job.usage.tool_calls) == (2, 1)
    assert story.job.usage.cost_usd_micros == round(story.result_frame()["total_cost_usd"] * 1e6) > 0
    assert story.job.result.claude.text == "done"


def test_a_tool_that_is_not_allowed_is_denied_and_the_turn_goes_on(real_client: blocking.Client) -> None:
    write = {"name": "Write", "input": {"file_path": "a.txt", "content": "x"}}
    outcome = real_client.submit(headrace.claude(script({"tools": [write]}, {"text": "I could not."}))).result()
    assert (outcome.text, outcome.result.claude.permission_denials) == ("I could not.", 1)


def test_a_job_is_cancelled_while_the_model_hangs(real_client: blocking.Client) -> None:
    job = real_client.submit(headrace.claude(script({"text": WORDS, "hang": True})))
    story = Story(job).until(lambda item: isinstance(item, event_pb2.Delta) and item.text)
    assert job.cancel("too slow").state == job_pb2.JOB_STATE_CANCELLING
    story.finish()

    assert story.state == "CANCELLED"
    assert (story.job.cancellation.reason, story.job.attempt_count) == ("too slow", 1)
    assert story.steps[0] == "INTERRUPT"
    assert story.steps[-1] == "TREE_GONE"
    assert story.all("cancel_stepped")[-1].survivors == 0
    assert story.all("cancelled")[0].usage == story.job.usage
    assert story.job.usage.cost_usd_micros == round(story.result_frame()["total_cost_usd"] * 1e6)


def test_r2_a_refused_key_fails_as_auth_at_once(real_client: blocking.Client, models: ScriptedModelServer) -> None:
    prompt = script(*[{"status": 401}] * 9)
    story = Story(real_client.submit(headrace.claude(prompt), retry_policy=QUICK)).finish()

    assert (story.state, class_of(story.job.failure)) == ("FAILED", "AUTH")
    assert (story.job.attempt_count, story.job.failure_count) == (1, 1)
    (failed,) = story.all("attempt_failed")
    assert action_of(failed.decision) == "FAIL"
    assert "AUTH" in failed.decision.rule
    assert "401" in story.job.failure.sign
    assert story.job.usage.cost_usd_micros == 0
    assert calls_about(models, prompt) == 1, "the CLI is interrupted before it asks again"


def test_r3_overload_is_retried_by_policy_and_then_fails_with_its_class(real_client: blocking.Client) -> None:
    prompt = script(*[{"status": 529}] * 9)
    story = Story(real_client.submit(headrace.claude(prompt), retry_policy=QUICK)).finish()

    assert (story.state, class_of(story.job.failure)) == ("FAILED", "OVERLOADED")
    assert (story.job.attempt_count, story.job.failure_count) == (2, 2)
    first, second = story.all("attempt_failed")
    assert (class_of(first.failure), class_of(second.failure)) == ("OVERLOADED", "OVERLOADED")
    assert (action_of(first.decision), action_of(second.decision)) == ("RETRY", "FAIL")
    assert first.decision.HasField("next_time")
    assert "529" in story.job.failure.sign
    assert class_of(story.all("failed")[0].failure) == "OVERLOADED"
    assert story.job.usage.cost_usd_micros == 0


def test_an_api_error_that_the_cli_calls_a_success_fails_the_job(real_client: blocking.Client) -> None:
    story = Story(real_client.submit(headrace.claude(script(*[{"status": 400}] * 9)))).finish()
    said = story.result_frame()
    assert (said["subtype"], said["is_error"], said["api_error_status"]) == ("success", True, 400)
    assert (story.state, class_of(story.job.failure)) == ("FAILED", "INVALID")
    assert (story.job.attempt_count, story.job.usage.cost_usd_micros) == (1, 0)


def test_an_overload_that_the_cli_rides_out_burns_no_attempt(real_client: blocking.Client) -> None:
    story = Story(real_client.submit(headrace.claude(script({"status": 529}, {"text": "back again"})))).finish()
    assert (story.state, story.job.result.claude.text) == ("SUCCEEDED", "back again")
    (waited,) = story.all("api_retry")
    assert (waited.error_status, waited.attempt) == (529, 1)
    assert (story.job.attempt_count, story.job.failure_count) == (1, 0)
    assert story.job.usage.cost_usd_micros == round(story.result_frame()["total_cost_usd"] * 1e6) > 0


def test_a_jobs_config_and_scratch_are_its_own(real_plane: ControlPlane, real_client: blocking.Client) -> None:
    outcome = real_client.submit(headrace.claude(script({"text": "hi"}))).result()
    transcripts = list((real_plane.data / "local-worker" / "claude" / outcome.job.id).rglob("*.jsonl"))
    assert [path.stem for path in transcripts] == [outcome.claude_session_id]
    assert not (real_plane.root / "home" / ".claude").exists()
    assert list(Path(real_plane.environment["TMPDIR"]).iterdir()) == []
