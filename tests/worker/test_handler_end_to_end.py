"""Handlers on a real control plane: snoozes, checkpoints, dependencies and classes of failure do what they say."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

import headrace
from e2e.control_plane import ControlPlane
from e2e.story import kind_of
from headrace.v1 import event_pb2, job_pb2
from headrace.worker import BlockingHandlerContext, HandlerContext, Worker

DEADLINE_SECONDS = 30.0
QUICK = headrace.retry_policy(max_attempts=3, initial_backoff=0.01, max_backoff=0.05)
Scenario = Callable[[headrace.AsyncClient], Awaitable[None]]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane(tmp_path_factory.mktemp("handlers"), "--no-worker") as plane:
        yield plane


@pytest.fixture
def play(plane: ControlPlane, tmp_path: Path) -> Callable[[dict[str, Callable[..., Any]], Scenario], None]:
    """Runs a scenario beside a worker of this process that has the handlers."""

    def play_with(handlers: dict[str, Callable[..., Any]], scenario: Scenario) -> None:
        async def main() -> None:
            worker = Worker(plane.address, data=tmp_path / "data", drain_seconds=1.0)
            for name, function in handlers.items():
                worker.handler(name)(function)
            async with asyncio.timeout(DEADLINE_SECONDS), worker.running(), headrace.connect(plane.address) as client:
                await scenario(client)

        uvloop.run(main())

    return play_with


async def log_of(job: headrace.Job) -> list[event_pb2.Event]:
    return [event async for event in job.events() if isinstance(event, event_pb2.Event)]


def kinds_of(log: list[event_pb2.Event]) -> list[str]:
    return [kind_of(event) for event in log]


def test_r5_a_snoozed_job_runs_again_from_its_checkpoint_and_burns_no_attempt(play: Callable[..., None]) -> None:
    def paging(input: dict[str, Any], context: BlockingHandlerContext) -> dict[str, Any]:
        seen = context.last_checkpoint or {"pages": []}
        seen["pages"].append(len(seen["pages"]) + 1)
        context.checkpoint(seen)
        if len(seen["pages"]) < 3:
            raise headrace.Snooze(0.01, f"page {len(seen['pages']) + 1} comes later")
        return {**seen, "attempt": context.attempt_number}

    async def scenario(client: headrace.AsyncClient) -> None:
        job = await client.submit(headrace.handler("paging"), retry_policy=headrace.retry_policy(max_attempts=1))
        log = await log_of(job)
        outcome = await job.result()
        assert outcome.value == {"pages": [1, 2, 3], "attempt": 3}
        reasons = [event.attempt_snoozed.reason for event in log if event.HasField("attempt_snoozed")]
        assert reasons == ["page 2 comes later", "page 3 comes later"]
        assert (outcome.job.failure_count, kinds_of(log).count("attempt_failed")) == (0, 0)

    play({"paging": paging}, scenario)


def test_r2_a_failed_attempt_leaves_its_checkpoint_and_its_failure_to_the_next(play: Callable[..., None]) -> None:
    async def shaky(input: dict[str, Any], context: HandlerContext) -> list[Any]:
        if context.previous_failure is None:
            context.checkpoint("half")
            raise headrace.HandlerFailure("the service is busy", "OVERLOADED", sign="status=529")
        return [context.last_checkpoint, context.previous_failure.message, context.previous_failure.sign]

    async def scenario(client: headrace.AsyncClient) -> None:
        job = await client.submit(headrace.handler("shaky"), retry_policy=QUICK)
        assert (await job.result()).value == ["half", "the service is busy", "status=529"]

    play({"shaky": shaky}, scenario)


def test_r2_invalid_input_is_not_retried_whatever_the_policy_says(play: Callable[..., None]) -> None:
    def strict(input: dict[str, Any]) -> None:
        raise headrace.InvalidInput("there is no such thing")

    async def scenario(client: headrace.AsyncClient) -> None:
        job = await client.submit(headrace.handler("strict"), retry_policy=QUICK)
        with pytest.raises(headrace.JobFailed, match="INVALID: there is no such thing"):
            await job.result()
        assert (await job.get()).attempt_count == 1

    play({"strict": strict}, scenario)


def test_q6_a_child_sees_what_its_parents_produced_and_how_they_ended(play: Callable[..., None]) -> None:
    def parent(input: dict[str, Any]) -> Any:
        if "error" in input:
            raise ValueError(input["error"])
        return input["value"]

    async def child(input: dict[str, Any], context: HandlerContext) -> list[Any]:
        return [[one.job_id, one.value, one.succeeded] for one in context.dependencies.values()]

    async def scenario(client: headrace.AsyncClient) -> None:
        inputs: list[dict[str, Any]] = [{"value": {"sum": 3}}, {"value": None}, {"error": "no luck"}]
        parents = [await client.submit(headrace.handler("parent", given)) for given in inputs]
        job = await client.submit(
            headrace.handler("child"),
            after=[one.id for one in parents],
            dependency_condition=job_pb2.DEPENDENCY_CONDITION_ALL_ENDED,
        )
        ids = [one.id for one in parents]
        assert (await job.result()).value == [[ids[0], {"sum": 3}, True], [ids[1], None, True], [ids[2], None, False]]

    play({"parent": parent, "child": child}, scenario)


def test_progress_of_a_running_handler_is_in_the_job(play: Callable[..., None]) -> None:
    go_on = asyncio.Event()

    async def slow(input: dict[str, Any], context: HandlerContext) -> None:
        context.progress(3, 8, "three of eight")
        await context.flush()
        await go_on.wait()
        context.progress(8, 8, "all")

    async def scenario(client: headrace.AsyncClient) -> None:
        job = await client.submit(headrace.handler("slow"))
        async with job.events() as events:
            async for event in events:
                if isinstance(event, event_pb2.Event) and event.output.HasField("progress"):
                    break
        now = (await job.get()).progress
        assert (now.done, now.total, now.message) == (3, 8, "three of eight")
        go_on.set()
        assert (await job.result()).job.progress.done == 8

    play({"slow": slow}, scenario)
