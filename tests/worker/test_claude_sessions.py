"""Sessions on one worker: which process a turn gets, what is said in it, and what is left for the next. Simulated."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.contract import Succeeded
from worker.session_running import SESSION, SessionWorker, Use, scripted, text_of, use

QUICK = ConversationSeconds(receipt=1.0, interrupt=2.0, close=1.0, terminate=0.5, drain=0.5, closing=1.0)
SIMULATOR = (sys.executable, "-m", "headrace_worker.simulator")
OTHER = "0190aaaa-0000-7000-8000-000000000002"
THIRD = "0190aaaa-0000-7000-8000-000000000003"
Run = Callable[..., None]


@pytest.fixture
def run(tmp_path: Path, attempt_of: Callable[..., Any], base_environment: dict[str, str], processes: Any) -> Run:
    """Runs a test with a worker whose CLI is simulated, and looks that nothing is left of it."""
    (tmp_path / "allowed").mkdir()
    credentials = {"ANTHROPIC_API_KEY": "made-up", "HEADRACE_SIMULATOR_PACE": "0"}

    def run_test(main: Use, seconds: ConversationSeconds = QUICK, **settings: Any) -> None:
        def make() -> SessionWorker:
            return SessionWorker(
                tmp_path,
                attempt_of,
                SIMULATOR,
                credentials,
                base_environment,
                simulated=True,
                seconds=seconds,
                **settings,
            )

        use(make, main)
        assert processes.left() == []

    return run_test


def test_x1_a_second_turn_goes_on_in_the_process_of_the_first(run: Run) -> None:
    async def main(worker: SessionWorker) -> None:
        first = await worker.turn(scripted({"text": "one"}))
        (held,) = worker.sessions.held()
        second = await worker.turn(scripted({"text": "two"}))
        assert (text_of(first), text_of(second)) == ("one", "two")
        assert isinstance(first, Succeeded)
        assert isinstance(second, Succeeded)
        assert first.result.claude.claude_session_id == second.result.claude.claude_session_id
        assert worker.process_ids() == [held.process.process_id]
        assert (held.session_id, held.binding_epoch, held.process.busy) == (SESSION, 1, False)
        assert held.process.folder == str(worker.folder / "data" / "workspaces" / SESSION)

    run(main)
