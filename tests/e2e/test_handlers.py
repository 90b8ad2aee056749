"""Handlers that a user's own program registers, as it is documented: a crowd of jobs, failures, and cancels."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import headrace
from e2e.control_plane import DEADLINE_SECONDS, ControlPlane, Gate, wait_for
from e2e.story import OUT, Story, class_of, state_of
from headrace import blocking
from headrace.v1 import job_pb2

PROGRAM = Path(__file__).with_name("handler_programs.py")
JOBS_COUNT = 1000


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without a worker of its own, and the program that brings the handlers."""
    with ControlPlane(tmp_path_factory.mktemp("handlers"), "--no-worker") as plane:
        worker = subprocess.Popen(
            [sys.executable, str(PROGRAM), plane.address, str(plane.root / "worker")],
            env=plane.environment,
            cwd=plane.root,
        )
        try:
            yield plane
        finally:
            worker.terminate()
            status = worker.wait(DEADLINE_SECONDS)
        assert status == 0, "a drained worker ends well"


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[blocking.Client]:
    with plane.connect() as client:
        yield client


def test_a_thousand_jobs_report_progress_and_return_their_value(client: blocking.Client) -> None:
    tasks = [headrace.handler("square", {"number": number}) for number in range(JOBS_COUNT)]
    submitted = client.submit_many([headrace.item(task, labels={"crowd": "one"}) for task in tasks])
    ids = [one.job_id for one in submitted]
    assert len(set(ids)) == JOBS_COUNT
    wait_for(lambda: succeeded(client) >= JOBS_COUNT, "all have succeeded")

    jobs = [client.job(job_id).get() for job_id in ids]
    values = [headrace.Outcome(job).value for job in jobs]
    assert values == [{"square": number * number} for number in range(JOBS_COUNT)]
    assert {(job.progress.done, job.progress.total) for job in jobs} == {(2, 2)}
    assert {job.attempt_count for job in jobs} == {1}
    some = Story(client.job(ids[-1])).finish()
    assert some.kinds[-2:] == ["progress", "succeeded"]
    assert some.all("progress")[-1].message == "done"


def succeeded(client: blocking.Client) -> int:
    counts = client.queues.get().state_counts
    return sum(one.count for one in counts if one.state == job_pb2.JOB_STATE_SUCCEEDED)


def test_what_a_handler_raises_fails_the_job_with_its_traceback(client: blocking.Client) -> None:
    with pytest.raises(headrace.JobFailed, match="ValueError: nothing to do for Ada") as caught:
        client.submit(headrace.handler("raises", {"name": "Ada"})).result()
    failure = caught.value.job.failure
    assert (class_of(failure), failure.sign) == ("ERROR", "ValueError")
    assert "handler_programs.py" in failure.detail
    assert caught.value.job.attempt_count == 1


def test_what_a_handler_raises_is_retried_by_a_policy_that_the_job_states(client: blocking.Client) -> None:
    policy = job_pb2.RetryPolicy(max_attempts=3, initial_backoff=headrace.tasks.duration(0.01))
    story = Story(client.submit(headrace.handler("raises", {"name": "Bob"}), retry_policy=policy)).finish()
    assert (story.state, story.job.attempt_count, story.job.failure_count) == ("FAILED", 3, 3)


def test_a_thread_that_looks_at_its_cancel_ends_at_once(client: blocking.Client) -> None:
    job = client.submit(headrace.handler("polite", {}))
    story = Story(job).until_kind("chunk")
    job.cancel("enough")
    story.finish()
    assert story.state == "CANCELLED"
    assert story.steps == ["INTERRUPT", "TREE_GONE"]


def test_a_thread_that_ignores_its_cancel_keeps_its_slot_until_it_returns(
    client: blocking.Client, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / "gate")
    job = client.submit(
        headrace.handler("deaf", {"gate": str(gate.path)}),
        timeouts=job_pb2.Timeouts(cancel_grace=headrace.tasks.duration(0.05)),
    )
    story = Story(job).until_kind("chunk")
    assert job.cancel().state == job_pb2.JOB_STATE_CANCELLING
    story.until_kind("cancel_stepped")
    assert (state_of(job.get()), client.workers.get("handlers").slots_used) == ("CANCELLING", 1)
    gate.open()
    assert story.finish().state == "CANCELLED"
    assert story.bytes_of(OUT) == b"blocking\n"


def test_an_async_handler_is_cancelled_and_may_clean_up(client: blocking.Client) -> None:
    job = client.submit(headrace.handler("asynchronous", {}))
    story = Story(job).until_kind("chunk")
    job.cancel()
    story.finish()
    assert story.state == "CANCELLED"
    assert story.bytes_of(OUT) == b"waiting\ncleaned up\n"


def test_a_handler_that_nobody_registered_waits_and_says_so(client: blocking.Client) -> None:
    job = client.submit(headrace.handler("unknown"))
    (reason,) = job.explain().wait_reasons
    assert (reason.cause, "unknown" in reason.message) == (job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER, True)
    job.cancel()


def test_r5_a_handler_puts_itself_off_and_goes_on_from_its_checkpoint(client: blocking.Client) -> None:
    story = Story(client.submit(headrace.handler("in_two_steps", {"delay": 0.2}))).finish()
    assert story.kinds.count("attempt_snoozed") == 1
    assert story.all("attempt_snoozed")[0].reason == "one step at a time"
    assert headrace.Outcome(story.job).value == {"went on from": {"step": 1}}
    assert (story.job.failure_count, story.job.attempt_count) == (0, 2)


def test_r5_a_handler_that_may_not_put_itself_off_fails(client: blocking.Client) -> None:
    task = headrace.handler("in_two_steps", {"delay": 0.2})
    story = Story(client.submit(task, retry_policy=headrace.retry_policy(max_snoozes=0))).finish()
    assert (story.state, class_of(story.job.failure)) == ("FAILED", "ERROR")
    assert story.job.failure.message == "snoozed 1 times, 0 are allowed"


def test_q6_a_handler_sees_what_the_jobs_returned_that_it_depends_on(client: blocking.Client) -> None:
    parents = [client.submit(headrace.handler("square", {"number": number})).id for number in (2, 3)]
    child = client.submit(headrace.handler("sum_of_parents"), after=parents)
    assert headrace.Outcome(child.result().job).value == 13


def test_c3_a_handler_that_runs_too_long_is_told_and_its_job_times_out(client: blocking.Client) -> None:
    limits = headrace.timeouts(run=0.3)
    task = headrace.handler("busy_until_told")
    story = Story(client.submit(task, timeouts=limits, retry_policy=headrace.retry_policy(1))).finish()
    assert (story.state, class_of(story.job.failure)) == ("FAILED", "TIMEOUT")
    assert story.steps == ["INTERRUPT", "TREE_GONE"]
