"""The main job, end to end: a Claude job over gRPC, watched as it streams, on the simulated CLI."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane, Gate
from e2e.story import Story, state_of
from headrace import blocking
from headrace.v1 import event_pb2, job_pb2, watch_pb2

ANSWER = "The notes say three things, and the last of them is a question."


def scripted(*steps: dict[str, Any]) -> str:
    return f"Read the notes. SIMULATE<<{json.dumps(steps)}>>"


@pytest.fixture
def folder(shared_plane: ControlPlane, request: pytest.FixtureRequest) -> Path:
    folder: Path = shared_plane.folder / request.node.name
    folder.mkdir()
    return folder


def test_a_claude_job_streams_its_words_then_its_tools_then_its_result(client: blocking.Client, folder: Path) -> None:
    gate = Gate(folder / "gate")
    look = {"name": "Grep", "input": {"pattern": "x"}}
    prompt = scripted(
        {"text": "Looking.", "tools": [look]},
        {"text": ANSWER, "delta_characters": 4, "delta_milliseconds": 5},
    )
    job = client.submit(headrace.claude(prompt, folder=str(folder)))
    assert job.snapshot is not None
    assert state_of(job.snapshot) in ("QUEUED", "ASSIGNED"), "mostly it is granted in the commit that takes it"
    story = Story(job).until(lambda item: isinstance(item, event_pb2.Event) and has_tool_use(item))
    gate.open()
    story.finish()

    assert isinstance(story.items[0], watch_pb2.WatchOpened)
    assert story.kinds[:3] == ["submitted", "attempt_assigned", "attempt_started"]
    assert [kind for kind in story.kinds if kind in ("init", "assistant", "user", "turn_result", "succeeded")] == [
        *("init", "assistant", "assistant", "user", "assistant", "turn_result", "succeeded"),
    ]
    assert [block.WhichOneof("kind") for block in story.blocks] == ["text", "tool_use", "text"]
    (result,) = [block.tool_result for message in story.all("user") for block in message.blocks]
    assert result.tool_use_id == story.blocks[1].tool_use.tool_use_id
    assert all(frame.simulated for frame in story.frames)
    assert story.state == "SUCCEEDED"
    assert story.job.result.claude.text == ANSWER == story.blocks[-1].text
    assert (story.job.simulated, story.job.result.claude.simulated) == (True, True)
    used, said = story.job.usage, story.result_frame()
    assert (used.turns, used.tool_calls) == (2, 1)
    assert used.input_tokens == said["usage"]["input_tokens"] > 0
    assert used.output_tokens == said["usage"]["output_tokens"] > 0
    assert used.cost_usd_micros == round(said["total_cost_usd"] * 1e6) > 0


def has_tool_use(event: event_pb2.Event) -> bool:
    return any(block.HasField("tool_use") for block in event.output.claude.assistant.blocks)


def test_deltas_come_before_the_message_and_never_say_anything_else(client: blocking.Client, folder: Path) -> None:
    gate = Gate(folder / "gate")
    prompt = scripted(
        {"text": "Looking.", "tools": [{"name": "Grep", "input": {"pattern": "x"}}]},
        {"text": ANSWER, "delta_characters": 4, "delta_milliseconds": 10},
    )
    story = Story(client.submit(headrace.claude(prompt, folder=str(folder))))
    story.until(lambda item: isinstance(item, event_pb2.Event) and has_tool_use(item))
    gate.open()
    story.finish()

    (place,) = [
        number
        for number, item in enumerate(story.items)
        if isinstance(item, event_pb2.Event) and any(b.text == ANSWER for b in item.output.claude.assistant.blocks)
    ]
    message = story.items[place]
    assert isinstance(message, event_pb2.Event)
    before = [item for item in story.items[:place] if isinstance(item, event_pb2.Delta)]
    said = [delta for delta in before if delta.message_id == message.output.claude.assistant.message_id]
    words = "".join(delta.text for delta in said)
    assert ANSWER.startswith(words), "the message may overtake the last pieces, and then they are not said"
    assert words, "some of it is said before"
    assert all(delta.after_sequence < message.sequence for delta in said)
    assert not [item for item in story.items[place:] if isinstance(item, event_pb2.Delta)]


def test_every_piece_is_there_while_the_message_is_not_finished(client: blocking.Client, folder: Path) -> None:
    gate = Gate(folder / "gate")
    prompt = scripted(
        {"text": "Looking.", "tools": [{"name": "Grep", "input": {"pattern": "x"}}]},
        {"text": ANSWER * 2, "delta_characters": len(ANSWER) // 9, "hang_after_deltas": 10},
    )
    grace = job_pb2.Timeouts(cancel_grace=headrace.tasks.duration(0.2))
    job = client.submit(headrace.claude(prompt, folder=str(folder)), timeouts=grace)
    story = Story(job).until(lambda item: isinstance(item, event_pb2.Event) and has_tool_use(item))
    gate.open()
    said = (ANSWER * 2)[: 10 * (len(ANSWER) // 9)]
    heard: list[str] = []

    def all_of_it(item: object) -> bool:
        if isinstance(item, event_pb2.Delta):
            heard.append(item.text)
        return len("".join(heard)) >= len(said)

    story.until(all_of_it)
    assert "".join(heard) == said
    late = Story(job).until(lambda item: isinstance(item, event_pb2.Delta) and bool(item.text))
    late.close()
    assert late.deltas[-1].text == said, "the message so far, at once"
    job.cancel("seen enough")
    assert story.finish().state == "CANCELLED"
    assert story.steps == ["INTERRUPT", "CLOSE_INPUT", "TERMINATE", "TREE_GONE"]


def test_the_async_client_reads_the_same_log_as_a_later_reader(shared_plane: ControlPlane) -> None:
    async def main() -> None:
        async with headrace.connect(shared_plane.address) as client:
            job = await client.submit(headrace.claude(scripted({"text": ANSWER})), labels={"test": "async"})
            live = [event async for event in job.events()]
            outcome = await job.result()
            assert (outcome.text, outcome.simulated) == (ANSWER, True)
            assert [event async for event in job.events(no_follow=True)] == live
            assert [found.id async for found in client.list('labels.test = "async"')] == [job.id]

    asyncio.run(main())


def test_e2_a_cursor_continues_exactly_where_it_was_made(client: blocking.Client) -> None:
    job = client.submit(headrace.claude(scripted({"text": "one"})))
    first = Story(job).until_kind("attempt_started")
    first.close()
    rest = Story(job, cursor=first.cursor)
    sequences = [event.sequence for event in first.events]
    sequences += [event.sequence for event in rest.until(lambda item: isinstance(item, watch_pb2.WatchEnd)).events]
    assert sorted(set(sequences)) == list(range(1, rest.job.last_sequence + 1))


def test_a_prompt_without_a_script_is_answered_from_the_real_folder(client: blocking.Client, folder: Path) -> None:
    (folder / "README.md").write_text("hello\n")
    outcome = client.submit(headrace.claude("What is here?", folder=str(folder))).result()
    assert "README.md" in outcome.text
    assert outcome.job.usage.tool_calls == 2


def test_a_folder_outside_of_the_allowed_roots_fails_as_invalid(client: blocking.Client) -> None:
    with pytest.raises(headrace.JobFailed, match="INVALID"):
        client.submit(headrace.claude("hi", folder="/etc")).result()


def test_e9_closing_a_watch_does_not_cancel_the_job(client: blocking.Client, folder: Path) -> None:
    gate = Gate(folder / "gate")
    job = client.submit(headrace.command("cat", str(gate.path)))
    Story(job).until_kind("attempt_started").close()
    assert job.get().state == job_pb2.JOB_STATE_RUNNING
    gate.open()
    assert job.result().exit_code == 0
