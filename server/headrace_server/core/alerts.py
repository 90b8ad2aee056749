"""Alerts: what somebody should look at, one for each incident, however often what is behind it comes and goes.

A finding is what one look says of one kind of alert. An alert begins when it has been bad for a while, and clears when
it has been good for a while; what comes back soon after is the same alert. Time comes in.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum

from headrace_server.core.ids import Micros

HISTORY_COUNT_MAX = 64
"""Alerts that have cleared and are remembered, for readers that are slow."""
MESSAGE_CHARACTERS_MAX = 500
NAMES_COUNT_MAX = 3
"""Of the many things that one alert is about."""


class AlertName(Enum):
    """Which kinds there are."""

    DISK_LOW = "disk-low"
    NO_WORKER = "no-worker"
    NO_ELIGIBLE_WORKER = "no-eligible-worker"
    QUEUE_FULL = "queue-full"
    COMMITS_SLOW = "commits-slow"
    LOOP_SLOW = "loop-slow"
    WORKER_LOST = "worker-lost"
    STORE_UNAVAILABLE = "store-unavailable"
    LOCAL_WORKER_FAILING = "local-worker-failing"
    CAPACITY_CLOSED = "capacity-closed"
    BUDGET_LOW = "budget-low"


AT_ONCE = frozenset({AlertName.WORKER_LOST, AlertName.STORE_UNAVAILABLE, AlertName.LOCAL_WORKER_FAILING})
"""What they are about is known for certain, and took its time to be."""


class Severity(IntEnum):
    """How grave; numbers are those of `AlertSeverity`."""

    WARNING = 1
    CRITICAL = 2


class Verdict(Enum):
    """What a look says: bad enough to begin an alert, good enough to clear it, or neither."""

    BAD = "bad"
    BETWEEN = "between"
    GOOD = "good"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look says of one kind of alert."""

    name: AlertName
    verdict: Verdict
    severity: Severity = Severity.WARNING
    message: str = ""
    """A line with names and numbers; empty for what is good."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long things have to last, in seconds."""

    raise_seconds: float
    """Bad, before an alert begins; those of `AT_ONCE` do not wait."""
    clear_seconds: float
    """Good, before it clears."""
    cool_down_seconds: float
    """After it cleared: what comes back within this is the same alert. From then on it clears only when it has been
    good for so long."""
    update_seconds: float = 5.0
    """From one change of its message to the next, unless it gets graver."""


@dataclass(frozen=True, slots=True)
class Alert:
    """One incident."""

    name: AlertName
    severity: Severity
    message: str
    start: Micros
    update: Micros
    clear: Micros
    """Zero while it stands."""
    number: int
    """Of its latest change, over all alerts: 1, 2, 3 …"""


class Change(Enum):
    """What happened to an alert."""

    BEGAN = "began"
    CAME_BACK = "came back"
    CHANGED = "changed"
    CLEARED = "cleared"


@dataclass(slots=True)
class _Kind:
    """What is known of one kind of alert. Times are monotonic seconds."""

    alert: Alert | None = None
    """The latest one, standing or not."""
    since: float | None = None
    """Since when it is bad without an alert, or good in spite of one."""
    changed: float = 0.0
    """When the alert last changed."""
    came_back: bool = False

    @property
    def stands(self) -> bool:
        return self.alert is not None and not self.alert.clear


