"""What the scheduler looks at: groups of jobs that are ready, their keys, and the first jobs of each.

A key that a limit holds is parked: it is not looked at until its time has come or one of its jobs ends. `head` of a
key is at most the rank of its first ready job, and is put right when a look has shown it to be too low.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from headrace_server.core.fairness import FairnessScope, Running
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job
from headrace_server.core.merge import Place
from headrace_server.core.placement import Needs
from headrace_server.store import rows
from headrace_server.store.conditions import marks
from headrace_server.store.counters import UNTIL_FREED
from headrace_server.store.engine import Query, in_list
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.folders import NOT_TAKEN

T = TypeVar("T")

_SHARE_COLUMNS = {FairnessScope.OWNER: "owner", FairnessScope.KEY: "concurrency_key"}
_OPEN = "ready > 0 AND parked = 0"
_SHARE_HEADS = {
    # From one owner to the next by the index: an owner may have very many keys.
    FairnessScope.OWNER: (
        "WITH RECURSIVE open_keys AS (SELECT owner, head FROM ready_keys"
        f" WHERE ready_group = ? AND {_OPEN}),"
        " names (name) AS (SELECT min(owner) FROM open_keys"
        " UNION ALL SELECT (SELECT min(owner) FROM open_keys WHERE owner > name) FROM names WHERE name IS NOT NULL)"
        " SELECT name, (SELECT min(head) FROM open_keys WHERE owner = name) FROM names WHERE name IS NOT NULL"
    ),
    FairnessScope.KEY: (
        f"SELECT concurrency_key, min(head) FROM ready_keys WHERE ready_group = ? AND {_OPEN} GROUP BY concurrency_key"
    ),
}
_IN_COUNT_MAX = 500
KEPT_COUNT_MAX = 50
"""Owners without a budget left that a look at held jobs leaves out; of the others it finds some in vain."""
_SELECT_WITH_NEEDS = rows.SELECT.replace(" FROM jobs", ", ready_groups.needs FROM jobs") + (
    " JOIN ready_keys ON ready_keys.key = jobs.key"
    " JOIN ready_groups ON ready_groups.ready_group = ready_keys.ready_group"
)


@dataclass(frozen=True, slots=True)
class ReadyGroup:
    """Jobs of one queue with the same needs, of which some are ready."""

    group: int
    namespace: str
    queue: str
    needs: Needs


@dataclass(frozen=True, slots=True)
class ReadyKey:
    """Jobs of one group with the same owner, concurrency key and folder, of which some are ready."""

    key: int
    group: ReadyGroup
    concurrency_key: str
    head: Place
    """Nothing of it is before."""
    owner: str = ""
    folder: str = ""
    """That its jobs want to have to themselves."""


@dataclass(frozen=True, slots=True)
class OpenGroup:
    """A group with keys that no limit holds: the first of them, and the head of the next."""

    group: ReadyGroup
    first: ReadyKey
    next_head: Place | None


@dataclass(frozen=True, slots=True)
class Kept:
    """Whose jobs may not start, so that they do not hide those that may: Claude jobs, where nothing else is said."""

    domains: Sequence[str] = ()
    scopes: Sequence[tuple[str, str]] = ()
    """Namespace and owner; an empty owner stands for all of the namespace."""
    queues: Sequence[tuple[str, str]] = ()
    """Of which nothing may start, Claude or not."""
    folders: Sequence[str] = ()
    """That jobs want to have to themselves, and of which enough are known."""

    def condition(self) -> tuple[str, list[str]]:
        """As SQL, for jobs with their groups; empty when there are none."""
        parts: list[str] = []
        values: list[str] = []
        if self.domains:
            marks, values = in_list(self.domains)
            parts.append(f" AND ready_groups.domain NOT IN ({marks})")
        for namespace, owner in self.scopes[:KEPT_COUNT_MAX]:
            of_owner = " AND jobs.owner = ?" if owner else ""
            parts.append(f" AND NOT (ready_groups.domain <> '' AND jobs.namespace = ?{of_owner})")
            values += [namespace, owner] if owner else [namespace]
        for name in self.queues[:KEPT_COUNT_MAX]:
            parts.append(" AND NOT (jobs.namespace = ? AND jobs.queue = ?)")
            values += name
        if self.folders:
            marks, folders = in_list(self.folders)
            parts.append(f" AND ready_keys.folder NOT IN ({marks})")
            values += folders
        return "".join(parts), values


NOBODY_KEPT = Kept()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A job that is granted, with what a worker needs in order to run it."""

    job: Job
    needs: Needs
    spec: bytes
    traceparent: str


