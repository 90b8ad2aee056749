"""When a schedule ticks: cron expressions in a time zone, and intervals (K1, K2).

Ticks are instants in UTC. `cronsim` reads expressions and walks plain local time; what happens where clocks change is
decided here. What a server does at a tick is `core/firing.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import islice, takewhile

from cronsim import CronSim, CronSimError

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.zones import (
    EPOCH,
    YEAR_MAX,
    YEAR_MIN,
    Stretch,
    is_zone,
    stretches_from,
    stretches_to,
)

CRON_CHARACTERS_MAX = 256
INTERVAL_MICROS_MIN = SECOND
TEN_YEARS_MICROS = 3653 * 86_400 * SECOND
TICK_MICROS_MAX = (datetime(YEAR_MAX, 1, 1) - EPOCH) // timedelta(microseconds=1)  # noqa: DTZ001  # naive on both sides
"""There are no ticks after it."""

_SECONDS_FIELDS = 6
_FIELDS = ("second", "minute", "hour", "day of month", "month", "day of week")
_ALLOWED = ("0 to 59", "0 to 59", "0 to 23", "1 to 31, L or LW", "1 to 12 or JAN to DEC", "0 to 7 or SUN to SAT")


class BadTiming(ValueError):
    """The timing is none; the text says in one line what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Every so long, counted from a schedule's creation."""

    micros: int
    anchor: Micros
    """The creation; the first tick is one interval after it."""

    def after(self, time: Micros) -> Iterator[Micros]:
        """The ticks after a time, in order."""
        tick = self.anchor + max((time - self.anchor) // self.micros + 1, 1) * self.micros
        while tick <= TICK_MICROS_MAX:
            yield Micros(tick)
            tick += self.micros

    def down(self, until: Micros, after: Micros) -> Iterator[Micros]:
        """The ticks in (after, until], the latest first."""
        tick = self.anchor + (min(until, TICK_MICROS_MAX) - self.anchor) // self.micros * self.micros
        while tick > max(self.anchor, after):
            yield Micros(tick)
            tick -= self.micros


@dataclass(frozen=True, slots=True)
class Cron:
    """An expression of five fields, or of six with seconds first, in a time zone. Made by `parse_cron`."""

    expression: str
    zone: str
    is_fixed: bool
    """Five fields whose minute and hour do not begin with a star: what Vixie cron runs once a day where clocks change.
    All others follow real time."""

    def after(self, time: Micros) -> Iterator[Micros]:
        """The ticks after a time, in order."""
        if time < TICK_MICROS_MAX:
            second = max(time // SECOND, _SECOND_MIN) + 1
            yield from (Micros(tick * SECOND) for tick in _ascending(self, second))

    def down(self, until: Micros, after: Micros) -> Iterator[Micros]:
        """The ticks in (after, until], the latest first."""
        lowest = max(after // SECOND, _SECOND_MIN) + 1
        second = min(until, TICK_MICROS_MAX) // SECOND
        if lowest <= second:
            yield from (Micros(tick * SECOND) for tick in _descending(self, second, lowest))


Timing = Cron | Interval


@lru_cache(maxsize=4096)
def parse_cron(expression: str, zone: str) -> Cron:
    """Reads a cron expression. Raises BadTiming, also when it never fires."""
    if not zone:
        zone = "UTC"
    if not is_zone(zone):
        raise BadTiming(f"{zone[:80]!r} is not the name of an IANA time zone, e.g. Europe/Berlin")
    if len(expression) > CRON_CHARACTERS_MAX:
        raise BadTiming(f"has {len(expression)} characters; at most {CRON_CHARACTERS_MAX} are allowed")
    fields = expression.upper().split()
    if len(fields) not in (5, _SECONDS_FIELDS):
        raise BadTiming(
            f"has {len(fields)} fields; it has to have 5 (minute, hour, day of month, month, day of week),"
            " or 6 with seconds first"
        )
    try:
        next(CronSim(expression, EPOCH))
    except (CronSimError, StopIteration) as error:
        raise BadTiming(_what_is_wrong(fields)) from error
    is_fixed = len(fields) == 5 and not fields[0].startswith("*") and not fields[1].startswith("*")
    return Cron(" ".join(fields), zone, is_fixed)


def parse_interval(micros: int, anchor: Micros) -> Interval:
    """Makes an interval. Raises BadTiming when it is too short."""
    if micros < INTERVAL_MICROS_MIN:
        raise BadTiming("has to be at least 1 s")
    return Interval(micros, anchor)


def next_tick(timing: Timing, after: Micros) -> Micros | None:
    """The first tick after a time; None when there is none any more."""
    return next(timing.after(after), None)


def ticks_between(timing: Timing, after: Micros, until: Micros) -> Iterator[Micros]:
    """The ticks in (after, until], in order. Lazy: whoever takes them says how many."""
    return takewhile(lambda tick: tick <= until, timing.after(after))


def shortest_gap(timing: Timing, after: Micros, ticks: int) -> int | None:
    """Microseconds between the closest two of so many ticks within ten years; None when there are fewer than two."""
    if isinstance(timing, Interval):
        return timing.micros
    shortest: int | None = None
    earlier: Micros | None = None
    for tick in islice(ticks_between(timing, after, Micros(after + TEN_YEARS_MICROS)), ticks):
        if earlier is not None and (shortest is None or tick - earlier < shortest):
            shortest = tick - earlier
        earlier = tick
    return shortest


_SECOND_MIN = (datetime(YEAR_MIN, 1, 3) - EPOCH) // timedelta(seconds=1)  # noqa: DTZ001  # naive on both sides


def _what_is_wrong(fields: list[str]) -> str:
    """Names the first field that can't be read; when all can, no date fits them together."""
    names = range(_SECONDS_FIELDS - len(fields), _SECONDS_FIELDS)
    for name, text in zip(names, fields, strict=True):
        alone = ["*"] * _SECONDS_FIELDS
        alone[name] = text
        try:
            CronSim(" ".join(alone), EPOCH)
        except CronSimError:
            return f"{_FIELDS[name]} {text!r} can't be read; values are {_ALLOWED[name]}, as *, 1,2, 1-5, */5 or 1-30/5"
    return f"{' '.join(fields)!r} never fires: no date fits it"


def _ascending(cron: Cron, second: int) -> Iterator[int]:
    """Seconds of ticks from a second on."""
    walk = _Walk(cron.expression)
    last = -1
    for stretch in stretches_from(cron.zone, second):
        low = _local_floor(cron, stretch, second)
        high = stretch.end + stretch.offset
        while (local := walk.first_from(low)) is not None and local < high:
            tick = max(local - stretch.offset, stretch.start)
            if tick != last:
                yield tick
            last = tick
            low = local + 1
        if local is None:
            return


def _descending(cron: Cron, second: int, lowest: int) -> Iterator[int]:
    """Seconds of ticks from a second down to another, both included."""
    last = -1
    for stretch in stretches_to(cron.zone, second):
        if stretch.end <= lowest:
            return
        low = _local_floor(cron, stretch, lowest)
        high = min(second, stretch.end - 1) + stretch.offset
        for local in _downwards(cron.expression, high, low):
            tick = max(local - stretch.offset, stretch.start)
            if tick != last:
                yield tick
            last = tick


def _local_floor(cron: Cron, stretch: Stretch, second: int) -> int:
    """The local time from which on times belong to this stretch.

    One with a fixed time takes local time as a line that is walked once: after a change it goes on where the stretch
    before has ended. So times that were left out belong to the moment of the change, and repeated ones to the stretch
    before.
    """
    if not cron.is_fixed:
        return max(second, stretch.start) + stretch.offset
    went_on = stretch.start + stretch.offset_before
    return went_on if second <= stretch.start else max(second + stretch.offset, went_on)


class _Walk:
    """Local times of an expression, upwards; asked with a floor that mostly grows."""

    __slots__ = ("_asked", "_expression", "_found", "_times")

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._asked = 0
        self._found: int | None = None
        self._times: Iterator[datetime] = iter(())

    def first_from(self, low: int) -> int | None:
        """The first time that is not before `low`; None when there is none."""
        if self._found is None or not self._asked <= low <= self._found + 1:
            self._times = CronSim(self._expression, EPOCH + timedelta(seconds=low - 1))
            self._found = self._next()
        elif low == self._found + 1:
            self._found = self._next()
        self._asked = low
        return self._found

    def _next(self) -> int | None:
        time = next(self._times, None)
        return None if time is None or time.year > YEAR_MAX else (time - EPOCH) // timedelta(seconds=1)


def _downwards(expression: str, high: int, low: int) -> Iterator[int]:
    """Local times of an expression from `high` down to `low`, both included."""
    for time in CronSim(expression, EPOCH + timedelta(seconds=high + 1), reverse=True):
        local = (time - EPOCH) // timedelta(seconds=1)
        if local < low:
            return
        yield local
