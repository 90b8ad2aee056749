"""Schedules as a user has them: a served one makes its jobs by itself, also after the server was killed."""

from itertools import pairwise

import headrace
from e2e.conftest import StartControlPlane
from e2e.control_plane import ControlPlane, wait_for
from headrace import blocking
from headrace.v1 import job_pb2, schedule_pb2


def made_by(client: blocking.Client, name: str, *states: job_pb2.JobState) -> list[job_pb2.Job]:
    """The jobs of a schedule's ticks in these states (any when none are named), by nominal time."""
    wanted = [job for job in client.list() if job.schedule_name == name and (not states or job.state in states)]
    return sorted(wanted, key=lambda job: job.nominal_time.ToMicroseconds())


def gaps(found: list[job_pb2.Job]) -> set[int]:
    """Microseconds between the ticks of neighbours."""
    times = [job.nominal_time.ToMicroseconds() for job in found]
    return {later - earlier for earlier, later in pairwise(times)}


def test_k1_an_interval_of_a_second_makes_a_job_each_second(client: blocking.Client) -> None:
    made = client.schedules.create("each-second", headrace.command("printf", "tick"), interval=1, overlap="allow")
    wait_for(lambda: len(made_by(client, "each-second", job_pb2.JOB_STATE_SUCCEEDED)) >= 3, "three jobs have run")
    client.schedules.pause("each-second", reason="seen enough")
    found = made_by(client, "each-second")
    first = made.create_time.ToMicroseconds() + 1_000_000
    assert found[0].nominal_time.ToMicroseconds() == first
    assert gaps(found) == {1_000_000}
    assert {job.spec.owner for job in found} == {"anonymous"}
    late = [job.create_time.ToMicroseconds() - job.nominal_time.ToMicroseconds() for job in found]
    assert min(late) >= 0

    shown = client.schedules.get("each-second")
    submitted = {firing.job_id for firing in shown.firings if firing.outcome == schedule_pb2.FIRING_OUTCOME_SUBMITTED}
    assert submitted == {job.id for job in found}
    assert shown.pause.reason == "seen enough"
    client.schedules.delete("each-second")
    assert len(made_by(client, "each-second")) == len(found)


def test_k4_a_buffered_tick_follows_the_end_of_its_forerunner(client: blocking.Client) -> None:
    task = headrace.command("sh", "-c", "sleep 3.5")
    client.schedules.create("one-by-one", task, interval=3, overlap="buffer-one")
    wait_for(lambda: len(made_by(client, "one-by-one")) >= 2, "the second tick has its job")
    client.schedules.delete("one-by-one")
    first, second = made_by(client, "one-by-one")
    client.job(second.id).cancel()
    assert gaps([first, second]) == {3_000_000}
    waited = second.create_time.ToMicroseconds() - first.end_time.ToMicroseconds()
    assert 0 <= waited < 2_000_000, "it does not wait for the next tick"


def test_k4_a_trigger_and_a_preview(client: blocking.Client) -> None:
    client.schedules.create("yearly", headrace.command("printf", "x"), cron="30 2 28 3 *", time_zone="Europe/Berlin")
    job = client.schedules.trigger("yearly")
    assert job.result().job.state == job_pb2.JOB_STATE_SUCCEEDED
    ticks = client.schedules.preview("yearly", count=3)
    assert len(ticks) == 3
    assert all(tick.local_time[4:16] in ("-03-28T02:30", "-03-28T03:00") for tick in ticks)
    client.schedules.delete("yearly")


def test_k1_k3_a_killed_server_makes_one_job_a_tick(start_plane: StartControlPlane) -> None:
    plane: ControlPlane = start_plane("--no-worker")
    with plane.connect() as client:
        client.schedules.create("s", headrace.command("printf", "x"), interval=1, overlap="allow", catch_up="all")
        wait_for(lambda: len(made_by(client, "s")) >= 2, "two ticks have passed")
    plane.kill()
    plane.start()
    with plane.connect() as client:
        before = len(made_by(client, "s"))
        wait_for(lambda: len(made_by(client, "s")) >= before + 2, "it goes on")
        found = made_by(client, "s")
        assert gaps(found) == {1_000_000}, "each tick has one job, also those of the stop"