def open_groups(ledger: Ledger) -> list[OpenGroup]:
    """Every group with keys that may have a job to start."""
    key = (
        f"SELECT key FROM ready_keys WHERE ready_group = ready_groups.ready_group AND {_OPEN}"
        " ORDER BY head, head_job, key LIMIT 1"
    )
    found = ledger.query(
        "SELECT ready_groups.ready_group, ready_groups.namespace, ready_groups.queue, needs,"
        " nearest.key, nearest.concurrency_key, nearest.owner, nearest.folder, nearest.head, nearest.head_job,"
        " second.head, second.head_job"
        f" FROM ready_groups JOIN ready_keys AS nearest ON nearest.key = ({key})"
        f" LEFT JOIN ready_keys AS second ON second.key = ({key} OFFSET 1) WHERE ready_groups.ready > 0"
    )
    opened = []
    for number, namespace, queue, needs, first, concurrency_key, owner, folder, rank, row, *following in found:
        group = ReadyGroup(number, namespace, queue, _decoded(needs))
        next_head = None if following[0] is None else (following[0], following[1])
        opened.append(OpenGroup(group, ReadyKey(first, group, concurrency_key, (rank, row), owner, folder), next_head))
    return opened


def keys_after(
    ledger: Ledger,
    group: ReadyGroup,
    last: ReadyKey,
    count: int,
    share: tuple[FairnessScope, str] | None = None,
    taken: Sequence[str] = (),
) -> list[ReadyKey]:
    """Keys of a group that no limit holds, or those of one share of it, by their heads, from right after one of
    them. Those of folders that are taken are left out."""
    of_share = "" if share is None else f" AND {_SHARE_COLUMNS[share[0]]} = ?"
    marks, folders = in_list(taken) if taken else ("", [])
    not_taken = f" AND folder NOT IN ({marks})" if taken else ""
    found = ledger.look_up(
        "SELECT key, concurrency_key, owner, folder, head, head_job FROM ready_keys"
        f" WHERE ready_group = ?{of_share} AND {_OPEN} AND (head, head_job, key) > (?, ?, ?){not_taken}"
        " ORDER BY head, head_job, key LIMIT ?",
        (group.group, *(() if share is None else (share[1],)), *last.head, last.key, *folders, count),
    )
    return [ReadyKey(key, group, name, (rank, row), owner, folder) for key, name, owner, folder, rank, row in found]


def open_shares(ledger: Ledger, groups: Iterable[ReadyGroup], scope: FairnessScope) -> dict[str, int]:
    """The shares that have keys that no limit holds in some groups of a queue, with the lowest head of each."""
    heads: dict[str, int] = {}
    for group in groups:
        for name, head in ledger.look_up(_SHARE_HEADS[scope], (group.group,)):
            heads[name] = min(head, heads.get(name, head))
    return heads


