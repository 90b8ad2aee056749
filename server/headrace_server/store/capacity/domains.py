"""Capacity domains in the store (X5): one row for each of which something is to be remembered, changed in the
transaction of the attempt that was refused or answered.

How many jobs of a domain run is counted from their rows, so it is exact after a restart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.v1 import outcome_pb2
from headrace_server.core import facts
from headrace_server.core.capacity import (
    CAUSES,
    OPEN,
    Cause,
    Domain,
    DomainState,
    Refusal,
    answered,
    refused,
    room,
    standing,
)
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import Failure, Job
from headrace_server.core.limits import REASON_CHARACTERS_MAX
from headrace_server.store.codec import micros_of
from headrace_server.store.engine import Connection, Query, Row
from headrace_server.store.ledger import AttemptWord, Ledger
from headrace_server.store.queueing.queue_limits import LEASED_STATES, Hold

_NAME = "capacity domains"
_COLUMNS = ("name", "state", "since", "until", "cause", "reason", "actor", "most", "ceiling", "successes", "refusals")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM capacity_domains"
_UPSERT = "ON CONFLICT (name) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[1:])
_OF_DOMAIN = "FROM ready_groups JOIN ready_keys ON ready_keys.ready_group = ready_groups.ready_group"


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain as it is now, and how many jobs it has."""

    name: str
    domain: Domain
    running: int
    waiting: int
    used: bool
    """Jobs of it are known, also such as have ended of late."""


def domain_of(ledger: Ledger, job: Job) -> str:
    """The domain of a job that has a ready key; empty for one that is no Claude job."""
    return ledger.value(("domain", job.key), lambda: domain_of_key(ledger.look_up, job.key))


def domain_of_key(query: Query, key: int) -> str:
    """The domain of the jobs of a ready key; empty for those that are no Claude jobs."""
    found = query(
        "SELECT ready_groups.domain FROM ready_keys JOIN ready_groups"
        " ON ready_groups.ready_group = ready_keys.ready_group WHERE ready_keys.key = ?",
        (key,),
    )
    return str(found[0][0]) if found else ""


def known(ledger: Ledger) -> Mapping[str, Domain]:
    """The domains that are not simply open, as they are stored."""
    return ledger.value(_NAME, lambda: {row[0]: _domain(row) for row in ledger.look_up(_SELECT)})


def note(ledger: Ledger, word: AttemptWord) -> None:
    """Draws from what happened to an attempt what it says of its domain."""
    kind, domains = type(word.fact), known(ledger)
    if kind is facts.AttemptFailed:
        assert isinstance(word.fact, facts.AttemptFailed)
        refusal = _refusal(word.fact.failure)
        if refusal is not None:
            _refuse(ledger, domain_of(ledger, word.job), refusal, word.assigned)
            return
    if not domains:
        return
    name = domain_of(ledger, word.job)
    if name not in domains:
        return
    if kind is facts.Succeeded or (kind is facts.Produced and word.so_far.output_tokens):
        change(ledger, name, answered(domains[name], word.assigned, ledger.now, finished=kind is facts.Succeeded))
    if word.is_over:
        # Another may start now, whether or not a worker has more room than before.
        ledger.effects.freed = True


def change(ledger: Ledger, name: str, after: Domain) -> None:
    """Keeps a domain as it is from now on, and asks for the cycle that has to look at it."""
    before = known(ledger).get(name, OPEN)
    if after == before:
        return
    if after.is_plain:
        ledger.run("DELETE FROM capacity_domains WHERE name = ?", (name,))
    else:
        values = (name, after.state, after.since, after.until, after.cause, after.reason, after.actor)
        ledger.insert(
            "capacity_domains",
            _COLUMNS,
            [(*values, after.most, after.ceiling, after.successes, after.refusals)],
            _UPSERT,
        )
    ledger.forget(_NAME)
    if after.until:
        ledger.effects.next_due = min(after.until, ledger.effects.next_due or after.until)
    if after.state is not DomainState.CLOSED:
        ledger.effects.freed = True


def next_opening(ledger: Ledger) -> Micros | None:
    """When the next domain lets a first job try."""
    times = [one.until for one in known(ledger).values() if one.until > ledger.now]
    return min(times, default=None)


