"""Order: of jobs by rank, of ids by the time they were made."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.ids import (
    SECOND,
    JobId,
    Micros,
    job_id_text,
    new_job_id,
    parse_job_id,
    random_bits_needed,
)
from headrace_server.core.ranking import rank

HEAD_START = 60 * SECOND
times = st.integers(0, 2**48 * 1000 - 1).map(Micros)
chances = st.integers(0, 2 ** random_bits_needed() - 1)


def test_q1_a_point_of_priority_is_worth_its_head_start() -> None:
    late = Micros(1000 * SECOND)
    assert rank(late, 1, HEAD_START) == rank(Micros(late - HEAD_START), 0, HEAD_START)


@given(times, times, st.integers(-100, 100), st.integers(-100, 100))
def test_q1_whoever_waits_longer_than_the_head_start_goes_first(one: Micros, two: Micros, mine: int, its: int) -> None:
    before = rank(one, mine, HEAD_START) < rank(two, its, HEAD_START)
    assert before == (two - one > (its - mine) * HEAD_START)


def test_q1_equal_priorities_are_ordered_by_arrival() -> None:
    assert rank(Micros(1), 5, HEAD_START) < rank(Micros(2), 5, HEAD_START)


@given(times, chances)
def test_an_id_is_a_uuid_of_version_7(now: Micros, chance: int) -> None:
    job_id = new_job_id(now, chance)
    uuid = UUID(bytes=job_id)
    assert (uuid.version, uuid.variant) == (7, "specified in RFC 4122")
    assert uuid.int >> 80 == now // 1000
    assert job_id_text(job_id) == str(uuid)
    assert parse_job_id(str(uuid)) == job_id


@given(times, times, chances, chances)
def test_ids_sort_by_the_time_they_were_made(one: Micros, two: Micros, chance: int, other: int) -> None:
    if one // 1000 < two // 1000:
        assert new_job_id(one, chance) < new_job_id(two, other)
        assert job_id_text(new_job_id(one, chance)) < job_id_text(new_job_id(two, other))


@given(times, chances, chances)
def test_every_bit_of_chance_counts(now: Micros, one: int, two: int) -> None:
    assert (new_job_id(now, one) == new_job_id(now, two)) == (one == two)


@pytest.mark.parametrize("text", ["", "no", "0190" * 7, "x" * 32])
def test_what_is_no_uuid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_job_id(text)


def test_an_id_is_sixteen_bytes() -> None:
    assert len(new_job_id(Micros(0), 0)) == 16
    assert JobId(bytes(16)) != new_job_id(Micros(0), 0)
