"""Claude tasks that take an answer from the cache, or leave one there (X7): who may, what a question is, and how an
answer is given again.

A question is asked once at a time: who asks the same meanwhile waits for the first, and asks anew when that one failed.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from headrace.v1 import event_pb2, outcome_pb2, task_pb2
from headrace_worker.executors.claude.response_cache import Answer, ResponseCache
from headrace_worker.executors.contract import Attempt, Cancelled, Outcome, Succeeded
from headrace_worker.ladder import first_of
from headrace_worker.limits import CACHE_ANSWER_BYTES_MAX

Run = Callable[[Attempt], Awaitable[Outcome]]


class CachingExecutor:
    """Stands before the executor `claude`."""

    def __init__(self, run: Run, cache: ResponseCache, version: str) -> None:
        """`version`: of the CLI; it is part of every question."""
        self._run = run
        self._cache = cache
        self._version = version
        self._asking: dict[str, asyncio.Event] = {}
        self._disk = asyncio.Lock()

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one ClaudeTask to its end; see `Executor`."""
        task = attempt.assignment.spec.claude
        if not task.HasField("response_cache") or attempt.assignment.resume_claude_session_id:
            return await self._run(attempt)
        key = question(task, self._version)
        answer = await self._find(attempt, task, key)
        if attempt.stop_requested() is not None:
            return Cancelled()
        if answer is not None:
            self._cache.hits += 1
            return await _give_again(attempt, answer)
        self._cache.misses += 1
        answered = self._asking[key] = asyncio.Event()
        try:
            return await self._ask(attempt, key)
        finally:
            del self._asking[key]
            answered.set()

    async def _find(self, attempt: Attempt, task: task_pb2.ClaudeTask, key: str) -> Answer | None:
        ttl_seconds = task.response_cache.ttl.ToTimedelta().total_seconds()
        while attempt.stop_requested() is None:
            async with self._disk:
                answer = await asyncio.to_thread(self._cache.get, key, ttl_seconds)
            other = self._asking.get(key)
            if answer is not None or other is None:
                return answer
            await first_of(other.wait(), attempt.wait_stop())
        return None

    async def _ask(self, attempt: Attempt, key: str) -> Outcome:
        recorder = Recorder(attempt)
        outcome = await self._run(recorder)
        if isinstance(outcome, Succeeded) and not outcome.usage.tool_calls and recorder.is_whole:
            async with self._disk:
                await asyncio.to_thread(self._cache.put, key, Answer(outcome.result, recorder.outputs))
        return outcome


def question(task: task_pb2.ClaudeTask, version: str) -> str:
    """Names what can change the answer: equal for equal questions."""
    asked = task_pb2.ClaudeTask()
    asked.CopyFrom(task)
    for name in ("deltas", "resume_policy", "permission_prompts"):
        asked.ClearField(name)
    asked.response_cache.ClearField("ttl")
    text = version.encode() + b"\0" + asked.SerializeToString(deterministic=True)
    return hashlib.sha256(text).hexdigest()


class Recorder:
    """An attempt that is noted down on its way."""

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self.outputs: list[event_pb2.Output] = []
        self.is_whole = True
        """Everything was noted, and nothing of it may have changed the world."""
        self._size = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._attempt, name)

    async def emit(self, output: event_pb2.Output) -> int:
        """Hands it on, with a note of what was said."""
        self._note(output)
        return await self._attempt.emit(output)

    def _note(self, output: event_pb2.Output) -> None:
        kind = output.WhichOneof("kind")
        if output.dirty or kind == "chunk" or self._size > CACHE_ANSWER_BYTES_MAX:
            self.is_whole = False
        elif kind == "claude":
            self._size += output.ByteSize()
            kept = event_pb2.Output()
            kept.CopyFrom(output)
            self.outputs.append(kept)


async def _give_again(attempt: Attempt, answer: Answer) -> Outcome:
    for kept in answer.outputs:
        output = event_pb2.Output(claude=kept.claude)
        output.claude.cached = True
        if output.claude.HasField("turn_result"):
            output.claude.turn_result.ClearField("usage")
        await attempt.emit(output)
    result = outcome_pb2.Result()
    result.CopyFrom(answer.result)
    result.claude.cached = True
    result.claude.ClearField("time_to_first_token")
    return Succeeded(result)
