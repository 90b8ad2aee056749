"""How fast a stream may send, and how much at once."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace_server.rpc.streams.pacing import PAGE_BYTES_MIN, QUICK_SECONDS, SLOW_SECONDS, Pace, PageSize


def test_without_a_limit_nothing_waits() -> None:
    pace = Pace(0)
    pace.sent(1 << 30, 5.0)
    assert (pace.delay(5.0), pace.room(1000)) == (0.0, 1000)


def test_what_was_sent_is_waited_off() -> None:
    pace = Pace(100)
    assert (pace.delay(10.0), pace.room(1000)) == (0.0, 100)
    pace.sent(250, 10.0)
    assert (pace.delay(10.0), pace.delay(12.0), pace.delay(13.0)) == (2.5, 0.5, 0.0)
    pace.sent(100, 20.0)
    assert pace.delay(20.0) == 1.0


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no reason to fail
@given(st.integers(1, 10_000), st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 5)), min_size=1, max_size=30))
def test_no_span_of_time_gets_more_than_its_share_and_one_message(rate: int, messages: list[tuple[int, float]]) -> None:
    pace, now, sent = Pace(rate), 0.0, 0
    for size, idle in messages:
        now += pace.delay(now)
        pace.sent(size, now)
        sent += size
        assert sent <= rate * now + size + 1e-6 * rate
        now += idle


def sizes(page: PageSize, *seconds: float) -> list[int]:
    found = []
    for one in seconds:
        page.taken(page.bytes, one)
        found.append(page.bytes // 1024)
    return found


def test_pages_begin_small_and_follow_how_quickly_they_are_taken() -> None:
    page = PageSize(256 * 1024)
    assert page.bytes == PAGE_BYTES_MIN == 16 * 1024
    assert sizes(page, 0.0, QUICK_SECONDS, 0.0) == [64, 256, 256]
    assert sizes(page, 3.0, SLOW_SECONDS, 60.0, 60.0, 3.0) == [256, 64, 16, 16, 16]
    assert sizes(page, 0.1, 0.1) == [64, 256]


def test_a_small_page_says_nothing_of_how_quickly_a_large_one_is_taken() -> None:
    page = PageSize(256 * 1024)
    page.taken(1000, 0.0)
    assert page.bytes == PAGE_BYTES_MIN
    page.taken(1000, SLOW_SECONDS)
    assert page.bytes == PAGE_BYTES_MIN


def test_a_reader_that_wants_little_at_once_gets_no_more() -> None:
    page = PageSize(1000)
    assert page.bytes == 1000
    for seconds in (0.0, SLOW_SECONDS):
        page.taken(1000, seconds)
        assert page.bytes == 1000
