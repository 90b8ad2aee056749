"""Who depends on whom, and how it ended (Q6): the table `dependencies`, its rows judged by `core.dependencies`.

A child is told of its parents' ends in steps of bounded size, so a parent with any number of children ends in one short
transaction. What a parent's end was stays with the child, also when the parent is deleted.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.v1 import event_pb2
from headrace_server.core.dependencies import DependencyRule, Judgement, judge
from headrace_server.core.ids import JobId
from headrace_server.core.job import Job
from headrace_server.core.limits import RESULT_BYTES_MAX
from headrace_server.core.states import JobState
from headrace_server.store.engine import Connection, Row, in_list
from headrace_server.store.ledger import Ledger

_IN_COUNT_MAX = 512
_ANY = ("any dependencies",)
"""Whether there are any: where nobody uses them, no end of a job has to look."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A job that another depends on; `end` is None before it has ended."""

    row: int
    id: JobId
    end: JobState | None


@dataclass(frozen=True, slots=True)
class Judged:
    """What the ends of a job's parents mean for it."""

    parents: tuple[Parent, ...]
    judgement: Judgement

    @property
    def parent(self) -> Parent:
        """The one that decided."""
        return self.parents[self.judgement.place]


def judged(rule: DependencyRule, parents: Sequence[Parent]) -> Judged:
    """Judges parents."""
    return Judged(tuple(parents), judge(rule, [parent.end for parent in parents]))


def dependency_rows(child: int, rule: DependencyRule, parents: Sequence[Parent]) -> list[tuple[Any, ...]]:
    """The rows of a new child, for `insert_dependencies`."""
    number = rule.encode()
    return [(child, place, parent.row, parent.id, number, int(parent.end or 0)) for place, parent in enumerate(parents)]


def insert_dependencies(ledger: Ledger, dependencies: Sequence[tuple[Any, ...]]) -> None:
    """Stores the rows of new children."""
    ledger.forget(_ANY)
    ledger.insert("dependencies", ("child", "place", "parent", "parent_id", "rule", "state"), dependencies)


def judged_children(ledger: Ledger, children: Sequence[int]) -> dict[int, Judged]:
    """What their parents' ends mean for these jobs, as far as each was told."""
    found: dict[int, list[Parent]] = defaultdict(list)
    rules: dict[int, DependencyRule] = {}
    for start in range(0, len(children), _IN_COUNT_MAX):
        marks, values = in_list(children[start : start + _IN_COUNT_MAX])
        for child, parent, parent_id, rule, state in ledger.look_up(
            "SELECT child, parent, parent_id, rule, state FROM dependencies"
            f" WHERE child IN ({marks}) ORDER BY child, place",
            values,
        ):
            found[child].append(Parent(parent, JobId(bytes(parent_id)), JobState(state) if state else None))
            rules[child] = DependencyRule.decode(rule)
    return {child: judged(rules[child], parents) for child, parents in found.items()}


def note_ended_parents(ledger: Ledger, ended: Iterable[Job]) -> None:
    """Takes note of which of these jobs have children that have to be told."""
    if not ledger.value(_ANY, lambda: bool(ledger.look_up("SELECT 1 FROM dependencies LIMIT 1"))):
        return
    states = {job.row: int(job.state) for job in ended}
    all_rows = list(states)
    for start in range(0, len(all_rows), _IN_COUNT_MAX):
        marks, values = in_list(all_rows[start : start + _IN_COUNT_MAX])
        found = ledger.look_up(f"SELECT DISTINCT parent FROM dependencies WHERE parent IN ({marks})", values)
        if found:
            noted = [(row, states[row], 0) for (row,) in found]
            ledger.insert("ended_parents", ("parent", "state", "told"), noted, "ON CONFLICT (parent) DO NOTHING")
            ledger.effects.next_due = ledger.now


