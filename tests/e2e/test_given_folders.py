"""Jobs that are given one folder: the second starts when the first has ended, whatever the server went through (Q3)."""

import json
from collections.abc import Callable
from typing import Any

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.story import Story
from headrace import blocking
from headrace.v1 import job_pb2

StartControlPlane = Callable[..., ControlPlane]
READS_GATE = {"name": "Grep", "input": {"pattern": "x"}}


def script(*steps: dict[str, Any]) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


def position_of(story: Story, kind: str) -> int:
    """Where an event of the job stands in the feed of all."""
    (event,) = [event for event in story.events if event.WhichOneof("kind") == kind]
    return event.position


def waits_for(client: blocking.Client, job_id: str) -> dict[int, str]:
    return {reason.cause: reason.message for reason in client.job(job_id).explain().wait_reasons}


def test_q3_the_second_job_of_a_folder_starts_when_the_first_has_ended(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")
    gate = Gate(plane.folder / "gate")
    folder = str(plane.folder)
    with plane.connect() as client:
        first = client.submit(headrace.claude(script({"tools": [READS_GATE]}, {"text": "first"}), folder=folder))
        ahead = Story(first).until_kind("attempt_started")
        second = client.submit(headrace.claude(script({"text": "second"}), folder=folder + "/"))
        beside = client.submit(headrace.claude(script({"text": "beside"}), folder=folder, share_folder=True))
        assert beside.result().text == "beside"
        told = {job_pb2.WAIT_CAUSE_FOLDER: f"job {first.id} works in folder {folder!r}"}
        assert waits_for(client, second.id) == told
        plane.kill()
        plane.start()
        wait_for(lambda: waits_for(client, second.id) == told, "its worker is there again")
        gate.open()
        ahead.finish()
        behind = Story(second)
        behind.finish()
    assert (ahead.state, behind.state) == ("SUCCEEDED", "SUCCEEDED")
    assert (ahead.job.epoch, behind.job.epoch) == (1, 1)
    assert position_of(behind, "attempt_assigned") > position_of(ahead, "succeeded")
