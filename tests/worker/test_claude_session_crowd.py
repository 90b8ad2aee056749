"""Many sessions at once with faults from a seed: each turn ends as it has to, and nothing is left of any. Simulated."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Succeeded
from worker.session_running import RunTest, SessionWorker, kinds, scripted

SESSIONS, TURNS, PROCESSES = 10, 6, 4
SECONDS = ConversationSeconds(first_token=2.0, receipt=0.5, interrupt=1.0, close=0.5, terminate=0.5, drain=0.5)
Step = dict[str, Any]
FAULTS: dict[str, list[Step]] = {
    "none": [],
    "crash": [{"fault": "exit", "signal": "SIGSEGV"}],
    "overloaded": [{"fault": "api_error", "status": 529, "retries": 0}],
    "noise": [{"fault": "raw"}, {"fault": "frame"}, {"fault": "stderr", "bytes": 100_000}],
    "own turn": [{"fault": "unsolicited_turn", "steps": [{"text": "by itself"}]}],
    "interrupt": [{"fault": "hang", "interruptible": True}],
    "kill": [{"fault": "hang"}],
    "grandchild": [{"fault": "grandchild", "seconds": 60, "setsid": True}, {"fault": "exit", "code": 1}],
}
EXPECTED = {"crash": Failed, "overloaded": Failed, "grandchild": Failed, "interrupt": Cancelled, "kill": Cancelled}


async def turn(worker: SessionWorker, session_id: str, fault: str, number: int) -> Outcome:
    attempt = worker.attempt(scripted(*FAULTS[fault], {"text": f"answer {number}"}), session_id, number=number)
    running = asyncio.create_task(worker.run(attempt))
    if fault in ("interrupt", "kill"):
        await attempt.wait_output(lambda a: "init" in kinds(a))
        attempt.stop(kill=fault == "kill")
    return await running


async def converse(worker: SessionWorker, session_id: str, random: Random) -> int:
    """Has a conversation; returns how many messages came into it."""
    for number in range(1, TURNS + 1):
        fault = random.choice(list(FAULTS))
        outcome = await turn(worker, session_id, fault, number)
        assert isinstance(outcome, EXPECTED.get(fault, Succeeded)), (session_id, number, fault, outcome)
    return len(worker.messages(session_id))


async def take_own_turns(worker: SessionWorker) -> int:
    """Delivers what CLIs began by themselves, as it is announced."""
    taken = 0
    while True:
        while taken < len(worker.announced):
            own = worker.announced[taken]
            taken += 1
            outcome = await worker.turn("", own.session_id, background_number=own.number, number=TURNS)
            assert isinstance(outcome, Succeeded | Failed)
        worker.news.clear()
        await worker.news.wait()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)])
def test_l7_a_crowd_of_sessions_with_faults_leaves_nothing(run: RunTest, tmp_path: Path, seed: int) -> None:
    async def main(worker: SessionWorker) -> None:
        taking = asyncio.create_task(take_own_turns(worker))
        ids = [f"0190aaaa-0000-7000-8000-{number:012d}" for number in range(SESSIONS)]
        counts = await asyncio.gather(*[converse(worker, one, Random(f"{seed}/{one}")) for one in ids])
        taking.cancel()
        assert all(count <= TURNS for count in counts)
        await worker.until(lambda: len(worker.process_ids()) <= PROCESSES)

    run(main, seconds=SECONDS, processes_max=PROCESSES)
    spool = tmp_path / "data" / "spool"
    assert not spool.exists() or list(spool.iterdir()) == []
