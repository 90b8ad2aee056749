"""Distributions of times in buckets that are each at most a tenth wide: small, and they can be added up."""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass

GROWTH = 1.1
"""From one bucket's upper bound to the next."""
BUCKETS_COUNT = 300
"""The last one's upper bound is past twenty days; what is longer counts as that."""

BOUNDS = tuple(int(GROWTH**index) for index in range(BUCKETS_COUNT))
"""Upper bounds in microseconds, included; the first is 1. Whole numbers, which are compared faster."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Times that as many are at most, in microseconds; each at most a tenth above the true value."""

    p50: int
    p90: int
    p99: int
    longest: int
    count: int


def bucket_of(micros: int) -> int:
    """The bucket of a time."""
    bucket = bisect_left(BOUNDS, micros)
    return bucket if bucket < BUCKETS_COUNT else BUCKETS_COUNT - 1


def bound_of(bucket: int) -> int:
    """The longest time in a bucket, in whole microseconds."""
    return BOUNDS[min(bucket, BUCKETS_COUNT - 1)]


def quantiles(counts: Mapping[int, int]) -> Quantiles | None:
    """Of how many times there are in each bucket; None when there are none."""
    total = sum(counts.values())
    if not total:
        return None
    return Quantiles(
        _at(counts, 50, total), _at(counts, 90, total), _at(counts, 99, total), _at(counts, 100, total), total
    )


def _at(counts: Mapping[int, int], percent: int, total: int) -> int:
    """The smallest time that is not passed by this share of all."""
    wanted = -(-total * percent // 100)
    seen = 0
    for bucket in sorted(counts):
        seen += counts[bucket]
        if seen >= wanted:
            return bound_of(bucket)
    raise AssertionError("fewer than were counted")
