"""Whatever a worker sends: its lane ends with a clear refusal or goes on, and its jobs can be read and followed."""

from collections.abc import Iterator
from itertools import count
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.v1 import event_pb2, input_pb2, job_pb2, job_service_pb2, outcome_pb2, worker_pb2, worker_service_pb2
from survival.garbage import Garbage
from survival.lanes import CONNECT, PROGRAM, STREAM_OUTPUT, Lane, RawWorker, hello
from survival.sending import NOT_OURS, PLAUSIBLE, command_spec
from survival.served import Served

SLOTS = 3
NAMESPACE = "lanes"
MIB = 1024 * 1024
incarnations = count(1)


@pytest.fixture
def worker(served: Served) -> Iterator[RawWorker]:
    """A worker with jobs assigned to all of its slots."""
    worker = start_worker(served)
    worker.leases(SLOTS)
    yield worker
    worker.leave()


def start_worker(served: Served) -> RawWorker:
    """A worker for which jobs were submitted that no other one runs: what it is sent has never been touched."""
    number = next(incarnations)
    program = f"{PROGRAM}-{number}"
    worker = RawWorker(served.channel, hello(incarnation=str(number), slots=SLOTS, program=program))
    submit(served, SLOTS, program)
    return worker


def submit(served: Served, jobs: int, program: str) -> None:
    items = [job_service_pb2.SubmitJobsItem(spec=command_spec(program))] * jobs
    request = job_service_pb2.SubmitJobsRequest(namespace=NAMESPACE, items=items)
    served.unary("headrace.v1.JobService/SubmitJobs", request.SerializeToString())


def get(served: Served, job_id: str) -> job_pb2.Job:
    request = job_service_pb2.GetJobRequest(namespace=NAMESPACE, job_id=job_id)
    answer = served.unary("headrace.v1.JobService/GetJob", request.SerializeToString())
    return job_service_pb2.GetJobResponse.FromString(answer).job


def watch(served: Served, job_id: str) -> list[event_pb2.Event]:
    """What a client with the limits of any client gets."""
    request = job_service_pb2.WatchJobRequest(namespace=NAMESPACE, job_id=job_id, no_follow=True, deltas=True)
    channel: Any
    with grpc.insecure_channel(served.target) as channel:
        answers = channel.unary_stream("/headrace.v1.JobService/WatchJob")(request.SerializeToString(), timeout=20)
        messages = [job_service_pb2.WatchJobResponse.FromString(answer) for answer in answers]
    return [event for message in messages for event in message.batch.events]


def output(worker: RawWorker, lease: worker_pb2.Lease, *outputs: event_pb2.Output) -> worker_service_pb2.OutputAck:
    """Sends a batch; its ack."""
    answers = len(worker.data.answers)
    batch = worker_service_pb2.OutputBatch(lease=lease, outputs=outputs)
    worker.data.send(worker_service_pb2.StreamOutputRequest(batches=[batch]).SerializeToString())
    assert worker.data.wait(answers + 1), worker.data.leave()
    return worker.data.answers[-1].acks[0]


def finish(worker: RawWorker, lease: worker_pb2.Lease, **outcome: Any) -> int:
    """Sends a finish; what became of it."""
    word = worker_service_pb2.AttemptFinish(lease=lease, **outcome)
    worker.control.send(worker_service_pb2.ConnectRequest(finishes=[word]).SerializeToString())
    answered = 0
    while True:
        for answer in worker.control.answers[answered:]:
            for ack in answer.finish_acks:
                if ack.lease.job_id == lease.job_id:
                    return ack.disposition
        answered = len(worker.control.answers)
        assert worker.control.wait(answered + 1), worker.control.leave()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_no_word_of_a_worker_is_too_strange(served: Served, seed: int) -> None:
    worker = start_worker(served)
    leases = worker.leases(SLOTS)
    known: dict[str, Any] = PLAUSIBLE | {
        "lease": leases,
        "job_id": [lease.job_id for lease in leases],
        "epoch": [lease.epoch for lease in leases],
        "generation": [1],
        "attempt": [1],
        "counter": [2, 3, 4],
        **dict.fromkeys(("producer_sequence", "report_number"), (1, 2, 3, 4)),
        **dict.fromkeys(("after_producer_sequence", "last_producer_sequence", "last_report_number"), (0, 1, 2)),
        **dict.fromkeys(("hello", "open"), ()),
    }
    garbage = Garbage(seed, known)
    for _ in range(8):
        output, word = (
            garbage.message(worker_service_pb2.StreamOutputRequest),
            garbage.message(worker_service_pb2.ConnectRequest),
        )
        damaged = garbage.random.random() < 0.05
        worker.data.send(garbage.damaged(output) if damaged else output.SerializeToString())
        worker.control.send(garbage.damaged(word) if damaged else word.SerializeToString())
    assert not NOT_OURS & set(worker.leave())
    for lease in leases:
        before = get(served, lease.job_id).last_sequence
        sequences = [event.sequence for event in watch(served, lease.job_id)]
        assert sequences == list(range(1, max(before, len(sequences)) + 1))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32))
