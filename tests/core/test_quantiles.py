"""Quantiles out of buckets, against the exact ones."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.quantiles import BOUNDS, bound_of, bucket_of, quantiles

times = st.integers(1, 10**12) | st.integers(1, 5000)


def exact(values: list[int], percent: int) -> int:
    return sorted(values)[-(-len(values) * percent // 100) - 1]


@given(st.lists(times, min_size=1, max_size=300))
def test_a_quantile_is_at_most_a_tenth_above_the_true_one_and_never_below(values: list[int]) -> None:
    found = quantiles(Counter(map(bucket_of, values)))
    assert found is not None
    assert found.count == len(values)
    for percent, quantile in ((50, found.p50), (90, found.p90), (99, found.p99), (100, found.longest)):
        true = exact(values, percent)
        assert true <= quantile <= true * 1.1


@given(times)
def test_a_bucket_is_at_most_a_tenth_wide(value: int) -> None:
    bucket = bucket_of(value)
    assert value <= bound_of(bucket) <= value * 1.1
    assert bucket == 0 or value > BOUNDS[bucket - 1]


def test_buckets_reach_from_nothing_to_weeks() -> None:
    assert bucket_of(0) == 0
    assert bound_of(0) == 1
    assert BOUNDS[-1] > 20 * 86_400 * 1e6
    assert bucket_of(1 << 62) == len(BOUNDS) - 1


def test_of_nothing_there_are_no_quantiles() -> None:
    assert quantiles({}) is None
