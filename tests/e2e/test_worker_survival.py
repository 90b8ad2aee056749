"""What becomes of an attempt when its CLI, its keeper, its worker, or several of them are killed (L6, L7, R2, R6)."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.story import Story, action_of, class_of
from headrace import blocking
from headrace.v1 import event_pb2, job_pb2, task_pb2

StartControlPlane = Callable[..., ControlPlane]
AT_ONCE = job_pb2.RetryPolicy(max_attempts=3, initial_backoff=headrace.tasks.duration(0.01))
Steps = list[dict[str, Any]]
LOOK = {"name": "Grep", "input": {"pattern": "x"}}
"""A tool that changes nothing; it is held by a gate in the folder."""
WRITE = {"name": "Write", "input": {"file_path": "made", "content": "by a tool"}}
CLEAN: Steps = [{"text": "before", "tools": [LOOK]}, {"text": "after"}]
DIRTY: Steps = [{"text": "write", "tools": [WRITE]}, *CLEAN]
SINGLE_RUN = "exec 9>lock; flock -n 9 || echo twice > twice; echo $$ >> runs; setsid sh -c 'cat gate' & cat gate; wait"
"""A program, and a child in a session of its own, that hold a lock: whoever runs beside them leaves a file."""


def submit(client: blocking.Client, plane: ControlPlane, steps: Steps) -> blocking.Job:
    prompt = f"SIMULATE<<{json.dumps(steps)}>>"
    task = headrace.claude(prompt, folder=str(plane.folder), permission_mode=task_pb2.PERMISSION_MODE_ACCEPT_EDITS)
    return client.submit(task, retry_policy=AT_ONCE)


def is_text(text: str) -> Callable[[object], bool]:
    return lambda item: (
        isinstance(item, event_pb2.Event) and any(block.text == text for block in item.output.claude.assistant.blocks)
    )


def the_process(plane: ControlPlane, needle: str) -> int:
    return wait_for(lambda: [pid for pid, line in plane.processes().items() if needle in line], needle)[0]


@pytest.fixture(params=["CLI", "keeper"])
def victim(request: pytest.FixtureRequest) -> str:
    return {"CLI": "headrace_worker.simulator", "keeper": "keeper.py"}[request.param]


def held_story(job: blocking.Job) -> Story:
    return Story(job).until(is_text("before"))


def test_r2_a_killed_cli_or_keeper_is_a_crash_and_a_clean_attempt_runs_again(
    start_plane: StartControlPlane, victim: str
) -> None:
    plane = start_plane("--claude", "simulated")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        job = submit(client, plane, CLEAN)
        story = held_story(job)
        tree = set(plane.processes()) - {plane.pid, plane.worker_pid}
        os.kill(the_process(plane, victim), signal.SIGKILL)
        story.until_kind("attempt_failed")
        assert not tree & set(plane.processes()), "the failure is told when the tree is gone"
        gate.open()
        story.finish()
    (failed,) = story.all("attempt_failed")
    assert (class_of(failed.failure), failed.failure.signal) == ("CRASH", signal.SIGKILL)
    assert action_of(failed.decision) == "RETRY"
    assert (story.state, story.job.attempt_count, story.job.failure_count, story.job.loss_count) == (
        *("SUCCEEDED", 2, 1, 0),
    )


def test_r6_after_a_killed_cli_or_keeper_a_dirty_attempt_is_resumed(
    start_plane: StartControlPlane, victim: str
) -> None:
    plane = start_plane("--claude", "simulated")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        job = submit(client, plane, DIRTY)
        story = held_story(job)
        first = started_with(the_process(plane, "headrace_worker.simulator"))
        os.kill(the_process(plane, victim), signal.SIGKILL)
        story.until_kind("attempt_failed").until(is_text("before"))
        second = started_with(the_process(plane, "headrace_worker.simulator"))
        gate.open()
        story.finish()
    (failed,) = story.all("attempt_failed")
    assert (class_of(failed.failure), action_of(failed.decision)) == ("CRASH", "RESUME")
    hold_resumed(story, first, second)
    assert (story.state, story.job.attempt_count, story.job.failure_count) == ("SUCCEEDED", 2, 1)


def test_l6_a_dirty_session_of_a_killed_worker_is_resumed_by_the_next_start(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        job = submit(client, plane, DIRTY)
        story = held_story(job)
        cli = the_process(plane, "headrace_worker.simulator")
        first, worker_pid = started_with(cli), plane.worker_pid
        tree = set(plane.processes()) - {plane.pid, worker_pid}
        os.kill(worker_pid, signal.SIGKILL)
        story.until_kind("attempt_lost")
        assert not tree & set(plane.processes()), "it is handed back when the tree is gone"
        story.until(is_text("before"))
        second = started_with(the_process(plane, "headrace_worker.simulator"))
        gate.open()
        story.finish()
    (lost,) = story.all("attempt_lost")
    assert action_of(lost.decision) == "RESUME"
    hold_resumed(story, first, second)
    assert (story.state, story.job.attempt_count, story.job.failure_count, story.job.loss_count) == (
        *("SUCCEEDED", 2, 0, 1),
    )


def test_l7_a_worker_killed_with_its_keepers_runs_nothing_twice_at_once(start_plane: StartControlPlane) -> None:
    """Nobody is left to end the tree but the next start of the worker, before its first word."""
    plane = start_plane("--claude", "none")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        job = client.submit(headrace.command("sh", "-c", SINGLE_RUN, folder=str(plane.folder)))
        story = Story(job).until_kind("attempt_started")
        wait_for(lambda: list(plane.processes().values()).count("cat gate") == 2, "it runs, and its child")
        worker_pid, keeper = plane.worker_pid, the_process(plane, "keeper.py")
        tree = set(plane.processes()) - {plane.pid, worker_pid}
        for pid in (worker_pid, keeper):
            os.kill(pid, signal.SIGSTOP)
        for pid in (worker_pid, keeper):
            os.kill(pid, signal.SIGKILL)
        story.until_kind("attempt_lost")
        assert not tree & set(plane.processes())
        gate.open()
        story.finish()
    assert not (plane.folder / "twice").exists()
    assert len((plane.folder / "runs").read_text().split()) == 2
    assert (story.state, story.job.attempt_count, story.job.loss_count) == ("SUCCEEDED", 2, 1)


def test_l7_everything_killed_at_once_runs_nothing_twice_and_loses_nothing(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        job = client.submit(headrace.command("sh", "-c", SINGLE_RUN, folder=str(plane.folder)))
        story = Story(job).until_kind("attempt_started")
        wait_for(lambda: list(plane.processes().values()).count("cat gate") == 2, "it runs, and its child")
        tree = set(plane.processes())
        for pid in (plane.worker_pid, the_process(plane, "keeper.py")):
            os.kill(pid, signal.SIGKILL)
        plane.kill()
        plane.start()
        story.until_kind("attempt_lost")
        assert not tree & set(plane.processes())
        gate.open()
        story.finish()
    assert not (plane.folder / "twice").exists()
    assert len((plane.folder / "runs").read_text().split()) == 2
    assert (story.state, story.job.attempt_count, story.job.loss_count) == ("SUCCEEDED", 2, 1)


def test_l5_ten_kills_of_the_control_plane_cost_no_line_and_no_frame(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")
    lines = "i=0; while [ ! -e enough ]; do i=$((i+1)); echo line $i; sleep 0.02; done; echo $i > count"
    turns = [f"turn {number}" for number in range(100)]
    tool = {"name": "Bash", "input": {"command": "sleep 0.2"}}
    with plane.connect() as client:
        session = client.submit(
            headrace.claude(
                f"SIMULATE<<{json.dumps([{'text': turn, 'tools': [tool]} for turn in turns])}>>",
                allowed_tools=["Bash"],
            )
        )
        command = client.submit(headrace.command("sh", "-c", lines, folder=str(plane.folder)))
        stories = [Story(command).until_kind("attempt_started"), Story(session).until_kind("attempt_started")]
        worker_pid = plane.worker_pid
        for number in range(10):
            # Some kills meet the worker in its first words, some in the middle of the stream.
            stories[number % 2].until_kind("chunk", "assistant")
            plane.kill()
            plane.start()
        (plane.folder / "enough").touch()
        said, heard = (story.finish() for story in stories)
    assert plane.worker_pid == worker_pid, "the worker was adopted ten times"
    count = int((plane.folder / "count").read_text())
    assert said.bytes_of(event_pb2.OUTPUT_STREAM_STDOUT) == b"".join(b"line %d\n" % n for n in range(1, count + 1))
    texts = [block.text for block in heard.blocks if block.text]
    assert [text for text in texts if text.startswith("turn")] == turns
    raw = [frame.raw_json for frame in heard.frames]
    assert len(set(raw)) == len(raw)
    for story in (said, heard):
        assert (story.state, story.job.attempt_count, story.job.epoch, story.job.loss_count) == ("SUCCEEDED", 1, 1, 0)
        sequences = story.producer_sequences(1)
        assert sequences == list(range(1, len(sequences) + 1))


def started_with(pid: int) -> tuple[list[str], dict[str, str], str]:
    """Arguments, environment and folder of a process."""
    arguments = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
    variables = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return arguments, dict(one.split("=", 1) for one in variables if one), os.readlink(f"/proc/{pid}/cwd")


def hold_resumed(story: Story, first: Any, second: Any) -> None:
    """The second CLI went on with the conversation of the first, where it was."""
    inits = story.all("init")
    (session_id,) = {init.claude_session_id for init in inits}
    assert len(inits) >= 2
    assert f"--session-id={session_id}" in first[0]
    assert f"--resume={session_id}" in second[0]
    assert first[1]["CLAUDE_CONFIG_DIR"] == second[1]["CLAUDE_CONFIG_DIR"]
    assert first[2] == second[2]
    assert {assigned.worker_id for assigned in story.all("attempt_assigned")} == {"local"}
