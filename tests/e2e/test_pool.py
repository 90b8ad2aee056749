"""The pool as a user sees it: slots that follow the load, and workers that are drained (Q7, Q9)."""

from collections.abc import Callable

import pytest

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.story import Story
from headrace import blocking
from headrace.v1 import job_pb2, worker_pb2

StartControlPlane = Callable[..., ControlPlane]
QUICK = {"HEADRACE_LEASE_SECONDS": "4", "HEADRACE_RENEWAL_SECONDS": "0.2", "HEADRACE_SLOT_MEMORY_BYTES": "0"}


def local(client: blocking.Client) -> worker_pb2.Worker:
    """The local worker, which is waited for."""

    def found() -> worker_pb2.Worker | None:
        try:
            return client.workers.get("local")
        except headrace.errors.NotFound:
            return None

    worker = wait_for(found, "the local worker connects")
    assert worker is not None
    return worker


def until(client: blocking.Client, *states: str) -> worker_pb2.Worker:
    """Waits until the local worker is in one of these states."""
    wanted = {worker_pb2.WorkerState.Value(f"WORKER_STATE_{state}") for state in states}
    wait_for(lambda: local(client).state in wanted, f"the local worker is {states}")
    return local(client)


def held_by(client: blocking.Client, gate: Gate) -> Story:
    """A command that has started and runs until its gate is opened."""
    job = client.submit(headrace.command("sh", "-c", f"echo on; cat {gate.path}"))
    return Story(job).until_kind("chunk")


def test_q9_slots_follow_the_load_between_their_bounds(start_plane: StartControlPlane) -> None:
    plane = start_plane("--workers", "6", "--workers-min", "2", **QUICK, HEADRACE_SCALE_UP_SECONDS="0.1")
    with plane.connect() as client:
        worker = local(client)
        assert (worker.slots, worker.slots_min, worker.slots_max) == (2, 2, 6)
        gate = Gate(plane.root / "gate")
        held = headrace.command("sh", "-c", f"cat {gate.path}")
        at_once = job_pb2.Timeouts(cancel_grace=headrace.tasks.duration(0.05))
        jobs = [client.submit(held, timeouts=at_once) for _ in range(9)]
        wait_for(lambda: local(client).slots_used == 6, "all six slots are used")
        worker = local(client)
        assert (worker.slots, worker.resources_used.slots) == (6, 6)
        assert worker.host_resources.memory_bytes >= worker.host_resources.memory_available_bytes > 0
        for job in jobs:
            job.cancel()
        for job in jobs:
            assert Story(job).finish().state == "CANCELLED"
    assert "worker local: from 2 to " in plane.stderr


def test_q7_a_drained_worker_takes_no_work_also_after_restarts_until_it_is_undrained(
    start_plane: StartControlPlane,
) -> None:
    """Its lease is longer than any restart takes, so that it comes back to the control plane that was killed."""
    plane = start_plane("--workers", "2", **{**QUICK, "HEADRACE_LEASE_SECONDS": "60"})
    gate = Gate(plane.root / "gate")
    with plane.connect() as client:
        local(client)
        running = held_by(client, gate)
        drained = client.workers.drain("local")
        assert drained.state == worker_pb2.WORKER_STATE_DRAINING
        assert (drained.drain.actor, drained.drain.exit) == ("anonymous", False)
        waiting = client.submit(headrace.command("printf", "x"))
        gate.open()
        assert running.finish().state == "SUCCEEDED"
        assert waiting.get().state == job_pb2.JOB_STATE_QUEUED
        pid = plane.worker_pid
        plane.kill()
        plane.start()
        assert plane.worker_pid == pid
        until(client, "DRAINING")
        plane.stop()
        plane.start()
        assert plane.worker_pid != pid
        assert until(client, "DRAINING").drain.actor == "anonymous"
        assert waiting.get().state == job_pb2.JOB_STATE_QUEUED
        assert not client.workers.undrain("local").HasField("drain")
        assert waiting.result().exit_code == 0


def test_q7_a_worker_that_is_to_exit_ends_when_it_is_empty_and_comes_back_when_it_is_wanted(
    start_plane: StartControlPlane,
) -> None:
    plane = start_plane("--workers", "2", **QUICK)
    gate = Gate(plane.root / "gate")
    with plane.connect() as client:
        local(client)
        running, pid = held_by(client, gate), plane.worker_pid
        assert client.workers.drain("local", exit=True).drain.exit
        gate.open()
        assert running.finish().state == "SUCCEEDED"
        assert until(client, "DISCONNECTED", "LOST").drain.exit
        wait_for(lambda: "the local worker has exited, as it was wanted to" in plane.stderr, "its end is seen")
        plane.stop()
        plane.start()
        waiting = client.submit(headrace.command("printf", "x"))
        assert until(client, "LOST").slots_used == 0
        assert waiting.get().state == job_pb2.JOB_STATE_QUEUED
        client.workers.undrain("local")
        assert waiting.result().exit_code == 0
        assert plane.worker_pid != pid


def test_q7_an_exit_is_undone_while_something_runs(start_plane: StartControlPlane) -> None:
    plane = start_plane("--workers", "2", **QUICK)
    gate = Gate(plane.root / "gate")
    with plane.connect() as client:
        local(client)
        running, pid = held_by(client, gate), plane.worker_pid
        client.workers.drain("local", exit=True)
        client.workers.undrain("local")
        assert client.submit(headrace.command("printf", "x")).result().exit_code == 0
        gate.open()
        assert running.finish().state == "SUCCEEDED"
        assert client.submit(headrace.command("printf", "x")).result().exit_code == 0
        assert plane.worker_pid == pid


def test_q7_what_still_runs_after_the_grace_is_handed_back_and_burns_no_attempt(
    start_plane: StartControlPlane,
) -> None:
    plane = start_plane("--workers", "2", **QUICK)
    gate = Gate(plane.root / "gate")
    with plane.connect() as client:
        local(client)
        at_once = job_pb2.Timeouts(cancel_grace=headrace.tasks.duration(0.05))
        job = client.submit(headrace.command("sh", "-c", f"echo on; cat {gate.path}"), timeouts=at_once)
        running = Story(job).until_kind("chunk")
        client.workers.drain("local", grace=0.5)
        running.until_kind("attempt_handed_back")
        assert (job.get().state, job.get().failure_count) == (job_pb2.JOB_STATE_QUEUED, 0)
        (reason,) = job.explain().wait_reasons
        assert reason.message == "the worker that can run it is drained: local"
        client.workers.undrain("local")
        running.until_kind("chunk")
        gate.open()
        assert running.finish().state == "SUCCEEDED"


def test_a_local_worker_that_can_not_start_says_why_in_the_servers_log(start_plane: StartControlPlane) -> None:
    plane = start_plane("--handlers", "no_such_module", **QUICK)
    wait_for(lambda: "the local worker does not run" in plane.stderr, "the fault is said")
    assert "saying: " in plane.stderr
    assert "no_such_module" in plane.stderr


def test_q7_an_unknown_worker_can_not_be_drained(client: blocking.Client) -> None:
    with pytest.raises(headrace.errors.NotFound, match="there is no worker 'nobody'"):
        client.workers.drain("nobody")