def running_shares(query: Query, namespace: str, queue: str, scope: FairnessScope, now: Micros) -> dict[str, Running]:
    """What each share of a queue holds now."""
    column = _SHARE_COLUMNS[scope]
    found = query(
        f"SELECT {column}, sum(leased_slots), sum(leased_since) FROM ready_keys"
        f" WHERE namespace = ? AND queue = ? AND leased > 0 GROUP BY {column}",
        (namespace, queue),
    )
    return {name: Running(slots, max(0, slots * (now // 1000) - since) / 1000) for name, slots, since in found}


def window(ledger: Ledger, key: ReadyKey, after: Place, count: int) -> list[Job]:
    """Ready jobs of a key by rank, from right after a place, at most `count`."""
    found = ledger.look_up(
        f"{rows.SELECT} WHERE jobs.key = ? AND jobs.state = 3 AND jobs.holder = '' AND (jobs.rank, jobs.job) > (?, ?)"
        " ORDER BY jobs.rank, jobs.job LIMIT ?",
        (key.key, *after, count),
    )
    return ledger.adopt(found)


def held_window(
    ledger: Ledger, holders: Iterable[str], count: int, kept: Kept = NOBODY_KEPT
) -> list[tuple[Job, Needs]]:
    """The first jobs that wait for one of these workers, because it holds their session, but for those that are kept
    from starting, and those whose folder another job has."""
    held: list[tuple[Job, Needs]] = []
    but_for, values = kept.condition()
    for holder in holders:
        found = ledger.query(
            f"{_SELECT_WITH_NEEDS} WHERE jobs.holder = ? AND jobs.holder <> '' AND jobs.state = 3"
            f" AND (ready_keys.folder = '' OR {NOT_TAKEN}){but_for} ORDER BY jobs.rank, jobs.job LIMIT ?",
            (holder, *values, count),
        )
        held += [(job, _decoded(row[-1])) for job, row in zip(ledger.adopt(found), found, strict=True)]
    return held


def with_specs(ledger: Ledger, chosen: Sequence[tuple[Job, Needs]]) -> list[Candidate]:
    """The jobs with what a worker needs in order to run them, in the same order."""
    specs: dict[int, tuple[bytes, str]] = {}
    for chunk in _chunks(chosen):
        # The number of marks is rounded up to a power of two, so that few statements are ever prepared.
        padded = [job.row for job, _ in chunk] + [0] * ((1 << (len(chunk) - 1).bit_length()) - len(chunk))
        found = ledger.look_up(f"SELECT job, spec, traceparent FROM job_specs WHERE job IN ({marks(padded)})", padded)
        specs.update((row, (spec, traceparent)) for row, spec, traceparent in found)
    return [Candidate(job, needs, *specs[job.row]) for job, needs in chosen]


def park(ledger: Ledger, held: Iterable[tuple[tuple[str, str, str], Micros | None]]) -> None:
    """Has concurrency keys (namespace, queue, key) not looked at until a time, or until a job of theirs ends."""
    for name, until in held:
        ledger.run(
            "UPDATE ready_keys SET parked = ? WHERE namespace = ? AND queue = ? AND concurrency_key = ?"
            f" AND concurrency_key <> '' AND {_OPEN}",
            (UNTIL_FREED if until is None else until, *name),
        )


def raise_heads(ledger: Ledger, heads: Iterable[tuple[int, Place]]) -> None:
    """Puts the heads of keys right: where their first ready jobs are."""
    for key, place in heads:
        ledger.run("UPDATE ready_keys SET head = ?, head_job = ? WHERE key = ?", (*place, key))


def open_due_keys(ledger: Ledger) -> None:
    """Has keys looked at again whose time has come."""
    ledger.run("UPDATE ready_keys SET parked = 0 WHERE parked > 0 AND parked <= ?", (ledger.now,))


def next_opening(ledger: Ledger) -> Micros | None:
    """When the next parked key has to be looked at again."""
    found = ledger.look_up("SELECT min(parked) FROM ready_keys WHERE parked > 0")[0][0]
    return None if found is None or found == UNTIL_FREED else Micros(found)


def open_keys(ledger: Ledger, namespace: str, queue: str) -> None:
    """Has every key of a queue looked at again, after its limits have changed."""
    ledger.run(
        "UPDATE ready_keys SET parked = 0 WHERE parked > 0"
        " AND ready_group IN (SELECT ready_group FROM ready_groups WHERE namespace = ? AND queue = ?)",
        (namespace, queue),
    )
    ledger.effects.freed = True


@lru_cache(maxsize=4096)
def _decoded(text: str) -> Needs:
    return Needs.decode(text)


def _chunks(items: Sequence[T]) -> Iterable[Sequence[T]]:
    for start in range(0, len(items), _IN_COUNT_MAX):
        yield items[start : start + _IN_COUNT_MAX]
