"""Time zones as stretches of time in which the offset from UTC stays the same.

Between two changes local time is UTC and a constant, so whoever thinks in stretches needs no rule of its own for the
hours that a change leaves out or repeats. Times are whole seconds since 1970, UTC; local ones are counted as if local
time were UTC. Data come from `zoneinfo`.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # local times are naive on purpose
YEAR_MIN = 1970
YEAR_MAX = 9000
"""No tick is looked for past it, so that no sum of times leaves the calendar."""

_DAY = 86_400
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,31}(/[A-Za-z0-9][A-Za-z0-9_+-]{0,31}){0,2}")
_NOT_IANA = frozenset({"localtime", "posixrules"})
"""Links that a system may have beside the zones, and that mean another zone on each machine."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which a zone's offset stays the same; the year's turn begins a new one too."""

    start: int
    end: int
    """The first second that is not part of it."""
    offset: int
    """Seconds to add to UTC."""
    offset_before: int
    """That of the stretch before."""


def is_zone(name: str) -> bool:
    """Whether this is the IANA name of a time zone."""
    if name in _NOT_IANA or not _ZONE_NAME.fullmatch(name):
        return False
    try:
        ZoneInfo(name)
    except (ValueError, KeyError, OSError):  # an unknown name, or that of a folder of zones
        return False
    return True


def local_text(zone: str, micros: int) -> str:
    """A time in a zone with its offset, e.g. `2027-03-28T03:00:00+02:00`."""
    seconds, rest = divmod(micros, 1_000_000)
    time = datetime.fromtimestamp(seconds, _zone(zone)) + timedelta(microseconds=rest)
    return time.isoformat()


def stretches_from(zone: str, second: int) -> Iterator[Stretch]:
    """From the one that a second is in, upwards."""
    for year in range(year_of(second), YEAR_MAX + 1):
        for stretch in _stretches(zone, year):
            if second < stretch.end:
                yield stretch


def stretches_to(zone: str, second: int) -> Iterator[Stretch]:
    """From the one that a second is in, downwards to 1970."""
    for year in range(year_of(second), YEAR_MIN - 1, -1):
        for stretch in reversed(_stretches(zone, year)):
            if stretch.start <= second:
                yield stretch


def year_of(second: int) -> int:
    """The year in UTC that a second is in."""
    return (EPOCH + timedelta(seconds=second)).year


@lru_cache(maxsize=2048)
def _stretches(zone: str, year: int) -> tuple[Stretch, ...]:
    """Those of one year in UTC. Found by looking at each day: no zone changes twice within one."""
    info = _zone(zone)
    first = _first_second(year)
    last = _first_second(year + 1)
    found: list[Stretch] = []
    start, before, offset = first, _offset(info, first - 1), _offset(info, first)
    for day in range(first, last, _DAY):
        changed = _offset(info, day + _DAY - 1)
        if changed == offset:
            continue
        at = _change(info, day, day + _DAY - 1, offset)
        if at > start:
            found.append(Stretch(start, at, offset, before))
            start, before = at, offset
        offset = changed
    found.append(Stretch(start, last, offset, before))
    return tuple(found)


def _change(info: tzinfo, low: int, high: int, offset: int) -> int:
    """The first second in (low, high] at which the offset is another; the day's first second when it is that one."""
    if _offset(info, low) != offset:
        return low
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(info, middle) == offset:
            low = middle
        else:
            high = middle
    return high


def _offset(info: tzinfo, second: int) -> int:
    offset = datetime.fromtimestamp(second, UTC).astimezone(info).utcoffset()
    assert offset is not None, "a zone has an offset at every time"
    return offset // timedelta(seconds=1)


def _first_second(year: int) -> int:
    return (datetime(year, 1, 1) - EPOCH) // timedelta(seconds=1)  # noqa: DTZ001  # naive on both sides


def _zone(name: str) -> tzinfo:
    return ZoneInfo(name) if name != "UTC" else UTC
