"""Capacity domains: closed until a reset, for a while, or until somebody opens them; one probe, then all; fewer at once
where there were too many (X5)."""

from random import Random

import pytest

from headrace_server.core.capacity import (
    OPEN,
    PAUSE_SECONDS,
    PAUSE_SECONDS_MAX,
    UNBOUNDED,
    Cause,
    Domain,
    DomainState,
    Refusal,
    answered,
    closed_by,
    domain_name,
    family_of,
    family_of_domain,
    opened_by,
    refused,
    room,
    standing,
)
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.retry import QUOTA_DELAY_SECONDS

NOW = Micros(1_700_000_000 * SECOND)


def after(seconds: float) -> Micros:
    return Micros(NOW + int(seconds * SECOND))


def quota(seconds: float | None = 3600.0) -> Refusal:
    return Refusal(Cause.QUOTA, "the usage limit is reached", seconds)


def overloaded(seconds: float | None = None) -> Refusal:
    return Refusal(Cause.OVERLOADED, "overloaded", seconds)


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("", "default"),
        ("opus", "opus"),
        ("claude-opus-5-5", "opus"),
        ("us.anthropic.claude-sonnet-4:0", "sonnet"),
        ("Haiku", "haiku"),
        ("something-else", "something-else"),
    ],
)
def test_x5_a_domain_is_a_profile_and_the_family_of_a_model(model: str, family: str) -> None:
    assert family_of(model) == family
    assert domain_name("", model) == f"default/{family}"
    assert family_of_domain(domain_name("team", model)) == family


def test_x5_a_usage_limit_closes_until_its_reset_then_one_tries_then_all() -> None:
    closed = refused(OPEN, quota(), NOW, 1, NOW)
    assert (closed.state, closed.until, closed.cause) == (DomainState.CLOSED, after(3600), Cause.QUOTA)
    assert room(standing(closed, after(3599)), 0, 0) == 0
    half = standing(closed, after(3600))
    assert (half.state, half.since) == (DomainState.HALF_OPEN, after(3600))
    assert [room(half, 0, probes) for probes in (0, 1, 2)] == [1, 0, 0]
    opened = answered(closed, after(3600), after(3605), finished=False)
    assert opened.is_plain
    assert room(opened, 1000, 0) == UNBOUNDED


def test_x5_a_usage_limit_without_a_reset_is_waited_for_as_the_job_itself_waits() -> None:
    assert refused(OPEN, quota(None), NOW, 1, NOW).until == after(QUOTA_DELAY_SECONDS)
    assert refused(OPEN, quota(0.0), NOW, 1, NOW).until == after(1.0), "one that has passed: not at full speed"


def test_x5_of_several_resets_the_latest_counts() -> None:
    closed = refused(OPEN, quota(60.0), NOW, 8, NOW)
    assert refused(closed, quota(30.0), after(1), 7, after(1)) is closed
    assert refused(closed, quota(100.0), after(1), 7, after(1)).until == after(101)


def test_x5_what_ran_before_it_closed_says_nothing_of_one_that_is_half_open() -> None:
    closed = refused(OPEN, quota(), NOW, 2, NOW)
    assert answered(closed, after(-10), after(10), finished=True) is closed
    assert answered(closed, after(-10), after(4000), finished=True) is closed


def test_x5_a_probe_that_is_refused_closes_it_again_for_twice_as_long() -> None:
    domain, now, lengths = OPEN, NOW, []
    for _ in range(9):
        domain = refused(domain, overloaded(), now, 1, now)
        lengths.append((domain.until - now) / SECOND)
        now = domain.until
    assert lengths[:4] == [PAUSE_SECONDS, 2 * PAUSE_SECONDS, 4 * PAUSE_SECONDS, 8 * PAUSE_SECONDS]
    assert lengths[-1] == PAUSE_SECONDS_MAX


def test_x5_attempts_that_are_refused_together_count_for_one() -> None:
    first = refused(OPEN, overloaded(), NOW, 16, NOW)
    second = refused(first, overloaded(), after(0.1), 15, after(0.1))
    assert (second.until, second.refusals, second.most) == (first.until, 1, 8)
    assert refused(first, overloaded(60.0), NOW, 15, NOW).until == after(60), (
        "a retry-after that asks for more is honoured"
    )


