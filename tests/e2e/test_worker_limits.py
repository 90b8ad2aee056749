"""A worker whose host runs out of something: the job says so as RESOURCE, the worker lives on (L7)."""

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.story import Story, action_of, class_of
from headrace import blocking
from headrace.v1 import job_pb2, outcome_pb2

StartControlPlane = Callable[..., ControlPlane]
MIB = 1024 * 1024
ONCE = job_pb2.RetryPolicy(max_attempts=1)
AGAIN = job_pb2.RetryPolicy(max_attempts=3, initial_backoff=headrace.tasks.duration(0.01))
WITHOUT_LIMIT = 4096 * MIB


@contextmanager
def limited(pid: int, kind: int, value: int) -> Iterator[None]:
    """A process with a lower limit for a while."""
    soft, hard = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (value, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, kind, (soft, hard))


def failure_of(story: Story) -> outcome_pb2.Failure:
    assert story.state == "FAILED"
    return story.job.failure


def warmed_up(plane: ControlPlane, client: blocking.Client) -> int:
    """Process id of a worker that has run something before."""
    assert client.submit(headrace.command("printf", "warm")).result().exit_code == 0
    return plane.worker_pid


def test_without_file_descriptors_jobs_fail_as_resource_and_run_when_there_are_some_again(
    start_plane: StartControlPlane,
) -> None:
    plane = start_plane("--claude", "simulated")
    with plane.connect() as client:
        worker = warmed_up(plane, client)
        # So that one more attempt's pipes can't be had; and few more than the pipes.
        for spare in (0, 3, 8, 11):
            used = max(int(name) for name in os.listdir(f"/proc/{worker}/fd")) + 1
            with limited(worker, resource.RLIMIT_NOFILE, used + spare):
                jobs = [
                    client.submit(headrace.command("printf", "hello"), retry_policy=ONCE),
                    client.submit(headrace.claude("hello"), retry_policy=ONCE),
                ]
                for job in jobs:
                    story = Story(job).finish()
                    if story.state == "FAILED":
                        assert class_of(failure_of(story)) == "RESOURCE", failure_of(story)
                        assert "Too many open files" in failure_of(story).message
                    else:
                        assert spare
        assert client.submit(headrace.command("printf", "hello")).result().exit_code == 0
        assert plane.worker_pid == worker
        wait_for(lambda: len(plane.processes()) == 2, "no keeper is left of what could not be started")


def test_a_job_that_lacks_file_descriptors_is_tried_again(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    with plane.connect() as client:
        worker = warmed_up(plane, client)
        used = max(int(name) for name in os.listdir(f"/proc/{worker}/fd")) + 1
        with limited(worker, resource.RLIMIT_NOFILE, used):
            story = Story(client.submit(headrace.command("printf", "hello"), retry_policy=AGAIN))
            story.until_kind("attempt_failed")
        story.finish()
    (failed, *_) = story.all("attempt_failed")
    assert (class_of(failed.failure), action_of(failed.decision)) == ("RESOURCE", "RETRY")
    assert story.state == "SUCCEEDED"


def test_a_session_whose_output_the_disk_refuses_fails_as_resource(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")
    gate = Gate(plane.folder / "gate")
    steps = [
        {"tools": [{"name": "Grep", "input": {"pattern": "x"}}]},
        {"fault": "frame", "count": 400, "frame": {"type": "flood", "payload": "y" * 100_000}},
        {"text": "done"},
    ]
    with plane.connect() as client:
        worker = warmed_up(plane, client)
        task = headrace.claude(f"SIMULATE<<{json.dumps(steps)}>>", folder=str(plane.folder))
        job = client.submit(task, output_bytes_max=WITHOUT_LIMIT, retry_policy=ONCE)
        story = Story(job).until_kind("attempt_started")
        gate.hold()
        with limited(worker, resource.RLIMIT_FSIZE, 100_000):
            plane.signal(signal.SIGSTOP)
            gate.open()
            wait_for(lambda: not simulators(plane), "the flood is over")
            plane.signal(signal.SIGCONT)
            failure = failure_of(story.finish())
        assert (class_of(failure), failure.sign) == ("RESOURCE", "spool")
        assert failure.message == "the worker's disk takes no more of what the CLI says: File too large"
        assert client.submit(headrace.command("printf", "hello")).result().exit_code == 0
        assert plane.worker_pid == worker


def simulators(plane: ControlPlane) -> list[int]:
    return [pid for pid, line in plane.processes().items() if "headrace_worker.simulator" in line]


def test_a_command_whose_output_the_disk_refuses_is_slowed_and_loses_nothing(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    size = 20 * MIB
    with plane.connect() as client:
        worker = warmed_up(plane, client)
        with limited(worker, resource.RLIMIT_FSIZE, 4096):
            job = client.submit(headrace.command("sh", "-c", f"yes | head -c {size}"), output_bytes_max=WITHOUT_LIMIT)
            story = Story(job).finish()
        assert plane.worker_pid == worker
    assert story.state == "SUCCEEDED"
    assert story.job.result.command.stdout_bytes == size


def test_a_broken_spool_ends_the_attempt_and_the_job_runs_again(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    gate = Gate(plane.folder / "gate")
    script = "if mkdir first; then yes | head -c 33554432; fi; cat gate"
    with plane.connect() as client:
        worker = warmed_up(plane, client)
        task = headrace.command("sh", "-c", script, folder=str(plane.folder))
        story = Story(client.submit(task, output_bytes_max=WITHOUT_LIMIT, retry_policy=AGAIN))
        story.until_kind("attempt_started")
        plane.signal(signal.SIGSTOP)
        wait_for(lambda: "cat gate" in plane.processes().values(), "everything is said")
        broken = [path for path in Path(f"/proc/{worker}/fd").iterdir() if "/spool/" in os.readlink(path)]
        assert broken
        for path in broken:
            os.truncate(path, 0)
        plane.signal(signal.SIGCONT)
        story.until_kind("attempt_failed")
        gate.open()
        story.finish()
        assert plane.worker_pid == worker
    (failed,) = story.all("attempt_failed")
    assert (class_of(failed.failure), failed.failure.sign) == ("RESOURCE", "spool")
    assert failed.failure.message.startswith("output that waited on the worker's disk is lost: ")
    assert (story.state, story.job.attempt_count) == ("SUCCEEDED", 2)
