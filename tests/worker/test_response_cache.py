"""X7: who asks the same gets the same answer until it is too old or counts no more; it is asked for once at a time,
never with tools."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import event_pb2, outcome_pb2, task_pb2, worker_pb2
from headrace_worker.executors.claude import caching as module
from headrace_worker.executors.claude.caching import CachingExecutor, Surroundings, question_of
from headrace_worker.executors.claude.response_cache import ResponseCache
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, StopRequest, Succeeded
from headrace_worker.server_clock import ServerClock

SECOND = 1_000_000
GRANTED = 1_000 * SECOND


class Asked:
    """An attempt of a test, granted when the server's clock said so many seconds."""

    def __init__(
        self, prompt: str = "p", ttl: int = 60, *, at: int = 1000, after: int = 0, namespace: str = "a", **fields: Any
    ) -> None:
        task = task_pb2.ClaudeTask(prompt=prompt, **fields)
        if ttl:
            task.response_cache.ttl.FromSeconds(ttl)
        self.assignment = worker_pb2.Assignment(namespace=namespace)
        self.assignment.spec.claude.CopyFrom(task)
        self.assignment.response_cache.grant_time.FromSeconds(at)
        if after:
            self.assignment.response_cache.invalidate_time.FromSeconds(after)
        self.outputs: list[event_pb2.Output] = []
        self.stop = asyncio.Event()

    async def emit(self, output: event_pb2.Output) -> int:
        self.outputs.append(output)
        output.producer_sequence = len(self.outputs)
        return len(self.outputs)

    def stop_requested(self) -> StopRequest | None:
        return StopRequest(kill=False, grace_seconds=1, reason="") if self.stop.is_set() else None

    async def wait_stop(self) -> StopRequest | None:
        await self.stop.wait()
        return self.stop_requested()


class Model:
    """Answers, and counts how often it was asked."""

    def __init__(self, *, tool_calls: int = 0, dirty: bool = False, fails: bool = False) -> None:
        self.asked = 0
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self._tool_calls = tool_calls
        self._dirty = dirty
        self.fails = fails

    async def run(self, attempt: Any) -> Outcome:
        self.asked += 1
        self.begun.set()
        number = self.asked
        await self.gate.wait()
        if self.fails:
            return Failed(outcome_pb2.Failure())
        said = event_pb2.ClaudeFrame(raw_json="{}", turn_result=event_pb2.ClaudeTurnResult(text=f"answer {number}"))
        said.turn_result.usage.cost_usd_micros = 7
        await attempt.emit(event_pb2.Output(claude=said, dirty=self._dirty))
        await attempt.emit(event_pb2.Output(usage=outcome_pb2.Usage(cost_usd_micros=7)))
        result = outcome_pb2.Result(claude=outcome_pb2.ClaudeResult(text=f"answer {number}"))
        return Succeeded(result, outcome_pb2.Usage(cost_usd_micros=7, tool_calls=self._tool_calls))