def test_x5_what_runs_at_once_is_halved_and_grows_with_every_success_until_it_was_before() -> None:
    closed = refused(OPEN, overloaded(), NOW, 16, NOW)
    assert closed.most == 8
    domain = answered(closed, closed.until, closed.until, finished=False)
    assert (domain.state, room(domain, 8, 0), room(domain, 5, 0)) == (DomainState.OPEN, 0, 3)
    grown = []
    for _ in range(8 + 9 + 10):
        domain = answered(domain, closed.until, closed.until, finished=True)
        grown.append(domain.most)
    assert sorted(set(grown)) == [8, 9, 10, 11]
    while not domain.is_plain:
        domain = answered(domain, closed.until, closed.until, finished=True)
    assert domain.successes == 0


def test_x5_refused_again_and_again_one_job_at_a_time_is_left() -> None:
    domain = OPEN
    for running in (16, 8, 4, 2, 1, 1):
        domain = refused(domain, overloaded(), NOW, running, NOW)
        domain = answered(domain, domain.until, domain.until, finished=False)
        assert domain.most >= 1
    assert (domain.most, domain.ceiling) == (1, 16)


@pytest.mark.parametrize("cause", [Cause.BILLING, Cause.AUTH])
def test_x5_only_an_operator_opens_what_needs_one(cause: Cause) -> None:
    closed = refused(OPEN, Refusal(cause, "no"), NOW, 1, NOW)
    assert (closed.state, closed.until) == (DomainState.CLOSED, 0)
    assert standing(closed, after(1e9)).state is DomainState.CLOSED
    assert refused(closed, quota(), NOW, 1, NOW) is closed
    assert answered(closed, after(10), after(20), finished=True) is closed
    opened = opened_by(closed, "ann", "paid", after(60))
    assert (opened.state, opened.actor, room(opened, 5, 0)) == (DomainState.HALF_OPEN, "ann", 1)
    assert answered(opened, after(60), after(61), finished=False).is_plain
    assert refused(opened, Refusal(cause, "as before"), NOW, 1, after(61)) is opened, "it ran since before that"
    assert refused(opened, Refusal(cause, "still"), after(61), 1, after(61)).until == 0


def test_x5_an_operator_closes_for_good_or_for_a_while_and_lifts_a_limit() -> None:
    closed = closed_by(OPEN, "ann", "costs", Micros(0), NOW)
    assert (closed.state, closed.actor, closed.cause) == (DomainState.CLOSED, "ann", Cause.OPERATOR)
    assert refused(closed, overloaded(), NOW, 1, NOW) is closed
    assert standing(closed_by(OPEN, "ann", "", after(60), NOW), after(60)).state is DomainState.HALF_OPEN
    limited = Domain(most=3, ceiling=9)
    assert opened_by(limited, "ann", "", NOW).is_plain


@pytest.mark.parametrize("seed", range(40))
def test_x5_whatever_happens_a_closed_one_lets_nobody_start_and_every_one_opens_again(seed: int) -> None:
    chance, domain, now = Random(seed), OPEN, NOW
    for _ in range(200):
        now = Micros(now + chance.randint(0, 30 * SECOND))
        before = standing(domain, now)
        if chance.random() < 0.5:
            cause = chance.choice([Cause.QUOTA, Cause.OVERLOADED, Cause.RATE_LIMITED])
            asked = chance.choice([None, 0.0, 1.0, 70.0])
            domain = refused(domain, Refusal(cause, "no", asked), now, chance.randint(1, 20), now)
            assert domain.state is DomainState.CLOSED
            assert domain.until > now
            assert domain.until >= before.until
            assert room(standing(domain, now), 0, 0) == 0
        else:
            assigned = Micros(now - chance.randint(0, 60 * SECOND))
            domain = answered(domain, assigned, now, finished=chance.random() < 0.5)
            if before.state is DomainState.CLOSED:
                assert standing(domain, now) == before
        assert 0 <= domain.most <= max(domain.ceiling, 1)
    opened = answered(domain, Micros(domain.until + now), Micros(domain.until + now), finished=True)
    assert opened.state is DomainState.OPEN
