"""Broken variants of what readers of the feed are told, and of what retention takes out of logs."""

from dataclasses import replace
from typing import Any

from headrace.v1 import event_service_pb2 as pb
from headrace_server.core.ids import JobId
from headrace_server.core.states import JobState
from headrace_server.rpc.streams import feed_cursor, feed_stream
from headrace_server.runtime import feed_pages
from headrace_server.store.records import feed_reads, output_expiry
from headrace_server.store.records import log_pages as log_reads

Patches = list[tuple[Any, str, Any]]
"""What is put in place: of what, which attribute, and what instead."""

_read_feed = feed_reads.read_feed
_selection = feed_stream.selection
_cursor = feed_cursor.FeedPlace.cursor
_committed = feed_pages.FeedPages.committed


def feed_hole_not_told() -> Patches:
    """What was removed is left out, and nobody is told."""

    def read_feed(*arguments: Any) -> Any:
        page = _read_feed(*arguments)
        page.holes = ()
        return page

    return [(feed_pages, "read_feed", read_feed)]


def feed_event_repeated() -> Patches:
    """A cursor names the place before the last event."""

    def cursor(place: feed_cursor.FeedPlace) -> str:
        return _cursor(replace(place, position=max(0, place.position - 1)))

    return [(feed_cursor.FeedPlace, "cursor", cursor)]


def feed_sleeps_on() -> Patches:
    """Readers that wait are not woken by a commit."""

    def committed(pages: Any, effects: Any) -> None:
        pages._position = max(pages._position, effects.position)
        if effects.removed:
            _committed(pages, effects)

    return [(feed_pages.FeedPages, "committed", committed)]


def feed_removed_remembered() -> Patches:
    """Pages are kept though something that they hold was removed."""

    def committed(pages: Any, effects: Any) -> None:
        _committed(pages, replace(effects, removed=()))

    return [(feed_pages.FeedPages, "committed", committed)]


def feed_labels_remembered() -> Patches:
    """What is known of a job is never read again."""

    def read_feed(*arguments: Any) -> Any:
        page = _read_feed(*arguments)
        page.jobs = tuple(replace(job, fixed=True) for job in page.jobs)
        return page

    return [(feed_pages, "read_feed", read_feed)]


def feed_restore_not_told() -> Patches:
    """What a reader knew before a restore is taken for true."""

    async def tell(follower: Any) -> None:
        """Nothing."""

    return [(feed_stream._Follower, "_tell_restored", tell)]


def feed_of_all_owners() -> Patches:
    """A reader gets what happens to jobs of others, though it asked for its own."""

    def selection(may_see: Any, namespace: str, scope: Any, filter: str, principal: str) -> Any:
        return _selection(may_see, namespace, pb.FEED_SCOPE_NAMESPACE, filter, principal)

    return [(feed_stream, "selection", selection)]


def feed_position_forgotten() -> Patches:
    """A commit is forgotten that came while the store was read for the last position."""

    async def position(pages: Any) -> int:
        before = pages._position
        pages._position = max(before, await pages._store.read(feed_reads.last_position))
        return int(pages._position)

    return [(feed_pages.FeedPages, "position", position)]


def dropped_output_not_told() -> Patches:
    """A reader of a job goes on behind output that was removed, as if it had never been."""
    return [(log_reads, "_dropped", lambda connection, row: 0)]


def live_output_dropped() -> Patches:
    """Output is removed whether its job has ended or not."""

    def old_outputs(connection: Any, after: int, ended_by: int, count: int) -> Any:
        return [JobId(bytes(found)) for (found,) in connection.rows("SELECT id FROM jobs")], None

    return [(output_expiry, "old_outputs", old_outputs), (output_expiry, "ENDED", frozenset(JobState))]


def old_output_kept() -> Patches:
    """Nobody looks for output of jobs that ended long ago."""
    return [(output_expiry, "old_outputs", lambda *arguments: ([], None))]
