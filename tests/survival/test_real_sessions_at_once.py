"""Six real CLIs at once, of which some are killed, and their worker too: every turn ends as it should, every message is
said once, and nothing is left of any of them."""

from collections.abc import Callable
from pathlib import Path

from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import outcome_pb2
from model_server.server import ScriptedModelServer
from survival.talking import CANCELLED, FAILED, REAL, Kind, Victim, bash, check_nothing_is_left, talk_at_once

StartControlPlane = Callable[..., ControlPlane]
SLEEP = "python3 -c 'import time; time.sleep(300)'"
FINE_STEP = {"text": "fine"}
FINE = Kind((FINE_STEP,))
TOUCH = Kind((bash("touch made"), FINE_STEP))
RIDDEN_OUT = Kind(({"status": 529}, FINE_STEP))
OVERLOADED = Kind(({"status": 529}, {"status": 529}, FINE_STEP))
REFUSED = Kind(({"status": 404},) * 4, FAILED, outcome_pb2.FAILURE_CLASS_INVALID)
# Its attempts may begin anew, since their worker is killed.
INTERRUPTED = Kind((bash(SLEEP),) * 6, CANCELLED, interrupted=True)
NEVER_ENDING = {"text": "some words that never end at all", "hang": True}
# Never as the first turn: one that is killed before it was kept begins in a new conversation, and would hang again.
KILLED = Kind((NEVER_ENDING, FINE_STEP), killed=Victim.CLI)
LOST = Kind((NEVER_ENDING, FINE_STEP), killed=Victim.WORKER)
PLANS = (
    (FINE, KILLED, INTERRUPTED, FINE),
    (TOUCH, RIDDEN_OUT, KILLED, FINE),
    (OVERLOADED, TOUCH, REFUSED, FINE),
    (INTERRUPTED, LOST, TOUCH, FINE),
    (TOUCH, KILLED, RIDDEN_OUT, FINE),
    (REFUSED, INTERRUPTED, TOUCH, FINE),
)


def test_six_real_sessions_survive_kills_of_their_clis_and_of_their_worker(
    start_plane: StartControlPlane, real_cli: Path, model_server: ScriptedModelServer
) -> None:
    plane = start_plane(
        "--claude", str(real_cli), "--workers", "6",
        ANTHROPIC_BASE_URL=model_server.url, ANTHROPIC_API_KEY="made-up", HEADRACE_RENEWAL_SECONDS="0.5",
    )  # fmt: skip
    wait_for(lambda: plane.worker_pid, "the worker has connected")
    talkers = talk_at_once(plane, len(PLANS), lambda seed, random: iter(PLANS[seed]), REAL)
    assert [len(talker.turns) for talker in talkers] == [len(plan) for plan in PLANS]
    check_nothing_is_left(plane, "stream-json", "sleep")