def tell_children(ledger: Ledger, count: int) -> list[int] | None:
    """Tells up to `count` children of one parent of its end and returns them; None when all have been told."""
    found = ledger.look_up("SELECT parent, state, told FROM ended_parents ORDER BY parent LIMIT 1")
    if not found:
        return None
    parent, state, told = found[0]
    children = [
        int(row[0])
        for row in ledger.look_up(
            "SELECT DISTINCT child FROM dependencies WHERE parent = ? AND child > ? ORDER BY child LIMIT ?",
            (parent, told, count),
        )
    ]
    if children:
        ledger.run(
            "UPDATE dependencies SET state = ? WHERE parent = ? AND child > ? AND child <= ?",
            (state, parent, told, children[-1]),
        )
    if len(children) < count:
        ledger.run("DELETE FROM ended_parents WHERE parent = ?", (parent,))
    else:
        ledger.run("UPDATE ended_parents SET told = ? WHERE parent = ?", (children[-1], parent))
    return children


def children_wait(ledger: Ledger) -> bool:
    """Whether some children have not been told of a parent's end."""
    return bool(ledger.look_up("SELECT 1 FROM ended_parents LIMIT 1"))


def parents_of(source: Ledger | Connection, job: Job) -> list[tuple[JobId, JobState | None, bytes | None]]:
    """The jobs that a job depends on, in the order of its spec: id, state, and the serialised `Result` of one that
    succeeded.

    The state is None, and there is no result, when a parent was deleted before its end was told. Results are left out
    once all together would pass 1 MiB.
    """
    if not job.dependent:
        return []
    found = _read(
        source,
        "SELECT dependencies.parent, dependencies.parent_id, coalesce(jobs.state, dependencies.state), jobs.sequence"
        " FROM dependencies LEFT JOIN jobs ON jobs.job = dependencies.parent WHERE child = ? ORDER BY place",
        (job.row,),
    )
    room = RESULT_BYTES_MAX
    parents: list[tuple[JobId, JobState | None, bytes | None]] = []
    for row, parent_id, number, sequence in found:
        state = JobState(number) if number else None
        result = _result(source, row, sequence, room) if state is JobState.SUCCEEDED and sequence else None
        room -= len(result or b"")
        parents.append((JobId(bytes(parent_id)), state, result))
    return parents


def parent_states(connection: Connection, job: Job) -> list[tuple[JobId, JobState | None]]:
    """The jobs that a job depends on, in the order of its spec, with how far each is."""
    if not job.dependent:
        return []
    found = connection.rows(
        "SELECT dependencies.parent_id, coalesce(jobs.state, dependencies.state)"
        " FROM dependencies LEFT JOIN jobs ON jobs.job = dependencies.parent WHERE child = ? ORDER BY place",
        (job.row,),
    )
    return [(JobId(bytes(parent)), JobState(state) if state else None) for parent, state in found]


def children_of(connection: Connection, job: Job, count: int) -> list[JobId]:
    """The first jobs that depend on a job, oldest first."""
    found = connection.rows(
        "SELECT DISTINCT jobs.id, jobs.job FROM dependencies JOIN jobs ON jobs.job = dependencies.child"
        " WHERE parent = ? ORDER BY jobs.job LIMIT ?",
        (job.row, count),
    )
    return [JobId(bytes(child)) for child, _ in found]


def known_ends(ledger: Ledger, job: Job) -> dict[JobId, tuple[int, JobState]]:
    """Row and end of the parents of a job, of those whose end it was told."""
    found = ledger.look_up(
        "SELECT parent_id, parent, state FROM dependencies WHERE child = ? AND state > 0", (job.row,)
    )
    return {JobId(bytes(parent_id)): (int(parent), JobState(state)) for parent_id, parent, state in found}


def _result(source: Ledger | Connection, row: int, sequence: int, room: int) -> bytes | None:
    # An event is a little longer than its result; what is far too long is not read at all.
    found = _read(
        source,
        "SELECT body FROM events WHERE job = ? AND sequence = ? AND length(body) <= ?",
        (row, sequence, room + 1024),
    )
    if not found:
        return None
    result = event_pb2.Event.FromString(found[0][0]).succeeded.result.SerializeToString()
    return result if len(result) <= room else None


def _read(source: Ledger | Connection, sql: str, parameters: Sequence[Any]) -> list[Row]:
    return source.query(sql, parameters) if isinstance(source, Ledger) else source.rows(sql, parameters)
