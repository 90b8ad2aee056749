"""What attempts are told goes out once on a stream of their worker, in messages of bounded size, after assignments."""

from headrace.v1 import input_pb2, worker_pb2, worker_service_pb2
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.placement import Capabilities
from headrace_server.core.resources import ONE_SLOT
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.effects import Command

GENERATION = 7
LEASE = Lease(JobId(bytes(range(16))), 3, GENERATION, 2)
NO_BOUND = 1 << 20


def lane(connection: str = "c") -> ControlLane:
    return ControlLane(Holder("w", "i"), connection, 4, Capabilities(frozenset(), {}, frozenset(), frozenset()))


def command(number: int, size_bytes: int = 0, epoch: int = LEASE.epoch) -> Command:
    answer = input_pb2.InputAnswer(request_id=str(number), message="x" * size_bytes)
    body = worker_service_pb2.AttemptCommand(answer=answer).SerializeToString()
    return Command("w", LEASE.job_id, epoch, LEASE.attempt, number, body)


def numbers(message: worker_service_pb2.ConnectResponse) -> list[int]:
    return [one.command_number for one in message.commands]


def test_a_command_carries_its_lease_and_number() -> None:
    made = lane()
    made.tell(command(5), GENERATION)
    assert made.wake.is_set()
    (sent,) = made.next_message(NO_BOUND, 0.0).commands
    assert sent.lease == worker_pb2.Lease(
        job_id=job_id_text(LEASE.job_id), attempt=LEASE.attempt, epoch=LEASE.epoch, generation=GENERATION
    )
    assert (sent.command_number, sent.answer.request_id) == (5, "5")
    assert not made.wake.is_set()


def test_what_is_told_again_goes_out_once_on_a_stream_and_again_on_the_next() -> None:
    made, later = lane(), lane("d")
    for _ in range(2):
        made.tell(command(1), GENERATION)
    assert numbers(made.next_message(NO_BOUND, 0.0)) == [1]
    made.tell(command(1), GENERATION)
    made.tell(command(2), GENERATION)
    assert numbers(made.next_message(NO_BOUND, 0.0)) == [2]
    later.tell(command(1), GENERATION)
    assert numbers(later.next_message(NO_BOUND, 0.0)) == [1]


def test_the_next_attempt_begins_with_the_same_numbers() -> None:
    made = lane()
    made.tell(command(1), GENERATION)
    made.tell(command(1, epoch=4), GENERATION)
    assert numbers(made.next_message(NO_BOUND, 0.0)) == [1, 1]
    made.settle(LEASE)
    assert (LEASE.job_id, LEASE.epoch) not in made.commanded


def test_large_commands_go_in_several_messages_and_never_before_their_assignment() -> None:
    made = lane()
    made.hold(LEASE, ONE_SLOT)
    assignment = worker_pb2.Assignment(lease=worker_pb2.Lease(job_id="x" * 600))
    for number in (1, 2):
        made.assignments.append((Lease(JobId(bytes(16)), number, GENERATION), assignment))
    for number in (1, 2, 3):
        made.tell(command(number, 300), GENERATION)
    sent = []
    while made.wake.is_set():
        message = made.next_message(1000, 0.0)
        sent.append((len(message.assignments), numbers(message)))
    assert sent == [(1, []), (1, [1]), (0, [2, 3])]


def test_an_attempt_of_a_worker_that_is_not_connected_is_told_later() -> None:
    registry = Registry(30.0)
    registry.tell(command(1), GENERATION)
    made = lane()
    registry.connect(made)
    registry.tell(command(1), GENERATION)
    assert numbers(made.next_message(NO_BOUND, 0.0)) == []
    made.hold(LEASE, ONE_SLOT)
    registry.tell(command(1), GENERATION)
    assert numbers(made.next_message(NO_BOUND, 0.0)) == [1]
