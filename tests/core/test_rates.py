"""Token buckets as one number, against a bucket that counts its tokens (Q4)."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.rates import RateLimit

limits = st.builds(RateLimit, st.integers(1, 50), st.integers(1, 20_000).map(lambda n: n * 1000), st.integers(1, 20))
steps = st.lists(st.tuples(st.integers(0, 5 * SECOND), st.booleans()), max_size=60)


class Counted:
    """A bucket of tokens that are counted, parts of them included."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.tokens = Fraction(limit.burst)
        self.time = 0

    def at(self, now: int) -> Fraction:
        back = Fraction((now - self.time) * self.limit.count, self.limit.period)
        self.tokens = min(Fraction(self.limit.burst), self.tokens + back)
        self.time = now
        return self.tokens

    def add(self, tokens: int) -> None:
        self.tokens = min(Fraction(self.limit.burst), self.tokens + tokens)


@given(limits, steps)
def test_q4_a_bucket_never_gives_more_than_one_that_counts(limit: RateLimit, history: list[tuple[int, bool]]) -> None:
    counted, full_at, now, taken = Counted(limit), Micros(0), 1_700_000_000 * SECOND, 0
    counted.time = now
    for elapsed, gives_back in history:
        now += elapsed
        if gives_back and taken:
            counted.at(now)
            if full_at > now:
                full_at = limit.refunded(full_at)
            counted.add(1)
            taken -= 1
            continue
        exact = counted.at(now)
        there = limit.available(full_at, Micros(now))
        assert 0 <= there <= exact
        if there:
            full_at = limit.taken(full_at, Micros(now))
            counted.add(-1)
            taken += 1


@given(limits, st.integers(0, 25), st.integers(0, 30 * SECOND))
def test_q4_a_token_comes_when_it_is_said_to_and_not_before(limit: RateLimit, starts: int, elapsed: int) -> None:
    now = Micros(1_700_000_000 * SECOND)
    full_at = limit.taken(Micros(0), now, min(starts, limit.burst))
    then = Micros(now + elapsed)
    next_token = limit.next_token(full_at)
    assert (limit.available(full_at, then) > 0) == (next_token <= then)
    assert limit.available(full_at, max(then, next_token)) >= 1
    assert limit.available(full_at, Micros(next_token - 1)) == 0


@given(limits, st.integers(1, 40))
def test_q4_over_a_long_time_nearly_all_that_may_start_starts(limit: RateLimit, periods: int) -> None:
    full_at, now, end, starts = Micros(0), Micros(SECOND), SECOND + periods * limit.period, 0
    while now <= end and starts < 5000:
        while limit.available(full_at, now):
            full_at = limit.taken(full_at, now)
            starts += 1
        now = limit.next_token(full_at)
    allowed = limit.burst + periods * limit.count
    assert starts <= allowed
    interval = Fraction(limit.period, limit.count)
    assert starts >= min(5000, int((periods * limit.period) / (interval + 1)))


def test_q4_a_full_bucket_gets_no_fuller() -> None:
    limit = RateLimit(1, SECOND, 3)
    assert limit.available(Micros(5), Micros(10)) == 3
    assert limit.available(limit.refunded(Micros(11), 5), Micros(10)) == 3


def test_q4_a_clock_that_was_set_back_holds_nobody_for_long() -> None:
    limit = RateLimit(2, SECOND, 3)
    full_at = limit.bounded(Micros(3600 * SECOND), Micros(0))
    assert limit.next_token(full_at) == SECOND // 2
