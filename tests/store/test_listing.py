"""Lists of jobs: whatever the filter, a page looks at a bounded number of rows and no job is left out."""

from random import Random

import pytest

from headrace_server.core.job_filter import JobFilter
from headrace_server.store.engine import Connection
from headrace_server.store.jobs import listing
from headrace_server.store.jobs.listing import list_jobs
from headrace_server.store.sqlite import SqliteConnection
from store.driving import NAMESPACE, Bench, offer
from store.graphs import made


def all_of(connection: Connection, wanted: JobFilter, count: int) -> tuple[list[int], int]:
    """Rows of every page, and how many pages there were."""
    before, found, pages = 0, list[int](), 0
    while True:
        listed = list_jobs(connection, NAMESPACE, wanted, before, count)
        found += [job.row for job in listed.jobs]
        pages += 1
        if listed.before is None:
            return found, pages
        assert before == 0 or listed.before < before
        before = listed.before


FILTERS = {
    "all": JobFilter(),
    "owner": JobFilter(owners=("rare",)),
    "label": JobFilter(labels=(("team", ("blue",)),)),
    "labels": JobFilter(labels=(("team", ("blue", "red")),), owners=("rare",)),
    "queued": JobFilter(states=frozenset({"QUEUED"}), queues=("default",)),
    "leased": JobFilter(states=frozenset({"ASSIGNED", "RUNNING"})),
    "worker": JobFilter(worker_ids=("w1",)),
    "ended": JobFilter(states=frozenset({"CANCELLED"})),
}


@pytest.mark.parametrize("name", FILTERS)
def test_pages_of_bounded_steps_hold_every_match_once(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(listing, "SCANNED_ROWS_COUNT", 7)
    chance = Random(name)
    jobs = bench.submit(
        *(
            made(
                owner=chance.choice(("me", "me", "me", "rare")),
                labels={"team": chance.choice(("blue", "red", "green"))} if n % 3 else {},
            )
            for n in range(60)
        )
    )
    for job in chance.sample(jobs, 15):
        bench.cancel(job.id)
    bench.cycle(offer(slots=8))
    wanted = FILTERS[name]
    expected, pages = bench.read(all_of, wanted, 500)
    matching = bench.read(matches, wanted)
    assert expected == matching
    assert matching, "the filter matches nothing"
    assert pages >= (1 if name in ("leased", "worker") else min(2, len(matching) // 7))
    assert bench.read(all_of, wanted, 3)[0] == matching


def matches(connection: Connection, wanted: JobFilter) -> list[int]:
    """By looking at every job, without a word of the listing's SQL."""
    labels: dict[int, dict[str, str]] = {}
    for row, label, value in connection.rows("SELECT job, label, value FROM job_labels"):
        labels.setdefault(row, {})[label] = value
    names = {"ASSIGNED": 4, "RUNNING": 5, "QUEUED": 3, "CANCELLED": 22}
    found = connection.rows("SELECT job, state, queue, owner, worker FROM jobs ORDER BY job DESC")
    return [
        row
        for row, state, queue, owner, worker in found
        if (not wanted.states or state in {names[name] for name in wanted.states})
        and queue in (wanted.queues or (queue,))
        and owner in (wanted.owners or (owner,))
        and worker in (wanted.worker_ids or (worker,))
        and all(labels.get(row, {}).get(key) in values for key, values in wanted.labels)
    ]


class Planned:
    """A connection that notes how its queries are run."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.plans: list[str] = []

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
        """As of a connection."""
        plan = self._connection.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)
        self.plans.append(" / ".join(str(row[3]) for row in plan))
        return self._connection.rows(sql, parameters)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("all", "PRIMARY KEY (rowid>? AND rowid<?)"),
        ("owner", "PRIMARY KEY (rowid>? AND rowid<?)"),
        ("label", "job_labels USING PRIMARY KEY (namespace=? AND label=? AND value=? AND job>? AND job<?)"),
        ("queued", "jobs_queued (namespace=? AND queue=? AND job>? AND job<?)"),
        ("leased", "jobs_leased"),
        ("worker", "jobs_leased (worker=?)"),
    ],
)
def test_the_index_that_fits_is_used_and_nothing_is_sorted_but_what_is_leased(
    bench: Bench, name: str, index: str
) -> None:
    bench.submit(*(made() for _ in range(3)))

    def plans(connection: Connection) -> list[str]:
        planned = Planned(connection)
        list_jobs(planned, NAMESPACE, FILTERS[name], 0, 10)  # type: ignore[arg-type]  # it has what is asked of it
        return planned.plans

    last = bench.read(plans)[-1]
    assert index in last
    assert ("TEMP B-TREE" in last) == (name in ("leased", "worker"))


def test_a_page_that_finds_nothing_costs_the_same_however_much_lies_below(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCANNED_ROWS_COUNT", 20)

    def steps(connection: Connection) -> int:
        count = 0

        def step() -> int:
            nonlocal count
            count += 1
            return 0

        assert isinstance(connection, SqliteConnection)
        connection._raw.set_progress_handler(step, 1)
        assert not list_jobs(connection, NAMESPACE, JobFilter(owners=("nobody",)), 0, 10).jobs
        connection._raw.set_progress_handler(None, 0)
        return count

    bench.submit(*(made() for _ in range(50)))
    few = bench.read(steps)
    bench.submit(*(made() for _ in range(1000)))
    assert bench.read(steps) == few
