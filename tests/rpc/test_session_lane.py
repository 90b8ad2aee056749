"""What a worker says of sessions on its control lane, and what it is answered: processes, and turns that CLIs began."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import session_pb2, worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core.ids import JobId, job_id_text, parse_job_id
from headrace_server.core.refusal import Reason, Refused
from headrace_server.rpc.streams.control_lane import serve_control_lane
from headrace_server.store.attempts.leases import Lease, finish, grant
from headrace_server.store.attempts.outputs import Batch, append_each
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.sessions import Made, close_session, create_session
from headrace_server.store.sessions.turns import send_message
from rpc.worker_lanes import lanes_of
from runtime.conftest import Node
from store.driving import HOME, NAMESPACE, finished, frame, offer

DEADLINE_SECONDS = 20


class Lane:
    """The worker's end of a control lane."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self._requests: asyncio.Queue[pb.ConnectRequest | None] = asyncio.Queue()
        self._messages: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()
        self._counter = 1
        capabilities = worker_pb2.WorkerCapabilities(executors=["claude"])
        hello = pb.WorkerHello(worker_id="w1", incarnation="i1", protocol_version=1, slots=2, capabilities=capabilities)
        self.say(hello=hello, renewal=pb.WorkerRenewal(counter=1))
        call: Any = self
        self.serving = asyncio.ensure_future(serve_control_lane(lanes_of(node), self._said(), call))

    async def _said(self) -> AsyncIterator[pb.ConnectRequest]:
        while (request := await self._requests.get()) is not None:
            yield request

    async def write(self, message: pb.ConnectResponse) -> None:
        copied = pb.ConnectResponse()
        copied.CopyFrom(message)
        self._messages.put_nowait(copied)

    def say(self, **parts: Any) -> None:
        """Sends a message."""
        self._requests.put_nowait(pb.ConnectRequest(**parts))

    def leave(self) -> None:
        """Ends the stream."""
        self._requests.put_nowait(None)

    async def until(self, wanted: Callable[[pb.ConnectResponse], bool]) -> pb.ConnectResponse:
        """The first message that is wanted."""
        while True:
            message = await self._messages.get()
            if wanted(message):
                return message

    async def renew(self, *sessions: pb.HeldSession) -> pb.ConnectResponse:
        """Renews, and the answer."""
        self._counter += 1
        counter = self._counter
        self.say(renewal=pb.WorkerRenewal(counter=counter, sessions=sessions))
        return await self.until(lambda message: message.renewed_counter == counter)

    async def begin(self, session_id: JobId, number: int) -> pb.BackgroundTurnAck:
        """Says that a CLI began a turn, and the answer."""
        turn = pb.BackgroundTurn(session_id=job_id_text(session_id), binding_epoch=1, number=number)
        self.say(background_turns=[turn])
        (ack,) = (await self.until(lambda message: bool(message.background_turn_acks))).background_turn_acks
        assert ack.turn == turn
        return ack


async def bound_session(node: Node) -> JobId:
    """A session that has had a turn on the worker."""

    def make(ledger: Ledger) -> JobId:
        made = create_session(ledger, NAMESPACE, "", session_pb2.SessionSpec(), "tester")
        assert isinstance(made, Made)
        said = send_message(ledger, NAMESPACE, made.session.id, "", "hi", "tester", "")
        assert isinstance(said, Accepted)
        grant(ledger, said.job, offer(), "the only one")
        lease = Lease(said.job.id, said.job.epoch, ledger.generation)
        append_each(ledger, [Batch(HOME, lease, [frame(1)])])
        finish(ledger, HOME, finished(lease, outputs=1))
        return made.session.id

    return await node.store.write(make)


def held(session_id: JobId, epoch: int = 1) -> pb.HeldSession:
    """The process of a session, as the worker says it."""
    process = session_pb2.SessionProcess(process_id=7, folder="/tmp/x", busy=True)
    return pb.HeldSession(session_id=job_id_text(session_id), binding_epoch=epoch, process=process)


