"""`headrace cache`: what it asks, and what it prints."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.cli import options
from headrace.v1 import admin_service_pb2, worker_pb2, worker_service_pb2

NOW = datetime(2030, 1, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options, "now", lambda: NOW)


def kept() -> worker_pb2.ResponseCacheState:
    state = worker_pb2.ResponseCacheState(entries=3, size_bytes=2048, hits=5, misses=3, stores=4, evictions=1, shared=2)
    state.oldest_time.FromDatetime(NOW - timedelta(hours=2))
    state.newest_time.FromDatetime(NOW - timedelta(minutes=5))
    return state


def answer(answers: Any, *, workers: int = 1, **fields: Any) -> admin_service_pb2.GetResponseCacheResponse:
    total = kept() if workers else worker_pb2.ResponseCacheState()
    found = admin_service_pb2.GetResponseCacheResponse(workers=workers, total=total, **fields)
    answers.by_rpc["GetResponseCache"] = found
    listed = [worker_pb2.Worker(id="plain"), worker_pb2.Worker(id="w", response_cache=kept())]
    answers.by_rpc["ListWorkers"] = worker_service_pb2.ListWorkersResponse(workers=listed[: 1 + workers])
    return found


def test_x7_the_cache_is_shown_with_its_size_age_hit_rate_and_invalidation_and_by_worker(
    headrace_command: Any, answers: Any
) -> None:
    found = answer(answers, invalidate_actor="ann")
    found.invalidate_time.FromDatetime(NOW - timedelta(days=1))
    shown = headrace_command("cache", "show", "--namespace", "n")
    assert (shown.exit_code, answers.requests[0].namespace) == (0, "n")
    assert shown.stdout.splitlines() == [
        "answers     3 on 1 worker, 2.0 KiB",
        "age         5m to 2h",
        "found       5 of 8 (62 %); 2 waited for another job",
        "stored      4, 1 evicted",
        "invalidated 1d ago by ann",
        "",
        "WORKER  KEPT  SIZE     OLDEST  NEWEST  FOUND  ASKED  RATE  STORED  EVICTED",
        "w       3     2.0 KiB  2h      5m      5      8      62 %  4       1",
    ]


def test_a_cache_that_nobody_used_says_so_in_two_lines(headrace_command: Any, answers: Any) -> None:
    answer(answers, workers=0)
    assert headrace_command("cache", "show").stdout.splitlines() == [
        "answers    0 on 0 workers, 0 B",
        "stored     0, 0 evicted",
    ]


def test_the_cache_is_one_document_as_json(headrace_command: Any, answers: Any) -> None:
    answer(answers)
    assert '"hits": "5"' in headrace_command("cache", "show", "-o", "json").stdout


def test_x7_an_invalidation_is_asked_about_and_gives_its_reason(headrace_command: Any, answers: Any) -> None:
    response = admin_service_pb2.InvalidateResponseCacheResponse()
    response.invalidate_time.FromDatetime(NOW)
    answers.by_rpc["InvalidateResponseCache"] = response
    unasked = headrace_command("cache", "invalidate")
    assert (unasked.exit_code, answers.requests) == (2, [])
    assert "--yes" in unasked.output
    done = headrace_command("cache", "invalidate", "--yes", "--reason", "new facts", "--namespace", "n")
    assert done.exit_code == 0
    assert done.stdout.startswith("answers that jobs asked for until ")
    assert (answers.requests[0].namespace, answers.requests[0].reason) == ("n", "new facts")
