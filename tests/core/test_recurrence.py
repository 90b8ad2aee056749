"""Ticks of cron expressions and intervals, held against a brute-force reading of their rules, minute by minute."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.recurrence import (
    BadTiming,
    Cron,
    Interval,
    next_tick,
    parse_cron,
    parse_interval,
    shortest_gap,
    ticks_between,
)
from headrace_server.core.zones import is_zone, local_text

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
CHANGES = {
    "Europe/Berlin": ("2027-03-28T01:00", "2027-10-31T01:00"),
    "America/New_York": ("2027-03-14T07:00", "2027-11-07T06:00"),
    "Australia/Lord_Howe": ("2027-10-02T15:30", "2027-04-03T15:00"),
}
"""The two changes of 2027 of each zone, the one forward first, in UTC."""


def micros(text: str) -> Micros:
    return Micros(int(datetime.fromisoformat(text + "+00:00").timestamp()) * SECOND)


def local(zone: str, tick: int) -> str:
    return datetime.fromtimestamp(tick // SECOND, ZoneInfo(zone)).strftime("%d %H:%M%z")


def values(text: str, low: int, high: int) -> set[int]:
    """What a field of numbers, stars, ranges, lists and steps allows: a reading of its own, for these tests."""
    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = (f"{low}-{high}" if span == "*" else span).partition("-")
        end = int(last or (high if step else first))
        found |= set(range(int(first), end + 1, int(step or 1)))
    return found


def matches(expression: str, at: datetime) -> bool:
    """Whether a local time is one of an expression of five fields whose day fields are stars or one of them is."""
    minute, hour, day, month, weekday = expression.split()
    return (
        at.minute in values(minute, 0, 59)
        and at.hour in values(hour, 0, 23)
        and at.day in values(day, 1, 31)
        and at.month in values(month, 1, 12)
        and at.isoweekday() % 7 in {value % 7 for value in values(weekday, 0, 7)}
    )


def reference(expression: str, zone: str, after: Micros, until: Micros) -> list[int]:
    """The ticks by the rule's words. In real time a tick is each minute of UTC whose local time matches. A fixed time
    is looked for on the clock on the wall: the first minute that shows it, else the first one after it was left out."""
    info = ZoneInfo(zone)
    minutes = [datetime.fromtimestamp(after // SECOND, UTC) + timedelta(minutes=count) for count in range(1, 10_000)]
    minutes = [minute for minute in minutes if minute.timestamp() * SECOND <= until]
    fixed = not expression.startswith("*") and not expression.split()[1].startswith("*")
    if not fixed:
        found = [minute for minute in minutes if matches(expression, minute.astimezone(info))]
        return [int(minute.timestamp()) * SECOND for minute in found]
    return sorted({int(minute.timestamp()) * SECOND for minute in fixed_ticks(expression, info, minutes)})


def fixed_ticks(expression: str, info: ZoneInfo, minutes: list[datetime]) -> Iterator[datetime]:
    shown = {minute: minute.astimezone(info).replace(tzinfo=None) for minute in minutes}
    earlier = minutes[0] - timedelta(hours=3)
    highest = max((earlier + timedelta(minutes=count)).astimezone(info).replace(tzinfo=None) for count in range(3 * 60))
    for minute in minutes:
        wall = highest + timedelta(minutes=1)
        while wall <= shown[minute]:
            if matches(expression, wall):
                yield minute
            wall += timedelta(minutes=1)
        highest = max(highest, shown[minute])


FIXED = (
    "30 2 * * *",
    "0 2 * * *",
    "0,30 2 * * *",
    "15 1-3 * * *",
    "0 3 * * *",
    "45 1 * * *",
    "0 0-23/2 * * *",
    "0 2,3 * * 0",
)
REAL = (
    "*/5 * * * *",
    "*/20 2 * * *",
    "0 * * * *",
    "30 * * * *",
    "0 */2 * * *",
    "15 */1 28 * *",
    "* 2 * * *",
    "* * * * 0",
)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("change", [0, 1])
@pytest.mark.parametrize("expression", FIXED + REAL)
def test_k2_ticks_around_a_change_are_those_of_the_rule(expression: str, change: int, zone: str) -> None:
    at = micros(CHANGES[zone][change])
    after, until = Micros(at - 30 * 3600 * SECOND), Micros(at + 30 * 3600 * SECOND)
    timing = parse_cron(expression, zone)
    expected = reference(expression, zone, after, until)
    assert list(ticks_between(timing, after, until)) == expected
    assert list(timing.down(until, after)) == expected[::-1]
    assert len(expected) > 0 or expression == "15 */1 28 * *"


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("change", [0, 1])
@pytest.mark.parametrize("expression", ["30 2 * * *", "0,30 1-3 * * *", "*/30 * * * *", "*/10 2 * * *"])
def test_k2_every_start_around_a_change_finds_the_same_ticks(expression: str, change: int, zone: str) -> None:
    at = micros(CHANGES[zone][change])
    timing = parse_cron(expression, zone)
    end = Micros(at + 8 * 3600 * SECOND)
    every = reference(expression, zone, Micros(at - 4 * 3600 * SECOND), end)
    for minute in range(-240, 240, 7):
        start = Micros(at + minute * 60 * SECOND)
        assert list(ticks_between(timing, start, end)) == [tick for tick in every if tick > start]
        assert (
            list(timing.down(start, Micros(at - 4 * 3600 * SECOND))) == [tick for tick in every if tick <= start][::-1]
        )


def test_k2_a_time_that_does_not_exist_runs_once_right_after_the_change() -> None:
    timing = parse_cron("30 2 * * *", "Europe/Berlin")
    ticks = islice(timing.after(micros("2027-03-26T12:00")), 3)
    assert [local("Europe/Berlin", tick) for tick in ticks] == ["27 02:30+0100", "28 03:00+0200", "29 02:30+0200"]


def test_k2_a_time_that_exists_twice_runs_the_first_time_only() -> None:
    timing = parse_cron("30 1 * * *", "America/New_York")
    ticks = islice(timing.after(micros("2027-11-06T00:00")), 3)
    assert [local("America/New_York", tick) for tick in ticks] == ["06 01:30-0400", "07 01:30-0400", "08 01:30-0500"]


def test_k2_six_fields_follow_real_time() -> None:
    timing = parse_cron("0 30 2 * * *", "Europe/Berlin")
    forward = islice(timing.after(micros("2027-03-26T12:00")), 2)
    back = islice(timing.after(micros("2027-10-30T12:00")), 3)
    assert [local("Europe/Berlin", tick) for tick in forward] == ["27 02:30+0100", "29 02:30+0200"]
    assert [local("Europe/Berlin", tick) for tick in back] == ["31 02:30+0200", "31 02:30+0100", "01 02:30+0100"]


def test_k2_a_change_of_half_an_hour_leaves_no_tick_out() -> None:
    timing = parse_cron("*/10 3 * * *", "Australia/Lord_Howe")
    ticks = [local("Australia/Lord_Howe", tick) for tick in islice(timing.after(micros("2027-10-02T14:00")), 3)]
    assert ticks == ["03 03:00+1100", "03 03:10+1100", "03 03:20+1100"]


def test_k2_a_change_at_midnight() -> None:
    """Beirut leaves out the first hour of a Sunday in March; Havana repeats one in November."""
    beirut = parse_cron("0 0 * * *", "Asia/Beirut")
    ticks = [local("Asia/Beirut", tick) for tick in islice(beirut.after(micros("2027-03-27T00:00")), 2)]
    assert ticks == ["28 01:00+0300", "29 00:00+0300"]
    havana = parse_cron("30 0 * * *", "America/Havana")
    ticks = [local("America/Havana", tick) for tick in islice(havana.after(micros("2027-11-06T12:00")), 2)]
    assert ticks == ["07 00:30-0400", "08 00:30-0500"]


def test_k2_intervals_follow_real_time() -> None:
    timing = parse_interval(3600 * SECOND, micros("2027-03-28T00:30"))
    ticks = list(ticks_between(timing, micros("2027-03-27T00:00"), micros("2027-03-28T03:30")))
    assert ticks == [micros(f"2027-03-28T0{hour}:30") for hour in (1, 2, 3)]


FIELD = st.one_of(st.just("*"), st.integers(1, 30).map(lambda step: f"*/{step}"))


@st.composite
def expressions(draw: st.DrawFn) -> str:
    numbers = st.lists(st.integers(0, 3), min_size=1, max_size=3, unique=True)
    minute = draw(
        FIELD | st.lists(st.integers(0, 59), min_size=1, max_size=3).map(lambda some: ",".join(map(str, some)))
    )
    hour = draw(st.just("*") | st.just("*/2") | numbers.map(lambda some: ",".join(map(str, some))))
    weekday = draw(st.sampled_from(["*", "0", "1-5", "6,7"]))
    return f"{minute} {hour} * * {weekday}"


@settings(max_examples=60, deadline=None)
@given(
    expression=expressions(),
    zone=st.sampled_from(ZONES),
    change=st.integers(0, 1),
    before=st.integers(0, 600),
    length=st.integers(1, 1200),
)
def test_k2_any_expression_from_any_minute(expression: str, zone: str, change: int, before: int, length: int) -> None:
    after = Micros(micros(CHANGES[zone][change]) - before * 60 * SECOND)
    until = Micros(after + length * 60 * SECOND)
    timing = parse_cron(expression, zone)
    expected = reference(expression, zone, after, until)
    assert list(ticks_between(timing, after, until)) == expected
    assert list(timing.down(until, after)) == expected[::-1]


@settings(max_examples=40, deadline=None)
@given(
    expression=st.sampled_from(
        ["*/7 * * * * *", "5,50 */13 * * * *", "0 30 2 * * *", "59 59 23 L * *", "0 0 0 29 2 *"]
    ),
    zone=st.sampled_from((*ZONES, "UTC", "Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia")),
    start=st.integers(1_000_000_000, 2_000_000_000),
)
def test_k1_ticks_downwards_are_those_upwards(expression: str, zone: str, start: int) -> None:
    timing = parse_cron(expression, zone)
    after = Micros(start * SECOND)
    up = list(islice(timing.after(after), 40))
    assert sorted(set(up)) == up
    assert list(timing.down(up[-1], after)) == up[::-1]


def test_k1_an_interval_is_counted_from_creation() -> None:
    timing = parse_interval(90 * SECOND, Micros(7))
    assert list(islice(timing.after(Micros(0)), 2)) == [90 * SECOND + 7, 180 * SECOND + 7]
    assert list(islice(timing.after(Micros(90 * SECOND + 7)), 1)) == [180 * SECOND + 7]
    assert list(timing.down(Micros(200 * SECOND), Micros(0))) == [180 * SECOND + 7, 90 * SECOND + 7]
    assert list(timing.down(Micros(180 * SECOND + 7), Micros(90 * SECOND + 7))) == [180 * SECOND + 7]
    assert list(timing.down(Micros(50 * SECOND), Micros(0))) == []


def test_k1_rare_dates_are_found_and_the_calendar_ends() -> None:
    leap = parse_cron("0 0 29 2 *", "Europe/Berlin")
    assert next_tick(leap, micros("2096-03-01T00:00")) == micros("2104-02-28T23:00")
    five_mondays = parse_cron("0 0 * 2 MON#5", "")
    assert next_tick(five_mondays, micros("2026-01-01T00:00")) == micros("2044-02-29T00:00")
    assert next_tick(leap, micros("9999-12-31T23:59")) is None
    assert next_tick(Interval(SECOND, Micros(0)), micros("9999-12-31T23:59")) is None
    assert list(leap.down(micros("9999-12-31T23:59"), micros("9998-01-01T00:00"))) == []


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("@daily", "has 1 fields"),
        ("61 * * * *", "minute '61'"),
        ("61 * * * * *", "second '61'"),
        ("* 24 * * *", "hour '24'"),
        ("* * 0 * *", "day of month '0'"),
        ("* * * 13 *", "month '13'"),
        ("* * * * 8", "day of week '8'"),
        ("*/0 * * * *", "minute '*/0'"),
        ("5-1 * * * *", "minute '5-1'"),
        ("0 0 30 2 *", "'0 0 30 2 *' never fires"),
        ("0 0 31 4,6 *", "never fires"),
        ("1," * 200 + "1 * * * *", "characters; at most 256"),
    ],
)
def test_k1_a_bad_expression_is_refused_with_what_is_wrong(expression: str, wrong: str) -> None:
    with pytest.raises(BadTiming) as caught:
        parse_cron(expression, "UTC")
    assert wrong in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "Europe", "../etc/passwd", "/etc/localtime", "localtime", "Europe/", "ß"]
)
def test_k1_a_zone_that_is_none_is_refused(zone: str) -> None:
    assert not is_zone(zone)
    with pytest.raises(BadTiming, match="IANA time zone"):
        parse_cron("* * * * *", zone)


def test_k1_zones_are_taken_by_their_iana_names() -> None:
    names = ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "America/Port-au-Prince", "EST5EDT"]
    assert [name for name in names if not is_zone(name)] == []


def test_k1_an_interval_shorter_than_a_second_is_refused() -> None:
    with pytest.raises(BadTiming, match="at least 1 s"):
        parse_interval(SECOND - 1, Micros(0))


def test_k4_local_time_has_its_offset() -> None:
    assert local_text("Europe/Berlin", micros("2027-03-28T01:00")) == "2027-03-28T03:00:00+02:00"
    assert local_text("UTC", micros("2027-03-28T01:00") + 5) == "2027-03-28T01:00:00.000005+00:00"


def test_k4_the_shortest_gap_is_found() -> None:
    cron: Cron = parse_cron("0,10 * * * *", "UTC")
    assert shortest_gap(cron, micros("2027-01-01T00:00"), 10) == 600 * SECOND
    assert shortest_gap(Interval(7 * SECOND, Micros(0)), Micros(0), 10) == 7 * SECOND