class Steady:
    """A clock that goes on when it is told to."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def steady() -> Steady:
    return Steady()


@pytest.fixture
def cache(tmp_path: Path) -> ResponseCache:
    made = ResponseCache(tmp_path / "answers")
    made.load(GRANTED)
    return made


def caching(model: Model, cache: ResponseCache, steady: Steady) -> CachingExecutor:
    """The host's own clock is ten years behind the server's."""
    clock = ServerClock(lambda: 1000.0 - 10 * 365 * 86_400, steady)
    return CachingExecutor(model.run, cache, clock, AROUND)


def variables(profile: str) -> Mapping[str, str]:
    return {"ANTHROPIC_API_KEY": f"key of {profile}"}


AROUND = Surroundings("1", variables)


async def ask(executor: CachingExecutor, asked: Any) -> Outcome:
    return await executor.run(asked)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  # it is a thread that makes it true
        await asyncio.sleep(0.005)


def told(outcome: Outcome) -> tuple[str, bool, int]:
    assert isinstance(outcome, Succeeded)
    return outcome.result.claude.text, outcome.result.claude.cached, outcome.usage.cost_usd_micros


def test_x7_the_same_question_gets_the_same_answer_which_says_that_it_is_an_old_one(
    cache: ResponseCache, steady: Steady
) -> None:
    async def scenario() -> None:
        model = Model()
        executor = caching(model, cache, steady)
        assert told(await ask(executor, Asked())) == ("answer 1", False, 7)
        again = Asked(deltas=True)
        assert told(await ask(executor, again)) == ("answer 1", True, 0)
        (output,) = again.outputs
        assert output.claude.cached
        assert output.claude.turn_result.text == "answer 1"
        assert not output.claude.turn_result.HasField("usage")
        assert (model.asked, cache.hits, cache.misses) == (1, 1, 1)

    asyncio.run(scenario())


def test_x7_who_does_not_ask_for_it_neither_gets_nor_leaves_an_answer(cache: ResponseCache, steady: Steady) -> None:
    async def scenario() -> None:
        model = Model()
        executor = caching(model, cache, steady)
        await ask(executor, Asked(ttl=0))
        await ask(executor, Asked())
        assert told(await ask(executor, Asked(ttl=0)))[0] == "answer 3"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "change",
    [
        lambda task: setattr(task, "prompt", "other"),
        lambda task: setattr(task, "model", "opus"),
        lambda task: setattr(task, "append_system_prompt", "x"),
        lambda task: setattr(task, "environment_profile", "x"),
        lambda task: setattr(task.limits, "max_turns", 3),
        lambda task: setattr(task.response_cache, "epoch", "2"),
        lambda task: task.output_schema.update({"type": "object"}),
        lambda task: task.disallowed_tools.append("Bash"),
    ],
)
def test_x7_whatever_can_change_the_answer_makes_another_question(change: Callable[[Any], object]) -> None:
    assignment = Asked().assignment
    before = question_of(assignment, AROUND).key
    change(assignment.spec.claude)
    assert question_of(assignment, AROUND).key != before


@pytest.mark.parametrize(
    "around",
    [
        Surroundings("2", variables),
        Surroundings("1", lambda profile: {"ANTHROPIC_API_KEY": "another account"}),
        Surroundings("1", lambda profile: {**variables(profile), "ANTHROPIC_MODEL": "opus"}),
    ],
)
def test_x7_another_cli_account_or_default_model_makes_another_question(around: Surroundings) -> None:
    assignment = Asked().assignment
    assert question_of(assignment, around).key != question_of(assignment, AROUND).key


def test_x7_what_changes_nothing_makes_no_other_question() -> None:
    one, other = Asked(ttl=5, at=7).assignment, Asked(ttl=9, at=8, after=6).assignment
    one.spec.claude.deltas = False
    one.spec.claude.resume_policy = task_pb2.RESUME_POLICY_NEVER
    assert question_of(one, AROUND).key == question_of(other, AROUND).key


def test_x7_an_answer_never_crosses_namespaces(cache: ResponseCache, steady: Steady) -> None:
    async def scenario() -> None:
        executor = caching(Model(), cache, steady)
        await ask(executor, Asked(namespace="a"))
        assert told(await ask(executor, Asked(namespace="b"))) == ("answer 2", False, 7)
        assert told(await ask(executor, Asked(namespace="a")))[0] == "answer 1"

    asyncio.run(scenario())


def test_x7_an_answer_that_is_too_old_is_asked_for_anew(cache: ResponseCache, steady: Steady) -> None:
    async def scenario() -> None:
        executor = caching(Model(), cache, steady)
        await ask(executor, Asked(at=1000))
        assert told(await ask(executor, Asked(at=1060)))[0] == "answer 1"
        assert told(await ask(executor, Asked(at=1061)))[0] == "answer 2"
        assert told(await ask(executor, Asked(at=1062)))[0] == "answer 2"

    asyncio.run(scenario())


def test_x7_an_answer_is_as_old_as_it_was_given_and_not_as_it_was_asked_for(
    cache: ResponseCache, steady: Steady
) -> None:
    async def scenario() -> None:
        model = Model()
        model.gate.clear()
        executor = caching(model, cache, steady)
        asking = asyncio.create_task(ask(executor, Asked(at=1000)))
        await model.begun.wait()
        steady.now += 500
        model.gate.set()
        await asking
        assert told(await ask(executor, Asked(at=1560)))[0] == "answer 1"
        assert told(await ask(executor, Asked(at=1561)))[0] == "answer 2"

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_x7_who_takes_newer_answers_only_does_not_shorten_the_time_of_those_who_take_older_ones(
    cache: ResponseCache, steady: Steady
) -> None:
    async def scenario() -> None:
        executor = caching(Model(), cache, steady)
        await ask(executor, Asked(at=1000, ttl=900))
        assert told(await ask(executor, Asked(at=1100, ttl=60)))[0] == "answer 2"
        cache.sweep(1200 * SECOND)
        assert told(await ask(executor, Asked(at=1200, ttl=900)))[:2] == ("answer 2", True)

    asyncio.run(scenario())


def test_x7_an_answer_that_was_asked_for_before_an_invalidation_is_not_given_again(
    cache: ResponseCache, steady: Steady
) -> None:
    async def scenario() -> None:
        executor = caching(Model(), cache, steady)
        await ask(executor, Asked(at=1000))
        await ask(executor, Asked(at=1000, namespace="b"))
        assert told(await ask(executor, Asked(at=1010, after=1000)))[0] == "answer 3"
        assert told(await ask(executor, Asked(at=1020, after=1000)))[:2] == ("answer 3", True)
        assert told(await ask(executor, Asked(at=1020, namespace="b")))[:2] == ("answer 2", True)

    asyncio.run(scenario())


@pytest.mark.parametrize("hears_of_it", [True, False])
def test_x7_an_answer_in_flight_at_an_invalidation_is_its_asker_s_alone(
    cache: ResponseCache, steady: Steady, hears_of_it: bool
) -> None:
    """Whoever asks after it does not wait for that answer, and never gets it."""

    async def scenario() -> None:
        model = Model()
        model.gate.clear()
        executor = caching(model, cache, steady)
        before = asyncio.create_task(ask(executor, Asked(at=1000)))
        await model.begun.wait()
        model.begun.clear()
        if hears_of_it:
            executor.invalidate("a", 1005 * SECOND)
        after = asyncio.create_task(ask(executor, Asked(at=1010, after=1005)))
        await model.begun.wait()
        waiting = asyncio.create_task(ask(executor, Asked(at=1011, after=1005)))
        model.gate.set()
        assert told(await before)[:2] == ("answer 1", False)
        assert told(await after)[:2] == ("answer 2", False)
        assert told(await waiting)[:2] == ("answer 2", True)
        assert told(await ask(executor, Asked(at=1020, after=1005)))[:2] == ("answer 2", True)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_x7_invalidated_answers_are_removed_at_once_from_the_disk(cache: ResponseCache, steady: Steady) -> None:
    async def scenario() -> None:
        executor = caching(Model(), cache, steady)
        await ask(executor, Asked(at=1000))
        await ask(executor, Asked(at=1000, namespace="b"))
        tending = asyncio.create_task(executor.tend())
        executor.invalidate("a", 1001 * SECOND)
        await until(lambda: cache.state().entries == 1)
        assert len(list(cache.folder.iterdir())) == 1
        tending.cancel()
        assert told(await ask(executor, Asked(at=1002, namespace="b")))[1]

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_x7_answers_that_are_too_old_for_everybody_are_removed_without_a_job(
    cache: ResponseCache, steady: Steady, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_SWEEP_SECONDS", 0.01)

    async def scenario() -> None:
        executor = caching(Model(), cache, steady)
        await ask(executor, Asked(at=1000, ttl=60))
        tending = asyncio.create_task(executor.tend())
        steady.now += 60
        await until(lambda: cache.state().entries == 0)
        assert list(cache.folder.iterdir()) == []
        tending.cancel()

    asyncio.run(asyncio.wait_for(scenario(), 20))


@pytest.mark.parametrize("model", [{"tool_calls": 1}, {"dirty": True}, {"fails": True}])
def test_x7_what_used_a_tool_or_failed_is_not_kept(cache: ResponseCache, steady: Steady, model: dict[str, Any]) -> None:
    async def scenario() -> None:
        asked = Model(**model)
        executor = caching(asked, cache, steady)
        await ask(executor, Asked())
        await ask(executor, Asked())
        assert asked.asked == 2

    asyncio.run(scenario())


def test_x7_who_asks_meanwhile_waits_for_the_first_answer(cache: ResponseCache, steady: Steady) -> None:
    async def scenario() -> None:
        model = Model()
        model.gate.clear()
        executor = caching(model, cache, steady)
        running = [asyncio.create_task(ask(executor, Asked())) for _ in range(5)]
        stopped = Asked()
        leaving = asyncio.create_task(ask(executor, stopped))
        await model.begun.wait()
        stopped.stop.set()
        assert isinstance(await leaving, Cancelled)
        model.gate.set()
        answers = [told(one) for one in await asyncio.gather(*running)]
        assert (model.asked, {text for text, _, _ in answers}) == (1, {"answer 1"})
        assert sorted(cached for _, cached, _ in answers) == [False, True, True, True, True]
        assert (cache.hits, cache.shared, cache.misses, cache.stores) == (4, 4, 1, 1)

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_x7_when_the_first_fails_the_next_one_asks(cache: ResponseCache, steady: Steady) -> None:
    async def scenario() -> None:
        model = Model(fails=True)
        model.gate.clear()
        executor = caching(model, cache, steady)
        running = [asyncio.create_task(ask(executor, Asked())) for _ in range(3)]
        await model.begun.wait()
        model.gate.set()
        assert all(isinstance(one, Failed) for one in await asyncio.gather(*running))
        assert model.asked == 3

    asyncio.run(asyncio.wait_for(scenario(), 20))