Test = Callable[[Lane], Coroutine[Any, Any, None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Test], None]:
    """Runs a test on a lane of its own."""

    def run(test: Test) -> None:
        async def main() -> None:
            node = Node(tmp_path / "data")
            lane = Lane(node)
            try:
                await lane.until(lambda message: message.HasField("welcome"))
                await test(lane)
                lane.leave()
                await lane.serving
            finally:
                lane.serving.cancel()
                await asyncio.gather(lane.serving, return_exceptions=True)
                await asyncio.get_running_loop().run_in_executor(None, node.store.close)

        asyncio.run(asyncio.wait_for(main(), DEADLINE_SECONDS))

    return run


def test_x1_a_renewal_tells_of_processes_and_is_told_which_have_to_end(run: Callable[[Test], None]) -> None:
    async def test(lane: Lane) -> None:
        session_id = await bound_session(lane.node)
        answer = await lane.renew(held(session_id), held(JobId(bytes(16))))
        assert list(answer.ended_session_ids) == [job_id_text(JobId(bytes(16)))]
        process = lane.node.registry.session_process("w1", job_id_text(session_id))
        assert process is not None
        assert (process.process_id, process.busy) == (7, True)
        assert list((await lane.renew(held(session_id, epoch=0))).ended_session_ids) == [job_id_text(session_id)]
        assert list((await lane.renew()).ended_session_ids) == []
        assert lane.node.registry.session_process("w1", job_id_text(session_id)) is None

    run(test)


def test_x4_the_process_of_a_closed_session_has_to_end(run: Callable[[Test], None]) -> None:
    async def test(lane: Lane) -> None:
        session_id = await bound_session(lane.node)
        assert list((await lane.renew(held(session_id))).ended_session_ids) == []
        await lane.node.store.write(
            lambda ledger: close_session(ledger, NAMESPACE, session_id, "", "tester", finish_turn=False)
        )
        assert list((await lane.renew(held(session_id))).ended_session_ids) == [job_id_text(session_id)]

    run(test)


def test_a_turn_that_a_cli_began_is_acknowledged_with_its_job(run: Callable[[Test], None]) -> None:
    async def test(lane: Lane) -> None:
        session_id = await bound_session(lane.node)
        first = await lane.begin(session_id, 1)
        assert (await lane.begin(session_id, 1)).job_id == first.job_id
        job = await lane.node.job(parse_job_id(first.job_id))
        assert job.turn is not None
        assert job.turn.background
        assert (await lane.begin(JobId(bytes(16)), 1)).job_id == ""

    run(test)


def test_a_session_that_can_not_be_read_ends_the_lane(run: Callable[[Test], None]) -> None:
    async def test(lane: Lane) -> None:
        lane.say(background_turns=[pb.BackgroundTurn(session_id="x", number=1)])
        with pytest.raises(Refused) as caught:
            await lane.serving
        assert caught.value.refusal.reason is Reason.INVALID_FIELD
        lane.serving = asyncio.ensure_future(asyncio.sleep(0))

    run(test)


def test_more_sessions_than_a_worker_may_hold_end_the_lane(run: Callable[[Test], None]) -> None:
    async def test(lane: Lane) -> None:
        many = [pb.HeldSession(session_id="x")] * 10_001
        lane.say(renewal=pb.WorkerRenewal(counter=2, sessions=many))
        with pytest.raises(Refused) as caught:
            await lane.serving
        assert caught.value.refusal.violations[0].field == "renewal.sessions"
        lane.serving = asyncio.ensure_future(asyncio.sleep(0))

    run(test)


def test_more_kept_sessions_than_a_renewal_may_name_end_the_lane(run: Callable[[Test], None]) -> None:
    async def test(lane: Lane) -> None:
        lane.say(renewal=pb.WorkerRenewal(counter=2, kept_session_ids=["x"] * 101))
        with pytest.raises(Refused) as caught:
            await lane.serving
        assert caught.value.refusal.violations[0].field == "renewal.kept_session_ids"
        lane.serving = asyncio.ensure_future(asyncio.sleep(0))

    run(test)
