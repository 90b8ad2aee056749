"""What the worker watches a session for: silence in each phase, and memory; both set by variables of `serve`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane, wait_for
from e2e.story import Story, action_of, class_of
from headrace.v1 import job_pb2, task_pb2

StartControlPlane = Callable[..., ControlPlane]
ONCE = job_pb2.RetryPolicy(max_attempts=1)
TWICE = job_pb2.RetryPolicy(max_attempts=2, initial_backoff=headrace.tasks.duration(0.01))
WRITE = {"text": "write", "tools": [{"name": "Write", "input": {"file_path": "made", "content": "by a tool"}}]}


def run(plane: ControlPlane, policy: job_pb2.RetryPolicy, *steps: dict[str, Any]) -> Story:
    with plane.connect() as client:
        task = headrace.claude(
            f"SIMULATE<<{json.dumps(steps)}>>",
            permission_mode=task_pb2.PERMISSION_MODE_ACCEPT_EDITS,
            allowed_tools=["Bash"],
        )
        story = Story(client.submit(task, retry_policy=policy)).finish()
    wait_for(lambda: len(plane.processes()) == 2, "only the control plane and its worker are left", must=False)
    assert len(plane.processes()) == 2
    return story


@pytest.fixture
def impatient(start_plane: StartControlPlane) -> ControlPlane:
    phases = ("FIRST_TOKEN", "STREAMING", "TOOL", "AFTER_TOOL")
    silences = {f"HEADRACE_WORKER_STALL_{phase}_SECONDS": "0.7" for phase in phases}
    return start_plane("--claude", "simulated", **silences)


@pytest.mark.parametrize(
    ("phase", "steps"),
    [
        ("first_token", [{"fault": "hang", "interruptible": True}]),
        ("streaming", [{"text": "x" * 200, "hang_after_deltas": 2}]),
        ("tool", [{"fault": "hang", "at": "tool", "child": True, "interruptible": True}]),
        (
            "after_tool",
            [
                {"tools": [{"name": "Glob", "input": {"pattern": "*"}}]},
                {"fault": "hang", "interruptible": True},
            ],
        ),
    ],
)
def test_r2_silence_ends_an_attempt_as_a_stall_with_its_evidence(
    impatient: ControlPlane, phase: str, steps: list[dict[str, Any]]
) -> None:
    story = run(impatient, ONCE, *steps)
    failure = story.job.failure
    assert (class_of(failure), failure.sign) == ("STALL", f"watchdog={phase}")
    assert f" s in the phase {phase}" in failure.message
    assert " processes held " in failure.message
    assert not story.steps, "the rungs are of cancels only"


def test_r6_a_stalled_session_that_changed_something_is_resumed(impatient: ControlPlane) -> None:
    story = run(impatient, TWICE, WRITE, {"fault": "hang", "interruptible": True})
    first, second = story.all("attempt_failed")
    assert [class_of(failed.failure) for failed in (first, second)] == ["STALL", "STALL"]
    assert (action_of(first.decision), action_of(second.decision)) == ("RESUME", "FAIL")
    assert len({init.claude_session_id for init in story.all("init")}) == 1


def test_a_session_that_outgrows_its_memory_is_killed_and_tried_again(start_plane: StartControlPlane) -> None:
    limits = {
        "HEADRACE_WORKER_CLAUDE_MEMORY_SOFT_BYTES": "60MiB",
        "HEADRACE_WORKER_CLAUDE_MEMORY_HARD_BYTES": "120MiB",
    }
    plane = start_plane("--claude", "simulated", **limits)
    story = run(plane, TWICE, {"text": "begin"}, {"fault": "memory", "bytes": 2**31, "milliseconds": 40})
    first, second = story.all("attempt_failed")
    for failed in (first, second):
        assert class_of(failed.failure) == "RESOURCE"
        assert int(failed.failure.sign.removeprefix("rss_bytes=")) > 120 * 2**20
        assert failed.failure.message.endswith(" of memory, 120.0 MiB are allowed")
    assert (action_of(first.decision), action_of(second.decision)) == ("RETRY", "FAIL")
    notes = story.all("progress")
    assert len(notes) <= 2
    assert all(note.message.endswith("(soft limit 60.0 MiB, hard limit 120.0 MiB)") for note in notes)
