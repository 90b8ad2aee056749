"""The state machine, held to its own laws: every fact in every state, and the fold of each."""

import copy
from dataclasses import fields
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core import facts
from headrace_server.core.facts import Fact, QueuedCause, ReleaseCause
from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import NO_USAGE, Cancellation, Failure, Job, OpenInput, Progress, Usage
from headrace_server.core.lifecycle import ALLOWED, IllegalTransition, apply, is_ended
from headrace_server.core.retry import Decision, RetryAction
from headrace_server.core.states import ENDED, LEASED, WAITING, JobState

NOW = Micros(1_000_000)
LATER = Micros(2_000_000)
CANCELLATION = Cancellation("enough", "tester", NOW)
BROKEN = Failure(FailureClass.CRASH, b"")
USED = Usage(turns=1, cost_usd_micros=5)


def decision(action: RetryAction) -> Decision:
    return Decision(action, "a rule")


FACTS: list[Fact] = [
    facts.Submitted(JobState.QUEUED, "tester"),
    facts.Scheduled(LATER),
    facts.Updated(JobState.QUEUED, Micros(0), Micros(0), Micros(0), 0, None, b""),
    facts.Queued(QueuedCause.DUE),
    facts.Assigned("w", "i", "a rule"),
    facts.Started("w"),
    facts.TimedOut(TimeoutKind.RUN, "too long"),
    facts.BudgetReached(b""),
    facts.Snoozed("later", LATER, USED),
    facts.Released(ReleaseCause.DECLINED, "no"),
    *(facts.AttemptFailed(BROKEN, USED, decision(action), LATER) for action in RetryAction),
    *(facts.AttemptLost("w", "gone", decision(action)) for action in RetryAction),
    *(facts.HandedBack("w", USED, decision(action)) for action in RetryAction),
    facts.InputRequested("q", b"", 1),
    facts.InputResolved("q", b"", 2),
    facts.CancelRequested(CANCELLATION),
    facts.CancelStepped(b"", 1),
    facts.Produced(1, 3, b"", dirty=True),
    facts.Truncated(10),
    facts.Succeeded(b"", USED),
    facts.Failed(BROKEN),
    facts.Cancelled(CANCELLATION, USED),
    facts.Expired(BROKEN),
    facts.Skipped(BROKEN, JobId(bytes(16))),
]


def blank() -> Job:
    return Job(1, JobId(bytes(16)), "default", "default", "me", 1, 0, 0, NOW, 100)


def job_in(state: JobState) -> Job:
    """A job as it may well be in a state."""
    job = blank()
    job.state = state
    job.sequence = 4
    job.output_bytes = 7
    if state in LEASED:
        job.worker, job.incarnation, job.epoch, job.attempt = "w", "i", 2, 2
        job.begun = NOW if state is not JobState.ASSIGNED else Micros(0)
    if state is JobState.WAITING_INPUT:
        job.open_inputs = (OpenInput("q"),)
    if state is JobState.CANCELLING:
        job.cancellation = CANCELLATION
    return job


def is_allowed(fact: Fact, state: JobState) -> bool:
    return type(fact) is not facts.Submitted and state in ALLOWED[type(fact)]


def test_the_table_has_every_fact_but_the_first() -> None:
    assert {type(fact) for fact in FACTS} == set(get_args(Fact))
    assert set(ALLOWED) == set(get_args(Fact)) - {facts.Submitted}


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_a_fact_is_folded_where_the_table_allows_it_and_changes_nothing_elsewhere(fact: Fact, state: JobState) -> None:
    job = job_in(state)
    before = copy.deepcopy(job)
    if is_allowed(fact, state):
        apply(job, fact, LATER)
        assert (job.sequence, job.updated) == (before.sequence + 1, LATER)
    else:
        with pytest.raises(IllegalTransition):
            apply(job, fact, LATER)
        assert job == before


@pytest.mark.parametrize("fact", FACTS[1:], ids=lambda fact: type(fact).__name__)
def test_nothing_comes_before_the_submit(fact: Fact) -> None:
    job = blank()
    with pytest.raises(IllegalTransition):
        apply(job, fact, NOW)
    assert job == blank()


def test_i13_a_terminal_state_allows_nothing() -> None:
    assert {fact: states & ENDED for fact, states in ALLOWED.items() if states & ENDED} == {}


def test_the_groups_of_states_are_all_states_once() -> None:
    assert sorted([*WAITING, *LEASED, *ENDED]) == sorted(JobState)
    assert all(is_ended(job_in(state)) == (state in ENDED) for state in JobState)


def ways_out(state: JobState) -> set[JobState]:
    reached = set()
    for fact in FACTS:
        if is_allowed(fact, state):
            job = job_in(state)
            apply(job, fact, LATER)
            reached.add(job.state)
    return reached


@pytest.mark.parametrize("state", sorted(WAITING | LEASED))
def test_i4_every_state_has_a_way_to_an_end(state: JobState) -> None:
    reached, new = {state}, {state}
    while new:
        new = {after for one in new for after in ways_out(one)} - reached
        reached |= new
    assert reached & ENDED


