"""What handlers get and what becomes of what they do, over a real connection to a scripted control plane."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.v1 import outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace.worker import (
    BlockingHandlerContext,
    HandlerCancelled,
    HandlerContext,
    InvalidInput,
    Snooze,
    Worker,
    WorkerDismissed,
)
from worker.agent_running import handler_spec
from worker.agent_server import ScriptedServer, ServedAttempt, serving

Scenario = Callable[[ScriptedServer], Awaitable[None]]


def play(folder: Path, worker_of: Callable[[str], Worker], scenario: Scenario) -> None:
    """Runs a worker against a scripted server for as long as the scenario takes."""

    async def run() -> None:
        async with serving(folder) as server, worker_of(server.address).running():
            await scenario(server)

    uvloop.run(run())


def new_worker(address: str, folder: Path, slots: int = 4) -> Worker:
    return Worker(address, slots=slots, id="w", data=folder / "data", drain_seconds=0.2)


def value_of(attempt: ServedAttempt) -> Any:
    value = attempt.finishes[-1].succeeded.handler.value
    kind = value.WhichOneof("kind")
    return None if kind == "null_value" else getattr(value, str(kind))


def failure_of(attempt: ServedAttempt) -> outcome_pb2.Failure:
    return attempt.finishes[-1].failed


def run_one(folder: Path, function: Callable[..., Any], name: str = "f", **values: object) -> ServedAttempt:
    """The attempt of one job, to its end."""
    done: list[ServedAttempt] = []

    def worker_of(address: str) -> Worker:
        worker = new_worker(address, folder)
        worker.handler("f")(function)
        return worker

    async def scenario(server: ScriptedServer) -> None:
        attempt = server.assign(handler_spec(name, **values))
        await server.until(lambda: attempt.finishes)
        done.append(attempt)

    play(folder, worker_of, scenario)
    return done[0]


def test_an_async_handler_gets_its_input_and_returns_json(tmp_path: Path) -> None:
    async def double(values: dict[str, Any]) -> float:
        assert isinstance(values["n"], int)
        return float(values["n"] * 2 + values["half"])

    attempt = run_one(tmp_path, double, n=21, half=0.5)
    assert (attempt.starts, value_of(attempt)) == (1, 42.5)


def test_a_sync_handler_runs_in_a_thread(tmp_path: Path) -> None:
    def where(values: dict[str, Any]) -> str:
        return threading.current_thread().name

    assert value_of(run_one(tmp_path, where)).startswith("headrace-handler")


def test_what_a_handler_raises_is_an_error_with_its_traceback(tmp_path: Path) -> None:
    async def broken(values: dict[str, Any]) -> None:
        raise KeyError("colour")

    failure = failure_of(run_one(tmp_path, broken))
    assert failure.failure_class == outcome_pb2.FAILURE_CLASS_ERROR
    assert (failure.sign, failure.message) == ("KeyError", "KeyError: 'colour'")
    assert "in broken" in failure.detail


@pytest.mark.parametrize("error", [StopIteration("s"), SystemExit(3), KeyboardInterrupt()])
def test_no_exception_of_a_sync_handler_ends_the_worker(tmp_path: Path, error: BaseException) -> None:
    def broken(values: dict[str, Any]) -> None:
        raise error

    assert failure_of(run_one(tmp_path, broken)).sign == type(error).__name__


@pytest.mark.parametrize("error", [StopAsyncIteration(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
def test_no_exception_of_an_async_handler_ends_the_worker(tmp_path: Path, error: BaseException) -> None:
    async def broken(values: dict[str, Any]) -> None:
        raise error

    assert failure_of(run_one(tmp_path, broken)).sign == type(error).__name__


def test_a_class_that_a_handler_names_has_the_sign_that_its_author_knows(tmp_path: Path) -> None:
    async def refuse(values: dict[str, Any]) -> None:
        raise InvalidInput("no such colour")

    failure = failure_of(run_one(tmp_path, refuse))
    assert (failure.failure_class, failure.message) == (outcome_pb2.FAILURE_CLASS_INVALID, "no such colour")
    assert failure.sign == "headrace.InvalidInput"


def test_a_handler_that_cancels_itself_has_failed(tmp_path: Path) -> None:
    async def broken(values: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    assert failure_of(run_one(tmp_path, broken)).sign == "asyncio.exceptions.CancelledError"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({1, 2}, "result is of type set"),
        ({"a": [float("nan")]}, "result.a[0] is nan"),
        ({"big": 2**53 + 1}, "result.big is an integer past 2**53"),
        ({3: "x"}, "key of type int"),
        ("x" * 1_100_000, "bytes; at most"),
    ],
)
def test_a_result_that_is_no_json_fails_with_the_place(tmp_path: Path, value: object, words: str) -> None:
    async def odd(values: dict[str, Any]) -> object:
        return value

    failure = failure_of(run_one(tmp_path, odd))
    assert failure.failure_class == outcome_pb2.FAILURE_CLASS_ERROR
    assert words in failure.message


def nested(levels: int) -> object:
    value: object = 1
    for _ in range(levels):
        value = {"inner": value}
    return value


def test_a_result_nested_too_deep_for_a_message_fails_and_ends_nothing_else(tmp_path: Path) -> None:
    failed = failure_of(run_one(tmp_path, lambda _: nested(40)))
    assert failed.failure_class == outcome_pb2.FAILURE_CLASS_ERROR
    assert "nested more than 24 deep" in failed.message


def test_a_result_may_be_nested_as_deep_as_a_message_carries(tmp_path: Path) -> None:
    assert value_of(run_one(tmp_path, lambda _: nested(24))) is not None


def test_an_unknown_handler_is_invalid(tmp_path: Path) -> None:
    async def known(values: dict[str, Any]) -> None: ...

    failure = failure_of(run_one(tmp_path, known, name="unknown"))
    assert failure.failure_class == outcome_pb2.FAILURE_CLASS_INVALID


def test_output_and_progress_come_in_order_and_the_last_progress_always(tmp_path: Path) -> None:
    async def busy(values: dict[str, Any], context: HandlerContext) -> None:
        await context.write("first\n")
        for done in range(1000):
            context.progress(done + 1, 1000, "counting")
        await context.write(b"last\n")

    attempt = run_one(tmp_path, busy)
    notes = [output.progress.done for output in attempt.outputs if output.WhichOneof("kind") == "progress"]
    assert attempt.data == b"first\nlast\n"
    assert notes[-1] == 1000
    assert len(notes) < 10


@pytest.mark.parametrize(
    ("word", "said"),
    [
        (lambda context: context.progress(0.5, 1), "whole numbers from 0 to 2**63 - 1, not 0.5"),
        (lambda context: context.progress(1, 2**63), "whole numbers from 0 to 2**63 - 1, not 9223372036854775808"),
        (lambda context: context.write("\ud800"), "surrogates not allowed"),
        (
            lambda context: context.add_usage(cost_usd=-0.5),
            "has to be a number that is not negative, not -0.5",
        ),
        (lambda context: context.add_usage(cost_usd=float("nan")), "cost_usd has to be a number"),
        (lambda context: context.add_usage(turns=-1), "turns has to be a number that is not negative, not -1"),
        (lambda context: context.write(7), "bytes-like object is required"),
    ],
)
def test_a_word_that_can_not_be_sent_is_refused_where_it_is_said(
    tmp_path: Path, word: Callable[[BlockingHandlerContext], None], said: str
) -> None:
    def odd(values: dict[str, Any], context: BlockingHandlerContext) -> str:
        with pytest.raises((TypeError, ValueError)) as refused:
            word(context)
        context.progress(1, 2, "goes on")
        context.flush()
        return str(refused.value)

    attempt = run_one(tmp_path, odd)
    assert said in value_of(attempt)
    assert [output.progress.message for output in attempt.outputs] == ["goes on"]


def test_a_line_for_people_may_hold_the_odd_name_of_a_file(tmp_path: Path) -> None:
    def odd(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.progress(1, 2, "reads \udcff.txt")
        raise Snooze(1, "\udcff.txt is busy")

    attempt = run_one(tmp_path, odd)
    assert attempt.outputs[-1].progress.message == "reads ?.txt"
    assert attempt.finishes[-1].snoozed.reason == "?.txt is busy"


def test_a_sync_handler_writes_and_reports_from_its_thread(tmp_path: Path) -> None:
    def busy(values: dict[str, Any], context: BlockingHandlerContext) -> str:
        context.write("x" * 600_000)
        context.progress(1, 2)
        context.progress(2, 2)
        return f"{context.job_id} {context.attempt_number}"

    attempt = run_one(tmp_path, busy)
    assert attempt.data == b"x" * 600_000
    assert max(len(output.chunk.data) for output in attempt.outputs) == 256 * 1024
    assert attempt.outputs[-1].progress.done == 2
    assert value_of(attempt) == "job-1 1"


def test_c1_a_cancel_interrupts_an_async_handler(tmp_path: Path) -> None:
    async def endless(values: dict[str, Any], context: HandlerContext) -> None:
        await context.write("running")
        await asyncio.Event().wait()

    attempt = cancel_one(tmp_path, endless)
    assert attempt.outcome == "cancelled"
    assert attempt.rungs() == ["CANCEL_STEP_INTERRUPT", "CANCEL_STEP_TREE_GONE"]


def test_c1_a_handler_that_swallows_the_first_cancel_gets_another_after_the_grace(tmp_path: Path) -> None:
    cancels: list[str] = []

    async def stubborn(values: dict[str, Any], context: HandlerContext) -> None:
        await context.write("running")
        for turn in ("first", "second"):
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancels.append(turn)
        raise asyncio.CancelledError

    attempt = cancel_one(tmp_path, stubborn, grace_seconds=0.05)
    assert (attempt.outcome, cancels) == ("cancelled", ["first", "second"])


def test_c1_a_cancel_is_a_flag_for_a_sync_handler(tmp_path: Path) -> None:
    def patient(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.write("running")
        try:
            while not context.wait_cancelled(10):
                pass
            context.raise_if_cancelled()
        except Exception as error:
            raise AssertionError("a cancel is no Exception") from error

    attempt = cancel_one(tmp_path, patient)
    assert attempt.outcome == "cancelled"
    assert attempt.rungs() == ["CANCEL_STEP_INTERRUPT", "CANCEL_STEP_TREE_GONE"]
    assert issubclass(HandlerCancelled, BaseException)


def cancel_one(folder: Path, function: Callable[..., Any], grace_seconds: float = 10.0) -> ServedAttempt:
    """The attempt of one job that is cancelled once it has written something."""
    done: list[ServedAttempt] = []

    def worker_of(address: str) -> Worker:
        worker = new_worker(address, folder)
        worker.handler("f")(function)
        return worker

    async def scenario(server: ScriptedServer) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.outputs)
        server.want(attempt, pb.WANTED_STATE_CANCEL, grace_seconds)
        await server.until(lambda: attempt.finishes)
        await server.until_renewed(2)
        assert len(attempt.finishes) == 1
        done.append(attempt)

    play(folder, worker_of, scenario)
    return done[0]


def test_a_thousand_small_jobs_share_their_messages(tmp_path: Path) -> None:
    def worker_of(address: str) -> Worker:
        worker = new_worker(address, tmp_path, slots=1000)

        @worker.handler("f")
        async def empty(values: dict[str, Any]) -> None: ...

        return worker

    async def scenario(server: ScriptedServer) -> None:
        assert server.control.hello.hello.capabilities.handlers == ["f"]
        attempts = [server.assign(handler_spec("f"), send=False) for _ in range(1000)]
        for first in range(0, 1000, 100):
            chunk = attempts[first : first + 100]
            server.say(pb.ConnectResponse(assignments=[attempt.assignment for attempt in chunk]))
        await server.until(lambda: all(attempt.finishes for attempt in attempts))
        assert {len(attempt.finishes) for attempt in attempts} == {1}
        assert {attempt.outcome for attempt in attempts} == {"succeeded"}
        assert server.control.requests < 100
        await server.until(lambda: not server.control.renewals[-1].held)

    play(tmp_path, worker_of, scenario)


@pytest.mark.parametrize(
    "function", [lambda: None, lambda a, b, c: None, lambda a, *, needed: None], ids=["none", "three", "keyword"]
)
def test_a_function_that_can_not_be_called_is_refused_at_once(function: Callable[..., Any]) -> None:
    with pytest.raises(TypeError):
        Worker().handler("f")(function)


def test_a_worker_that_the_server_dismisses_says_so(tmp_path: Path) -> None:
    async def run() -> None:
        worker = new_worker("", tmp_path)
        worker.handler("f")(lambda values: None)
        async with serving(tmp_path) as server:
            worker.server = server.address
            server.refusal = "STALE_INCARNATION"
            with pytest.raises(WorkerDismissed, match="STALE_INCARNATION"):
                await worker.serve()

    uvloop.run(run())
