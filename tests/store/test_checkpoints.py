"""R6: what a handler says of how far it is reaches the next attempt, the latest only, and only from its own lease."""

import pytest
from google.protobuf.struct_pb2 import Value

from headrace.v1 import event_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.failures import FailureClass
from headrace_server.core.limits import CHECKPOINT_BYTES_MAX, NESTED_LEVELS_MAX
from headrace_server.core.refusal import Refused
from headrace_server.rpc.streams.lane_limits import check_output
from headrace_server.store.attempts.checkpoints import read_checkpoint, remove_checkpoint
from headrace_server.store.attempts.leases import Lease, Snooze
from store.driving import Bench, checkpoint, chunk, offer


def kept(bench: Bench, lease: Lease) -> str | None:
    """The checkpoint of a job, as it is stored."""
    body = bench.read(read_checkpoint, bench.job(lease.job_id).row)
    return None if body is None else Value.FromString(body).string_value


def test_r6_the_latest_checkpoint_is_kept_with_the_output_that_said_it(bench: Bench) -> None:
    lease = bench.running()
    assert kept(bench, lease) is None
    bench.append(lease, checkpoint(1, "a"), chunk(2), checkpoint(3, "b"))
    assert kept(bench, lease) == "b"
    bench.append(lease, checkpoint(4, "c"))
    assert kept(bench, lease) == "c"
    assert bench.kinds(lease.job_id).count("output") == 4


def test_e5_a_checkpoint_that_is_sent_again_does_not_go_back(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, checkpoint(1, "a"), checkpoint(2, "b"))
    bench.append(lease, checkpoint(1, "a"))
    bench.append(lease, checkpoint(9, "after a hole"))
    assert kept(bench, lease) == "b"


def test_r6_the_next_attempt_goes_on_from_it(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, checkpoint(1, "half"))
    bench.fail(lease, FailureClass.CRASH, outputs=1)
    bench.clock.advance(600)
    (again,) = bench.cycle(offer()).granted
    assert again.assignment.checkpoint.string_value == "half"
    bench.hear(starts=[again.lease])
    bench.finish(again.lease, snoozed=Snooze(1, ""))
    bench.clock.advance(600)
    (third,) = bench.cycle(offer()).granted
    assert third.assignment.checkpoint.string_value == "half"


def test_r6_a_first_attempt_has_none(bench: Bench) -> None:
    bench.submit()
    (granted,) = bench.cycle(offer()).granted
    assert not granted.assignment.HasField("checkpoint")


def test_l1_a_fenced_attempt_changes_no_checkpoint(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, checkpoint(1, "mine"))
    bench.lose()
    assert bench.append(lease, checkpoint(2, "too late")).stale
    assert kept(bench, lease) == "mine"


def test_e6_a_checkpoint_counts_as_output_and_is_kept_past_its_cap(bench: Bench) -> None:
    lease = bench.running(output_bytes_max=10)
    bench.append(lease, checkpoint(1, "x" * 100))
    bench.append(lease, checkpoint(2, "y" * 100))
    assert kept(bench, lease) == "y" * 100
    assert bench.kinds(lease.job_id).count("output") == 0
    assert bench.job(lease.job_id).output_bytes == 0


def test_a_checkpoint_goes_with_its_job(bench: Bench) -> None:
    lease = bench.running()
    bench.append(lease, checkpoint(1, "x"))
    bench.write(remove_checkpoint, bench.job(lease.job_id).row)
    assert kept(bench, lease) is None


def nested(levels: int) -> Value:
    value = Value(bool_value=True)
    for _ in range(levels):
        outer = Value()
        outer.list_value.values.append(value)
        value = outer
    return value


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        (Value(string_value="x" * (CHECKPOINT_BYTES_MAX - 10)), True),
        (Value(string_value="x" * CHECKPOINT_BYTES_MAX), False),
        (nested(5), True),
        (nested(NESTED_LEVELS_MAX // 2 + 2), False),
    ],
)
def test_a_checkpoint_that_is_too_much_ends_the_lane(value: Value, fits: bool) -> None:
    request = pb.StreamOutputRequest()
    batch = request.batches.add()
    batch.outputs.append(event_pb2.Output(producer_sequence=1, checkpoint=event_pb2.Checkpoint(value=value)))
    if fits:
        check_output(request)
    else:
        with pytest.raises(Refused):
            check_output(request)
