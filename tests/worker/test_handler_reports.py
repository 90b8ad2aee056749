"""What a handler says about itself while it runs: progress, checkpoints and use, coalesced; the last is never lost."""

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace.worker import BlockingHandlerContext, HandlerCancelled, HandlerContext
from headrace_worker.executors.values import to_value
from headrace_worker.limits import CHECKPOINT_BYTES_MAX, REPORT_INTERVAL_SECONDS
from worker.agent_running import handler_spec
from worker.agent_server import ScriptedServer, ServedAttempt
from worker.handler_running import (
    checkpoints_of,
    class_of,
    failure_of,
    outputs_of,
    play_handler,
    progress_of,
    run_handler,
    value_of,
)

WORDS_COUNT = 10_000


def may_be_sent(seconds: float) -> int:
    """Words that the interval lets through in a time, and the first and the last."""
    return int(seconds / REPORT_INTERVAL_SECONDS) + 3


def test_ten_thousand_words_of_progress_cost_little_and_the_last_is_delivered(tmp_path: Path) -> None:
    async def busy(values: dict[str, Any], context: HandlerContext) -> float:
        began = time.perf_counter()
        for done in range(WORDS_COUNT):
            context.progress(done + 1, WORDS_COUNT, "counting")
            if done % 100 == 0:
                await asyncio.sleep(0)
        return time.perf_counter() - began

    attempt = run_handler(tmp_path, busy)
    seconds = value_of(attempt)
    assert seconds < 1.0, "a tenth of a second a thousand, on a busy machine"
    assert progress_of(attempt)[-1].progress.done == WORDS_COUNT
    assert len(progress_of(attempt)) <= may_be_sent(seconds)


def test_a_thread_that_reports_all_the_time_does_not_keep_the_loop_busy(tmp_path: Path) -> None:
    turns: list[int] = []

    def busy(values: dict[str, Any], context: BlockingHandlerContext) -> float:
        reports: Any = context._reports
        wake = reports._wake

        def counted(send: object) -> None:
            turns.append(1)
            wake(send)

        reports._wake = counted
        began = time.perf_counter()
        while time.perf_counter() - began < 3 * REPORT_INTERVAL_SECONDS:
            context.progress(len(turns), 0)
        context.progress(WORDS_COUNT)
        return time.perf_counter() - began

    attempt = run_handler(tmp_path, busy)
    assert len(turns) <= may_be_sent(value_of(attempt))
    assert progress_of(attempt)[-1].progress.done == WORDS_COUNT


def test_progress_is_seen_while_the_handler_runs(tmp_path: Path) -> None:
    async def waiting(values: dict[str, Any], context: HandlerContext) -> None:
        context.progress(1, 3, "one of three")
        await asyncio.Event().wait()

    async def scenario(server: ScriptedServer) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.outputs)
        note = attempt.outputs[0].progress
        assert (note.done, note.total, note.message) == (1, 3, "one of three")

    play_handler(tmp_path, waiting, scenario)


