"""Claude tasks that take an answer from the cache, or leave one there (X7): who may, what a question is, and how an
answer is given again.

A question is asked once at a time: who asks the same meanwhile waits for the first, and asks anew when that one failed.
Times are the server's, told with each assignment: a host's own clock may be wrong.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from headrace.v1 import event_pb2, outcome_pb2, task_pb2, worker_pb2
from headrace_worker.executors.claude.response_cache import Answer, Kept, ResponseCache
from headrace_worker.executors.contract import Attempt, Cancelled, Outcome, Succeeded
from headrace_worker.ladder import first_of
from headrace_worker.limits import CACHE_ANSWER_BYTES_MAX, CACHE_SWEEP_SECONDS
from headrace_worker.server_clock import ServerClock

Run = Callable[[Attempt], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Question:
    """What an attempt asks, and which answers it takes. Times in microseconds."""

    namespace: str
    key: str
    granted: int
    ttl: int
    after: int
    """It takes no answer that was asked for by then."""


@dataclass(frozen=True, slots=True)
class _Asking:
    granted: int
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What answers depend on besides the task."""

    version: str
    """Of the CLI."""
    variables: Callable[[str], Mapping[str, str]]
    """What the CLI gets under an environment profile: its account, where it asks, maybe its model."""


class CachingExecutor:
    """Stands before the executor `claude`."""

    def __init__(self, run: Run, cache: ResponseCache, clock: ServerClock, surroundings: Surroundings) -> None:
        self._run = run
        self._cache = cache
        self._clock = clock
        self._surroundings = surroundings
        self._asking: dict[str, _Asking] = {}
        self._disk = asyncio.Lock()
        self._swept = asyncio.Event()

    async def run(self, attempt: Attempt) -> Outcome:
        """Runs one ClaudeTask to its end; see `Executor`."""
        assignment = attempt.assignment
        if not assignment.spec.claude.HasField("response_cache") or assignment.resume_claude_session_id:
            return await self._run(attempt)
        question = question_of(assignment, self._surroundings)
        self._clock.hear(question.granted)
        self.invalidate(question.namespace, question.after)
        answer, waited = await self._find(attempt, question)
        if attempt.stop_requested() is not None:
            return Cancelled()
        if answer is not None:
            self._cache.hits += 1
            self._cache.shared += waited
            return await _give_again(attempt, answer)
        self._cache.misses += 1
        asking = self._asking[question.key] = _Asking(question.granted)
        try:
            return await self._ask(attempt, question)
        finally:
            if self._asking.get(question.key) is asking:
                del self._asking[question.key]
            asking.over.set()

    def invalidate(self, namespace: str, time: int) -> None:
        """Gives no answer of a namespace again that was asked for by then, and has them removed."""
        if self._cache.invalidate(namespace, time):
            self._swept.set()

    async def tend(self) -> None:
        """Removes answers when they are too old or count no more, until it is cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(CACHE_SWEEP_SECONDS):
                    await self._swept.wait()
            self._swept.clear()
            async with self._disk:
                await asyncio.to_thread(self._cache.sweep, self._clock.now())

    async def _find(self, attempt: Attempt, question: Question) -> tuple[Answer | None, bool]:
        """An answer, if there is one, and whether another attempt was waited for."""
        waited = False
        while attempt.stop_requested() is None:
            async with self._disk:
                now = self._clock.now()
                answer = await asyncio.to_thread(self._cache.get, question.key, now, question.ttl, question.after)
            other = self._asking.get(question.key)
            if answer is not None or other is None or other.granted <= question.after:
                return answer, waited
            await first_of(other.over.wait(), attempt.wait_stop())
            waited = True
        return None, waited

    async def _ask(self, attempt: Attempt, question: Question) -> Outcome:
        recorder = Recorder(attempt)
        outcome = await self._run(recorder)
        if isinstance(outcome, Succeeded) and not outcome.usage.tool_calls and recorder.is_whole:
            async with self._disk:
                given = self._clock.now()
                # Somebody who takes older answers may have left one here that is to stay longer.
                until = max(given + question.ttl, self._cache.until(question.key))
                kept = Kept(question.namespace, question.granted, given, until)
                answer = Answer(outcome.result, recorder.outputs)
                await asyncio.to_thread(self._cache.put, question.key, kept, answer)
        return outcome


def question_of(assignment: worker_pb2.Assignment, surroundings: Surroundings) -> Question:
    """What an attempt asks; the keys of two are equal when nothing differs that can change the answer."""
    task, terms = assignment.spec.claude, assignment.response_cache
    asked = task_pb2.ClaudeTask()
    asked.CopyFrom(task)
    for name in ("deltas", "resume_policy", "permission_prompts"):
        asked.ClearField(name)
    asked.response_cache.ClearField("ttl")
    variables = dict(surroundings.variables(task.environment_profile))
    around = json.dumps([assignment.namespace, surroundings.version, variables], sort_keys=True)
    text = around.encode() + b"\0" + asked.SerializeToString(deterministic=True)
    return Question(
        assignment.namespace,
        hashlib.sha256(text).hexdigest(),
        terms.grant_time.ToMicroseconds(),
        task.response_cache.ttl.ToMicroseconds(),
        terms.invalidate_time.ToMicroseconds(),
    )


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
