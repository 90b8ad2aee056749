"""Kept answers as text: those of one worker in a line, those of all in a few. Pure; the present time comes in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace.cli import amounts
from headrace.cli.describe import tables
from headrace.v1 import admin_service_pb2, worker_pb2

COLUMNS = ("WORKER", "KEPT", "SIZE", "OLDEST", "NEWEST", "FOUND", "ASKED", "RATE", "STORED", "EVICTED")


def cache_summary(cache: worker_pb2.ResponseCacheState, now: datetime) -> str:
    """The answers that a worker keeps: `3 kept, 1.2 KiB, oldest 2h; 5 of 8 found (62 %)`."""
    asked = cache.hits + cache.misses
    found = f"; {cache.hits} of {asked} found ({_rate(cache)})" if asked else ""
    oldest = f", oldest {amounts.age(cache.oldest_time, now)}" if cache.entries else ""
    return f"{cache.entries} kept, {amounts.size(cache.size_bytes)}{oldest}{found}"


def cache_lines(
    cache: admin_service_pb2.GetResponseCacheResponse, workers: Sequence[worker_pb2.Worker], now: datetime
) -> list[str]:
    """What all workers keep together, since when answers count, and a line for each worker that keeps any."""
    total = cache.total
    asked, size = total.hits + total.misses, amounts.size(total.size_bytes)
    by = f" by {cache.invalidate_actor}" if cache.invalidate_actor else ""
    lines = tables.fields(
        {
            "answers": f"{total.entries} on {amounts.plural(cache.workers, 'worker')}, {size}",
            "age": f"{amounts.age(total.newest_time, now)} to {amounts.age(total.oldest_time, now)}"
            if total.entries
            else "",
            "found": f"{total.hits} of {asked} ({_rate(total)}); {total.shared} waited for another job"
            if asked
            else "",
            "stored": f"{total.stores}, {total.evictions} evicted",
            "invalidated": f"{amounts.age(cache.invalidate_time, now)} ago{by}"
            if cache.HasField("invalidate_time")
            else "",
        }
    )
    rows = [_row(worker.id, worker.response_cache, now) for worker in workers if worker.HasField("response_cache")]
    return [*lines, "", *tables.table(COLUMNS, rows)] if rows else lines


def _row(worker: str, cache: worker_pb2.ResponseCacheState, now: datetime) -> tuple[str, ...]:
    return (
        worker,
        str(cache.entries),
        amounts.size(cache.size_bytes),
        amounts.age(cache.oldest_time, now) if cache.entries else "-",
        amounts.age(cache.newest_time, now) if cache.entries else "-",
        str(cache.hits),
        str(cache.hits + cache.misses),
        _rate(cache),
        str(cache.stores),
        str(cache.evictions),
    )


def _rate(cache: worker_pb2.ResponseCacheState) -> str:
    asked = cache.hits + cache.misses
    return f"{100 * cache.hits // asked} %" if asked else "-"