def test_no_first_message_is_too_strange(served: Served, seed: int) -> None:
    garbage = Garbage(seed, PLAUSIBLE | {"protocol_version": [1], "incarnation": ["strange"], "slots": [1, 2]})
    for method, kind, answer in (
        (CONNECT, worker_service_pb2.ConnectRequest, worker_service_pb2.ConnectResponse),
        (STREAM_OUTPUT, worker_service_pb2.StreamOutputRequest, worker_service_pb2.StreamOutputResponse),
    ):
        message = garbage.message(kind)
        body = garbage.damaged(message) if garbage.random.random() < 0.2 else message.SerializeToString()
        lane: Any = Lane(served.channel, method, answer)
        lane.send(body)
        assert lane.leave() not in NOT_OURS | {grpc.StatusCode.DEADLINE_EXCEEDED}


def test_a_lane_that_ends_before_its_first_message_is_let_go(served: Served) -> None:
    lanes: list[Any] = [
        Lane(served.channel, CONNECT, worker_service_pb2.ConnectResponse),
        Lane(served.channel, STREAM_OUTPUT, worker_service_pb2.StreamOutputResponse),
    ]
    assert [lane.leave() for lane in lanes] == [grpc.StatusCode.OK] * 2


def test_usage_past_every_limit_is_cut_and_the_job_ends(served: Served, worker: RawWorker) -> None:
    """Summed up it would not fit into any field that tells it."""
    most = outcome_pb2.Usage(
        turns=2**31 - 1,
        input_tokens=2**63 - 1,
        cost_usd_micros=-5,
        api_duration=Duration(seconds=2**63 - 1),
        tool_calls=-1,
    )
    lease = worker.leases(1)[0]
    # Of an attempt before, when the job was another worker's.
    cost_before = get(served, lease.job_id).usage.cost_usd_micros
    assert not output(worker, lease, event_pb2.Output(producer_sequence=1, usage=most)).stale
    failure = outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_INVALID)
    assert finish(worker, lease, failed=failure, usage=most, last_producer_sequence=1) == (
        worker_service_pb2.FINISH_DISPOSITION_ACCEPTED
    )
    job = get(served, lease.job_id)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert (job.usage.turns, job.usage.input_tokens, job.usage.cost_usd_micros) == (2**31 - 1, 2**53, cost_before)
    assert watch(served, lease.job_id)[-1].WhichOneof("kind") == "failed"


def test_a_failure_of_any_size_is_kept_in_part(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    failure = outcome_pb2.Failure(
        failure_class=77,  # type: ignore[arg-type]  # that is the point
        message="é" * MIB,
        sign="s" * 100_000,
        detail="d" * 100_000,
        retry_after=Duration(seconds=-(2**63)),
        partial_result=outcome_pb2.Result(claude=outcome_pb2.ClaudeResult(text="t" * (MIB + 1))),
    )
    assert finish(worker, lease, failed=failure) == worker_service_pb2.FINISH_DISPOSITION_ACCEPTED
    job = get(served, lease.job_id)
    assert job.state == job_pb2.JOB_STATE_FAILED
    assert 0 < len(job.failure.message) < 2049
    assert not job.failure.HasField("partial_result")
    assert watch(served, lease.job_id)


def test_a_result_that_nobody_could_read_fails_the_attempt(served: Served, worker: RawWorker) -> None:
    """Nested so deep that it is just readable where it comes from."""
    lease = worker.leases(1)[0]
    result = outcome_pb2.Result(handler=outcome_pb2.HandlerResult())
    result.handler.value.MergeFromString(nested_lists(45))
    assert finish(worker, lease, succeeded=result) == worker_service_pb2.FINISH_DISPOSITION_INVALID
    assert get(served, lease.job_id).failure.message.startswith("the result is nested too deeply, or")


def test_a_result_that_is_no_json_fails_the_attempt(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    result = outcome_pb2.Result(handler=outcome_pb2.HandlerResult())
    result.handler.value.struct_value.update({"score": float("nan")})
    assert finish(worker, lease, succeeded=result) == worker_service_pb2.FINISH_DISPOSITION_INVALID
    assert get(served, lease.job_id).failure.message.endswith("NaN or an infinite number, which JSON does not have")


def nested_lists(levels: int) -> bytes:
    """A `Value`, made of bytes: what is set one by one is copied at each level."""
    body = b""
    for _ in range(levels):
        values = b"\x0a" + size(body) + body
        body = b"\x32" + size(values) + values
    return body


def size(body: bytes) -> bytes:
    return bytes((len(body),)) if len(body) < 0x80 else bytes((len(body) & 0x7F | 0x80, len(body) >> 7))


@pytest.mark.parametrize("too_much", [3 * MIB, 4 * MIB - 200])
def test_an_output_that_no_follower_could_get_ends_the_lane(served: Served, worker: RawWorker, too_much: int) -> None:
    lease = worker.leases(1)[0]
    huge = event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=bytes(too_much)))
    batch = worker_service_pb2.OutputBatch(lease=lease, outputs=[huge])
    worker.data.send(worker_service_pb2.StreamOutputRequest(batches=[batch]).SerializeToString())
    assert worker.data.leave() is grpc.StatusCode.INVALID_ARGUMENT
    assert watch(served, lease.job_id)[-1].WhichOneof("kind") == "attempt_assigned"