@pytest.mark.parametrize("units", [(-1, 0), (0, -1)])
def test_negative_units_are_a_mistake_of_the_handler(tmp_path: Path, units: tuple[int, int]) -> None:
    def odd(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.progress(*units)

    assert "units of progress are whole numbers" in failure_of(run_handler(tmp_path, odd)).message


def test_of_many_checkpoints_the_latest_is_committed_before_the_finish(tmp_path: Path) -> None:
    async def busy(values: dict[str, Any], context: HandlerContext) -> None:
        for done in range(1000):
            context.checkpoint({"done": done + 1, "left": ["a", None, 1.5]})
            await asyncio.sleep(0)

    attempt = run_handler(tmp_path, busy)
    kept = checkpoints_of(attempt)
    assert kept[-1] == {"done": 1000, "left": ["a", None, 1.5]}
    assert len(kept) <= 4
    assert attempt.finishes[-1].last_producer_sequence == len(attempt.outputs)


def test_a_checkpoint_of_a_thread_is_delivered_although_the_attempt_fails(tmp_path: Path) -> None:
    def broken(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.checkpoint([1, 2])
        context.checkpoint([1, 2, 3])
        raise OSError("the disk is gone")

    attempt = run_handler(tmp_path, broken)
    assert (checkpoints_of(attempt)[-1], class_of(attempt)) == ([1, 2, 3], "ERROR")


def test_a_checkpoint_is_copied_when_it_is_said(tmp_path: Path) -> None:
    async def careless(values: dict[str, Any], context: HandlerContext) -> None:
        state = {"done": 1}
        context.checkpoint(state)
        state["done"] = 2

    assert checkpoints_of(run_handler(tmp_path, careless)) == [{"done": 1}]


def test_a_checkpoint_follows_the_output_that_was_written_before_it(tmp_path: Path) -> None:
    async def writing(values: dict[str, Any], context: HandlerContext) -> None:
        await context.write("done with one\n")
        context.checkpoint(1)

    attempt = run_handler(tmp_path, writing)
    assert [output.WhichOneof("kind") for output in attempt.outputs] == ["chunk", "checkpoint"]


def test_a_checkpoint_may_be_as_large_as_the_limit_and_no_larger(tmp_path: Path) -> None:
    room = CHECKPOINT_BYTES_MAX - to_value("").ByteSize() - 4

    async def greedy(values: dict[str, Any], context: HandlerContext) -> str:
        context.checkpoint("x" * room)
        await context.flush()
        try:
            context.checkpoint("x" * (room + 10))
        except ValueError as error:
            return str(error)
        return ""

    attempt = run_handler(tmp_path, greedy)
    assert value_of(attempt).endswith(f"bytes is larger than {CHECKPOINT_BYTES_MAX}")
    assert [len(kept) for kept in checkpoints_of(attempt)] == [room]


def test_a_checkpoint_that_is_no_json_is_refused_with_the_place(tmp_path: Path) -> None:
    def odd(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.checkpoint({"seen": {1, 2}})

    assert "checkpoint.seen is of type set" in failure_of(run_handler(tmp_path, odd)).message


def test_a_flush_returns_only_when_the_server_has_committed(tmp_path: Path) -> None:
    flushed: list[int] = []

    async def careful(values: dict[str, Any], context: HandlerContext) -> None:
        context.checkpoint("safe")
        await context.flush()
        flushed.append(1)

    async def scenario(server: ScriptedServer) -> None:
        server.acknowledging = False
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: checkpoints_of(attempt) == ["safe"])
        await server.until_renewed(2)
        assert flushed == []
        await server.release_acks()
        await server.until(lambda: attempt.finishes)
        assert flushed == [1]

    play_handler(tmp_path, careful, scenario)


def test_a_flush_does_not_wait_for_the_interval(tmp_path: Path) -> None:
    def quick(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        for number in range(20):
            context.checkpoint(number)
            context.flush()

    assert checkpoints_of(run_handler(tmp_path, quick)) == list(range(20))


def test_a_flush_with_nothing_to_say_returns_at_once(tmp_path: Path) -> None:
    def silent(values: dict[str, Any], context: BlockingHandlerContext) -> str:
        context.flush()
        return "through"

    assert value_of(run_handler(tmp_path, silent)) == "through"


def test_a_flush_ends_when_the_attempt_is_fenced(tmp_path: Path) -> None:
    ended: list[BaseException] = []

    def careful(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.checkpoint("lost")
        try:
            context.flush()
        except HandlerCancelled as error:
            ended.append(error)
            raise

    async def scenario(server: ScriptedServer) -> None:
        server.acknowledging = False
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.outputs)
        attempt.stale = True
        server.want(attempt, pb.WANTED_STATE_KILL)
        await server.until(lambda: attempt.finishes)

    play_handler(tmp_path, careful, scenario)
    assert len(ended) == 1


def test_words_survive_a_reconnect_and_come_once(tmp_path: Path) -> None:
    held: list[asyncio.Event] = []

    async def waiting(values: dict[str, Any], context: HandlerContext) -> None:
        held.append(asyncio.Event())
        context.checkpoint(1)
        await held[0].wait()
        context.checkpoint(2)
        await context.flush()

    async def scenario(server: ScriptedServer) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.outputs)
        server.cut()
        held[0].set()
        await server.until_welcomed(2)
        await server.until(lambda: attempt.finishes)
        assert checkpoints_of(attempt) == [1, 2]

    play_handler(tmp_path, waiting, scenario)


def test_what_a_handler_used_is_told_while_it_runs_and_at_its_end(tmp_path: Path) -> None:
    def costly(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.add_usage(turns=1, input_tokens=100, output_tokens=20, cost_usd=0.25)
        context.flush()
        context.add_usage(turns=1, input_tokens=50)
        raise RuntimeError("after it was paid")

    attempt = run_handler(tmp_path, costly)
    total = outcome_pb2.Usage(turns=2, input_tokens=150, output_tokens=20, cost_usd_micros=250_000)
    assert [usage.input_tokens for usage in outputs_of(attempt, "usage")] == [100, 150]
    assert attempt.finishes[-1].usage == total


def test_words_after_the_end_are_dropped(tmp_path: Path) -> None:
    strays: list[BlockingHandlerContext] = []

    def forgetful(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        strays.append(context)

    async def scenario(server: ScriptedServer) -> None:
        attempt: ServedAttempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.finishes)
        strays[0].progress(1)
        strays[0].checkpoint(1)
        await server.until_renewed(2)
        assert attempt.outputs == []

    play_handler(tmp_path, forgetful, scenario)
