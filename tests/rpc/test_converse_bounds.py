"""What one client of a session may cost the others, and the control plane (E4)."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.limits import CONVERSE_ANSWERS_COUNT_MAX
from rpc.conversing import Node
from store.conversing import Conversing, converse
from store.driving import chunk


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path / "data")
    yield node
    node.close()


@pytest.fixture
def session(node: Node) -> Conversing:
    node.bench.welcome()
    return converse(node.bench)


def test_e4_of_a_client_that_reads_nothing_so_many_requests_are_read_and_no_more(
    node: Node, session: Conversing
) -> None:
    reads_again = asyncio.Event()

    async def stall(message: pb.ConverseResponse) -> None:
        if message.HasField("done"):
            await reads_again.wait()

    talk = node.talk(session.id, stall)
    talk.until(lambda talk: talk.messages)
    numbers = [talk.say(credit=pb.ConverseCredit(events=1)) for _ in range(2 * CONVERSE_ANSWERS_COUNT_MAX)]
    left = CONVERSE_ANSWERS_COUNT_MAX - 1
    for _ in range(10_000):
        node.bench.run(asyncio.sleep(0))
    session.turn()
    assert talk.unread == left, "one was read, and waits for room"
    reads_again.set()
    talk.until(lambda talk: [done.number for done in talk.dones()] == numbers)


def test_e4_a_client_that_stalls_costs_one_page_and_holds_up_nobody(node: Node, session: Conversing) -> None:
    reads_again = asyncio.Event()

    async def stall(message: pb.ConverseResponse) -> None:
        if message.HasField("batch"):
            await reads_again.wait()

    lease = session.start(session.say().id)
    stalled = node.talk(session.id, stall)
    stalled.until(lambda talk: talk.places())
    taken, reads = len(stalled.places()), node.logs.reads_count
    for _ in range(20):
        node.bench.append(
            lease, *(chunk(node.bench.job(lease.job_id).producer_sequence + 1 + n, b"x" * 9999) for n in range(9))
        )
    assert (len(stalled.places()), node.logs.reads_count) == (taken, reads), "nothing more was read for it"
    count = len(node.bench.events(lease.job_id))
    other = node.talk(session.id)
    other.until_events(count)
    assert len(stalled.places()) == taken
    reads_again.set()
    stalled.until_events(count)
    assert stalled.places() == other.places()
