"""The feed as readers get it: opened, what the filter matches, gaps, bookmarks, end; and its lists (E1, E2, E4, E7)."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from headrace.v1 import event_service_pb2 as pb
from headrace.v1 import watch_pb2
from headrace_server.core.ids import SECOND, Micros, job_id_text
from headrace_server.core.refusal import Reason, Refused
from headrace_server.rpc import event_service
from headrace_server.rpc.checks.validate_event import check_list, check_watch
from headrace_server.rpc.event_filters import TYPES, parse_event_filter
from headrace_server.runtime import feed_pages
from headrace_server.store.codec import set_time
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.submit import submit_each
from headrace_server.store.records.feed_reads import position_before
from rpc.feed_reading import ALL, Node, Stream, opened
from store.driving import NAMESPACE, handler_spec, new_job


@pytest.fixture
def node() -> Iterator[Node]:
    with opened() as made:
        yield made


def labelled(**labels: str) -> Any:
    spec = handler_spec()
    spec.labels.update(labels)
    return new_job(spec=spec, labels=tuple(labels.items()))


async def submit(node: Node, *jobs: Any) -> None:
    await node.bench.store.write(lambda ledger: submit_each(ledger, jobs or (new_job(),)))


def test_e2_a_reader_gets_opened_then_all_that_is_there_then_the_end(node: Node) -> None:
    node.bench.finish(node.bench.running())
    stream = node.watch()
    assert stream.kinds() == ["opened", "batch", "end"]
    first, *_, last = stream.messages
    assert (first.opened.generation, first.opened.last_position, last.end.reason) == (
        1,
        4,
        watch_pb2.END_REASON_CAUGHT_UP,
    )
    assert stream.positions() == [1, 2, 3, 4]
    assert [message.cursor for message in stream.messages] == ["feed:1:0", "feed:1:4", "feed:1:4"]
    kinds = [event.event.WhichOneof("kind") for event in stream.events()]
    assert kinds == ["submitted", "attempt_assigned", "attempt_started", "succeeded"]


def test_e2_without_a_start_the_feed_begins_with_what_happens_from_now_on(node: Node) -> None:
    node.bench.submit()

    async def act(message: pb.WatchEventsResponse) -> None:
        match message.WhichOneof("kind"):
            case "opened":
                await submit(node)
            case "batch":
                node.draining.set()
                node.feed.wake_all()

    stream = node.watch(pb.WatchEventsRequest(scope=ALL), act)
    assert stream.kinds() == ["opened", "batch", "end"]
    assert stream.positions() == [2]
    assert stream.messages[-1].end.reason == watch_pb2.END_REASON_DRAINING


def test_e2_bookmarks_come_when_nothing_matches_and_move_the_cursor(node: Node) -> None:
    bookmarks: list[str] = []

    async def act(message: pb.WatchEventsResponse) -> None:
        if message.HasField("bookmark"):
            bookmarks.append(message.cursor)
            await submit(node)
            if len(bookmarks) == 4:
                node.draining.set()

    stream = node.watch(pb.WatchEventsRequest(scope=ALL, filter="type = failed"), act)
    assert set(stream.kinds()) == {"opened", "bookmark", "end"}
    assert bookmarks[0] == "feed:1:0"
    assert bookmarks[-1] == "feed:1:3"


def test_e7_a_filter_that_matches_nothing_moves_the_cursor_while_it_looks(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_pages, "EVENT_PAGE_COUNT", 2)
    monkeypatch.setattr("headrace_server.rpc.streams.feed_stream.BOOKMARK_POSITIONS_COUNT", 4)
    node.bench.submit(*(new_job() for _ in range(9)))
    stream = node.watch(pb.WatchEventsRequest(scope=ALL, filter="type = failed", from_beginning=True, no_follow=True))
    assert [message.cursor for message in stream.messages] == ["feed:1:0", "feed:1:4", "feed:1:8", "feed:1:9"]
    assert stream.kinds() == ["opened", "bookmark", "bookmark", "end"]


def test_e7_own_jobs_are_those_of_the_caller_and_of_the_namespace_only(node: Node) -> None:
    node.bench.submit(new_job(owner="me"), new_job(owner="anna"), new_job(namespace="other", owner="me"))
    own = pb.WatchEventsRequest(from_beginning=True, no_follow=True)
    assert node.watch(own).positions() == [1]
    assert node.watch(own, principal="anna").positions() == [2]
    assert node.watch().positions() == [1, 2]
    assert node.list(scope=pb.FEED_SCOPE_UNSPECIFIED, principal="anna").events[0].owner == "anna"
    assert [event.event.position for event in node.list(namespace="other").events] == [3]


def test_e7_a_revoked_right_ends_the_stream(node: Node) -> None:
    node.bench.submit()

    async def revoke(message: pb.WatchEventsResponse) -> None:
        if message.HasField("batch"):
            node.may_see = False
            await submit(node)

    stream = node.watch(pb.WatchEventsRequest(scope=ALL, from_beginning=True), revoke)
    assert stream.kinds() == ["opened", "batch", "end"]
    assert stream.messages[-1].end.reason == watch_pb2.END_REASON_PERMISSION_REVOKED
    assert node.list().events == []


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ("", [1, 2, 3, 4, 5, 6]),
        ("queue = default", [1, 2, 3, 4, 5, 6]),
        ("queue = other", []),
        ("type = submitted", [1, 2, 3]),
        ("type = (succeeded OR attempt_started)", [5, 6]),
        ("owner = anna", [2]),
        ("labels.team = search", [3]),
        ("labels.team = (search OR web) AND type = submitted", [3]),
        ("labels.tier = 1", []),
        ("worker_id = w1", [4, 5, 6]),
        ("worker_id = w2", []),
        ("worker_id = w1 AND type = succeeded", [6]),
        ("schedule = nightly", []),
        ("job_id = $first", [1, 4, 5, 6]),
        ("job_id = $first AND owner = anna", []),
    ],
)
def test_e7_filters_are_evaluated_by_the_server(node: Node, filter: str, expected: list[int]) -> None:
    (first,) = node.bench.submit(new_job(priority=9))
    node.bench.submit(new_job(owner="anna"), labelled(team="search"))
    lease = node.bench.assign(first.id)
    node.bench.hear(starts=[lease])
    node.bench.finish(lease)
    text = filter.replace("$first", job_id_text(first.id))
    request = pb.WatchEventsRequest(scope=ALL, filter=text, from_beginning=True, no_follow=True)
    assert node.watch(request).positions() == expected
    assert [event.event.position for event in node.list(filter=text, oldest_first=True).events] == expected


def test_e1_a_reader_that_comes_back_gets_what_came_since(node: Node) -> None:
    node.bench.submit(*(new_job() for _ in range(3)))
    cursor = node.watch().messages[-1].cursor
    node.bench.submit(new_job())
    stream = node.watch(pb.WatchEventsRequest(scope=ALL, cursor=cursor, no_follow=True))
    assert (stream.positions(), stream.gaps()) == ([4], [])


@pytest.mark.parametrize("filter", ["", "type = submitted", "owner = nobody"])
def test_e1_what_was_removed_is_told_once_whether_the_filter_would_have_matched_or_not(node: Node, filter: str) -> None:
    jobs = node.bench.submit(*(new_job() for _ in range(4)))
    node.bench.cancel(jobs[1].id)
    node.remove(jobs[1].id)
    stream = node.watch(pb.WatchEventsRequest(scope=ALL, filter=filter, from_beginning=True, no_follow=True))
    apart = [(2, 2, 1), (5, 5, 1)]
    assert stream.gaps() == ([(2, 5, 1)] if filter.endswith("nobody") else apart)
    cursor = next(message.cursor for message in stream.messages if message.HasField("gap"))
    again = node.watch(pb.WatchEventsRequest(scope=ALL, filter=filter, cursor=cursor, no_follow=True))
    assert again.gaps() == ([] if filter.endswith("nobody") else apart[1:])


def test_e1_a_reader_inside_of_what_was_removed_is_told_the_rest_of_it(node: Node) -> None:
    (job,) = node.bench.submit(new_job())
    node.bench.cancel(job.id)
    cursor = "feed:1:1"
    node.remove(job.id)
    node.bench.submit(new_job())
    stream = node.watch(pb.WatchEventsRequest(scope=ALL, cursor=cursor, no_follow=True))
    assert (stream.gaps(), stream.positions()) == ([(2, 2, 3)], [3])
    assert stream.messages[1].gap.reason == watch_pb2.GAP_REASON_RETENTION


def test_e1_a_reader_that_has_read_what_is_removed_hears_nothing_of_it(node: Node) -> None:
    (job,) = node.bench.submit(new_job())
    node.bench.cancel(job.id)

    async def act(message: pb.WatchEventsResponse) -> None:
        if len(stream.messages) == 2:
            await node.bench.store.write(lambda ledger: delete(ledger, NAMESPACE, job.id, "", "tester"))
            await submit(node)
        elif message.HasField("batch"):
            node.draining.set()
            node.feed.wake_all()

    stream = Stream(act)
    request = pb.WatchEventsRequest(scope=ALL, from_beginning=True)
    node.bench.run(asyncio.wait_for(node.service.watch_events(request, stream), 20))  # type: ignore[arg-type]  # as a Call
    assert (stream.kinds(), stream.positions()) == (["opened", "batch", "batch", "end"], [1, 2, 3])


def test_e1_a_cursor_of_another_generation_meets_a_gap_and_goes_on(node: Node) -> None:
    node.bench.submit(*(new_job() for _ in range(3)))
    for cursor, expected in (("feed:7:2", (1, 2, 1)), ("feed:7:99", (1, 3, 1))):
        stream = node.watch(pb.WatchEventsRequest(scope=ALL, cursor=cursor, no_follow=True))
        assert stream.gaps() == [expected]
        assert stream.messages[1].gap.reason == watch_pb2.GAP_REASON_RESTORED
        assert stream.positions() == list(range(expected[1] + 1, 4))


def test_e1_a_reader_that_is_cut_off_before_it_was_told_of_a_restore_is_told_when_it_comes_back(node: Node) -> None:
    node.bench.submit(*(new_job() for _ in range(3)))
    opened = node.watch(pb.WatchEventsRequest(scope=ALL, cursor="feed:7:2", no_follow=True)).messages[0]
    again = node.watch(pb.WatchEventsRequest(scope=ALL, cursor=opened.cursor, no_follow=True))
    assert again.gaps() == [(1, 2, 1)]


def test_e1_a_restore_is_no_news_for_a_reader_that_has_got_nothing(node: Node) -> None:
    node.bench.submit(*(new_job() for _ in range(3)))
    stream = node.watch(pb.WatchEventsRequest(scope=ALL, cursor="feed:7:0", no_follow=True))
    assert (stream.gaps(), stream.positions()) == ([], [1, 2, 3])


@pytest.mark.parametrize(
    "cursor", ["x", "1:2", "feed:1", "feed:1:2:3:4", "feed:1:x", "feed:-1:2", "feed:1:99", "feed:" + "9" * 40 + ":1"]
)
def test_a_cursor_that_is_not_one_of_the_feed_is_refused(node: Node, cursor: str) -> None:
    with pytest.raises(Refused) as refused:
        node.watch(pb.WatchEventsRequest(scope=ALL, cursor=cursor))
    assert refused.value.refusal.reason is Reason.INVALID_TOKEN


def test_the_feed_can_begin_with_a_time(node: Node) -> None:
    for _ in range(5):
        node.bench.submit(new_job())
        node.bench.clock.advance(1.0)
    request = pb.WatchEventsRequest(scope=ALL, no_follow=True)
    set_time(request.start_time, Micros(node.bench.clock.now() - 2 * SECOND))
    assert node.watch(request).positions() == [4, 5]


def test_what_comes_while_a_reader_looks_for_its_time_is_not_sent(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.bench.submit(new_job())
    read = node.bench.store.read

    async def read_slowly(query: Any, *arguments: Any) -> Any:
        found = await read(query, *arguments)
        if query is position_before and node.pages.reads_count == 0:
            await submit(node)
        return found

    async def act(message: pb.WatchEventsResponse) -> None:
        if not message.HasField("opened"):
            node.draining.set()
            node.feed.wake_all()

    monkeypatch.setattr(node.bench.store, "read", read_slowly)
    request = pb.WatchEventsRequest(scope=ALL)
    set_time(request.start_time, Micros(node.bench.clock.now() + 5 * SECOND))
    assert node.watch(request, act).positions() == []


def test_a_time_to_come_is_waited_for_and_kept_in_the_cursor(node: Node) -> None:
    node.bench.submit(new_job())
    clock = node.bench.clock
    request = pb.WatchEventsRequest(scope=ALL)
    later = clock.now() + 5 * SECOND
    set_time(request.start_time, Micros(later))
    seen: list[str] = []

    async def act(message: pb.WatchEventsResponse) -> None:
        seen.append(message.cursor)
        if message.HasField("batch"):
            node.draining.set()
            node.feed.wake_all()
        elif len(seen) <= 2:
            if len(seen) == 2:
                clock.advance(5.0)
            await submit(node)

    stream = node.watch(request, act)
    assert seen[0] == f"feed:1:1:{later}"
    assert stream.positions() == [3]
    assert seen[-1] == "feed:1:3"


def test_a_pace_is_kept_and_the_stream_shows_that_it_lives(node: Node) -> None:
    async def run() -> tuple[float, list[str | None], list[int]]:
        stream = Stream()
        loop = asyncio.get_running_loop()
        begun = loop.time()
        request = pb.WatchEventsRequest(scope=ALL, from_beginning=True, no_follow=True, max_bytes_per_second=1000)
        await asyncio.wait_for(node.service.watch_events(request, stream), 20)  # type: ignore[arg-type]  # as a Call
        return loop.time() - begun, stream.kinds(), stream.positions()

    node.bench.submit(*(new_job() for _ in range(15)))
    size = sum(len(event.SerializeToString()) for event in node.watch().events())
    seconds, kinds, positions = node.bench.run(run())
    assert positions == list(range(1, 16))
    assert kinds.count("batch") >= 2
    assert "bookmark" in kinds
    assert seconds >= (size - 1000) / 1000


def test_e4_followers_at_one_place_share_what_is_read(node: Node) -> None:
    async def run() -> list[list[int]]:
        streams = [Stream() for _ in range(50)]
        request = pb.WatchEventsRequest(scope=ALL, from_beginning=True, no_follow=True)
        await asyncio.gather(*(node.service.watch_events(request, stream) for stream in streams))  # type: ignore[arg-type]  # as a Call
        return [stream.positions() for stream in streams]

    node.bench.submit(*(new_job() for _ in range(20)))
    assert node.bench.run(run()) == [list(range(1, 21))] * 50
    assert node.pages.reads_count == 1


def test_a_list_is_paged_in_both_directions(node: Node) -> None:
    node.bench.submit(*(new_job() for _ in range(7)))
    for oldest_first, expected in ((False, [7, 6, 5, 4, 3, 2, 1]), (True, [1, 2, 3, 4, 5, 6, 7])):
        found, token, pages = [], "", 0
        while pages == 0 or token:
            page = node.list(oldest_first=oldest_first, page_size=3, page_token=token)
            found += [event.event.position for event in page.events]
            token = page.next_page_token
            pages += 1
            node.bench.clock.advance(1.0)
        assert found == expected
        assert pages == 3


def test_a_list_is_of_a_range_of_time(node: Node) -> None:
    start = node.bench.clock.now()
    for _ in range(6):
        node.bench.submit(new_job())
        node.bench.clock.advance(1.0)
    for oldest_first in (False, True):
        request = pb.ListEventsRequest(scope=ALL, oldest_first=oldest_first)
        set_time(request.start_time, Micros(start + SECOND))
        set_time(request.end_time, Micros(start + 4 * SECOND))
        listed = node.bench.run(node.service.list_events(request, Stream()))  # type: ignore[arg-type]  # as a Call
        positions = [event.event.position for event in listed.events]
        assert positions == ([2, 3, 4] if oldest_first else [4, 3, 2])
        assert listed.next_page_token == ""


def test_a_list_looks_at_a_bounded_number_of_events(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_service, "SCANNED_EVENTS_COUNT", 2)
    monkeypatch.setattr(event_service, "EVENT_PAGE_COUNT", 2)
    node.bench.submit(*(new_job(owner="anna" if number == 4 else "me") for number in range(5)))
    for oldest_first in (False, True):
        found, token, pages = [], "", 0
        while pages == 0 or token:
            page = node.list(filter="owner = anna", oldest_first=oldest_first, page_token=token)
            found += [event.event.position for event in page.events]
            token = page.next_page_token
            pages += 1
        assert (found, pages) == ([5], 3)


def test_a_token_is_of_one_list_only(node: Node) -> None:
    node.bench.submit(*(new_job() for _ in range(3)))
    token = node.list(page_size=1).next_page_token
    with pytest.raises(Refused) as refused:
        node.list(page_size=1, page_token=token, oldest_first=True)
    assert refused.value.refusal.reason is Reason.INVALID_TOKEN


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("state = RUNNING", "one of type, queue, owner, job_id, worker_id, schedule, session_id, labels.KEY"),
        ("type = output", "at 8: 'output' is no type of event in the feed; types are submitted"),
        ("job_id = 12", "at 10: '12' is no job id"),
    ],
)
def test_filters_of_the_feed_that_are_refused_say_where_and_what(text: str, part: str) -> None:
    refusal = check_watch(pb.WatchEventsRequest(filter=text))
    assert refusal is not None
    assert part in refusal.violations[0].description
    with pytest.raises(Refused):
        parse_event_filter(text)


def test_every_fault_of_a_request_is_told_at_once() -> None:
    request = pb.ListEventsRequest(namespace="A!", filter="x", page_size=-1)
    request.start_time.seconds = 20
    request.end_time.seconds = 10
    refusal = check_list(request)
    assert refusal is not None
    assert {one.field for one in refusal.violations} == {"namespace", "filter", "page_size", "end_time"}


def test_the_types_of_a_filter_are_the_kinds_of_events_but_output() -> None:
    assert len(TYPES) > 20
    assert "output" not in TYPES
