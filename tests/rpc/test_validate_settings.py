"""Settings of a namespace are checked as a whole: every fault has its field and its limit."""

from typing import Any

import pytest

from headrace.v1 import admin_service_pb2 as pb
from headrace_server.rpc.checks.validation import CHECKS


def faults(**settings: Any) -> dict[str, str]:
    """What is wrong with settings, by field."""
    request = pb.UpdateSettingsRequest(settings=settings)
    refusal = CHECKS[request.DESCRIPTOR.full_name](request)
    return {} if refusal is None else {one.field: one.description for one in refusal.violations}


@pytest.mark.parametrize(
    "sessions",
    [
        {},
        {"open_max": 100_000, "open_per_owner_max": 100_000, "pending_turns_max": 1_000},
        {"open_per_owner_max": 10_000},
        {"open_max": 1, "pending_turns_max": 1},
    ],
)
def test_limits_on_sessions_within_their_bounds_are_taken(sessions: Any) -> None:
    assert faults(sessions=sessions) == {}


def test_every_limit_on_sessions_that_is_out_of_bounds_is_named() -> None:
    assert faults(sessions={"open_max": 100_001, "open_per_owner_max": -1, "pending_turns_max": 1_001}) == {
        "settings.sessions.open_max": "is 100001; it has to be from 0 to 100000",
        "settings.sessions.open_per_owner_max": "is -1; it has to be from 0 to 100000",
        "settings.sessions.pending_turns_max": "is 1001; it has to be from 0 to 1000",
    }


def test_an_owner_may_not_have_more_sessions_than_all_owners_together() -> None:
    assert faults(sessions={"open_max": 5, "open_per_owner_max": 6}) == {
        "settings.sessions.open_per_owner_max": "is 6, more than open_max, 5"
    }
    assert faults(sessions={"open_per_owner_max": 10_001}) == {
        "settings.sessions.open_per_owner_max": "is 10001, more than open_max, 10000 when it is left out"
    }
