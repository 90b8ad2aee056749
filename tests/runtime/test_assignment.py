"""What a worker gets with a grant besides the spec: the ends of the jobs before, within the size of a message."""

from headrace.v1 import outcome_pb2, worker_pb2
from headrace.v1.job_pb2 import JOB_STATE_FAILED, JOB_STATE_SUCCEEDED
from headrace_server.core.dependencies import Condition, DependencyRule
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.limits import LANE_MESSAGE_BYTES_MAX, RESULT_BYTES_MAX, SPEC_BYTES_MAX
from store.driving import Bench, handler_spec, new_job, offer


def result(size_bytes: int) -> bytes:
    """A result of about so many bytes."""
    made = outcome_pb2.Result()
    made.handler.value.string_value = "x" * size_bytes
    return made.SerializeToString()


def ended(bench: Bench, body: bytes | None) -> JobId:
    """A job that has succeeded with a result, or failed."""
    lease = bench.running()
    if body is None:
        bench.fail(lease, FailureClass.INVALID)
    else:
        bench.finish(lease, succeeded=body)
    return lease.job_id


def child_of(bench: Bench, *parents: JobId, input_bytes: int = 0) -> worker_pb2.Assignment:
    """The assignment of a job that runs when all of these have ended."""
    spec = handler_spec()
    if input_bytes:
        spec.handler.input.fields["text"].string_value = "x" * input_bytes
    rule = DependencyRule(condition=Condition.ALL_ENDED)
    bench.submit(new_job(spec=spec, dependencies=parents, dependency_rule=rule))
    (granted,) = bench.cycle(offer()).granted
    return granted.assignment


def test_q6_a_job_sees_how_the_jobs_ended_that_it_depends_on(bench: Bench) -> None:
    good, bad = ended(bench, result(5)), ended(bench, None)
    told = child_of(bench, good, bad).dependency_results
    assert [(one.job_id, one.state, one.cut) for one in told] == [
        (job_id_text(good), JOB_STATE_SUCCEEDED, False),
        (job_id_text(bad), JOB_STATE_FAILED, False),
    ]
    assert told[0].result.handler.value.string_value == "xxxxx"
    assert not told[1].HasField("result")


def test_q6_results_are_left_out_past_a_mebibyte_and_said_to_be(bench: Bench) -> None:
    parents = [ended(bench, result(size)) for size in (600_000, 600_000, 100)]
    told = child_of(bench, *parents).dependency_results
    assert [(one.cut, one.HasField("result")) for one in told] == [(False, True), (True, False), (False, True)]


def test_an_assignment_fits_into_a_message_whatever_its_job_depends_on(bench: Bench) -> None:
    parent = ended(bench, result(RESULT_BYTES_MAX - 100))
    assignment = child_of(bench, parent, input_bytes=SPEC_BYTES_MAX)
    assert assignment.ByteSize() <= LANE_MESSAGE_BYTES_MAX
    assert [one.cut for one in assignment.dependency_results] == [True]


def test_a_job_that_depends_on_none_is_told_of_none(bench: Bench) -> None:
    bench.submit()
    (granted,) = bench.cycle(offer()).granted
    assert not granted.assignment.dependency_results
