"""Lists of the feed that name jobs: the same as by looking at everything, and as cheap however long the feed (E7)."""

import itertools
from collections.abc import Iterator
from random import Random

import pytest

from headrace_server.core.ids import JobId, job_id_text
from headrace_server.rpc import event_service
from rpc.feed_reading import Node, opened
from store.driving import new_job

JOBS = 12


@pytest.fixture
def node() -> Iterator[Node]:
    with opened() as node:
        yield node


def filled(node: Node, seed: int) -> list[JobId]:
    """Jobs whose events are mixed, one of them deleted."""
    random = Random(seed)
    jobs = [job.id for job in node.bench.submit(*(new_job(owner=f"o{n % 3}") for n in range(JOBS)))]
    cancelled = random.sample(jobs, 4)
    for job_id in cancelled:
        node.bench.cancel(job_id)
    for job_id in [job_id for job_id in jobs if job_id not in cancelled][:5]:
        lease = node.bench.assign(job_id)
        node.bench.hear(starts=[lease])
        node.bench.finish(lease)
    node.remove(random.choice(cancelled))
    return jobs


def pages(node: Node, filter: str, size: int, oldest_first: bool) -> list[int]:
    """All positions, by pages."""
    found: list[int] = []
    token = ""
    for _ in itertools.count():
        page = node.list(filter=filter, page_size=size, page_token=token, oldest_first=oldest_first)
        found += [event.event.position for event in page.events]
        assert len(page.events) <= size
        if not page.next_page_token:
            return found
        token = page.next_page_token
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("oldest_first", [True, False])
def test_e7_a_list_that_names_jobs_is_the_one_by_looking_at_everything(
    node: Node, seed: int, oldest_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, random = filled(node, seed), Random(seed)
    monkeypatch.setattr(event_service, "EVENT_PAGE_COUNT", random.choice([1, 2, 512]))
    for count, more in ((1, ""), (3, ""), (5, " AND owner = o1"), (4, " AND type = submitted")):
        ids = " OR ".join(job_id_text(job_id) for job_id in random.sample(jobs, count))
        filter = f"job_id = ({ids}){more}"
        size = random.choice([1, 2, 50])
        found = pages(node, filter, size, oldest_first)
        with monkeypatch.context() as everything:
            everything.setattr(event_service, "JOBS_COUNT_MAX", 0)
            assert found == pages(node, filter, size, oldest_first)
        assert found == sorted(found, reverse=not oldest_first)


def test_a_list_of_one_job_looks_at_nothing_else(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    (first,) = node.bench.submit()
    node.bench.submit(*(new_job() for _ in range(200)))

    def nobody(*arguments: object) -> None:
        raise AssertionError("all of the feed was looked at")

    monkeypatch.setattr(event_service, "read_feed", nobody)
    monkeypatch.setattr(event_service, "read_feed_back", nobody)
    for oldest_first in (True, False):
        page = node.list(filter=f"job_id = {job_id_text(first.id)}", oldest_first=oldest_first)
        assert ([event.event.position for event in page.events], page.next_page_token) == ([1], "")
    unknown = node.list(filter="job_id = 019a6a4e-0000-7000-8000-000000000000")
    assert (list(unknown.events), unknown.next_page_token) == ([], "")
