"""What a schedule does with its ticks: missed ones, overlap and jitter, as pure decisions."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from headrace_server.core.firing import (
    MISSED_AFTER_SECONDS,
    CatchUp,
    CatchUpPolicy,
    Overlap,
    Plan,
    Step,
    Tick,
    decide_overlap,
    jitter_of,
    plan_firings,
)
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.recurrence import Interval, Timing, parse_cron

HOUR = 3600 * SECOND
DAY = 24 * HOUR
NONE = CatchUp(CatchUpPolicy.NONE)
LAST = CatchUp(CatchUpPolicy.LAST)
ALL = CatchUp(CatchUpPolicy.ALL, window_micros=DAY, count_max=100)
HOURLY = Interval(HOUR, Micros(0))


def plan(
    timing: Timing,
    catch_up: CatchUp,
    *,
    cursor: int,
    now: int,
    missed_until: int = 0,
    jitter: int = 0,
    count_max: int = 200,
) -> Plan:
    return plan_firings(
        timing,
        Micros(cursor),
        Micros(now),
        Micros(missed_until),
        catch_up,
        lambda tick: tick + jitter_of("default/s", tick, jitter),
        jitter,
        count_max,
    )


def on_time(*ticks: int) -> tuple[Tick, ...]:
    return tuple(Tick(Micros(tick), catch_up=False) for tick in ticks)


def made_up(*ticks: int) -> tuple[Tick, ...]:
    return tuple(Tick(Micros(tick), catch_up=True) for tick in ticks)


def test_k1_nothing_is_due_before_the_next_tick() -> None:
    assert plan(HOURLY, LAST, cursor=0, now=HOUR - 1) == Plan(None, ())
    assert plan(HOURLY, LAST, cursor=0, now=HOUR) == Plan(None, on_time(HOUR))


@pytest.mark.parametrize("catch_up", [NONE, LAST, ALL])
def test_k3_a_tick_that_is_a_little_late_is_on_time(catch_up: CatchUp) -> None:
    late = MISSED_AFTER_SECONDS * SECOND
    assert plan(HOURLY, catch_up, cursor=0, now=HOUR + late - 1) == Plan(None, on_time(HOUR))


def test_k3_missed_ticks_by_policy() -> None:
    now = 72 * HOUR + 30 * SECOND
    assert plan(HOURLY, NONE, cursor=0, now=now) == Plan(Micros(72 * HOUR), ())
    assert plan(HOURLY, LAST, cursor=0, now=now) == Plan(Micros(71 * HOUR), made_up(72 * HOUR))
    day = [hour * HOUR for hour in range(49, 73)]
    assert plan(HOURLY, ALL, cursor=0, now=now) == Plan(Micros(48 * HOUR), made_up(*day))
    capped = CatchUp(CatchUpPolicy.ALL, window_micros=DAY, count_max=3)
    assert plan(HOURLY, capped, cursor=0, now=now) == Plan(Micros(69 * HOUR), made_up(*day[-3:]))


def test_k3_one_missed_tick_drops_none() -> None:
    assert plan(HOURLY, LAST, cursor=0, now=HOUR + 60 * SECOND) == Plan(None, made_up(HOUR))
    assert plan(HOURLY, ALL, cursor=0, now=HOUR + 60 * SECOND) == Plan(None, made_up(HOUR))


def test_k3_a_tick_right_now_follows_what_is_made_up_for() -> None:
    assert plan(HOURLY, LAST, cursor=0, now=3 * HOUR) == Plan(Micros(HOUR), (*made_up(2 * HOUR), *on_time(3 * HOUR)))
    assert plan(HOURLY, NONE, cursor=0, now=3 * HOUR) == Plan(Micros(2 * HOUR), on_time(3 * HOUR))


def test_k3_the_end_of_a_pause_makes_what_was_due_before_missed() -> None:
    now = HOUR + SECOND
    assert plan(HOURLY, NONE, cursor=0, now=now, missed_until=now) == Plan(Micros(HOUR), ())
    assert plan(HOURLY, LAST, cursor=0, now=now, missed_until=now) == Plan(None, made_up(HOUR))


def test_k3_many_at_once_are_split_and_none_is_lost() -> None:
    now = 72 * HOUR + 5 * SECOND
    first = plan(HOURLY, ALL, cursor=0, now=now, count_max=10)
    assert first == Plan(Micros(48 * HOUR), made_up(*(hour * HOUR for hour in range(49, 59))))
    cursor = first.ticks[-1].nominal
    rest: list[Tick] = []
    while ticks := plan(HOURLY, ALL, cursor=cursor, now=now, count_max=10).ticks:
        rest += ticks
        cursor = ticks[-1].nominal
    assert tuple(rest) == (*made_up(*(hour * HOUR for hour in range(59, 72))), *on_time(72 * HOUR))


@dataclass(slots=True)
class Counted:
    """A timing that counts the ticks that were looked at."""

    timing: Timing
    looked_at: list[int] = field(default_factory=list)

    def after(self, time: Micros) -> Iterator[Micros]:
        for tick in self.timing.after(time):
            self.looked_at.append(tick)
            yield tick

    def down(self, until: Micros, after: Micros) -> Iterator[Micros]:
        for tick in self.timing.down(until, after):
            self.looked_at.append(tick)
            yield tick


@pytest.mark.parametrize("catch_up", [NONE, LAST])
def test_k3_a_stop_of_three_days_is_not_enumerated(catch_up: CatchUp) -> None:
    timing = Counted(parse_cron("* * * * * *", "Europe/Berlin"))
    found = plan(timing, catch_up, cursor=1000 * DAY, now=1003 * DAY)  # type: ignore[arg-type]  # same face as a Timing
    assert len(found.ticks) == MISSED_AFTER_SECONDS + (catch_up is LAST)
    assert len(timing.looked_at) < 30


def test_k4_jitter_is_within_its_bound_and_always_the_same() -> None:
    drawn = [jitter_of("default/nightly", Micros(tick * HOUR), 60 * SECOND) for tick in range(200)]
    assert drawn == [jitter_of("default/nightly", Micros(tick * HOUR), 60 * SECOND) for tick in range(200)]
    assert min(drawn) >= 0
    assert max(drawn) <= 60 * SECOND
    assert min(drawn) < 6 * SECOND
    assert max(drawn) > 54 * SECOND
    assert drawn != [jitter_of("default/other", Micros(tick * HOUR), 60 * SECOND) for tick in range(200)]
    assert jitter_of("default/nightly", Micros(HOUR), 0) == 0


def test_k4_jitter_is_pinned() -> None:
    """A version that draws otherwise would move what a fleet has spread."""
    assert jitter_of("default/nightly", Micros(1_800_000_000 * SECOND), 60 * SECOND) == 34_610_870


def test_k4_a_tick_waits_for_its_jitter() -> None:
    jitter = HOUR - SECOND
    delay = jitter_of("default/s", Micros(HOUR), jitter)
    assert delay > SECOND
    assert plan(HOURLY, LAST, cursor=0, now=HOUR + delay - 1, jitter=jitter) == Plan(None, ())
    assert plan(HOURLY, NONE, cursor=0, now=HOUR + delay, jitter=jitter) == Plan(None, on_time(HOUR))


def test_k4_jitter_is_counted_when_a_tick_is_missed() -> None:
    jitter = HOUR - SECOND
    now = 10 * HOUR
    due = [
        hour * HOUR for hour in range(1, 10) if hour * HOUR + jitter_of("default/s", Micros(hour * HOUR), jitter) <= now
    ]
    found = plan(HOURLY, ALL, cursor=0, now=now, jitter=jitter)
    assert [tick.nominal for tick in found.ticks] == due


@pytest.mark.parametrize(
    ("policy", "step"),
    [
        (Overlap.SKIP, Step.SKIP),
        (Overlap.BUFFER_ONE, Step.BUFFER),
        (Overlap.ALLOW, Step.SUBMIT),
        (Overlap.CANCEL_OTHER, Step.CANCEL_THEN_SUBMIT),
    ],
)
def test_k4_overlap(policy: Overlap, step: Step) -> None:
    assert decide_overlap(policy, alive=True) is step
    assert decide_overlap(policy, alive=False) is Step.SUBMIT
