"""The server's clock as a worker knows it."""

from headrace_worker.server_clock import ServerClock

SECOND = 1_000_000


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_the_server_s_time_goes_on_by_a_clock_that_nobody_sets() -> None:
    own, steady = Clock(50.0), Clock(7.0)
    clock = ServerClock(own, steady)
    clock.hear(1_000 * SECOND)
    own.now = 9_999.0
    steady.now += 2.5
    assert clock.now() == 1_002_500_000
    clock.hear(1_003 * SECOND)
    assert clock.now() == 1_003 * SECOND


def test_until_the_server_was_heard_the_host_s_own_clock_has_to_do() -> None:
    own = Clock(50.0)
    clock = ServerClock(own, Clock(7.0))
    own.now = 51.0
    assert clock.now() == 51 * SECOND
