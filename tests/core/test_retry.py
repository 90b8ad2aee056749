"""What follows a failed, lost or returned attempt, class by class."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.failures import FailureClass, TimeoutKind
from headrace_server.core.limits import LOSSES_COUNT_MAX
from headrace_server.core.retry import (
    OUT_OF_TIME,
    QUOTA_DELAY_SECONDS,
    Decision,
    EndedAttempt,
    ResumePolicy,
    RetryAction,
    RetryPolicy,
    backoff_seconds,
    decide_after_failure,
    decide_after_loss,
    decide_after_return,
    decide_after_snooze,
)

RETRIED = {
    FailureClass.OVERLOADED,
    FailureClass.RATE_LIMITED,
    FailureClass.NETWORK,
    FailureClass.CRASH,
    FailureClass.STALL,
    FailureClass.RESOURCE,
}
SPECIAL = {FailureClass.QUOTA, FailureClass.SCHEMA, FailureClass.ERROR}
STATED = RetryPolicy(max_attempts=5, stated=True)


def ended(failure_class: FailureClass = FailureClass.CRASH, failures: int = 1, **changes: object) -> EndedAttempt:
    fields: dict[str, object] = {"dirty": False, "resumable": False, "resume_policy": ResumePolicy.RESUME_FIRST}
    return EndedAttempt(failure_class, failures, **{**fields, **changes})  # type: ignore[arg-type]  # fields of several types


@pytest.mark.parametrize("failure_class", sorted(set(FailureClass) - RETRIED - SPECIAL))
def test_r2_classes_that_never_retry_fail_whatever_the_policy(failure_class: FailureClass) -> None:
    decision = decide_after_failure(ended(failure_class), STATED, 0.5)
    assert decision == Decision(RetryAction.FAIL, f"class {failure_class.name} is never retried")


@pytest.mark.parametrize("failure_class", sorted(RETRIED))
def test_r2_classes_that_retry_do_so_until_max_attempts(failure_class: FailureClass) -> None:
    policy = RetryPolicy(max_attempts=3)
    actions = [decide_after_failure(ended(failure_class, n), policy, 0.5).action for n in (1, 2, 3, 4)]
    assert actions == [RetryAction.RETRY, RetryAction.RETRY, RetryAction.FAIL, RetryAction.FAIL]
    assert "max_attempts 3" in decide_after_failure(ended(failure_class, 3), policy, 0.5).rule


def test_r1_max_attempts_counts_attempts() -> None:
    assert decide_after_failure(ended(failures=1), RetryPolicy(max_attempts=1), 0.5).action is RetryAction.FAIL


def test_r2_quota_waits_for_the_reset_and_burns_nothing() -> None:
    told = decide_after_failure(ended(FailureClass.QUOTA, 99, retry_after_seconds=7200.0), STATED, 0.5)
    untold = decide_after_failure(ended(FailureClass.QUOTA), STATED, 0.5)
    assert (told.action, told.delay_seconds, told.burns_attempt) == (RetryAction.WAIT_QUOTA, 7200.0, False)
    assert untold.delay_seconds == QUOTA_DELAY_SECONDS


@pytest.mark.parametrize("retry_after", [0.0, -5.0])
def test_r2_a_quota_whose_reset_has_passed_is_not_asked_again_at_once(retry_after: float) -> None:
    decision = decide_after_failure(ended(FailureClass.QUOTA, retry_after_seconds=retry_after), STATED, 0.5)
    assert decision.delay_seconds >= 1


def test_r2_a_wrong_schema_is_tried_once_more() -> None:
    actions = [decide_after_failure(ended(FailureClass.SCHEMA, n), STATED, 0.5).action for n in (1, 2)]
    assert actions == [RetryAction.RETRY, RetryAction.FAIL]
    one = decide_after_failure(ended(FailureClass.SCHEMA), RetryPolicy(max_attempts=1), 0.5)
    assert one.action is RetryAction.FAIL


def test_r2_an_error_of_the_work_is_retried_by_a_stated_policy_only() -> None:
    assert decide_after_failure(ended(FailureClass.ERROR), RetryPolicy(), 0.5).action is RetryAction.FAIL
    assert decide_after_failure(ended(FailureClass.ERROR), STATED, 0.5).action is RetryAction.RETRY


@given(
    st.integers(1, 100),
    st.floats(0, 1, exclude_max=True),
    st.floats(0.001, 100),
    st.floats(0.001, 1000),
    st.floats(1, 10),
)
def test_r1_backoff_is_jittered_and_capped(
    failures: int, chance: float, initial: float, cap: float, multiplier: float
) -> None:
    policy = RetryPolicy(initial_backoff_seconds=initial, max_backoff_seconds=cap, multiplier=multiplier)
    delay = backoff_seconds(policy, failures, chance)
    assert 0 <= delay <= min(cap, initial * multiplier ** (failures - 1)) * (1 + 1e-9)
    assert backoff_seconds(policy, failures, 0.0) == 0
    assert delay <= backoff_seconds(policy, failures + 1, chance) * (1 + 1e-9)


def test_r1_backoff_doubles_until_its_cap() -> None:
    policy = RetryPolicy(initial_backoff_seconds=1, max_backoff_seconds=5, multiplier=2)
    assert [backoff_seconds(policy, failures, 1.0) for failures in (1, 2, 3, 4, 5)] == [1, 2, 4, 5, 5]


def test_r1_a_server_given_retry_after_is_honoured() -> None:
    decision = decide_after_failure(ended(FailureClass.RATE_LIMITED, retry_after_seconds=900.0), STATED, 0.999)
    assert decision.delay_seconds == 900
    short = decide_after_failure(ended(FailureClass.RATE_LIMITED, 3, retry_after_seconds=0.001), STATED, 0.999)
    assert short.delay_seconds == pytest.approx(4 * 0.999)


@pytest.mark.parametrize("retry_after", [1e18, float("inf")])
def test_r1_a_retry_after_beyond_reason_is_cut(retry_after: float) -> None:
    for failure_class in (FailureClass.QUOTA, FailureClass.RATE_LIMITED):
        decision = decide_after_failure(ended(failure_class, retry_after_seconds=retry_after), STATED, 0.5)
        assert decision.delay_seconds <= 366 * 86400


@pytest.mark.parametrize("failure_class", [FailureClass.CRASH, FailureClass.QUOTA])
def test_r6_a_dirty_attempt_is_resumed(failure_class: FailureClass) -> None:
    decision = decide_after_failure(ended(failure_class, dirty=True, resumable=True), STATED, 0.5)
    assert decision.action is RetryAction.RESUME
    assert "resumed" in decision.rule
    assert decision.burns_attempt == (failure_class is not FailureClass.QUOTA)


def test_r6_policy_fresh_replays_what_is_dirty() -> None:
    attempt = ended(dirty=True, resumable=True, resume_policy=ResumePolicy.FRESH)
    assert decide_after_failure(attempt, STATED, 0.5).action is RetryAction.RETRY


def test_r6_policy_never_fails_what_is_dirty_and_retries_what_is_clean() -> None:
    dirty = ended(dirty=True, resumable=True, resume_policy=ResumePolicy.NEVER)
    assert decide_after_failure(dirty, STATED, 0.5).action is RetryAction.FAIL
    assert decide_after_loss(dirty, 1).action is RetryAction.FAIL
    clean = ended(resume_policy=ResumePolicy.NEVER)
    assert decide_after_failure(clean, STATED, 0.5).action is RetryAction.RETRY


def test_r6_a_dirty_attempt_without_a_session_fails() -> None:
    decision = decide_after_loss(ended(dirty=True), 1)
    assert (decision.action, "session" in decision.rule) == (RetryAction.FAIL, True)


def test_l6_losses_are_capped() -> None:
    actions = [decide_after_loss(ended(FailureClass.WORKER_LOST), n).action for n in range(1, LOSSES_COUNT_MAX + 2)]
    assert actions == [RetryAction.RETRY] * LOSSES_COUNT_MAX + [RetryAction.FAIL]


def test_q7_what_a_draining_worker_hands_back_burns_nothing() -> None:
    decision = decide_after_return(ended(FailureClass.UNSPECIFIED))
    assert (decision.action, decision.delay_seconds, decision.burns_attempt) == (RetryAction.RETRY, 0.0, False)
    dirty = decide_after_return(ended(FailureClass.UNSPECIFIED, dirty=True, resumable=True))
    assert (dirty.action, dirty.burns_attempt) == (RetryAction.RESUME, False)


@given(
    st.sampled_from(FailureClass),
    st.integers(1, 200),
    st.booleans(),
    st.booleans(),
    st.sampled_from(ResumePolicy),
    st.one_of(st.none(), st.floats(allow_nan=False)),
    st.floats(0, 1, exclude_max=True),
)
def test_r3_every_decision_says_its_rule_and_a_time_that_can_be_kept(
    failure_class: FailureClass,
    failures: int,
    dirty: bool,
    resumable: bool,
    policy: ResumePolicy,
    retry_after: float | None,
    chance: float,
) -> None:
    attempt = EndedAttempt(failure_class, failures, dirty, resumable, policy, retry_after)
    decision = decide_after_failure(attempt, STATED, chance)
    assert decision.rule
    assert 0 <= decision.delay_seconds < 1e9
    assert not (decision.action is RetryAction.RESUME and not (dirty and resumable))


@pytest.mark.parametrize("kind", [TimeoutKind.RUN, TimeoutKind.SILENCE])
def test_c3_an_attempt_that_ran_or_was_silent_too_long_is_retried_as_a_crash_is(kind: TimeoutKind) -> None:
    policy = RetryPolicy(max_attempts=2)
    crashed = decide_after_failure(ended(), policy, 0.5)
    stopped = decide_after_failure(ended(FailureClass.TIMEOUT, timeout=kind), policy, 0.5)
    assert (stopped.action, stopped.delay_seconds) == (crashed.action, crashed.delay_seconds)
    assert kind.name in stopped.rule
    assert decide_after_failure(ended(FailureClass.TIMEOUT, 2, timeout=kind), policy, 0.5).action is RetryAction.FAIL


def test_r6_an_attempt_that_changed_the_world_and_was_stopped_is_resumed() -> None:
    stopped = ended(FailureClass.TIMEOUT, timeout=TimeoutKind.RUN, dirty=True, resumable=True)
    assert decide_after_failure(stopped, STATED, 0.5).action is RetryAction.RESUME


def test_c3_after_the_total_time_nothing_is_retried_whatever_the_policy() -> None:
    decision = decide_after_failure(ended(FailureClass.TIMEOUT, timeout=TimeoutKind.TOTAL), STATED, 0.5)
    assert decision == OUT_OF_TIME


def test_r5_snoozes_are_allowed_up_to_their_cap() -> None:
    policy = RetryPolicy(max_snoozes=2)
    assert [decide_after_snooze(count, policy) for count in (1, 2)] == [None, None]
    assert decide_after_snooze(3, policy) == Decision(RetryAction.FAIL, "max_snoozes 2 reached")
    refused = decide_after_snooze(1, RetryPolicy(max_snoozes=0))
    assert refused is not None
