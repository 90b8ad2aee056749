"""How fast a stream may send."""

from hypothesis import given
from hypothesis import strategies as st

from headrace_server.rpc.pacing import Pace


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


@given(st.integers(1, 10_000), st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 5)), min_size=1, max_size=30))
def test_no_span_of_time_gets_more_than_its_share_and_one_message(rate: int, messages: list[tuple[int, float]]) -> None:
    pace, now, sent = Pace(rate), 0.0, 0
    for size, idle in messages:
        now += pace.delay(now)
        pace.sent(size, now)
        sent += size
        assert sent <= rate * now + size + 1e-6 * rate
        now += idle
