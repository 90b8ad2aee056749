"""Conversations with both kinds of CLI: the simulated one, and the real one with the scripted model server."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.contract import Failed, Outcome
from worker.session_running import SIMULATOR, SessionWorker, kinds, use

SECONDS = ConversationSeconds(receipt=5.0, interrupt=5.0, close=5.0, terminate=5.0)
LOGIN = {"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "made-up"}
"""What a person who has logged in brings instead of a key."""
TOLD = frozenset({"init", "assistant", "user", "turn_result", "control"})
"""Kinds of frames that both have to tell; of others the real CLI has more."""
Step = Mapping[str, Any]
CALLS_COUNT = 2
"""How often the real CLI makes a call that fails, as the driver starts it."""
BACK = {"text": "back again"}
"""What the model says once the service does not fail any more."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """How a kind of CLI is told what its model says."""

    simulated: bool
    program: tuple[str, ...]
    credentials: Mapping[str, str]

    def prompt(self, *steps: Step) -> str:
        """A message after which the model says this."""
        if self.simulated:
            return f"please SIMULATE<<{json.dumps([simulated_step(step) for step in steps])}>>"
        return f"please SCRIPT<<{json.dumps(steps)}>>"

    def failing(self, status: int, **more: Any) -> str:
        """A message at which the service fails as often as one attempt asks it."""
        if self.simulated:
            return self.prompt({"fault": "api_error", "status": status, **more}, BACK)
        return self.prompt(*[{"status": status, **more}] * CALLS_COUNT, BACK)

    def limited(self, claim: str, resets_at: int, text: str = "") -> str:
        """A message at which a usage limit is used up, until so many seconds since 1970; then the model says the text.

        Needs `LOGIN`. Messages of one conversation that differ in nothing go on with one script.
        """
        if self.simulated:
            limit = {"fault": "api_error", "kind": "quota", "claim": claim, "resets_at": resets_at}
        else:
            limit = {"status": 429, "usage_limit": {"claim": claim, "resets_at": resets_at}}
        return self.prompt(limit, {"text": text} if text else BACK)


def simulated_step(step: Step) -> dict[str, Any]:
    """A step of the model server's, as the simulator takes it."""
    taken = {name: value for name, value in step.items() if name != "hang"}
    return {**taken, "hang_after_deltas": 1, "interruptible": True} if "hang" in step else taken


Conform = Callable[..., None]


@pytest.fixture(params=["simulated", "real"])
def spoken(request: pytest.FixtureRequest) -> Spoken:
    """Each kind of CLI."""
    if request.param == "simulated":
        return Spoken(True, SIMULATOR, {"ANTHROPIC_API_KEY": "made-up", "HEADRACE_SIMULATOR_PACE": "0"})
    cli, server = request.getfixturevalue("real_cli"), request.getfixturevalue("model_server")
    return Spoken(False, (str(cli),), {"ANTHROPIC_API_KEY": "made-up", "ANTHROPIC_BASE_URL": server.url})


@pytest.fixture
def conform(
    spoken: Spoken,
    tmp_path: Path,
    attempt_of: Callable[..., Any],
    base_environment: dict[str, str],
    processes: Any,
) -> Conform:
    """Runs a test with a worker that has such a CLI, and looks that no process is left."""
    (tmp_path / "allowed").mkdir()

    def run(main: Any, **credentials: str) -> None:
        def make() -> SessionWorker:
            return SessionWorker(
                tmp_path,
                attempt_of,
                spoken.program,
                {name: value for name, value in {**spoken.credentials, **credentials}.items() if value},
                {**base_environment, "HOME": str(tmp_path / "home")},
                simulated=spoken.simulated,
                seconds=SECONDS,
            )

        use(make, main, 110)
        assert processes.left() == []

    return run


def told(attempt: Any, *more: str) -> list[str]:
    """The kinds of frames that both CLIs have to tell, and those that are asked for, in order."""
    return [kind for kind in kinds(attempt) if kind in TOLD.union(more)]


def sign_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return outcome.failure.sign


async def until(attempt: Any, kind: str) -> None:
    await attempt.wait_output(lambda a: kind in kinds(a))


async def until_speaking(attempt: Any) -> None:
    """Waits for the first words of an answer."""
    async with asyncio.timeout(30):
        await attempt.spoken.wait()
