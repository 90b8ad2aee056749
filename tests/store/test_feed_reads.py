"""The feed as it is read from the store: every event but output in the order of commits, and what is missing (E1)."""

from collections.abc import Iterator
from typing import Any

import pytest

from headrace.v1 import event_service_pb2, job_pb2
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.runtime.feed_pages import kind_of
from headrace_server.store.engine import Connection
from headrace_server.store.jobs import deletions
from headrace_server.store.jobs.deletions import delete, remove_some_log
from headrace_server.store.jobs.updates import Change, update
from headrace_server.store.records.feed_reads import (
    FeedPage,
    attempt_workers,
    last_position,
    position_before,
    read_feed,
    read_feed_back,
)
from headrace_server.store.wire import feed_batch
from store.driving import HOME, NAMESPACE, Bench, chunk, handler_spec, new_job

ALL = 1 << 30


def pages(bench: Bench, count: int = ALL, size: int = ALL, after: int = 0) -> Iterator[FeedPage]:
    while True:
        page = bench.read(read_feed, after, {}, count, size)
        if page.is_empty:
            return
        assert page.after == after
        yield page
        after = page.last


def positions(page: FeedPage) -> list[int]:
    return [row.position for row in page.rows]


def remove(bench: Bench, job_id: JobId) -> None:
    assert bench.write(delete, NAMESPACE, job_id, "", "tester") is None


def test_e1_the_feed_holds_every_event_but_output_in_the_order_of_commits(bench: Bench) -> None:
    lease = bench.running()
    other = bench.submit(new_job())[0]
    bench.append(lease, chunk(1), chunk(2))
    bench.finish(lease, outputs=2)
    (page,) = pages(bench)
    events = [row.event() for row in page.rows]
    assert [event.position for event in events] == list(range(1, len(events) + 1)) == positions(page)
    assert {event.job_id for event in events} == {job_id_text(lease.job_id), job_id_text(other.id)}
    assert "output" not in {event.WhichOneof("kind") for event in events}
    assert (page.last, page.holes, page.earliest) == (len(events), (), 0)
    assert bench.read(last_position) == len(events)


def test_a_row_says_what_a_reader_wants_to_know_of_the_job(bench: Bench) -> None:
    spec = handler_spec()
    spec.display_name = "Index"
    spec.labels["team"] = "search"
    (job,) = bench.submit(new_job(spec=spec, owner="anna", labels=(("team", "search"),)))
    (page,) = pages(bench)
    found = page.rows[0].job
    assert (found.id, found.namespace, found.queue, found.owner) == (job_id_text(job.id), NAMESPACE, "default", "anna")
    assert (found.labels, found.schedule, found.fixed) == ({"team": "search"}, "", False)
    message = page.rows[0].message()
    assert (message.queue, message.owner, message.display_name) == ("default", "anna", "Index")
    assert message.event.position == 1


def test_a_batch_is_the_message_of_its_parts(bench: Bench) -> None:
    bench.submit(new_job(), new_job())
    (page,) = pages(bench)
    encoded = feed_batch("feed:1:2", [row.entry for row in page.rows])
    batch = event_service_pb2.FeedBatch(events=[row.message() for row in page.rows])
    assert event_service_pb2.WatchEventsResponse.FromString(encoded) == event_service_pb2.WatchEventsResponse(
        cursor="feed:1:2", batch=batch
    )


@pytest.mark.parametrize(("count", "size", "lengths"), [(2, ALL, [2, 2, 1]), (ALL, 1, [1] * 5), (5, ALL, [5])])
def test_pages_are_bounded_by_number_and_size(bench: Bench, count: int, size: int, lengths: list[int]) -> None:
    bench.submit(*(new_job() for _ in range(5)))
    assert [len(page.rows) for page in pages(bench, count, size)] == lengths


def test_e1_what_was_deleted_is_a_hole_that_names_the_earliest_that_is_left(bench: Bench) -> None:
    first, second, third, fourth = bench.submit(*(new_job() for _ in range(4)))
    for job in (second, fourth):
        bench.cancel(job.id)
    assert bench.read(last_position) == 6
    remove(bench, second.id)
    (page,) = pages(bench)
    assert (positions(page), page.holes, page.earliest, page.last) == ([1, 3, 4, 6], ((2, 2), (5, 5)), 1, 6)
    remove(bench, fourth.id)
    (page,) = pages(bench)
    assert (positions(page), page.holes, page.last) == ([1, 3], ((2, 2), (4, 6)), 6)
    bench.cancel(first.id)
    bench.cancel(third.id)
    remove(bench, first.id)
    remove(bench, third.id)
    (page,) = pages(bench)
    assert (page.rows, page.holes, page.earliest, page.last) == ((), ((1, 8),), 0, 8)
    assert bench.read(read_feed, 8, {}, 10, ALL).is_empty


