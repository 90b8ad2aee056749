"""Capacity domains: what one credential may ask of one family of models, and how many jobs of it may start (X5).

Pure. What the service said to attempts comes in, the domain as it is from then on comes out. How many jobs of it run is
counted by whoever asks.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.limits import GRANTS_COUNT_MAX
from headrace_server.core.retry import QUOTA_DELAY_SECONDS, QUOTA_DELAY_SECONDS_MIN, RETRY_AFTER_SECONDS_MAX

FAMILIES = ("opus", "sonnet", "haiku")
DEFAULT = "default"
"""The profile of tasks that name none, and the family of those that name no model."""
DEFAULT_DOMAIN = f"{DEFAULT}/{DEFAULT}"
NAME_CHARACTERS_MAX = 513
PAUSE_SECONDS = 5.0
"""How long a domain is closed after a first refusal that did not say for how long; twice as long each time."""
PAUSE_SECONDS_MAX = 300.0
UNBOUNDED = GRANTS_COUNT_MAX
"""As many jobs as any plan starts."""


class DomainState(IntEnum):
    """Whether jobs of a domain may start; numbers are those of `CapacityState` in capacity.proto."""

    OPEN = 1
    CLOSED = 2
    HALF_OPEN = 3


class Cause(IntEnum):
    """What closed a domain; numbers are those of `CapacityCause` in capacity.proto."""

    NONE = 0
    QUOTA = 1
    OVERLOADED = 2
    RATE_LIMITED = 3
    BILLING = 4
    AUTH = 5
    OPERATOR = 6


CAUSES = {
    FailureClass.QUOTA: Cause.QUOTA,
    FailureClass.OVERLOADED: Cause.OVERLOADED,
    FailureClass.RATE_LIMITED: Cause.RATE_LIMITED,
    FailureClass.BILLING: Cause.BILLING,
    FailureClass.AUTH: Cause.AUTH,
}
"""The failures that say something of the domain, not of the job."""
_FOR_OPERATORS = frozenset({Cause.BILLING, Cause.AUTH})


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain as it is."""

    state: DomainState = DomainState.OPEN
    since: Micros = Micros(0)
    until: Micros = Micros(0)
    """While it is CLOSED: when a first job may try. Zero: when an operator opens it."""
    cause: Cause = Cause.NONE
    reason: str = ""
    actor: str = ""
    most: int = 0
    """Jobs that may run at once; zero limits nothing."""
    ceiling: int = 0
    """With `most`: from there on it limits nothing any more. As many ran when there were too many."""
    successes: int = 0
    """Since `most` has grown."""
    refusals: int = 0
    """In a row."""

    @property
    def is_plain(self) -> bool:
        """Nothing is to be remembered of it."""
        return self.state is DomainState.OPEN and not self.most


OPEN = Domain()


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the service said to an attempt that it refused."""

    cause: Cause
    reason: str
    retry_after_seconds: float | None = None


def domain_name(profile: str, model: str) -> str:
    """The domain of a task."""
    return f"{profile or DEFAULT}/{family_of(model)}"


def family_of(model: str) -> str:
    """The family of a model by its name or alias."""
    known = (family for family in FAMILIES if family in model.lower())
    return next(known, model or DEFAULT)


def family_of_domain(name: str) -> str:
    """The family in a domain's name, e.g. for its prices."""
    return name.partition("/")[2]


def standing(domain: Domain, now: Micros) -> Domain:
    """A domain as it is now: one whose time has come is half open."""
    if domain.state is DomainState.CLOSED and 0 < domain.until <= now:
        return replace(domain, state=DomainState.HALF_OPEN, since=domain.until, until=Micros(0))
    return domain


def room(domain: Domain, running: int, probes: int) -> int:
    """How many jobs may start, in a domain as it is now. `probes` are those that run and were granted since it is half
    open."""
    if domain.state is DomainState.CLOSED:
        return 0
    if domain.state is DomainState.HALF_OPEN:
        return max(0, 1 - probes)
    return max(0, domain.most - running) if domain.most else UNBOUNDED