@dataclass(slots=True)
class Alerts:
    """Every alert of a node: at most one of a kind stands."""

    timing: Timing
    number: int = 0
    """Of the latest change."""
    _kinds: dict[AlertName, _Kind] = field(default_factory=lambda: {name: _Kind() for name in AlertName})
    _history: deque[Alert] = field(default_factory=lambda: deque(maxlen=HISTORY_COUNT_MAX))

    def standing(self) -> list[Alert]:
        """Alerts that have not cleared, in the order of their kinds."""
        return [kind.alert for kind in self._kinds.values() if kind.alert is not None and kind.stands]

    def since(self, number: int) -> list[Alert]:
        """Every alert that stands, and those that have cleared after a change that had this number."""
        return [*(alert for alert in self._history if alert.number > number), *self.standing()]

    def observe(self, findings: Iterable[Finding], seconds: float, now: Micros) -> list[tuple[Change, Alert]]:
        """Acts on what a look found, and says what changed. A kind without a finding is good. `seconds` are
        monotonic."""
        found: Mapping[AlertName, Finding] = {finding.name: finding for finding in findings}
        changes = []
        for name, kind in self._kinds.items():
            finding = found.get(name) or Finding(name, Verdict.GOOD)
            if len(finding.message) > MESSAGE_CHARACTERS_MAX:
                finding = replace(finding, message=finding.message[: MESSAGE_CHARACTERS_MAX - 1] + "…")
            change = self._observe_one(kind, finding, seconds, now)
            if change is not None and kind.alert is not None:
                changes.append((change, kind.alert))
        return changes

    def _observe_one(self, kind: _Kind, finding: Finding, seconds: float, now: Micros) -> Change | None:
        if kind.stands:
            return self._of_standing(kind, finding, seconds, now)
        if finding.verdict is not Verdict.BAD:
            kind.since = None
            return None
        kind.since = seconds if kind.since is None else kind.since
        wait = 0.0 if finding.name in AT_ONCE else self.timing.raise_seconds
        return self._begin(kind, finding, seconds, now) if seconds - kind.since >= wait else None

    def _begin(self, kind: _Kind, finding: Finding, seconds: float, now: Micros) -> Change:
        before = kind.alert
        kind.came_back = before is not None and seconds - kind.changed < self.timing.cool_down_seconds
        start = now
        if before is not None and kind.came_back:
            start = before.start
            if before in self._history:
                self._history.remove(before)
        alert = Alert(finding.name, finding.severity, finding.message, start, now, Micros(0), self._next())
        self._set(kind, alert, seconds)
        return Change.CAME_BACK if kind.came_back else Change.BEGAN

    def _of_standing(self, kind: _Kind, finding: Finding, seconds: float, now: Micros) -> Change | None:
        assert kind.alert is not None
        if finding.verdict is not Verdict.GOOD:
            kind.since = None
            return self._update(kind, kind.alert, finding, seconds, now)
        kind.since = seconds if kind.since is None else kind.since
        wait = self.timing.clear_seconds
        if kind.came_back:
            wait = max(wait, self.timing.cool_down_seconds)
        if seconds - kind.since < wait:
            return None
        self._set(kind, replace(kind.alert, clear=now, number=self._next()), seconds)
        self._history.append(kind.alert)
        return Change.CLEARED

    def _update(self, kind: _Kind, alert: Alert, finding: Finding, seconds: float, now: Micros) -> Change | None:
        if (finding.severity, finding.message) == (alert.severity, alert.message):
            return None
        if finding.severity <= alert.severity and seconds - kind.changed < self.timing.update_seconds:
            return None
        changed = replace(alert, severity=finding.severity, message=finding.message, update=now, number=self._next())
        kind.alert, kind.changed = changed, seconds
        return Change.CHANGED

    def _set(self, kind: _Kind, alert: Alert, seconds: float) -> None:
        kind.alert, kind.changed, kind.since = alert, seconds, None

    def _next(self) -> int:
        self.number += 1
        return self.number


def judge(value: float, raise_at: float, clear_at: float) -> Verdict:
    """What a value says: bad from `raise_at` on, good from `clear_at` on, whichever way these lie."""
    sign = 1 if raise_at >= clear_at else -1
    if value * sign >= raise_at * sign:
        return Verdict.BAD
    return Verdict.GOOD if value * sign <= clear_at * sign else Verdict.BETWEEN


def named(names: Sequence[str], count: int = 0) -> str:
    """The first of many names, and how many more there are; `count` when there are more than are given."""
    more = max(count, len(names)) - NAMES_COUNT_MAX
    first = ", ".join(names[:NAMES_COUNT_MAX])
    return f"{first} and {more} more" if more > 0 else first
