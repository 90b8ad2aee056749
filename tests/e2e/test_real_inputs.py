"""X3 with the real CLI through the whole path: what it asks, several at once, is answered by grpcurl, or expires."""

import json
from typing import Any

import headrace
from e2e.control_plane import ControlPlane
from e2e.grpcurl import Grpcurl
from e2e.story import Story
from headrace import blocking, follow
from headrace.v1 import event_pb2, input_pb2

ANSWER = "headrace.v1.SessionService/AnswerRequest"


def script(*answers: dict[str, Any]) -> str:
    return f"SCRIPT<<{json.dumps(answers)}>>"


def asking(client: blocking.Client, *tools: dict[str, Any], **fields: Any) -> tuple[blocking.Job, Story]:
    """A job whose model calls these tools at once, seen up to the last of its questions."""
    task = headrace.claude(script({"tools": list(tools)}, {"text": "done"}), folder=fields.pop("folder", ""), ask=True)
    job = client.submit(task, **fields)
    seen = 0

    def all_asked(item: follow.Item) -> bool:
        nonlocal seen
        seen += isinstance(item, event_pb2.Event) and item.HasField("input_requested")
        return seen == len(tools)

    return job, Story(job).until(all_asked)


def answer(job: blocking.Job, request_id: str, **said: Any) -> dict[str, Any]:
    return {"job_id": job.id, "answer": {"request_id": request_id, **said}}


def resolutions(story: Story) -> list[str]:
    return [
        input_pb2.InputResolution.Name(one.resolution).removeprefix("INPUT_RESOLUTION_")
        for one in story.all("input_resolved")
    ]


def results(story: Story) -> list[tuple[str, bool]]:
    """What each tool gave back, and whether as an error."""
    blocks = [block.tool_result for message in story.all("user") for block in message.blocks]
    return [(block.text, block.is_error) for block in blocks if block.tool_use_id]


def test_x3_a_tool_runs_with_the_input_that_a_person_gave_it(
    real_plane: ControlPlane, real_client: blocking.Client
) -> None:
    folder = real_plane.folder / "asked"
    folder.mkdir()
    write: dict[str, Any] = {
        "name": "Write",
        "input": {"file_path": str(folder / "a.txt"), "content": "as the model said\n"},
    }
    job, story = asking(real_client, write, folder=str(folder))
    request = story.all("input_requested")[0].request
    assert json.loads(request.input_json) == write["input"]
    changed = json.dumps({**write["input"], "content": "as the person said\n"})
    said = answer(job, request.request_id, allow=True, updated_input_json=changed)
    assert Grpcurl(real_plane.address).call(ANSWER, said) == [{"resolution": "INPUT_RESOLUTION_ALLOWED"}]
    assert story.finish().state == "SUCCEEDED"
    assert (folder / "a.txt").read_text() == "as the person said\n"


def test_x3_what_is_asked_at_once_is_open_at_once_and_answered_in_any_order(
    real_plane: ControlPlane, real_client: blocking.Client
) -> None:
    fetches = [
        {"name": "WebFetch", "input": {"url": f"http://127.0.0.1:9/{name}", "prompt": "what is there?"}}
        for name in ("first", "second")
    ]
    job, story = asking(real_client, *fetches)
    first, second = (one.request for one in story.all("input_requested"))
    assert [one.request_id for one in job.get().open_inputs] == [first.request_id, second.request_id]
    grpcurl = Grpcurl(real_plane.address)
    for request, message in ((second, "not the second"), (first, "not the first")):
        grpcurl.call(ANSWER, answer(job, request.request_id, message=message))
    story.finish()
    assert (story.state, resolutions(story)) == ("SUCCEEDED", ["DENIED", "DENIED"])
    assert sorted(results(story)) == [("not the first", True), ("not the second", True)]
    by_call = {block.tool_use.tool_use_id: block.tool_use for block in story.blocks if block.HasField("tool_use")}
    assert "first" in by_call[first.tool_use_id].input_json


def test_x3_a_question_of_the_model_gets_the_persons_words(
    real_plane: ControlPlane, real_client: blocking.Client
) -> None:
    options = [{"label": "red", "description": "like fire"}, {"label": "blue", "description": "like the sea"}]
    question = {"question": "Which colour?", "header": "Colour", "multiSelect": False, "options": options}
    job, story = asking(real_client, {"name": "AskUserQuestion", "input": {"questions": [question]}})
    request = story.all("input_requested")[0].request
    assert request.kind == input_pb2.INPUT_KIND_QUESTION
    Grpcurl(real_plane.address).call(ANSWER, answer(job, request.request_id, allow=True, message="blue"))
    assert story.finish().state == "SUCCEEDED"
    assert '"Which colour?"="blue"' in results(story)[0][0]


def test_c3_what_nobody_answers_is_denied_and_the_model_is_told_why(real_client: blocking.Client) -> None:
    write = {"name": "Write", "input": {"file_path": "a.txt", "content": "x"}}
    _, story = asking(real_client, write, timeouts=headrace.timeouts(input=0.5))
    story.finish()
    assert (story.state, story.job.result.claude.text, resolutions(story)) == ("SUCCEEDED", "done", ["EXPIRED"])
    assert "Nobody answered in time" in results(story)[0][0]