@given(st.lists(st.sampled_from(FACTS[1:]), max_size=40))
def test_any_history_keeps_the_row_in_order(history: list[Fact]) -> None:
    job = blank()
    apply(job, facts.Submitted(JobState.QUEUED, "tester"), NOW)
    epoch = ended = 0
    for fact in history:
        if not is_allowed(fact, job.state):
            continue
        apply(job, fact, LATER)
        assert job.epoch >= epoch
        assert (job.worker != "") <= (job.state in LEASED)
        assert job.open_inputs == () or job.state in LEASED
        epoch = job.epoch
        ended += is_ended(job)
    assert ended <= 1


def test_the_fold_depends_on_row_and_fact_alone() -> None:
    for state in JobState:
        for fact in FACTS:
            if is_allowed(fact, state):
                one, two = job_in(state), job_in(state)
                apply(one, fact, LATER)
                apply(two, fact, LATER)
                assert one == two


def run(*history: Fact) -> Job:
    job = blank()
    for fact in (facts.Submitted(JobState.QUEUED, "tester"), *history):
        apply(job, fact, NOW)
    return job


GRANT = (facts.Assigned("w", "i", "a rule"), facts.Started("w"))


def test_l1_epochs_grow_with_every_grant_and_attempts_only_with_those_that_started() -> None:
    job = run(GRANT[0], facts.Released(ReleaseCause.DECLINED, ""), *GRANT)
    assert (job.epoch, job.attempt, job.worker) == (2, 1, "w")


def test_a_new_attempt_begins_with_no_output_of_its_own() -> None:
    produced = facts.Produced(5, 3, b"", dirty=True, claude_session="s", progress=Progress(1, 2, "half"), usage=USED)
    job = run(*GRANT, produced, facts.AttemptLost("w", "gone", decision(RetryAction.RETRY)), *GRANT)
    assert (job.producer_sequence, job.report_number, job.dirty) == (0, 0, False)
    assert (job.usage, job.attempt_usage, job.output_bytes, job.losses) == (USED, NO_USAGE, 3, 1)


def test_r6_a_resumed_attempt_is_as_dirty_as_the_one_that_it_resumes() -> None:
    lost = facts.AttemptLost("w", "gone", decision(RetryAction.RESUME), hold_until=LATER)
    job = run(*GRANT, facts.Produced(1, 1, b"", dirty=True, claude_session="s"), lost, *GRANT)
    assert (job.dirty, job.holder, job.due) == (True, "", 0)


def test_r6_a_released_resume_waits_on_until_the_same_time() -> None:
    lost = facts.AttemptLost("w", "gone", decision(RetryAction.RESUME), hold_until=LATER)
    job = run(
        *GRANT,
        facts.Produced(1, 1, b"", dirty=True, claude_session="s"),
        lost,
        GRANT[0],
        facts.Released(ReleaseCause.DRAINING, ""),
    )
    assert (job.state, job.holder, job.due, job.dirty) == (JobState.QUEUED, "w", LATER, True)


def test_r2_what_burns_no_attempt_is_no_failure() -> None:
    waits = Decision(RetryAction.WAIT_QUOTA, "a rule", burns_attempt=False)
    job = run(*GRANT, facts.AttemptFailed(BROKEN, USED, waits, LATER))
    assert (job.state, job.failures, job.due, job.failure) == (JobState.SCHEDULED, 0, LATER, BROKEN)


def test_a_request_for_input_holds_the_job_until_every_one_is_resolved() -> None:
    both = (*GRANT, facts.InputRequested("a", b"", 1), facts.InputRequested("b", b"", 2))
    one = facts.InputResolved("a", b"", 3)
    jobs = [run(*both), run(*both, one), run(*both, one, facts.InputResolved("b", b"", 4))]
    assert [job.state for job in jobs] == [JobState.WAITING_INPUT, JobState.WAITING_INPUT, JobState.RUNNING]
    assert [job.report_number for job in jobs] == [2, 3, 4]


def test_l2_a_cancelled_attempt_is_settled_by_its_worker_and_by_no_loss() -> None:
    cancelled = facts.Cancelled(CANCELLATION, NO_USAGE)
    by_worker = run(*GRANT, facts.CancelRequested(CANCELLATION), cancelled)
    by_loss = run(
        *GRANT,
        facts.CancelRequested(CANCELLATION),
        facts.AttemptLost("w", "gone", decision(RetryAction.RETRY)),
        cancelled,
    )
    assert (by_worker.settled_epoch, by_loss.settled_epoch) == (1, 0)


def test_an_end_leaves_no_lease_no_holder_and_no_time_to_wait_for() -> None:
    for end in (facts.Succeeded(b"", USED), facts.Failed(BROKEN)):
        job = run(*GRANT, end)
        assert (job.worker, job.incarnation, job.holder, job.due, job.ended) == ("", "", "", 0, NOW)


def test_only_fields_of_the_row_are_folded() -> None:
    assert "__dict__" not in dir(blank())
    assert len({field.name for field in fields(Job)}) == len(Job.__slots__)
