"""Filters by session: of lists of jobs, and of the feed (E7)."""

from collections.abc import Iterator

import pytest

from headrace.v1 import event_service_pb2 as pb
from headrace_server.core.ids import job_id_text
from headrace_server.core.job_filter import JobFilter
from headrace_server.core.refusal import Refused
from headrace_server.rpc.event_filters import parse_event_filter
from headrace_server.rpc.filters import parse_filter
from headrace_server.store.jobs import listing
from headrace_server.store.jobs.listing import list_jobs
from rpc.feed_reading import ALL, Node, opened
from store.conversing import converse
from store.driving import NAMESPACE


@pytest.fixture
def node() -> Iterator[Node]:
    with opened() as made:
        yield made


def test_e7_the_feed_of_a_session_is_that_of_its_turns(node: Node) -> None:
    one, two = converse(node.bench), converse(node.bench)
    node.bench.submit()
    jobs = [one.say(), one.say()]
    other = two.say()
    text = f"session_id = ({job_id_text(one.id)} OR {job_id_text(two.id)}) AND type = submitted"
    stream = node.watch(_all(text))
    assert [event.event.job_id for event in stream.events()] == [job_id_text(job.id) for job in (*jobs, other)]
    stream = node.watch(_all(f"session_id = {job_id_text(two.id)}"))
    assert [event.event.job_id for event in stream.events()] == [job_id_text(other.id)]


def test_jobs_are_listed_by_session_a_page_at_a_time(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "SCANNED_ROWS_COUNT", 2)
    one, two = converse(node.bench), converse(node.bench)
    jobs = [(one if place % 3 else two).say().id for place in range(9)]
    wanted = parse_filter(f"session_id = {job_id_text(two.id)}")
    assert wanted == JobFilter(session_ids=(two.id,))
    found, before = [], 0
    while True:
        listed = node.bench.read(list_jobs, NAMESPACE, wanted, before, 2)
        found += [job.id for job in listed.jobs]
        if listed.before is None:
            break
        before = listed.before
    assert found == [jobs[6], jobs[3], jobs[0]]
    both = parse_filter(f"session_id = ({job_id_text(one.id)} OR {job_id_text(two.id)}) AND state = QUEUED")
    monkeypatch.setattr(listing, "SCANNED_ROWS_COUNT", 100)
    assert {job.id for job in node.bench.read(list_jobs, NAMESPACE, both, 0, 10).jobs} == {jobs[0], jobs[1]}


@pytest.mark.parametrize("parse", [parse_filter, parse_event_filter])
def test_what_is_no_session_id_is_refused(parse: object) -> None:
    with pytest.raises(Refused) as caught:
        parse("session_id = 12")  # type: ignore[operator]  # either of two functions
    assert "is no session id" in caught.value.refusal.message


def _all(text: str) -> pb.WatchEventsRequest:
    """Everything that is there and that a filter matches."""
    return pb.WatchEventsRequest(scope=ALL, filter=text, from_beginning=True, no_follow=True)
