"""How a conversation ends when it does not end by itself: cancels, kills, stalls, and a CLI that is deaf."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.control_plane import Gate
from headrace_worker.executors.claude.conversation import ConversationSeconds
from headrace_worker.executors.contract import Cancelled, Failed, Outcome
from worker.claude_outcomes import failure_of, result_of, until_kind
from worker.session_running import kinds, scripted

Run = Callable[..., tuple[Outcome, Any]]
COMPACTING = {"fault": "frame", "frame": {"type": "system", "subtype": "status", "status": "compacting"}}
BACKGROUND = {
    "fault": "frame",
    "frame": {"type": "system", "subtype": "background_tasks_changed", "tasks": [{"task_id": "b"}]},
}


def test_c1_interrupt_ends_the_turn(run_claude: Run) -> None:
    async def cancel(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.stop()

    outcome, attempt = run_claude(scripted({"fault": "hang", "interruptible": True}), meanwhile=cancel)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["INTERRUPT", "CLOSE_INPUT", "TREE_GONE"]
    assert attempt.steps[-1].survivors == 0
    assert attempt.frames()[-1].turn_result.terminal_reason.startswith("aborted_")


def test_c1_every_rung_for_a_cli_that_is_deaf(run_claude: Run) -> None:
    async def cancel(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.stop(grace_seconds=1.0)

    deaf = [{"fault": "ignore", "what": what} for what in ("sigterm", "sigint", "eof", "interrupt")]
    outcome, attempt = run_claude(scripted(*deaf, {"fault": "hang", "at": "stream"}), meanwhile=cancel)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["INTERRUPT", "CLOSE_INPUT", "TERMINATE", "KILL", "TREE_GONE"]


def test_a_kill_goes_straight_to_the_last_rung(run_claude: Run) -> None:
    async def kill(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.room.clear()
        attempt.stop(kill=True)

    outcome, attempt = run_claude(scripted({"fault": "hang", "at": "stream"}), meanwhile=kill)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["KILL", "TREE_GONE"]


def test_a_kill_during_the_ladder_cuts_it_short(run_claude: Run) -> None:
    async def cancel_then_kill(attempt: Any) -> None:
        await until_kind(attempt, "init")
        attempt.stop(grace_seconds=300)
        await attempt.stepped.wait()
        attempt.stop(kill=True)

    outcome, attempt = run_claude(scripted({"fault": "hang", "at": "stream"}), meanwhile=cancel_then_kill)
    assert isinstance(outcome, Cancelled)
    assert attempt.rungs() == ["INTERRUPT", "KILL", "TREE_GONE"]


def test_c2_a_result_that_came_before_the_stop_stands(run_claude: Run) -> None:
    async def stop(attempt: Any) -> None:
        await until_kind(attempt, "turn_result")
        attempt.stop(grace_seconds=0.3)

    script = "signal.signal(15, signal.SIG_IGN)\nstarted(); init(); result('in time')\nwhile True: time.sleep(600)"
    outcome, _ = run_claude(script=script, meanwhile=stop)
    assert result_of(outcome).text == "in time"


def test_a_cli_that_does_not_exit_is_ended_and_its_result_kept(run_claude: Run) -> None:
    outcome, attempt = run_claude(scripted({"text": "done"}, {"fault": "hang", "at": "result"}))
    assert result_of(outcome).text == "done"
    assert attempt.rungs() == []


@pytest.mark.parametrize(
    ("phase", "steps"),
    [
        ("first_token", [{"fault": "hang"}]),
        ("streaming", [{"text": "x" * 200, "hang_after_deltas": 2}]),
        ("tool", [{"tools": [{"name": "Bash", "input": {"command": "sleep 600"}}]}]),
        ("tool", [{"fault": "hang", "at": "tool", "child": True}]),
        ("after_tool", [{"tools": [{"name": "Glob", "input": {"pattern": "*"}}]}, {"fault": "hang"}]),
        ("compacting", [COMPACTING, {"fault": "hang"}]),
        ("streaming", [{"fault": "ignore", "what": "sigterm"}, {"fault": "hang", "at": "stream"}]),
        ("background", [BACKGROUND, {"text": "It runs on."}]),
    ],
)
def test_stall_in_each_phase_ends_with_evidence(
    run_claude: Run, phase: str, steps: list[dict[str, Any]], processes: Any
) -> None:
    phases = ("start", "first_token", "streaming", "tool", "after_tool", "compacting", "background")
    long = dict.fromkeys(phases, 30.0)
    seconds = ConversationSeconds(
        **{**long, phase: 0.5}, receipt=0.3, interrupt=0.5, close=0.3, terminate=0.3, drain=0.3
    )
    outcome, attempt = run_claude(scripted(*steps), seconds=seconds, allowed_tools=["Bash"])
    assert failure_of(outcome) == ("STALL", f"watchdog={phase}")
    assert isinstance(outcome, Failed)
    assert outcome.failure.message.startswith("nothing was heard for 0.")
    assert f" s in the phase {phase}" in outcome.failure.message
    assert ("; tools that run: Bash; " in outcome.failure.message) == (phase == "tool")
    assert "; the last frame was " in outcome.failure.message
    assert attempt.rungs() == []
    assert processes.left() == []


def test_stall_at_the_start(run_claude: Run) -> None:
    seconds = ConversationSeconds(start=0.5, close=0.3, terminate=0.3, drain=0.3)
    outcome, _ = run_claude(script="time.sleep(600)", seconds=seconds)
    assert failure_of(outcome) == ("STALL", "watchdog=start")


def test_signs_of_life_keep_a_long_tool_going(run_claude: Run) -> None:
    script = """
started(); init()
say(type="assistant", message={"id": "m", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]})
for _ in range(8):
    time.sleep(0.2); say(type="tool_progress", tool_use_id="t", tool_name="Bash", elapsed_time_seconds=1)
result("finished"); hear()
"""
    seconds = ConversationSeconds(tool=0.8, closing=1.0, terminate=0.3, drain=0.3)
    assert result_of(run_claude(script=script, seconds=seconds)[0]).text == "finished"


def test_a_background_task_is_waited_for_and_its_turn_heard(run_claude: Run, tmp_path: Path) -> None:
    in_background = Gate(tmp_path / "in_background")

    async def end_it(attempt: Any) -> None:
        await until_kind(attempt, "turn_result")
        await asyncio.to_thread(in_background.open)

    script = f"""
started(); init()
say(type="system", subtype="background_tasks_changed", tasks=[{{"task_id": "b"}}])
result("started")
open({str(in_background.path)!r}).read()
say(type="system", subtype="background_tasks_changed", tasks=[])
init(); result("saw it end"); hear()
"""
    outcome, attempt = run_claude(script=script, meanwhile=end_it)
    assert result_of(outcome).text == "saw it end"
    assert kinds(attempt).count("turn_result") == 2


def test_a_cli_that_closes_its_streams_and_stays_is_not_waited_for_for_ever(run_claude: Run) -> None:
    seconds = ConversationSeconds(start=0.5, close=0.3, terminate=0.3, drain=0.3)
    outcome, _ = run_claude(script="os.close(0); os.close(1); os.close(2); time.sleep(600)", seconds=seconds)
    assert failure_of(outcome)[0] == "STALL"
