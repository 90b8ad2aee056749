"""Which attempts have to end, and for which of several reasons."""

import pytest

from headrace_server.core.failures import TimeoutKind
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.states import LEASED, JobState
from headrace_server.core.wanted import StopCause, WantedEnd, wanted_end


def job(state: JobState, timed_out: int = 0) -> Job:
    return Job(
        1, JobId(bytes(16)), "default", "default", "me", 1, 0, 0, Micros(1), 100, state=state, timed_out=timed_out
    )


def test_c2_a_cancel_comes_before_a_timeout_and_both_before_a_drain() -> None:
    late = int(TimeoutKind.RUN)
    assert wanted_end(job(JobState.CANCELLING, late), drained=True) == (WantedEnd.CANCEL, StopCause.CANCEL)
    assert wanted_end(job(JobState.RUNNING, late), drained=True) == (WantedEnd.CANCEL, StopCause.TIMEOUT)
    assert wanted_end(job(JobState.RUNNING), drained=True) == (WantedEnd.RETURN, StopCause.DRAIN)
    assert wanted_end(job(JobState.RUNNING), drained=False) is None


@pytest.mark.parametrize("state", sorted(set(JobState) - LEASED))
def test_nothing_is_wanted_of_what_nobody_holds(state: JobState) -> None:
    assert wanted_end(job(state, 2), drained=True) is None
