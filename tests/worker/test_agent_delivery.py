"""Output, reports and finishes across lost connections, slow acknowledgements, small credits: each once, in order."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from headrace.v1 import event_pb2, outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.agent import Terms
from headrace_worker.attempts import RunningAttempt
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Succeeded
from worker.agent_running import handler_spec, numbered, running_agent
from worker.agent_server import ScriptedServer, serving

KIB = 1024
MIB = 1024 * KIB


def chunk(data: bytes) -> event_pb2.Output:
    return event_pb2.Output(chunk=event_pb2.Chunk(stream=event_pb2.OUTPUT_STREAM_STDOUT, data=data))


class Writer:
    """An executor that writes what a test puts into its queue; `b""` ends it."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.attempt: RunningAttempt | None = None
        self.emitted = 0
        self.ended = asyncio.Event()

    async def run(self, attempt: RunningAttempt) -> Outcome:
        self.attempt = attempt
        try:
            while data := await self._next(attempt):
                await attempt.emit(chunk(data))
                self.emitted += 1
            return Cancelled() if attempt.stop_requested() else Succeeded(outcome_pb2.Result())
        finally:
            self.ended.set()

    async def _next(self, attempt: RunningAttempt) -> bytes:
        getting = asyncio.ensure_future(self.queue.get())
        stopping = asyncio.ensure_future(attempt.wait_stop())
        await asyncio.wait((getting, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        return getting.result() if getting.done() else b""

    def write(self, *data: bytes) -> None:
        for part in data:
            self.queue.put_nowait(part)


Scenario = Callable[[ScriptedServer, Writer], Awaitable[None]]


def play(folder: Path, scenario: Scenario, terms: Terms | None = None) -> None:
    """Runs an agent with one Writer against a scripted server for as long as the scenario takes."""

    async def run() -> None:
        writer = Writer()
        async with serving(folder) as server, running_agent(server, folder, {"handler": writer.run}, terms):
            await scenario(server, writer)

    uvloop.run(run())


def test_e3_a_finish_waits_for_the_acknowledgement_of_the_last_output(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        server.acknowledging = False
        attempt = server.assign(handler_spec("f"))
        writer.write(b"only", b"")
        await server.until(lambda: attempt.outputs)
        await server.until_renewed(3)
        assert not attempt.finishes
        assert server.control.renewals[-1].held[0].phase == pb.HELD_PHASE_FINISHED
        await server.release_acks()
        await server.until(lambda: attempt.finishes)
        assert attempt.finishes[0].last_producer_sequence == 1

    play(tmp_path, scenario)


def test_e5_l5_after_a_cut_the_attempt_goes_on_and_what_was_not_committed_is_sent_again(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        attempt = server.assign(handler_spec("f"))
        lines = list(numbered(300))
        writer.write(*lines[:100])
        await server.until(lambda: len(attempt.outputs) == 100)
        server.acknowledging = False
        writer.write(*lines[100:200])
        await server.until(lambda: len(attempt.outputs) > 100)
        server.cut()
        writer.write(*lines[200:], b"")
        server.acknowledging = True
        await server.until(lambda: attempt.finishes)
        assert attempt.data == b"".join(lines)
        assert attempt.outcome == "succeeded"
        assert [control.hello.hello.reattach for control in server.controls] == [False, True]
        assert server.control.hello.renewal.held[0].lease == attempt.lease

    play(tmp_path, scenario)


def test_e5_a_resend_after_a_cut_of_the_data_lane_alone_leaves_no_hole(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        server.acknowledging = False
        attempt = server.assign(handler_spec("f"))
        lines = list(numbered(50))
        writer.write(*lines, b"")
        await server.until(lambda: attempt.outputs)
        committed = len(attempt.outputs)
        server.cut_output()
        server.acknowledging = True
        await server.until(lambda: attempt.finishes)
        assert attempt.data == b"".join(lines)
        assert attempt.duplicates == committed
        assert len(server.controls) == 1

    play(tmp_path, scenario)


def test_l5_a_server_that_is_away_for_a_while_gets_everything_when_it_is_back(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        attempt = server.assign(handler_spec("f"))
        writer.write(b"before\n")
        await server.until(lambda: attempt.outputs)
        await server.stop()
        writer.write(*numbered(500), b"")
        await asyncio.wait_for(writer.ended.wait(), 20)
        await server.start()
        await server.until(lambda: attempt.finishes)
        assert attempt.data == b"before\n" + b"".join(numbered(500))

    play(tmp_path, scenario)


def test_a_finish_is_repeated_after_a_cut_until_it_is_acknowledged(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        server.settling = False
        attempt = server.assign(handler_spec("f"))
        writer.write(b"")
        await server.until(lambda: attempt.finishes)
        server.cut()
        await server.until(lambda: len(attempt.finishes) == 2)
        server.settle(attempt)
        await server.until(lambda: not server.control.renewals[-1].held)
        assert len(attempt.finishes) == 2

    play(tmp_path, scenario)


def test_output_that_the_server_misses_at_the_finish_is_refused_only_when_it_is_lost(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        server.settling = False
        attempt = server.assign(handler_spec("f"))
        writer.write(b"x", b"")
        await server.until(lambda: attempt.finishes)
        missing = pb.FinishAck(
            lease=attempt.lease,
            disposition=pb.FINISH_DISPOSITION_OUTPUT_MISSING,
            committed_producer_sequence=1,
        )
        server.say(pb.ConnectResponse(finish_acks=[missing]))
        await server.until(lambda: len(attempt.finishes) == 2)
        server.settle(attempt)
        await server.until(lambda: not server.control.renewals[-1].held)

    play(tmp_path, scenario)


def test_what_is_produced_while_a_batch_is_in_flight_is_the_next_batch(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        server.acknowledging = False
        attempt = server.assign(handler_spec("f"))
        writer.write(b"first")
        await server.until(lambda: attempt.outputs)
        writer.write(*numbered(100), b"")
        await asyncio.wait_for(writer.ended.wait(), 20)
        await server.release_acks()
        await server.until(lambda: attempt.finishes)
        assert attempt.batches == [1, 100]

    play(tmp_path, scenario)


def test_no_more_is_in_flight_than_the_server_granted(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        server.credit_bytes = 100 * KIB
        server.cut()
        await server.until(lambda: len(server.controls) == 2)
        attempt = server.assign(handler_spec("f"))
        writer.write(*[bytes(20 * KIB)] * 40, bytes(150 * KIB), b"")
        await server.until(lambda: attempt.finishes)
        assert len(attempt.data) == 950 * KIB

    play(tmp_path, scenario)


def test_a_producer_waits_while_memory_and_disk_are_full(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        server.acknowledging = False
        attempt = server.assign(handler_spec("f"))
        writer.write(*[bytes([number]) * 256 * KIB for number in range(40)], b"")
        await server.until(lambda: writer.emitted >= 10)
        await server.until_renewed(3)
        assert writer.attempt is not None
        assert writer.attempt.outbox is not None
        assert writer.emitted == 10
        assert writer.attempt.outbox.spooled_bytes > 1.5 * MIB
        await server.release_acks()
        await server.until(lambda: attempt.finishes)
        assert attempt.data == b"".join(bytes([number]) * 256 * KIB for number in range(40))
        assert writer.attempt.outbox.spooled_bytes == 0
        assert list((tmp_path / "data" / "spool").iterdir()) == []

    play(tmp_path, scenario, Terms(spool_bytes_max=2 * MIB, drain_seconds=0.1))


def test_l3_a_producer_that_never_waits_does_not_keep_the_worker_from_renewing(tmp_path: Path) -> None:
    async def run() -> None:
        renewals_before_the_end: list[int] = []

        async def flood(attempt: RunningAttempt) -> Outcome:
            while len(server.control.renewals) < 5:
                await attempt.emit(chunk(b"x" * 200))
            renewals_before_the_end.append(len(server.control.renewals))
            return Succeeded(outcome_pb2.Result())

        async with serving(tmp_path) as server, running_agent(server, tmp_path, {"handler": flood}):
            attempt = server.assign(handler_spec("f"))
            await server.until(lambda: attempt.finishes)
            assert renewals_before_the_end == [5]
            assert len(attempt.batches) > 1

    uvloop.run(run())


def test_l1_output_of_a_stale_lease_ends_the_attempt_and_its_finish_is_for_the_record(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        attempt = server.assign(handler_spec("f"))
        writer.write(b"kept")
        await server.until(lambda: attempt.outputs)
        attempt.stale = True
        writer.write(b"refused")
        await server.until(lambda: attempt.finishes)
        assert writer.attempt is not None
        assert writer.attempt.killed
        await server.until(lambda: not server.control.renewals[-1].held)
        assert len(attempt.finishes) == 1
        assert attempt.data == b"kept"

    play(tmp_path, scenario)


def test_l1_a_lease_that_is_over_at_the_welcome_is_not_taken_for_output_that_was_lost(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, writer: Writer) -> None:
        attempt = server.assign(handler_spec("f"))
        writer.write(b"kept")
        await server.until(lambda: attempt.outputs)
        attempt.stale = True
        server.cut()
        await server.until(lambda: attempt.finishes)
        assert writer.attempt is not None
        stopped = writer.attempt.stop_requested()
        assert stopped is not None
        assert (stopped.kill, stopped.reason) == (True, "the server says that its lease is stale")

    play(tmp_path, scenario)


@pytest.mark.parametrize("counted", [1, 300])
def test_deltas_follow_their_output_and_say_when_some_were_dropped(tmp_path: Path, counted: int) -> None:
    async def run() -> None:
        ready = asyncio.Event()

        async def talk(attempt: RunningAttempt) -> Outcome:
            await attempt.emit(chunk(b"one"))
            for number in range(counted):
                attempt.emit_delta(event_pb2.Delta(text=str(number)))
            await ready.wait()
            return Failed(outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_ERROR, message="done"))

        async with serving(tmp_path) as server, running_agent(server, tmp_path, {"handler": talk}):
            attempt = server.assign(handler_spec("f"))
            await server.until(lambda: attempt.deltas)
            ready.set()
            await server.until(lambda: attempt.finishes)
            texts = [delta.text for delta in attempt.deltas if delta.WhichOneof("kind") == "text"]
            dropped = sum(delta.dropped for delta in attempt.deltas)
            assert texts == [str(number) for number in range(len(texts))]
            assert len(texts) + dropped == counted
            assert (dropped > 0) == (counted == 300)

    uvloop.run(run())


def test_a_report_waits_for_the_output_that_it_follows(tmp_path: Path) -> None:
    async def run() -> None:
        async def climb(attempt: RunningAttempt) -> Outcome:
            await attempt.emit(chunk(b"before"))
            attempt.report_step(event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_INTERRUPT))
            return Succeeded(outcome_pb2.Result())

        async with serving(tmp_path) as server, running_agent(server, tmp_path, {"handler": climb}):
            server.acknowledging = False
            attempt = server.assign(handler_spec("f"))
            await server.until(lambda: attempt.outputs)
            await server.until_renewed(2)
            assert not attempt.reports
            await server.release_acks()
            await server.until(lambda: attempt.finishes)
            assert attempt.reports[0].after_producer_sequence == 1

    uvloop.run(run())


def test_reports_are_sent_again_until_they_are_committed(tmp_path: Path) -> None:
    async def run() -> None:
        async def climb(attempt: RunningAttempt) -> Outcome:
            await attempt.wait_stop()
            for step in (event_pb2.CANCEL_STEP_INTERRUPT, event_pb2.CANCEL_STEP_KILL, event_pb2.CANCEL_STEP_TREE_GONE):
                attempt.report_step(event_pb2.CancelStepped(step=step))
                before = len(server.controls)
                server.cut()
                await server.until_welcomed(before + 1)
            return Cancelled()

        async with serving(tmp_path) as server, running_agent(server, tmp_path, {"handler": climb}):
            attempt = server.assign(handler_spec("f"))
            await server.until(lambda: attempt.starts)
            server.want(attempt, pb.WANTED_STATE_CANCEL)
            await server.until(lambda: attempt.finishes)
            assert attempt.rungs() == ["CANCEL_STEP_INTERRUPT", "CANCEL_STEP_KILL", "CANCEL_STEP_TREE_GONE"]
            assert attempt.outcome == "cancelled"

    uvloop.run(run())
