"""What a kill or a signal may not cost: no event lost or doubled, no process left, nothing run twice (L5–L7)."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.story import OUT, Story, kind_of
from headrace.v1 import event_pb2, job_pb2, job_service_pb2, job_service_pb2_grpc, watch_pb2

StartControlPlane = Callable[..., ControlPlane]
LINES_COUNT = 2000
LINES = b"".join(b"line %d\n" % number for number in range(1, LINES_COUNT + 1))
COUNTING = f"cat gate1; i=0; while [ $i -lt {LINES_COUNT} ]; do i=$((i+1)); echo line $i; done; touch said; cat gate2"


def script(*steps: dict[str, Any]) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


def test_l7_a_command_outlives_a_killed_control_plane_and_not_a_byte_is_lost(start_plane: StartControlPlane) -> None:
    """The program says everything while no control plane is there."""
    plane = start_plane("--claude", "none")
    first, second = Gate(plane.folder / "gate1"), Gate(plane.folder / "gate2")
    with plane.connect() as client:
        job = client.submit(headrace.command("sh", "-c", COUNTING, folder=str(plane.folder)))
        story = Story(job).until_kind("attempt_started")
        worker_pid = plane.worker_pid
        plane.kill()
        first.open()
        wait_for((plane.folder / "said").exists, "everything is said")
        plane.start()
        second.open()
        story.finish()

    assert plane.worker_pid == worker_pid, "the worker was adopted"
    assert story.reconnects
    assert story.state == "SUCCEEDED"
    assert story.bytes_of(OUT) == LINES
    assert story.producer_sequences(1) == list(range(1, len(story.producer_sequences(1)) + 1))
    assert (story.job.attempt_count, story.job.epoch, story.job.loss_count) == (1, 1, 0)


def test_l5_a_session_outlives_a_killed_control_plane(start_plane: StartControlPlane) -> None:
    """The middle turns are said while no control plane is there."""
    plane = start_plane("--claude", "simulated")
    first = Gate(plane.folder / "gate1")
    wait = {"name": "Grep", "input": {"pattern": "x"}}
    middle = [f"turn {number}" for number in range(20)]
    steps = [{"text": text, "tools": [{"name": "Glob", "input": {"pattern": "*"}}]} for text in middle]
    prompt = script({"text": "before", "tools": [wait]}, *steps, {"text": "done", "tools": [wait]}, {"text": "after"})
    with plane.connect() as client:
        job = client.submit(headrace.claude(prompt, folder=str(plane.folder)))
        story = Story(job).until(lambda item: isinstance(item, event_pb2.Event) and "before" in texts_of([item]))
        plane.kill()
        second = first.open_to("gate2")
        second.hold()
        plane.start()
        second.open()
        story.finish()

    assert (story.state, story.job.attempt_count, story.job.epoch) == ("SUCCEEDED", 1, 1)
    assert texts_of(story.events) == ["before", *middle, "done", "after"]
    raw = [frame.raw_json for frame in story.frames]
    assert len(set(raw)) == len(raw), "no frame is there twice"
    assert story.job.usage.turns == len(middle) + 3
    assert story.job.usage.cost_usd_micros == round(story.result_frame()["total_cost_usd"] * 1e6)


def texts_of(events: list[event_pb2.Event]) -> list[str]:
    blocks = (block for event in events for block in event.output.claude.assistant.blocks)
    return [block.text for block in blocks if block.text]


def test_l6_a_killed_worker_takes_its_tree_with_it_and_the_job_runs_again_once(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    command = "echo $$ >> runs; setsid sh -c 'cat gate' & cat gate; wait"
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = Story(client.submit(headrace.command("sh", "-c", command, folder=str(plane.folder))))
        story.until_kind("attempt_started")
        worker_pid = plane.worker_pid
        (pid,) = wait_for(lambda: runs_in(plane.folder), "the program runs")
        tree = set(plane.processes()) - {plane.pid, worker_pid}
        assert pid in tree
        os.kill(worker_pid, signal.SIGKILL)
        wait_for(lambda: not tree & set(plane.processes()), "the tree of the killed worker is gone")
        story.until_kind("attempt_lost")
        wait_for(lambda: len(runs_in(plane.folder)) == 2, "it runs again")
        gate.open()
        story.finish()

        assert (story.state, story.job.attempt_count, story.job.loss_count) == ("SUCCEEDED", 2, 1)
        assert story.job.failure_count == 0
        assert len(runs_in(plane.folder)) == 2
        assert [kind for kind in story.kinds if kind.startswith("attempt")] == [
            *("attempt_assigned", "attempt_started", "attempt_lost", "attempt_assigned", "attempt_started"),
        ]
        assert plane.worker_pid != worker_pid
    # The one thing that a killed worker can't do any more, and a later one does after a week.
    shutil.rmtree(plane.data / "local-worker" / "tmp")


def runs_in(folder: Path) -> list[int]:
    path = folder / "runs"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def test_a_follower_is_told_of_the_drain_and_resumes_on_the_same_port(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    nowhere = job_pb2.Placement(required_labels={"place": "nowhere"})
    with plane.connect() as client, grpc.insecure_channel(plane.address) as channel:
        job = client.submit(headrace.command("sh"), placement=nowhere)
        story = Story(job).until_kind("submitted")
        request = job_service_pb2.WatchJobRequest(job_id=job.id)
        stream = iter(job_service_pb2_grpc.JobServiceStub(channel).WatchJob(request))
        assert next(stream).HasField("opened")
        plane.signal(signal.SIGTERM)
        last = list(stream)[-1]
        assert last.end.reason == watch_pb2.END_REASON_DRAINING
        assert plane.wait() == 0
        plane.start()
        story.until(lambda item: isinstance(item, watch_pb2.WatchOpened))
        assert story.reconnects
        job.cancel()
        assert story.finish().kinds == ["submitted", "cancelled"]


def test_sigterm_hands_running_work_back_and_burns_no_attempt(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none", HEADRACE_WORKER_DRAIN_SECONDS="0.2")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = Story(client.submit(headrace.command("cat", str(gate.path)))).until_kind("attempt_started")
        plane.stop()
        assert plane.processes() == {}
        plane.start()
        gate.open()
        story.finish()
    assert (story.state, story.job.loss_count, story.job.failure_count) == ("SUCCEEDED", 0, 0)
    assert "attempt_handed_back" in story.kinds


def test_a_second_sigint_ends_at_once_and_loses_nothing_acknowledged(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        running = client.submit(headrace.command("cat", str(gate.path)))
        Story(running).until_kind("attempt_started").close()
        waiting = client.submit(headrace.command("sh", "-c", "exit 0"))
        plane.signal(signal.SIGINT)
        wait_for(lambda: "a second signal ends it at once" in plane.stderr, "it drains")
        plane.signal(signal.SIGINT)
        assert plane.wait() == 130
        wait_for(lambda: not plane.processes(), "its worker and the tree are gone")
        plane.start()
        gate.open()
        assert running.result().exit_code == 0
        assert waiting.result().exit_code == 0


def test_an_acknowledged_submit_outlives_a_kill_at_once(start_plane: StartControlPlane) -> None:
    plane = start_plane("--no-worker", "--claude", "none")
    with plane.connect() as client:
        tasks = [headrace.handler("later", {"number": number}) for number in range(50)]
        ids = [client.submit(task, request_id=f"r{number}").id for number, task in enumerate(tasks)]
        plane.kill()
        plane.start()
        assert [job.id for job in client.list()] == ids[::-1]
        again = client.submit(headrace.handler("later", {"number": 7}), request_id="r7")
        assert (again.id, again.deduplicated) == (ids[7], True)


def test_a_killed_keeper_is_a_crash_and_leaves_nothing(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        once = job_pb2.RetryPolicy(max_attempts=1)
        job = client.submit(headrace.command("cat", str(gate.path)), retry_policy=once)
        story = Story(job).until_kind("attempt_started")
        keeper = wait_for(lambda: [pid for pid, line in plane.processes().items() if "keeper.py" in line], "one")
        os.kill(keeper[0], signal.SIGKILL)
        assert story.finish().state == "FAILED"
        wait_for(lambda: len(plane.processes()) == 2, "only the control plane and its worker are left")
        assert kind_of(story.events[-1]) == "failed"
