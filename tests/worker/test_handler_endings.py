"""How a handler ends other than by a value: put off, failed with a class, refused for good, cancelled."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import headrace
from headrace.v1 import outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace.worker import BlockingHandlerContext, HandlerCancelled, HandlerContext
from headrace_worker.executors.handler_endings import FAILURE_CLASSES
from worker.agent_running import handler_spec
from worker.agent_server import ScriptedServer, ServedAttempt
from worker.handler_running import checkpoints_of, class_of, failure_of, play_handler, run_handler


def raising(error: Callable[[], BaseException]) -> list[Callable[..., Any]]:
    """Both kinds of handler that raise it."""

    def blocking(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        raise error()

    async def asynchronous(values: dict[str, Any], context: HandlerContext) -> None:
        raise error()

    return [blocking, asynchronous]


@pytest.mark.parametrize("function", raising(lambda: headrace.Snooze(90.5, "not before noon")), ids=["thread", "async"])
def test_r5_a_snooze_ends_the_attempt_with_its_delay_and_reason(tmp_path: Path, function: Callable[..., Any]) -> None:
    attempt = run_handler(tmp_path, function)
    snoozed = attempt.finishes[-1].snoozed
    assert attempt.outcome == "snoozed"
    assert (snoozed.delay.ToTimedelta(), snoozed.reason) == (timedelta(seconds=90.5), "not before noon")


def test_r5_a_snooze_delivers_the_checkpoint_and_the_use_before_it(tmp_path: Path) -> None:
    def half(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.checkpoint({"page": 7})
        context.add_usage(turns=1)
        raise headrace.Snooze(timedelta(minutes=1))

    attempt = run_handler(tmp_path, half)
    assert (attempt.outcome, checkpoints_of(attempt), attempt.finishes[-1].usage.turns) == ("snoozed", [{"page": 7}], 1)


def test_a_snooze_passes_through_what_a_handler_catches_as_an_error(tmp_path: Path) -> None:
    async def careful(values: dict[str, Any]) -> str:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(postpone())
        except Exception:
            return "swallowed"
        return "finished"

    async def postpone() -> None:
        raise headrace.Snooze(5)

    assert run_handler(tmp_path, careful).outcome == "snoozed"


@pytest.mark.parametrize("delay", [0, 0.0009, -1, 31 * 86_400 + 1, float("nan"), timedelta(days=32)])
def test_a_snooze_has_bounds(delay: float | timedelta) -> None:
    with pytest.raises(ValueError, match="1 ms to 31 days"):
        headrace.Snooze(delay)


def test_the_bounds_of_a_snooze_are_in_it() -> None:
    assert [headrace.Snooze(delay).delay_micros for delay in (0.001, timedelta(days=31))] == [1000, 2_678_400_000_000]
    assert len(headrace.Snooze(1, "x" * 5000).reason) == 1024


def test_c2_a_cancel_beats_a_snooze(tmp_path: Path) -> None:
    def late(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.write("running")
        context.wait_cancelled(20)
        raise headrace.Snooze(1)

    assert cancel_handler(tmp_path, late).outcome == "cancelled"


@pytest.mark.parametrize(
    "function",
    raising(lambda: headrace.HandlerFailure("busy", "RATE_LIMITED", retry_after=1.5, sign="status=429")),
    ids=["thread", "async"],
)
def test_a_failure_with_a_class_says_when_to_try_again(tmp_path: Path, function: Callable[..., Any]) -> None:
    attempt = run_handler(tmp_path, function)
    failure = failure_of(attempt)
    assert (class_of(attempt), failure.message, failure.sign) == ("RATE_LIMITED", "busy", "status=429")
    assert failure.retry_after.ToTimedelta() == timedelta(seconds=1.5)
    assert "raise error()" in failure.detail


def test_the_sign_of_a_failure_is_what_it_was_raised_from(tmp_path: Path) -> None:
    def broken(values: dict[str, Any]) -> None:
        try:
            raise ConnectionResetError("by peer")
        except ConnectionResetError as error:
            raise headrace.HandlerFailure("the service is gone", "NETWORK") from error

    attempt = run_handler(tmp_path, broken)
    assert (class_of(attempt), failure_of(attempt).sign) == ("NETWORK", "ConnectionResetError")
    assert "by peer" in failure_of(attempt).detail
    assert not failure_of(attempt).HasField("retry_after")


def test_a_failure_of_one_task_of_a_group_keeps_its_class(tmp_path: Path) -> None:
    async def grouped(values: dict[str, Any]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(overloaded())

    async def overloaded() -> None:
        raise headrace.HandlerFailure("later", "OVERLOADED")

    assert class_of(run_handler(tmp_path, grouped)) == "OVERLOADED"


def test_invalid_input_is_a_failure_that_is_never_retried(tmp_path: Path) -> None:
    def strict(values: dict[str, Any]) -> None:
        raise headrace.InvalidInput(f"there is no folder {values.get('folder')}", sign="folder")

    attempt = run_handler(tmp_path, strict, handler_spec("f", folder="/nowhere"))
    assert (class_of(attempt), failure_of(attempt).sign) == ("INVALID", "folder")
    assert failure_of(attempt).message == "there is no folder /nowhere"


def test_a_failure_names_only_classes_that_a_handler_can_know_of() -> None:
    assert headrace.HandlerFailure("x", outcome_pb2.FAILURE_CLASS_QUOTA).failure_class == FAILURE_CLASSES["QUOTA"]
    assert headrace.HandlerFailure("x").failure_class == outcome_pb2.FAILURE_CLASS_ERROR
    for word in ("WORKER_LOST", "CANCELLED", "NO_SUCH", outcome_pb2.FAILURE_CLASS_POISON, 99):
        with pytest.raises(ValueError, match="no class of failure"):
            headrace.HandlerFailure("x", word)  # type: ignore[arg-type]  # what a type checker would not see
    for seconds in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="not negative"):
            headrace.HandlerFailure("x", retry_after=seconds)


def test_a_cancel_that_an_async_handler_makes_up_is_an_error_and_ends_nothing_else(tmp_path: Path) -> None:
    async def odd(values: dict[str, Any]) -> None:
        raise HandlerCancelled("nobody asked")

    attempt = run_handler(tmp_path, odd)
    assert (class_of(attempt), failure_of(attempt).sign.rpartition(".")[2]) == ("ERROR", "HandlerCancelled")


def test_c1_a_thread_polls_its_cancel(tmp_path: Path) -> None:
    seen: list[bool] = []

    def polling(values: dict[str, Any], context: BlockingHandlerContext) -> None:
        context.write("running")
        while not context.cancelled:
            context.wait_cancelled(1)
        seen.append(context.cancelled)
        context.checkpoint("as far as it came")
        context.raise_if_cancelled()

    attempt = cancel_handler(tmp_path, polling)
    assert (attempt.outcome, seen, checkpoints_of(attempt)) == ("cancelled", [True], ["as far as it came"])


def cancel_handler(folder: Path, function: Callable[..., Any]) -> ServedAttempt:
    """The attempt of one job that is cancelled once it has written something."""
    done: list[ServedAttempt] = []

    async def scenario(server: ScriptedServer) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.outputs)
        server.want(attempt, pb.WANTED_STATE_CANCEL, 10.0)
        await server.until(lambda: attempt.finishes)
        done.append(attempt)

    play_handler(folder, function, scenario)
    return done[0]
