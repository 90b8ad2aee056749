"""What the CLI asks in one turn: each request goes to a person, or is denied where nobody is to be asked.

Several may be open at once. Nothing here waits for what the CLI says meanwhile, but that what it said before comes into
the log first.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from headrace.v1 import task_pb2
from headrace_worker.executors.claude.permission import DENIED, DENIED_BY_PERSON, input_request, permission
from headrace_worker.executors.claude.wire import Body
from headrace_worker.executors.contract import Attempt, TooManyAsked
from headrace_worker.executors.limits import ASKED_BYTES_MAX, ASKED_COUNT_MAX
from headrace_worker.limits import ASK_ORDER_SECONDS

Reply = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Question:
    """One request of the CLI for a permission, or with a question of its own."""

    request_id: str
    request: Body
    reply: Reply
    """Says the answer to the CLI."""
    size_bytes: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the request itself was delivered, and so everything before it."""
    withdrawn: bool = False
    task: asyncio.Task[None] | None = None


class Asking:
    """The requests of one turn, in whatever order they are answered."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        """`on_change` is called when nobody was waited for and now is, or the other way round."""
        self.ended_turn = ""
        """What a person said who ended the turn with a denial."""
        self._on_change = on_change
        self._coming: asyncio.Queue[Question] = asyncio.Queue(ASKED_COUNT_MAX)
        self._questions: dict[str, Question] = {}
        """Those that have no answer."""
        self._size_bytes = 0
        """Of these together."""
        self._open = 0

    @property
    def is_open(self) -> bool:
        """Whether a person is waited for."""
        return self._open > 0

    def ask(self, question: Question) -> None:
        """The CLI asks. Without an attempt it waits until there is one."""
        refusal = self._refusal(question)
        if refusal:
            question.reply(_deny(refusal))
            return
        self._questions[question.request_id] = question
        self._size_bytes += question.size_bytes
        self._coming.put_nowait(question)

    def _refusal(self, question: Question) -> str:
        """Why it is not even kept; empty when it is."""
        if question.request_id in self._questions:
            return f"the request {question.request_id!r} is open already"
        if self._coming.full() or len(self._questions) >= ASKED_COUNT_MAX:
            return f"{ASKED_COUNT_MAX} requests wait already"
        if self._questions and self._size_bytes + question.size_bytes > ASKED_BYTES_MAX:
            return f"the requests that wait have more than {ASKED_BYTES_MAX} bytes already"
        return ""

    def withdraw(self, request_id: str) -> None:
        """The CLI wants no answer any more, and gets none."""
        question = self._forget(request_id)
        if question is not None:
            question.withdrawn, question.request = True, {}
            if question.task is not None:
                question.task.cancel()

    def delivered(self, request_id: str) -> None:
        """The request came into the log of the job."""
        question = self._questions.get(request_id)
        if question is not None:
            question.told.set()

    async def run(self, attempt: Attempt) -> None:
        """Asks whatever comes, until it is cancelled; what is open then is withdrawn."""
        asks = attempt.assignment.spec.claude.permission_prompts == task_pb2.PERMISSION_PROMPTS_ASK
        async with asyncio.TaskGroup() as tasks:
            while True:
                question = await self._coming.get()
                if question.withdrawn:
                    continue
                if asks:
                    question.task = tasks.create_task(self._ask(attempt, question))
                else:
                    self._settle(question, {"behavior": "deny", "message": DENIED})

    async def _ask(self, attempt: Attempt, question: Question) -> None:
        self._count(1)
        try:
            # Of a CLI that has said much, the rest is not waited for: a person comes before data.
            await _wait(question.told, ASK_ORDER_SECONDS)
            answer = await attempt.ask(input_request(question.request_id, question.request))
            if answer.interrupt and not answer.allow:
                self.ended_turn = answer.message or DENIED_BY_PERSON
        except TooManyAsked as many:
            self._settle(question, _deny(str(many)))
        else:
            self._settle(question, permission(question.request, answer))
        finally:
            self._count(-1)

    def _settle(self, question: Question, response: dict[str, Any]) -> None:
        if not question.withdrawn:
            self._forget(question.request_id)
            question.reply(response)

    def _forget(self, request_id: str) -> Question | None:
        question = self._questions.pop(request_id, None)
        if question is not None:
            self._size_bytes -= question.size_bytes
        return question

    def _count(self, change: int) -> None:
        before = self.is_open
        self._open += change
        if self.is_open != before:
            self._on_change()


def _deny(why: str) -> dict[str, Any]:
    return {"behavior": "deny", "message": f"{why}. Wait for their answers first."}


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
