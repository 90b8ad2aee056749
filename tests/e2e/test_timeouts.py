"""C3 with a real server, worker and programs: what is too late ends, with its tree, its reason and its retry."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.story import OUT, Story, class_of
from headrace import blocking
from headrace.v1 import job_pb2, outcome_pb2

StartControlPlane = Callable[..., ControlPlane]
AT_ONCE = headrace.retry_policy(2, initial_backoff=0)
ONCE = headrace.retry_policy(1)
SLEEP = "echo $$ >> pids; sleep 1000"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    options = ("--claude", "none", "--allow-command", "sh")
    with ControlPlane(tmp_path_factory.mktemp("timeouts"), *options) as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[blocking.Client]:
    with plane.connect() as client:
        yield client


@pytest.fixture
def folder(plane: ControlPlane, request: pytest.FixtureRequest) -> Path:
    folder: Path = plane.folder / request.node.name[:40]
    folder.mkdir()
    return folder


def sh(script: str, folder: Path) -> headrace.tasks.Task:
    return headrace.command("sh", "-c", script, folder=str(folder))


def kinds_of(story: Story) -> list[outcome_pb2.TimeoutKind]:
    """The timeouts by which attempts of the job have failed."""
    return [one.failure.timeout for one in story.all("attempt_failed")]


def left(folder: Path) -> list[str]:
    """Programs of the job that still live."""
    return [pid for pid in (folder / "pids").read_text().split() if Path(f"/proc/{pid}").exists()]


def test_c3_a_program_that_runs_too_long_is_ended_with_its_tree_and_retried(
    client: blocking.Client, folder: Path
) -> None:
    limits = headrace.timeouts(run=0.5, cancel_grace=0.1)
    story = Story(client.submit(sh(SLEEP, folder), timeouts=limits, retry_policy=AT_ONCE)).finish()
    assert (story.state, class_of(story.job.failure), story.job.failure_count) == ("FAILED", "TIMEOUT", 2)
    assert kinds_of(story) == [outcome_pb2.TIMEOUT_KIND_RUN] * 2
    assert [one.timeout for one in story.all("attempt_timed_out")] == [outcome_pb2.TIMEOUT_KIND_RUN] * 2
    assert story.all("attempt_failed")[0].decision.action == job_pb2.RETRY_ACTION_RETRY
    assert story.steps.count("TREE_GONE") == 2
    assert left(folder) == []


def test_c3_a_silent_program_is_ended_and_one_that_speaks_is_not(client: blocking.Client, folder: Path) -> None:
    limits = headrace.timeouts(silence=2, cancel_grace=0.1)
    job = client.submit(sh(f"echo here; {SLEEP}", folder), timeouts=limits, retry_policy=ONCE)
    talker = client.submit(
        sh("for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $i; sleep 0.25; done", folder), timeouts=limits
    )
    silent = Story(job).finish()
    assert (silent.state, kinds_of(silent)) == ("FAILED", [outcome_pb2.TIMEOUT_KIND_SILENCE])
    assert silent.bytes_of(OUT) == b"here\n"
    assert left(folder) == []
    assert Story(talker).finish().state == "SUCCEEDED"


def test_c3_the_total_time_ends_a_job_between_and_over_its_attempts(client: blocking.Client, folder: Path) -> None:
    patient = headrace.retry_policy(10, initial_backoff=0)
    limits = headrace.timeouts(run=1, total=2.5, cancel_grace=0.1)
    story = Story(client.submit(sh(SLEEP, folder), timeouts=limits, retry_policy=patient)).finish()
    assert story.state == "FAILED"
    assert story.job.failure.timeout == outcome_pb2.TIMEOUT_KIND_TOTAL
    assert 1 <= story.job.failure_count <= 3
    assert left(folder) == []


def test_c3_cancel_grace_is_the_queues_where_the_job_states_none(client: blocking.Client, folder: Path) -> None:
    client.queues.create("hasty", timeouts=headrace.timeouts(run=0.5, cancel_grace=0.1))
    stubborn = f"trap '' INT TERM; {SLEEP}"
    story = Story(client.submit(sh(stubborn, folder), queue="hasty", retry_policy=ONCE)).finish()
    assert kinds_of(story) == [outcome_pb2.TIMEOUT_KIND_RUN]
    assert story.steps == ["INTERRUPT", "TERMINATE", "KILL", "TREE_GONE"]
    assert left(folder) == []


def test_c2_a_cancel_beats_a_timeout_that_is_being_carried_out(client: blocking.Client, folder: Path) -> None:
    """The grace is long: the program is told, and holds out until the cancel has come."""
    gate = Gate(folder / "gate")
    limits = headrace.timeouts(run=0.5, cancel_grace=60)
    job = client.submit(sh("trap 'cat gate; exit' INT; while :; do sleep 0.1; done", folder), timeouts=limits)
    Story(job).until_kind("cancel_stepped").close()
    assert job.cancel("enough").state == job_pb2.JOB_STATE_CANCELLING
    gate.open()
    story = Story(job).finish()
    assert (story.state, story.kinds.count("attempt_timed_out")) == ("CANCELLED", 1)


def test_c3_a_job_that_no_worker_takes_in_time_expires(start_plane: StartControlPlane) -> None:
    plane = start_plane("--no-worker")
    with plane.connect() as client:
        story = Story(client.submit(headrace.handler("any"), timeouts=headrace.timeouts(queue=0.3))).finish()
        assert story.state == "EXPIRED"
        assert story.job.failure.timeout == outcome_pb2.TIMEOUT_KIND_QUEUE
        assert story.kinds == ["submitted", "expired"]
        assert [job.id for job in client.list("state = EXPIRED")] == [story.job.id]


def test_q7_a_drained_queue_hands_back_what_runs_and_runs_it_again_later(client: blocking.Client, folder: Path) -> None:
    client.queues.create("tide", timeouts=headrace.timeouts(cancel_grace=0.1))
    gate = Gate(folder / "gate")
    job = client.submit(sh("cat gate", folder), queue="tide")
    story = Story(job).until_kind("attempt_started")
    client.queues.drain("tide", grace=0.1)
    story.until_kind("attempt_handed_back")
    wait_for(lambda: job.get().state == job_pb2.JOB_STATE_QUEUED, "it waits again")
    client.queues.resume("tide")
    gate.open()
    story.finish()
    assert (story.state, story.job.failure_count, story.job.loss_count) == ("SUCCEEDED", 0, 0)
