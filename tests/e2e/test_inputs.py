"""X3 end to end, on the simulated CLI: a job of its own asks a person, and an answer by any client lets it go on."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane
from e2e.grpcurl import Grpcurl
from e2e.story import Story, class_of, state_of
from headrace import blocking
from headrace.errors import InputResolved
from headrace.v1 import event_pb2, input_pb2

StartControlPlane = Callable[..., ControlPlane]
ANSWER = "headrace.v1.SessionService/AnswerRequest"
WRITE: dict[str, Any] = {"name": "Write", "input": {"file_path": "made.txt", "content": "as the model said\n"}}
QUESTION = {"question": "Which colour?", "header": "Colour", "options": [{"label": "red"}, {"label": "blue"}]}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("inputs"), "--claude", "simulated", "--allow-command", "sleep") as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[blocking.Client]:
    with plane.connect() as client:
        yield client


@pytest.fixture
def grpcurl(plane: ControlPlane) -> Grpcurl:
    return Grpcurl(plane.address)


def script(*steps: dict[str, Any]) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


def submit(client: blocking.Client, *steps: dict[str, Any], **fields: Any) -> tuple[blocking.Job, Story]:
    """A job whose CLI asks, and what is seen of it up to the question."""
    task = headrace.claude(script(*steps), folder=fields.pop("folder", ""), ask=True)
    job = client.submit(task, **fields)
    return job, Story(job).until_kind("input_requested")


def asked(story: Story) -> event_pb2.InputRequested:
    """What was asked last."""
    found: event_pb2.InputRequested = story.all("input_requested")[-1]
    return found


def answer(job_id: str, request_id: str, **said: Any) -> dict[str, Any]:
    return {"job_id": job_id, "answer": {"request_id": request_id, **said}}


def resolutions(story: Story) -> list[str]:
    return [
        input_pb2.InputResolution.Name(one.resolution).removeprefix("INPUT_RESOLUTION_")
        for one in story.all("input_resolved")
    ]


def tool_results(story: Story) -> list[str]:
    return [block.tool_result.text for message in story.all("user") for block in message.blocks]


def test_x3_an_answer_by_grpcurl_lets_the_tool_run(
    client: blocking.Client, grpcurl: Grpcurl, plane: ControlPlane
) -> None:
    folder = plane.folder / "allowed"
    folder.mkdir()
    job, story = submit(client, {"tools": [WRITE]}, {"text": "done"}, folder=str(folder))
    request = asked(story).request
    assert (request.kind, request.tool_name) == (input_pb2.INPUT_KIND_PERMISSION, "Write")
    assert json.loads(request.input_json) == WRITE["input"]
    assert asked(story).HasField("expire_time")
    assert story.kinds.index("assistant") < story.kinds.index("input_requested"), "the call stands before its question"
    seen = job.get()
    assert state_of(seen) == "WAITING_INPUT"
    assert [(one.request_id, one.tool_name) for one in seen.open_inputs] == [(request.request_id, "Write")]

    assert not (folder / "made.txt").exists()
    said = answer(job.id, request.request_id, allow=True)
    assert grpcurl.call(ANSWER, said) == [{"resolution": "INPUT_RESOLUTION_ALLOWED"}]
    story.finish()
    assert (story.state, story.job.result.claude.text) == ("SUCCEEDED", "done")
    assert (folder / "made.txt").read_text() == "as the model said\n"
    assert resolutions(story) == ["ALLOWED"]
    assert story.all("input_resolved")[0].actor == "anonymous"
    assert list(story.job.open_inputs) == []


def test_x3_a_denial_with_a_reason_reaches_the_model_and_the_turn_goes_on(client: blocking.Client) -> None:
    job, story = submit(client, {"tools": [WRITE]}, {"text": "I did not."})
    job.answer(asked(story).request.request_id, allow=False, message="not in this folder")
    story.finish()
    assert (story.state, story.job.result.claude.text) == ("SUCCEEDED", "I did not.")
    assert tool_results(story) == ["not in this folder"]
    assert (resolutions(story), story.all("input_resolved")[0].message) == (["DENIED"], "not in this folder")
    assert story.job.result.claude.permission_denials == 1


def test_x3_a_denial_can_end_the_turn(client: blocking.Client) -> None:
    job, story = submit(client, {"tools": [WRITE]}, {"text": "never said"})
    job.answer(asked(story).request.request_id, allow=False, message="stop", interrupt=True)
    story.finish()
    assert "never said" not in [block.text for block in story.blocks]
    assert resolutions(story) == ["DENIED"]
    assert (story.state, class_of(story.job.failure), story.job.attempt_count) == ("FAILED", "CANCELLED", 1)
    assert story.job.failure.message == "a person ended the turn: stop"


def test_x3_the_tool_runs_with_the_input_that_the_answer_gives(client: blocking.Client, plane: ControlPlane) -> None:
    folder = plane.folder / "changed"
    folder.mkdir()
    job, story = submit(client, {"tools": [WRITE]}, {"text": "done"}, folder=str(folder))
    changed = {**WRITE["input"], "content": "as the person said\n"}
    job.answer(asked(story).request.request_id, allow=True, updated_input=changed)
    assert story.finish().state == "SUCCEEDED"
    assert (folder / "made.txt").read_text() == "as the person said\n"


@pytest.mark.parametrize("by_message", [True, False])
def test_x3_a_question_of_the_model_is_answered_by_a_word_or_by_the_whole(
    client: blocking.Client, by_message: bool
) -> None:
    question = {"name": "AskUserQuestion", "input": {"questions": [QUESTION]}}
    job, story = submit(client, {"tools": [question]}, {"text": "thanks"})
    request = asked(story).request
    assert (request.kind, request.tool_name) == (input_pb2.INPUT_KIND_QUESTION, "")
    assert json.loads(request.input_json)["questions"] == [QUESTION]
    if by_message:
        job.answer(request.request_id, allow=True, message="blue")
    else:
        job.answer(request.request_id, allow=True, updated_input={"answers": {"Which colour?": "blue"}})
    story.finish()
    assert story.state == "SUCCEEDED"
    assert '"Which colour?"="blue"' in tool_results(story)[0]


def test_c3_what_nobody_answers_in_time_is_denied_and_the_turn_goes_on(
    client: blocking.Client, grpcurl: Grpcurl
) -> None:
    limits = headrace.timeouts(input=0.3, silence=30, run=30)
    job, story = submit(client, {"tools": [WRITE]}, {"text": "nobody was there"}, timeouts=limits)
    request_id = asked(story).request.request_id
    story.finish()
    assert (story.state, story.job.result.claude.text) == ("SUCCEEDED", "nobody was there")
    assert resolutions(story) == ["EXPIRED"]
    assert "Nobody answered in time" in tool_results(story)[0]
    late = grpcurl.refused(ANSWER, answer(job.id, request_id, allow=True))
    info = late["details"]["ErrorInfo"]
    assert (late["code"], info["reason"], info["metadata"]["resolution"]) == (9, "INPUT_RESOLVED", "EXPIRED")


def test_c3_run_and_silence_stand_still_while_a_person_is_asked(client: blocking.Client) -> None:
    limits = headrace.timeouts(silence=1.0, run=2.0)
    job, story = submit(client, {"tools": [WRITE]}, {"text": "done"}, timeouts=limits)
    longer_than_both = client.submit(headrace.command("sleep", "2.5"))
    assert Story(longer_than_both).finish().state == "SUCCEEDED"
    assert state_of(job.get()) == "WAITING_INPUT"
    job.answer(asked(story).request.request_id, allow=True)
    story.finish()
    assert (story.state, story.job.failure_count) == ("SUCCEEDED", 0)


def test_x3_the_first_answer_wins_and_the_second_is_told_whose_it_was(
    client: blocking.Client, grpcurl: Grpcurl
) -> None:
    job, story = submit(client, {"tools": [WRITE]}, {"text": "done"})
    request_id = asked(story).request.request_id
    job.answer(request_id, allow=False, message="no")
    refused = grpcurl.refused(ANSWER, answer(job.id, request_id, allow=True))
    metadata = refused["details"]["ErrorInfo"]["metadata"]
    assert (metadata["resolution"], metadata["actor"], metadata["job_id"]) == ("DENIED", "anonymous", job.id)
    same = {"allow": False, "message": "no"}
    assert grpcurl.call(ANSWER, answer(job.id, request_id, **same)) == [{"resolution": "INPUT_RESOLUTION_DENIED"}]
    assert resolutions(story.finish()) == ["DENIED"]


def test_x3_the_command_line_shows_what_is_asked_and_answers_it(client: blocking.Client, plane: ControlPlane) -> None:
    job, story = submit(client, {"tools": [WRITE]}, {"text": "done"})

    def headrace_job(*words: str) -> str:
        command = [sys.executable, "-m", "headrace.cli", "job", *words]
        environment = {**os.environ, "HEADRACE_SERVER": plane.address}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout

    assert f"Write (request {asked(story).request.request_id}), denied in" in headrace_job("show", job.id)
    assert "waits for a person" in headrace_job("explain", job.id)
    assert headrace_job("answer", job.id, "--allow") == "allowed\n"
    assert story.finish().state == "SUCCEEDED"


def test_x3_every_bad_field_of_an_answer_is_named(grpcurl: Grpcurl) -> None:
    bad = {"job_id": "x", "answer": {"interrupt": True, "allow": True, "updated_input_json": "[1]"}}
    refused = grpcurl.refused(ANSWER, bad)
    fields = {violation["field"] for violation in refused["details"]["BadRequest"]["field_violations"]}
    assert fields == {"job_id", "answer.request_id", "answer.interrupt", "answer.updated_input_json"}


def test_x3_cancel_takes_the_question_back_and_ends_the_job(client: blocking.Client, grpcurl: Grpcurl) -> None:
    job, story = submit(client, {"tools": [WRITE]}, {"text": "never said"})
    request_id = asked(story).request.request_id
    job.cancel("enough")
    late = grpcurl.refused(ANSWER, answer(job.id, request_id, allow=True))
    assert late["details"]["ErrorInfo"]["metadata"]["resolution"] == "WITHDRAWN"
    story.finish()
    assert story.state == "CANCELLED"
    assert resolutions(story) == ["WITHDRAWN"]
    assert story.steps[-1] == "TREE_GONE"


def test_x3_a_question_that_the_cli_takes_back_is_withdrawn_and_the_turn_goes_on(client: blocking.Client) -> None:
    withdrawing = {"fault": "withdraw_request", "milliseconds": 2000}
    task = headrace.claude(script(withdrawing, {"tools": [WRITE]}, {"text": "never mind"}), ask=True)
    story = Story(client.submit(task)).finish()
    assert (story.state, story.job.result.claude.text) == ("SUCCEEDED", "never mind")
    assert resolutions(story) == ["WITHDRAWN"]


def test_x3_without_ask_nobody_is_waited_for(client: blocking.Client) -> None:
    story = Story(client.submit(headrace.claude(script({"tools": [WRITE]}, {"text": "denied"})))).finish()
    assert (story.state, story.all("input_requested")) == ("SUCCEEDED", [])
    assert "nobody is there to ask" in tool_results(story)[0]


def test_l7_a_question_outlives_a_killed_control_plane_and_is_answered_by_the_next(
    start_plane: StartControlPlane,
) -> None:
    plane = start_plane("--claude", "simulated")
    with plane.connect() as client:
        job, story = submit(client, {"tools": [WRITE]}, {"text": "done"})
        request_id = asked(story).request.request_id
        plane.kill()
        plane.start()
        assert state_of(job.get()) == "WAITING_INPUT"
        grpcurl = Grpcurl(plane.address)
        said = answer(job.id, request_id, allow=True)
        assert grpcurl.call(ANSWER, said) == [{"resolution": "INPUT_RESOLUTION_ALLOWED"}]
        plane.kill()
        plane.start()
        story.finish()
    assert (story.state, story.job.result.claude.text) == ("SUCCEEDED", "done")
    assert resolutions(story) == ["ALLOWED"]
    assert (story.job.attempt_count, story.job.loss_count) == (1, 0)


def test_l6_a_question_ends_with_its_worker_and_the_next_attempt_asks_anew(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")
    with plane.connect() as client:
        job, story = submit(client, {"tools": [WRITE]}, {"text": "done"})
        first = asked(story).request.request_id
        os.kill(plane.worker_pid, signal.SIGKILL)
        story.until_kind("attempt_lost").until_kind("input_requested")
        second = asked(story).request.request_id
        assert second != first
        with pytest.raises(InputResolved):
            job.answer(first, allow=True)
        job.answer(second, allow=True)
        story.finish()
    assert (story.state, story.job.loss_count, resolutions(story)) == ("SUCCEEDED", 1, ["ALLOWED"])