def test_e1_pages_that_end_in_a_hole_say_all_of_it_in_the_next_one(bench: Bench) -> None:
    jobs = bench.submit(*(new_job() for _ in range(6)))
    for job in jobs[2:4]:
        bench.cancel(job.id)
        remove(bench, job.id)
    found = list(pages(bench, count=2))
    assert [page.last for page in found] == [2, 6, 8]
    assert [page.holes for page in found] == [(), ((3, 4),), ((7, 8),)]


def test_e8_a_log_that_is_still_being_removed_is_gone_for_readers(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletions, "SMALL_LOG_EVENTS_COUNT", 0)
    job, _ = bench.submit(new_job(), new_job())
    bench.cancel(job.id)
    remove(bench, job.id)
    (page,) = pages(bench)
    assert (positions(page), page.holes, page.earliest) == ([2], ((1, 1), (3, 3)), 2)
    while bench.write(remove_some_log):
        pass
    assert list(pages(bench)) == [page]


def test_what_is_known_of_a_job_is_fixed_once_it_has_started(bench: Bench) -> None:
    (job,) = bench.submit(new_job())
    assert [row.job.fixed for page in pages(bench) for row in page.rows] == [False]
    change = Change(("labels",), job_pb2.JobSpec(labels={"team": "search"}), "", "tester")
    bench.write(update, NAMESPACE, job.id, change)
    (page,) = pages(bench)
    assert {row.job.labels["team"] for row in page.rows} == {"search"}
    bench.hear(starts=[bench.assign(job.id)])
    assert {row.job.fixed for page in pages(bench) for row in page.rows} == {True}


def test_reading_back_goes_from_the_latest_to_the_first(bench: Bench) -> None:
    bench.submit(*(new_job() for _ in range(5)))
    found: list[list[int]] = []
    before = 6
    while before:
        page, before = bench.read(read_feed_back, before, 2, ALL)
        found.append(positions(page))
    assert found == [[5, 4], [3, 2], [1]]


def test_the_place_of_a_time_is_after_everything_earlier(bench: Bench) -> None:
    times, jobs = [], []
    for _ in range(9):
        times.append(bench.clock.now())
        jobs += bench.submit(new_job())
        bench.clock.advance(1.0)
    for number, time in enumerate(times):
        assert bench.read(position_before, time) == (number, True)
        assert bench.read(position_before, Micros(time + 1)) == (number + 1, number < 8)
    bench.cancel(jobs[-1].id)
    remove(bench, jobs[-1].id)
    assert bench.read(position_before, Micros(times[-1] + SECOND)) == (8, False)
    assert bench.read(position_before, Micros(1)) == (0, True)


def test_events_of_an_attempt_belong_to_the_worker_that_it_was_assigned_to(bench: Bench) -> None:
    lease = bench.running()
    bench.finish(lease)
    (page,) = pages(bench)
    named = dict(zip((kind_of(row) for row in page.rows), bench.read(attempt_workers, page.rows), strict=True))
    assert named == {
        "submitted": "",
        "attempt_assigned": HOME.worker,
        "attempt_started": HOME.worker,
        "succeeded": HOME.worker,
    }
    assert bench.read(attempt_workers, page.rows[-1:]) == (HOME.worker,)


class _Explaining:
    """A connection that keeps the plans of what it is asked."""

    def __init__(self, connection: Connection, plans: list[str]) -> None:
        self._connection = connection
        self._plans = plans

    def _explain(self, sql: str, parameters: Any) -> None:
        self._plans += [row[-1] for row in self._connection.rows(f"EXPLAIN QUERY PLAN {sql}", parameters)]

    def rows(self, sql: str, parameters: Any = ()) -> Any:
        self._explain(sql, parameters)
        return self._connection.rows(sql, parameters)

    def iterate(self, sql: str, parameters: Any = ()) -> Any:
        self._explain(sql, parameters)
        return self._connection.iterate(sql, parameters)


def test_reading_the_feed_walks_its_keys_and_never_a_whole_table(bench: Bench) -> None:
    bench.finish(bench.running())
    jobs = bench.submit(*(new_job() for _ in range(3)))
    bench.cancel(jobs[0].id)
    remove(bench, jobs[0].id)
    plans: list[str] = []

    def read(connection: Connection) -> None:
        asked: Any = _Explaining(connection, plans)
        page = read_feed(asked, 0, {}, 100, ALL)
        assert page.holes
        read_feed_back(asked, 100, 100, ALL)
        position_before(asked, Micros(1))
        attempt_workers(asked, page.rows[3:4])

    bench.read(read)
    scans = {plan for plan in plans if plan.startswith("SCAN") or "TEMP B-TREE" in plan}
    assert scans == {"SCAN events"}, "only the search for the earliest walks, and it stops at the first"
    assert {plan for plan in plans if plan.startswith("SEARCH")} >= {
        "SEARCH events USING INTEGER PRIMARY KEY (rowid>?)",
        "SEARCH jobs USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH events USING INDEX events_job (job=? AND sequence<?)",
    }
