"""X7: who asks the same gets the same answer until it is too old; it is asked for once at a time, never with tools."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import event_pb2, outcome_pb2, task_pb2, worker_pb2
from headrace_worker.executors.claude import response_cache as module
from headrace_worker.executors.claude.caching import CachingExecutor, question
from headrace_worker.executors.claude.response_cache import Answer, ResponseCache
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, StopRequest, Succeeded


class Asked:
    """An attempt of a test."""

    def __init__(self, prompt: str = "p", ttl: int = 60, **fields: Any) -> None:
        task = task_pb2.ClaudeTask(prompt=prompt, **fields)
        if ttl:
            task.response_cache.ttl.FromSeconds(ttl)
        self.assignment = worker_pb2.Assignment()
        self.assignment.spec.claude.CopyFrom(task)
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


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(tmp_path: Path, clock: Clock) -> ResponseCache:
    made = ResponseCache(tmp_path / "answers", clock)
    made.load()
    return made


def told(outcome: Outcome) -> tuple[str, bool, int]:
    assert isinstance(outcome, Succeeded)
    return outcome.result.claude.text, outcome.result.claude.cached, outcome.usage.cost_usd_micros


def test_x7_the_same_question_gets_the_same_answer_which_says_that_it_is_an_old_one(cache: ResponseCache) -> None:
    async def scenario() -> None:
        model = Model()
        executor = CachingExecutor(model.run, cache, "1")
        assert told(await executor.run(Asked())) == ("answer 1", False, 7)  # type: ignore[arg-type]  # a double
        again = Asked(deltas=True)
        assert told(await executor.run(again)) == ("answer 1", True, 0)  # type: ignore[arg-type]  # a double
        (output,) = again.outputs
        assert output.claude.cached
        assert output.claude.turn_result.text == "answer 1"
        assert not output.claude.turn_result.HasField("usage")
        assert (model.asked, cache.hits, cache.misses) == (1, 1, 1)

    asyncio.run(scenario())


def test_x7_who_does_not_ask_for_it_neither_gets_nor_leaves_an_answer(cache: ResponseCache) -> None:
    async def scenario() -> None:
        model = Model()
        executor = CachingExecutor(model.run, cache, "1")
        await executor.run(Asked(ttl=0))  # type: ignore[arg-type]  # a double
        await executor.run(Asked())  # type: ignore[arg-type]  # a double
        assert told(await executor.run(Asked(ttl=0)))[0] == "answer 3"  # type: ignore[arg-type]  # a double

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
    task = Asked().assignment.spec.claude
    before = question(task, "1")
    change(task)
    assert question(task, "1") != before
    assert question(task, "2") != question(task, "1")


def test_x7_what_changes_nothing_makes_no_other_question() -> None:
    task = Asked(ttl=5).assignment.spec.claude
    task.deltas = False
    task.resume_policy = task_pb2.RESUME_POLICY_NEVER
    assert question(task, "1") == question(Asked(ttl=9).assignment.spec.claude, "1")


def test_x7_an_answer_that_is_too_old_is_asked_for_anew(cache: ResponseCache, clock: Clock) -> None:
    async def scenario() -> None:
        executor = CachingExecutor(Model().run, cache, "1")
        await executor.run(Asked())  # type: ignore[arg-type]  # a double
        clock.now += 61
        assert told(await executor.run(Asked(ttl=60)))[0] == "answer 2"  # type: ignore[arg-type]  # a double
        assert told(await executor.run(Asked(ttl=60)))[0] == "answer 2"  # type: ignore[arg-type]  # a double

    asyncio.run(scenario())


@pytest.mark.parametrize("model", [{"tool_calls": 1}, {"dirty": True}, {"fails": True}])
def test_x7_what_used_a_tool_or_failed_is_not_kept(cache: ResponseCache, model: dict[str, Any]) -> None:
    async def scenario() -> None:
        asked = Model(**model)
        executor = CachingExecutor(asked.run, cache, "1")
        await executor.run(Asked())  # type: ignore[arg-type]  # a double
        await executor.run(Asked())  # type: ignore[arg-type]  # a double
        assert asked.asked == 2

    asyncio.run(scenario())


def test_x7_who_asks_meanwhile_waits_for_the_first_answer(cache: ResponseCache) -> None:
    async def scenario() -> None:
        model = Model()
        model.gate.clear()
        executor = CachingExecutor(model.run, cache, "1")
        running = [asyncio.create_task(executor.run(Asked())) for _ in range(5)]  # type: ignore[arg-type]  # a double
        stopped = Asked()
        leaving = asyncio.create_task(executor.run(stopped))  # type: ignore[arg-type]  # a double
        await model.begun.wait()
        stopped.stop.set()
        assert isinstance(await leaving, Cancelled)
        model.gate.set()
        answers = [told(one) for one in await asyncio.gather(*running)]
        assert (model.asked, {text for text, _, _ in answers}) == (1, {"answer 1"})
        assert sorted(cached for _, cached, _ in answers) == [False, True, True, True, True]

    asyncio.run(asyncio.wait_for(scenario(), 20))


def test_x7_when_the_first_fails_the_next_one_asks(cache: ResponseCache) -> None:
    async def scenario() -> None:
        model = Model(fails=True)
        model.gate.clear()
        executor = CachingExecutor(model.run, cache, "1")
        running = [asyncio.create_task(executor.run(Asked())) for _ in range(3)]  # type: ignore[arg-type]  # a double
        await model.begun.wait()
        model.gate.set()
        assert all(isinstance(one, Failed) for one in await asyncio.gather(*running))
        assert model.asked == 3

    asyncio.run(asyncio.wait_for(scenario(), 20))


def kept(text: str) -> Answer:
    return Answer(outcome_pb2.Result(claude=outcome_pb2.ClaudeResult(text=text)), [])


def test_answers_survive_a_restart_and_the_least_recently_used_go_first(
    cache: ResponseCache, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_ENTRIES_COUNT_MAX", 2)
    cache.put("a", kept("a"))
    cache.put("b", kept("b"))
    assert cache.get("a", 60) == kept("a")
    cache.put("c", kept("c"))
    assert cache.get("b", 60) is None
    assert sorted(path.name for path in cache.folder.iterdir()) == ["a", "c"]
    clock.now = 4_000_000_000.0
    again = ResponseCache(cache.folder, clock)
    again.load()
    assert again.get("a", 1e10) == kept("a")
    assert again.state().entries == 2


def test_the_size_of_all_and_of_one_is_bounded(cache: ResponseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_ANSWER_BYTES_MAX", 2000)
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", 2500)
    cache.put("large", kept("x" * 2000))
    cache.put("a", kept("x" * 1500))
    cache.put("b", kept("x" * 1500))
    assert (cache.state().entries, cache.state().size_bytes < 2500) == (1, True)


def test_a_damaged_file_is_no_answer_and_goes(cache: ResponseCache) -> None:
    cache.put("a", kept("a"))
    (cache.folder / "a").write_bytes(b"damaged")
    assert cache.get("a", 60) is None
    assert list(cache.folder.iterdir()) == []