def refused(domain: Domain, refusal: Refusal, assigned: Micros, running: int, now: Micros) -> Domain:
    """After an attempt was refused that was granted then; `running` counts the attempts that ran, this one included.

    Attempts that run together are refused together: while it is closed, further refusals count for one, and can only
    make it longer. One that runs since before an operator opened it may have used what has been mended since: the job
    that tries has the word.
    """
    before = standing(domain, now)
    if before.state is DomainState.CLOSED and not before.until:
        return domain
    if refusal.cause in _FOR_OPERATORS:
        if before.state is DomainState.HALF_OPEN and assigned < before.since:
            return domain
        return _closed(before, refusal.cause, refusal.reason, Micros(0), now)
    if refusal.cause is Cause.QUOTA:
        asked = QUOTA_DELAY_SECONDS if refusal.retry_after_seconds is None else refusal.retry_after_seconds
        until = _after(max(asked, QUOTA_DELAY_SECONDS_MIN), now)
        if before.state is DomainState.CLOSED and until <= before.until:
            return domain
        return _closed(before, refusal.cause, refusal.reason, until, now)
    return _overloaded(before, refusal, running, now)


def answered(domain: Domain, assigned: Micros, now: Micros, *, finished: bool) -> Domain:
    """After the service answered an attempt that was granted then; `finished` when that has ended well.

    What runs since before it was closed says nothing of a domain that is half open: it may have been answered long ago.
    """
    before = standing(domain, now)
    if before.state is DomainState.HALF_OPEN and assigned >= before.since:
        opened = Domain(since=now, most=before.most, ceiling=before.ceiling)
        return opened if opened.most < opened.ceiling else replace(opened, most=0, ceiling=0)
    if before.state is not DomainState.OPEN or not before.most or not finished:
        return domain
    if before.successes + 1 < before.most:
        return replace(before, successes=before.successes + 1)
    if before.most + 1 >= before.ceiling:
        return replace(before, most=0, ceiling=0, successes=0)
    return replace(before, most=before.most + 1, successes=0)


def closed_by(domain: Domain, actor: str, reason: str, until: Micros, now: Micros) -> Domain:
    """After an operator closed it; `until` zero means for good."""
    return replace(_closed(standing(domain, now), Cause.OPERATOR, reason, until, now), actor=actor)


def opened_by(domain: Domain, actor: str, reason: str, now: Micros) -> Domain:
    """After an operator opened it: one job tries first, unless it was open. A limit is lifted."""
    if domain.state is DomainState.OPEN:
        return replace(domain, most=0, ceiling=0, successes=0)
    return Domain(DomainState.HALF_OPEN, since=now, cause=domain.cause, reason=reason, actor=actor)


def _overloaded(before: Domain, refusal: Refusal, running: int, now: Micros) -> Domain:
    asked = refusal.retry_after_seconds or 0.0
    if before.state is DomainState.CLOSED:
        return replace(before, until=max(before.until, _after(asked, now)))
    refusals = before.refusals + 1
    pause = min(PAUSE_SECONDS * 2.0 ** min(refusals - 1, 32), PAUSE_SECONDS_MAX)
    until = _after(max(asked, pause), now)
    most = max(1, min(running, before.most or running) // 2)
    ceiling = max(running, before.ceiling)
    closed = _closed(before, refusal.cause, refusal.reason, until, now)
    return replace(closed, refusals=refusals, most=most, ceiling=ceiling, successes=0)


def _closed(before: Domain, cause: Cause, reason: str, until: Micros, now: Micros) -> Domain:
    since = before.since if before.state is DomainState.CLOSED else now
    return replace(before, state=DomainState.CLOSED, since=since, until=until, cause=cause, reason=reason, actor="")


def _after(seconds: float, now: Micros) -> Micros:
    return Micros(now + int(min(seconds, RETRY_AFTER_SECONDS_MAX) * SECOND))
