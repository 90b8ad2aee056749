"""The times that a job keeps: what is due at which moment, and that nothing is due before somebody looks again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.deadlines import NEVER, Due, due, next_look
from headrace_server.core.failures import TimeoutKind
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job, OpenInput
from headrace_server.core.states import ENDED, LEASED, WAITING, JobState
from headrace_server.core.timeouts import DEFAULTS, NONE_STATED, Timeouts

NOW = 1000


def job(state: JobState, **times: int) -> Job:
    """A job in a state, with some of its times set."""
    made = Job(1, JobId(bytes(16)), "default", "default", "me", 1, 0, 0, Micros(1), 100, state=state, sequence=3)
    for name, value in times.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize("state", sorted(WAITING))
def test_c3_what_never_started_expires_when_its_time_to_start_is_over(state: JobState) -> None:
    waiting = job(state, start_by=NOW, due=NOW + 500)
    assert due(waiting, Micros(NOW - 1)) is None
    assert due(waiting, Micros(NOW)) == (Due.EXPIRE, TimeoutKind.QUEUE)
    assert next_look(waiting) == NOW


@pytest.mark.parametrize("state", sorted(WAITING))
def test_c3_the_time_to_start_means_nothing_once_it_has_started(state: JobState) -> None:
    waiting = job(state, start_by=NOW, started=1)
    assert due(waiting, Micros(NOW)) in (None, (Due.PROMOTE, None))


def test_i4_a_blocked_job_is_not_looked_at_for_its_schedule_time() -> None:
    """Nothing could be done then, and the look would be due again at once, for ever."""
    blocked = job(JobState.BLOCKED, due=NOW)
    assert (next_look(blocked), due(blocked, Micros(NOW))) == (NEVER, None)


@pytest.mark.parametrize(("started", "what"), [(0, Due.EXPIRE), (5, Due.END)])
def test_c3_the_total_time_ends_what_waits(started: int, what: Due) -> None:
    for state in WAITING:
        waiting = job(state, end_by=NOW, started=started, due=NOW)
        assert due(waiting, Micros(NOW)) == (what, TimeoutKind.TOTAL)
        assert next_look(waiting) == NOW


@pytest.mark.parametrize("state", [JobState.ASSIGNED, JobState.RUNNING, JobState.WAITING_INPUT])
def test_c3_the_total_time_stops_an_attempt_also_while_a_person_is_asked(state: JobState) -> None:
    running = job(state, end_by=NOW, updated=1)
    assert next_look(running) == NOW
    assert due(running, Micros(NOW - 1)) is None
    assert due(running, Micros(NOW)) == (Due.STOP, TimeoutKind.TOTAL)


def test_c3_run_and_silence_stop_an_attempt_the_graver_first() -> None:
    running = job(JobState.RUNNING, run_by=NOW, silence=100, updated=NOW - 100, end_by=NOW)
    assert due(running, Micros(NOW)) == (Due.STOP, TimeoutKind.TOTAL)
    running.end_by = NEVER
    assert due(running, Micros(NOW)) == (Due.STOP, TimeoutKind.RUN)
    running.run_by = NEVER
    assert due(running, Micros(NOW)) == (Due.STOP, TimeoutKind.SILENCE)
    assert next_look(running) == NOW


def test_c3_a_sign_of_life_puts_off_the_end_by_silence() -> None:
    running = job(JobState.RUNNING, silence=100, updated=NOW - 1)
    assert due(running, Micros(NOW)) is None
    assert next_look(running) == NOW + 99


@pytest.mark.parametrize("state", [JobState.ASSIGNED, JobState.WAITING_INPUT])
def test_c3_run_and_silence_stand_still_while_nothing_runs(state: JobState) -> None:
    held = job(state, run_by=NOW, silence=100, updated=1)
    assert due(held, Micros(NOW + 1000)) is None
    assert next_look(held) == NEVER


def test_c3_the_first_of_what_is_asked_expires_first_and_what_waits_for_ever_never_does() -> None:
    waiting = job(JobState.WAITING_INPUT, run_by=NOW - 5, silence=1)
    waiting.open_inputs = (OpenInput("a"), OpenInput("b", "", Micros(NOW + 9)), OpenInput("c", "", Micros(NOW)))
    assert next_look(waiting) == NOW
    assert due(waiting, Micros(NOW - 1)) is None
    assert due(waiting, Micros(NOW)) == (Due.EXPIRE_INPUT, None)
    waiting.end_by = Micros(NOW)
    assert due(waiting, Micros(NOW)) == (Due.STOP, TimeoutKind.TOTAL)
    waiting.end_by, waiting.open_inputs = NEVER, (OpenInput("a"),)
    assert next_look(waiting) == NEVER
    assert due(waiting, Micros(NOW + 1_000_000)) is None


def test_c2_nothing_is_due_of_what_is_being_cancelled_or_was_stopped_already() -> None:
    times = {"run_by": NOW, "end_by": NOW, "silence": 1, "updated": 1, "start_by": NOW}
    asking = job(JobState.WAITING_INPUT, timed_out=3, **times)
    asking.open_inputs = (OpenInput("a", "", Micros(NOW)),)
    for held in (job(JobState.CANCELLING, **times), job(JobState.RUNNING, timed_out=2, **times), asking):
        assert due(held, Micros(NOW)) is None
        assert next_look(held) == NEVER


@given(
    state=st.sampled_from(sorted(WAITING | LEASED | ENDED)),
    times=st.fixed_dictionaries(
        {
            name: st.integers(0, 20)
            for name in ("due", "start_by", "end_by", "run_by", "silence", "started", "updated", "timed_out")
        }
    ),
    holder=st.sampled_from(("", "w")),
    expiries=st.lists(st.integers(0, 20), max_size=3),
    now=st.integers(1, 60),
)
def test_c3_whatever_is_due_is_looked_at_in_time(
    state: JobState, times: dict[str, int], holder: str, expiries: list[int], now: int
) -> None:
    kept = job(state, **times)
    kept.holder = holder
    kept.open_inputs = tuple(OpenInput(str(number), "", Micros(time)) for number, time in enumerate(expiries))
    if state is JobState.SCHEDULED:
        kept.due = Micros(kept.due or 1)
    if due(kept, Micros(now)) is not None:
        assert NEVER < next_look(kept) <= now


def test_c3_zero_is_no_timeout_and_what_is_not_stated_is_the_queues() -> None:
    job_says = Timeouts(run=0, silence=5)
    queue_says = Timeouts(run=7, silence=8, total=9)
    assert job_says.over(queue_says).over(DEFAULTS) == Timeouts(
        run=0, silence=5, total=9, input=DEFAULTS.input, cancel_grace=DEFAULTS.cancel_grace
    )
    assert NONE_STATED.over(DEFAULTS) == DEFAULTS