class DomainRoom:
    """How many jobs of each domain may start, while one plan is made."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._domains = known(ledger)
        self._left: dict[str, int] = {}

    def hold(self, name: str) -> Hold | None:
        """What keeps the jobs of a domain from being started, if anything does."""
        if not self._domains or name not in self._domains or self._room(name) > 0:
            return None
        return Hold(standing(self._domains[name], self._ledger.now).until or None)

    def take(self, name: str) -> None:
        """Takes note that a job of a domain is started."""
        if self._domains and name in self._domains:
            self._left[name] = self._room(name) - 1

    def shut(self) -> list[str]:
        """The domains of which nothing may start."""
        return [name for name in self._domains if self.hold(name) is not None]

    def _room(self, name: str) -> int:
        if name not in self._left:
            domain = standing(self._domains[name], self._ledger.now)
            self._left[name] = room_of(self._ledger.query, name, domain)
        return self._left[name]


def room_of(query: Query, name: str, domain: Domain) -> int:
    """How many jobs of a domain may start, as it stands now."""
    running = running_count(query, name) if domain.state is DomainState.OPEN and domain.most else 0
    probes = len(probes_of(query, name, domain.since)) if domain.state is DomainState.HALF_OPEN else 0
    return room(domain, running, probes)


def running_count(query: Query, name: str) -> int:
    """Jobs of a domain that workers hold."""
    sql = f"SELECT coalesce(sum(leased), 0) {_OF_DOMAIN} WHERE ready_groups.domain = ? AND ready_groups.domain <> ''"
    return int(query(sql, (name,))[0][0])


def probes_of(query: Query, name: str, since: Micros) -> list[JobId]:
    """Those of them that were granted since then."""
    found = query(
        f"SELECT jobs.id {_OF_DOMAIN} JOIN jobs ON jobs.key = ready_keys.key WHERE ready_groups.domain = ?"
        f" AND ready_groups.domain <> '' AND ready_keys.leased > 0 AND jobs.state IN {LEASED_STATES}"
        " AND jobs.assigned >= ?",
        (name, since),
    )
    return [JobId(bytes(job_id)) for (job_id,) in found]


def read_domain(query: Query, name: str, now: Micros) -> Domain:
    """A domain as it is now."""
    found = query(f"{_SELECT} WHERE name = ?", (name,))
    return standing(_domain(found[0]), now) if found else OPEN


def list_domains(connection: Connection, after: str, count: int, now: Micros) -> list[DomainRow]:
    """Domains by name, from right after one: those that have jobs, and those that are not simply open."""
    return [read_row(connection.rows, name, now) for name in names(connection.rows, after, count)]


def names(query: Query, after: str, count: int) -> list[str]:
    """Names of the domains that there are, from right after one."""
    found = query(
        "SELECT name FROM (SELECT name FROM capacity_domains"
        " UNION SELECT domain AS name FROM ready_groups WHERE domain <> '') AS names"
        " WHERE name > ? ORDER BY name LIMIT ?",
        (after, count),
    )
    return [str(name) for (name,) in found]


def read_row(query: Query, name: str, now: Micros) -> DomainRow:
    """A domain with its counts."""
    counts = query(
        f"SELECT coalesce(sum(leased), 0), coalesce(sum(ready_keys.ready), 0), count(*) {_OF_DOMAIN}"
        " WHERE ready_groups.domain = ? AND ready_groups.domain <> ''",
        (name,),
    )[0]
    return DomainRow(name, read_domain(query, name, now), int(counts[0]), int(counts[1]), counts[2] > 0)


def read_closed(query: Query, now: Micros, count: int) -> list[tuple[str, Domain]]:
    """Domains of which nothing may start, but for one job that tries; those that an operator has to open first."""
    found = query(f"{_SELECT} WHERE state IN (2, 3) ORDER BY until, name LIMIT ?", (count,))
    return [(row[0], standing(_domain(row), now)) for row in found]


def _refuse(ledger: Ledger, name: str, refusal: Refusal, assigned: Micros) -> None:
    if name:
        before = known(ledger).get(name, OPEN)
        running = running_count(ledger.query, name) + 1
        change(ledger, name, refused(before, refusal, assigned, running, ledger.now))


def _refusal(failure: Failure) -> Refusal | None:
    cause = CAUSES.get(failure.failure_class)
    if cause is None:
        return None
    message = outcome_pb2.Failure.FromString(failure.body)
    after = micros_of(message.retry_after) / SECOND if message.HasField("retry_after") else None
    return Refusal(cause, message.message[:REASON_CHARACTERS_MAX], after)


def _domain(row: Row) -> Domain:
    _, state, since, until, cause, reason, actor, most, ceiling, successes, refusals = row
    return Domain(
        DomainState(state),
        Micros(since),
        Micros(until),
        Cause(cause),
        reason,
        actor,
        most,
        ceiling,
        successes,
        refusals,
    )