def test_the_largest_output_reaches_a_follower(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    large = event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=bytes(2 * MIB - 100)))
    assert output(worker, lease, large).committed_producer_sequence == 1
    assert len(watch(served, lease.job_id)[-1].output.chunk.data) == 2 * MIB - 100


def test_names_of_any_length_are_not_kept(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    init = event_pb2.ClaudeInit(claude_session_id="s" * MIB)
    frames = [
        event_pb2.Output(producer_sequence=1, claude=event_pb2.ClaudeFrame(raw_json="{}", init=init)),
        event_pb2.Output(producer_sequence=2, progress=job_pb2.Progress(done=-1, total=-(2**63), message="m" * MIB)),
    ]
    assert not output(worker, lease, *frames).stale
    job = get(served, lease.job_id)
    assert job.claude_session_id == ""
    assert len(job.progress.message) == 1024


def test_deltas_of_any_size_do_not_stop_a_follower(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    delta = event_pb2.Delta(text="x" * 30_000)
    deltas = worker_service_pb2.AttemptDeltas(lease=lease, deltas=[delta] * 100)
    for _ in range(5):
        worker.data.send(worker_service_pb2.StreamOutputRequest(deltas=[deltas]).SerializeToString())
    assert not output(worker, lease, event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=b"x"))).stale
    assert watch(served, lease.job_id)[-1].output.chunk.data == b"x"


def test_e3_output_and_reports_of_an_ended_job_change_nothing(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    result = outcome_pb2.Result(command=outcome_pb2.CommandResult())
    assert finish(worker, lease, succeeded=result) == worker_service_pb2.FINISH_DISPOSITION_ACCEPTED
    before = get(served, lease.job_id)
    assert output(worker, lease, event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=b"late"))).stale
    report = worker_service_pb2.AttemptReport(
        lease=lease, report_number=1, input_requested=input_pb2.InputRequest(request_id="r")
    )
    worker.control.send(worker_service_pb2.ConnectRequest(reports=[report]).SerializeToString())
    assert finish(worker, lease, succeeded=result) == worker_service_pb2.FINISH_DISPOSITION_ACCEPTED
    assert get(served, lease.job_id) == before


def test_l1_the_leases_of_another_worker_are_none_of_ones_business(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    thief = RawWorker(served.channel, hello("thief", slots=1))
    assert output(thief, lease, event_pb2.Output(producer_sequence=1, chunk=event_pb2.Chunk(data=b"x"))).stale
    assert finish(thief, lease, cancelled=worker_service_pb2.AttemptCancelled()) == (
        worker_service_pb2.FINISH_DISPOSITION_STALE
    )
    release = worker_service_pb2.AttemptRelease(lease=lease, cause=99)  # type: ignore[arg-type]  # that is the point
    held = worker_service_pb2.HeldLease(lease=lease)
    renewal = worker_service_pb2.WorkerRenewal(counter=5, held=[held], handled_message_number=2**63 - 1)
    answers = len(thief.control.answers)
    thief.control.send(worker_service_pb2.ConnectRequest(releases=[release], renewal=renewal).SerializeToString())
    assert thief.control.wait(answers + 1)
    assert thief.control.answers[-1].wanted[0].wanted == worker_service_pb2.WANTED_STATE_KILL
    thief.leave()
    job = get(served, lease.job_id)
    assert (job.worker_id, job.epoch, job.state) == ("raw", lease.epoch, job_pb2.JOB_STATE_ASSIGNED)


def test_a_second_hello_ends_the_lane(served: Served, worker: RawWorker) -> None:
    worker.control.send(hello(incarnation="other").SerializeToString())
    assert worker.control.leave() is grpc.StatusCode.INVALID_ARGUMENT


def test_more_output_than_the_credit_is_read_no_further_and_not_lost(served: Served, worker: RawWorker) -> None:
    lease = worker.leases(1)[0]
    chunk = event_pb2.Chunk(data=bytes(MIB))
    for number in range(1, 41):
        batch = worker_service_pb2.OutputBatch(
            lease=lease, outputs=[event_pb2.Output(producer_sequence=number, chunk=chunk)]
        )
        worker.data.send(worker_service_pb2.StreamOutputRequest(batches=[batch]).SerializeToString())
    while sum(len(answer.acks) for answer in worker.data.answers) < 40:
        assert worker.data.wait(len(worker.data.answers) + 1)
    assert get(served, lease.job_id).output_bytes == 40 * MIB
