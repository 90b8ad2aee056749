"""Workers on hosts of their own: killed, frozen past their lease, cut off from the control plane (L1–L7)."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.remote_worker import SHORT_LEASE, RemoteWorker
from e2e.story import OUT, Story, class_of
from headrace.v1 import job_pb2, worker_pb2

StartControlPlane = Callable[..., ControlPlane]
HOLD = "exec 9>lock; flock -n 9 || echo twice > twice; echo run $$; echo $$ >> runs; setsid sh -c 'cat gate' & cat gate"


StartWorker = Callable[..., RemoteWorker]


def tree_of(plane: ControlPlane, *others: RemoteWorker) -> set[int]:
    """Every process that is neither the control plane nor one of the workers."""
    return set(plane.processes()) - {plane.pid, *(worker.pid for worker in others)}


def running(plane: ControlPlane) -> int:
    """Programs and children that wait at the gate."""
    return list(plane.processes().values()).count("cat gate")


def runs_in(folder: Path) -> list[int]:
    path = folder / "runs"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def submit(plane: ControlPlane, client: Any) -> Story:
    job = client.submit(headrace.command("sh", "-c", HOLD, folder=str(plane.folder)))
    return Story(job).until_kind("attempt_started")


def test_l6_a_killed_remote_worker_takes_its_tree_with_it_and_another_takes_the_job(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    plane = start_plane("--no-worker", **SHORT_LEASE)
    first = start_worker(plane, "w1")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = submit(plane, client)
        wait_for(lambda: running(plane) == 2, "it runs, and its child")
        second = start_worker(plane, "w2")
        tree = tree_of(plane, first, second)
        first.signal(signal.SIGKILL)
        first.wait()
        wait_for(lambda: not tree & set(plane.processes()), "the tree is gone")
        story.until_kind("attempt_lost")
        gate.open()
        story.finish()
        second.signal(signal.SIGTERM)
        assert second.wait() == 0
    assert not (plane.folder / "twice").exists()
    assert (story.state, story.job.attempt_count, story.job.loss_count, story.job.failure_count) == (
        *("SUCCEEDED", 2, 1, 0),
    )
    assert [attempt.worker_id for attempt in story.all("attempt_assigned")] == ["w1", "w2"]
    assert len(runs_in(plane.folder)) == 2


def test_l7_a_frozen_workers_tree_ends_before_its_job_is_given_away_and_its_late_word_is_kept(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    plane = start_plane("--no-worker", **SHORT_LEASE)
    first = start_worker(plane, "w1")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = submit(plane, client)
        wait_for(lambda: running(plane) == 2, "it runs, and its child")
        second = start_worker(plane, "w2")
        wait_for(lambda: "w2" in {worker.id for worker in client.workers.list()}, "the second worker is there")
        tree = tree_of(plane, first, second)
        first.signal(signal.SIGSTOP)
        story.until_kind("attempt_lost")
        assert not tree & set(plane.processes()), "its keeper has ended it, without the worker"
        story.until_kind("attempt_started")
        first.signal(signal.SIGCONT)
        job = client.job(story.events[0].job_id)
        late = wait_for(lambda: late_of(job.get(), 1), "the late result is kept")
        assert late is not None
        assert late.HasField("failure")
        assert class_of(late.failure) == "WORKER_LOST"
        gate.open()
        story.finish()
        assert late_of(job.get(), 2) is None
        for worker in (first, second):
            worker.signal(signal.SIGTERM)
            assert worker.wait() == 0
    assert not (plane.folder / "twice").exists()
    assert (story.state, story.job.attempt_count, story.job.epoch, story.job.loss_count) == ("SUCCEEDED", 2, 2, 1)
    assert b"".join(b"run %d\n" % pid for pid in runs_in(plane.folder)) == story.bytes_of(OUT)


def late_of(job: job_pb2.Job, number: int) -> job_pb2.LateResult | None:
    found = [attempt for attempt in job.attempts if attempt.number == number and attempt.HasField("late_result")]
    return found[0].late_result if found else None


def test_l4_a_worker_without_a_control_plane_ends_its_attempts_itself_and_stays(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    plane = start_plane("--no-worker", **SHORT_LEASE)
    worker = start_worker(plane, "w1")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = submit(plane, client)
        wait_for(lambda: running(plane) == 2, "it runs, and its child")
        plane.signal(signal.SIGSTOP)
        wait_for(lambda: running(plane) == 0, "the worker's own clock has ended the tree")
        plane.signal(signal.SIGCONT)
        story.until_kind("attempt_lost", "attempt_failed")
        gate.open()
        story.finish()
        assert plane.processes().keys() >= {worker.pid}
        (known,) = client.workers.list()
        assert worker_pb2.WorkerState.Name(known.state) == "WORKER_STATE_READY"
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert not (plane.folder / "twice").exists()
    assert (story.state, story.job.attempt_count) == ("SUCCEEDED", 2)


def test_l5_a_remote_worker_outlives_restarts_of_the_control_plane(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    plane = start_plane("--no-worker")
    worker = start_worker(plane, "w1")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = submit(plane, client)
        wait_for(lambda: running(plane) == 2, "it runs, and its child")
        for _ in range(3):
            plane.kill()
            plane.start()
        gate.open()
        story.finish()
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0
    assert (story.state, story.job.attempt_count, story.job.epoch, story.job.loss_count) == ("SUCCEEDED", 1, 1, 0)
    (pid,) = runs_in(plane.folder)
    assert story.bytes_of(OUT) == b"run %d\n" % pid


def test_l5_a_new_start_of_a_worker_takes_the_place_of_the_old_one(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    """The same name on another host: the older is dismissed and ends what it runs."""
    plane = start_plane("--no-worker", **SHORT_LEASE)
    first = start_worker(plane, "w1")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = submit(plane, client)
        wait_for(lambda: running(plane) == 2, "it runs, and its child")
        second = start_worker(plane, "w1", "--data", str(plane.root / "elsewhere"))
        assert first.wait() == 3
        story.until_kind("attempt_lost").until_kind("attempt_started")
        gate.open()
        story.finish()
        second.signal(signal.SIGTERM)
        assert second.wait() == 0
    assert not (plane.folder / "twice").exists()
    assert (story.state, story.job.attempt_count, story.job.loss_count) == ("SUCCEEDED", 2, 1)
    assert os.listdir(plane.root / "w1" / "tmp") == []


def test_l7_a_new_start_gets_the_job_of_a_frozen_old_one_only_when_its_tree_is_gone(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    """The old one is connected and can't hear that it is dismissed: its lease has to end first."""
    plane = start_plane("--no-worker", **SHORT_LEASE)
    first = start_worker(plane, "w1")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        story = submit(plane, client)
        wait_for(lambda: running(plane) == 2, "it runs, and its child")
        tree = tree_of(plane, first)
        first.signal(signal.SIGSTOP)
        incarnation = client.workers.get("w1").incarnation
        second = start_worker(plane, "w1", "--data", str(plane.root / "elsewhere"))
        wait_for(lambda: client.workers.get("w1").incarnation != incarnation, "the second one is there")
        worker = client.workers.get("w1")
        assert (worker.slots, worker.slots_used) == (1, 1), "what the first one holds counts"
        story.until_kind("attempt_lost")
        assert not tree & set(plane.processes()), "its keeper has ended it, without the worker"
        story.until_kind("attempt_started")
        first.signal(signal.SIGCONT)
        assert first.wait() == 3
        gate.open()
        story.finish()
        second.signal(signal.SIGTERM)
        assert second.wait() == 0
    assert not (plane.folder / "twice").exists()
    assert (story.state, story.job.attempt_count, story.job.loss_count) == ("SUCCEEDED", 2, 1)
