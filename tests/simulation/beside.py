"""What goes on beside the other actions, with a chance of its own: readers of the feed, slow reads, sweeps.

A seed takes the steps that it took without them, in the same order; these come between.
"""

import asyncio
from random import Random
from typing import Any

from headrace_server.core.ids import parse_job_id
from headrace_server.core.refusal import Refused
from simulation.actions import Action
from simulation.answers import answer
from simulation.clients import UNAVAILABLE, when_answered
from simulation.feed_readers import FEED_READERS_COUNT_MAX, FeedReader, new_feed_reader
from simulation.server import Server
from simulation.violation import hold
from simulation.world import World

READ_ALL = 500
BESIDE_SHARE = 0.25
"""After which part of the other steps one of these is taken."""


def follow_feed(world: World, chance: Random) -> None:
    """One more client wants to know what happens."""
    if len(world.feed_readers) < FEED_READERS_COUNT_MAX:
        world.feed_readers.append(new_feed_reader(world.clock.now(), chance))


def read_feed(world: World, chance: Random) -> None:
    """A reader of the feed reads what is there, or opens its stream, or loses it."""
    if not world.feed_readers:
        return
    reader = chance.choice(world.feed_readers)
    if reader.wire is None:
        _open(world, reader, chance)
    elif chance.random() < 0.15:
        reader.cut(lingers=chance.random() < 0.5)
    else:
        for _ in range(chance.choice((1, 2, 4, READ_ALL, READ_ALL))):
            if reader.has_more():
                reader.read()
                if world.server is not None:
                    world.server.run()
    if world.server is not None:
        world.server.run()


def _open(world: World, reader: FeedReader, chance: Random) -> None:
    if world.server is None:
        return
    inline = world.server.inline
    slow, inline.slow = inline.slow, inline.slow or chance.random() < 0.4
    reader.open(world.server, world.chronicle.position, no_follow=chance.random() < 0.3)
    world.server.run()
    if inline.slow:
        # What it has seen of the store is from before.
        world.commit()
        inline.slow = slow


def slow_reads(world: World, chance: Random) -> None:
    """Whatever reads the store gets its answer only after something else has happened, or no longer so."""
    if world.server is not None:
        world.server.inline.slow = chance.random() < 0.6


def sweep(world: World, chance: Random) -> None:
    """Jobs that ended a while ago begin to be removed, and the output of others."""
    jobs_seconds, output_seconds = chance.choice((15, 60, 1_000_000)), chance.choice((3, 20))
    if world.server is not None:
        task, *_ = begin_sweep(world, world.server, jobs_seconds, output_seconds)
        task.add_done_callback(when_answered(_judge_sweep))
        world.server.run()


def begin_sweep(
    world: World, server: Server, jobs_seconds: float, output_seconds: float
) -> "tuple[asyncio.Task[Any], set[str], set[str]]":
    """Begins to remove jobs that ended so long ago, and output; says which jobs have to go, and of which the output."""
    jobs, outputs = (_ended_before(world, seconds) for seconds in (jobs_seconds, output_seconds))
    world.clients.told.deleting.update(jobs)
    with world.engine.reading() as connection:
        kept = {bytes(job_id) for (job_id,) in connection.rows("SELECT job_id FROM session_snapshots")}
    jobs = {job_id for job_id in jobs if parse_job_id(job_id) not in kept}
    world.retention.kept_seconds = min(world.retention.kept_seconds, output_seconds)
    return server.call(server.retention(jobs_seconds, output_seconds).sweep()), jobs, outputs


def _ended_before(world: World, seconds: float) -> set[str]:
    ended_by = world.retention.ended_by(seconds)
    return {one.id for one in world.chronicle.jobs.values() if 0 < one.row.ended <= ended_by}


def _judge_sweep(answer: Any) -> None:
    unavailable = isinstance(answer, Refused) and answer.refusal.reason in UNAVAILABLE
    hold(answer is None or unavailable, "E8", f"a sweep ends with {answer}")


BESIDE: dict[str, tuple[Action, float]] = {
    "follow_feed": (follow_feed, 1.5),
    "read_feed": (read_feed, 8),
    "slow_reads": (slow_reads, 1.5),
    "sweep": (sweep, 1.0),
}
"""With how often each is taken."""
ANSWERING_SHARE = 0.08
ANSWERING: dict[str, tuple[Action, float]] = {"answer": (answer, 1.0)}
"""Drawn apart, so that seeds of before still make the runs that they made."""
