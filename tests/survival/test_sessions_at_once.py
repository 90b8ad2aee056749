"""Many sessions at once, with faults drawn by a seed: each turn ends as it should, and nothing is left of any of them.

The whole of it, 64 sessions for ten minutes, is marked slow; `HEADRACE_SOAK_SECONDS` makes it shorter or longer.
"""

import os
import time
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

import pytest

from e2e.control_plane import ControlPlane, wait_for
from headrace.v1 import outcome_pb2
from survival.memory import resident
from survival.talking import CANCELLED, FAILED, Kind, bash, check_nothing_is_left, talk_at_once

StartControlPlane = Callable[..., ControlPlane]
GROWTH_BYTES_MAX = 96 * 1024 * 1024
PROGRAMS = ("simulator", "sleep")
FINE = {"text": "fine"}
KINDS = (
    Kind((FINE,)),
    Kind((bash("echo hi"), FINE)),
    Kind((bash("touch made"), FINE)),
    Kind(({"fault": "giant_line", "bytes": 3_000_000}, FINE)),
    Kind(({"fault": "delta_flood", "count": 2000, "bytes": 50}, FINE)),
    # Only in this turn: a giant line in pieces of that size takes minutes.
    Kind(({"fault": "framing", "crlf": True, "piece_bytes": 7}, FINE, {"fault": "framing"})),
    Kind(({"fault": "stderr", "line": "noise ", "bytes": 500_000}, FINE)),
    Kind(({"fault": "grandchild", "seconds": 600, "setsid": True, "clear_environment": True}, FINE)),
    Kind(({"fault": "api_error", "status": 400, "retries": 0},), FAILED, outcome_pb2.FAILURE_CLASS_INVALID),
    # The second attempt goes on where the first one was cut off.
    Kind(({"fault": "exit", "signal": "SIGKILL"}, FINE)),
    Kind(({"fault": "exit", "code": 3}, FINE)),
    Kind((bash("sleep 300"), FINE), CANCELLED, interrupted=True),
    Kind(({"fault": "ignore", "what": "interrupt"}, bash("sleep 300"), FINE), CANCELLED, interrupted=True),
)


def drawn(random: Random) -> Iterator[Kind]:
    while True:
        yield random.choice(KINDS)


def drawn_until(random: Random, end: float) -> Iterator[Kind]:
    """For so long by the monotonic clock."""
    while time.monotonic() < end:
        yield random.choice(KINDS)


def serve(start_plane: StartControlPlane, slots: int) -> ControlPlane:
    plane = start_plane(
        "--claude", "simulated", "--workers", str(slots),
        HEADRACE_RENEWAL_SECONDS="0.5", HEADRACE_WORKER_SESSIONS_MAX=str(slots),
    )  # fmt: skip
    wait_for(lambda: plane.worker_pid, "the worker has connected")
    return plane


def test_sessions_at_once_end_as_they_should_and_leave_nothing(start_plane: StartControlPlane) -> None:
    plane = serve(start_plane, slots=4)
    talkers = talk_at_once(plane, 6, lambda seed, random: islice(drawn(random), 4))
    assert [len(talker.turns) for talker in talkers] == [4] * 6
    check_nothing_is_left(plane, *PROGRAMS)


@pytest.mark.slow
@pytest.mark.timeout(0)
def test_sixty_four_sessions_for_ten_minutes_keep_memory_flat(start_plane: StartControlPlane) -> None:
    seconds = float(os.environ.get("HEADRACE_SOAK_SECONDS", "600"))
    plane = serve(start_plane, slots=64)
    talk_at_once(plane, 64, lambda seed, random: islice(drawn(random), 1))
    before = resident(plane.pid), resident(plane.worker_pid)
    end = time.monotonic() + seconds
    talkers = talk_at_once(plane, 64, lambda seed, random: drawn_until(random, end))
    check_nothing_is_left(plane, *PROGRAMS)
    grown = resident(plane.pid) - before[0], resident(plane.worker_pid) - before[1]
    turns = sum(len(talker.turns) for talker in talkers)
    print(f"{turns} turns; the control plane has grown by {grown[0]} bytes, the worker by {grown[1]}")
    assert max(grown) < GROWTH_BYTES_MAX
