"""What a run yields: figures beside their floors, and how they are made of samples. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

KIB = 1024
MIB = 1024 * KIB

Detail = bool | float | str


class Bound(Enum):
    """Which side of a target is good."""

    AT_LEAST = "≥"
    AT_MOST = "≤"


class Of(Enum):
    """What a target is said of."""

    OURS = "ours"
    RATIO = "ratio"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure should reach."""

    of: Of
    bound: Bound
    value: float

    def met_by(self, ours: float, ratio: float | None) -> bool | None:
        """Whether it is reached; None when there is no ratio to look at."""
        figure = ours if self.of is Of.OURS else ratio
        if figure is None:
            return None
        return figure >= self.value if self.bound is Bound.AT_LEAST else figure <= self.value


@dataclass(frozen=True, slots=True)
class Floor:
    """What the same stack does with nothing behind it, in the unit of the figure that it stands beside."""

    what: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    row: str
    what: str
    ours: float
    unit: str
    floor: Floor | None = None
    target: Target | None = None
    ratio_of_rounds: float | None = None
    """When the two were measured in turns: the median of each turn's ratio, which a busy machine disturbs less."""
    details: Mapping[str, Detail] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours over the floor."""
        if self.ratio_of_rounds is not None:
            return self.ratio_of_rounds
        if self.floor is None or self.floor.value <= 0:
            return None
        return self.ours / self.floor.value

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None when there is none."""
        return None if self.target is None else self.target.met_by(self.ours, self.ratio)


@dataclass(frozen=True, slots=True)
class Calls:
    """What a number of calls took."""

    seconds: float
    durations: Sequence[float]
    """Of each call, in seconds."""
    server_cpu_seconds: float = 0.0
    """What the server computed meanwhile, where it was looked at."""

    @property
    def rate(self) -> float:
        """Calls per second."""
        return len(self.durations) / self.seconds

    def millis(self, percent: float) -> float:
        """A percentile of the durations, in milliseconds."""
        return percentile(self.durations, percent) * 1000


@dataclass(frozen=True, slots=True)
class Turns:
    """Ours and the floor, measured in turns."""

    ours: list[Calls]
    floor: list[Calls]

    @property
    def rate(self) -> float:
        """Our median rate."""
        return statistics.median(calls.rate for calls in self.ours)

    @property
    def floor_rate(self) -> float:
        """The floor's median rate."""
        return statistics.median(calls.rate for calls in self.floor)

    @property
    def rate_ratio(self) -> float:
        """The median of the turns' ratios."""
        return statistics.median(ours.rate / floor.rate for ours, floor in zip(self.ours, self.floor, strict=True))

    def millis(self, percent: float) -> tuple[float, float]:
        """A percentile of all durations, ours and the floor's, in milliseconds."""
        return all_millis(self.ours, percent), all_millis(self.floor, percent)


def all_millis(turns: Sequence[Calls], percent: float) -> float:
    """A percentile of the durations of several turns, in milliseconds."""
    return percentile([one for calls in turns for one in calls.durations], percent) * 1000


def cpu_micros(turns: Sequence[Calls]) -> float:
    """What the server computed for each call, in microseconds."""
    calls = sum(len(one.durations) for one in turns)
    return sum(one.server_cpu_seconds for one in turns) / calls * 1e6


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least so many per cent of the values do not exceed. Raises ValueError for none."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]
