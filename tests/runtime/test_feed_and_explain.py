"""Who is woken when a log grows, and what a job is said to wait for (E4, Q8)."""

import asyncio

from headrace.v1 import job_pb2, worker_service_pb2
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.placement import Capabilities, Needs
from headrace_server.core.states import JobState
from headrace_server.runtime.explain import wait_reasons
from headrace_server.runtime.feed import Feed
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.records import reads
from store.driving import HOME, Bench, capabilities, handler_spec, new_job

ONE, TWO = JobId(b"1" * 16), JobId(b"2" * 16)
ECHO = Needs("handler", "echo")


def test_e4_the_followers_of_a_job_are_woken_and_no_others() -> None:
    async def test() -> None:
        feed = Feed()
        with feed.follow(ONE) as first, feed.follow(ONE) as second, feed.follow(TWO) as other:
            feed.wake({ONE})
            assert (first.is_set(), second.is_set(), other.is_set()) == (True, True, False)
            first.clear()
            feed.wake_all()
            assert first.is_set()
            assert other.is_set()
            assert feed.followers_count == 3
        feed.wake({ONE, TWO})
        assert feed.followers_count == 0

    asyncio.run(test())


def test_e4_a_follower_that_leaves_by_an_error_is_forgotten() -> None:
    async def test() -> None:
        feed = Feed()
        try:
            with feed.follow(ONE):
                raise KeyError
        except KeyError:
            pass
        assert feed.followers_count == 0

    asyncio.run(test())


def job(**changes: object) -> Job:
    made = Job(1, ONE, "default", "default", "me", 1, 0, 0, Micros(0), 0)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def registry(*lanes: tuple[Capabilities, int]) -> Registry:
    made = Registry(30.0)
    for number, (able, free) in enumerate(lanes):
        lane = ControlLane(Holder(f"w{number}", "i"), "c", max(free, 1), able)
        if not free:
            lane.leases[Lease(TWO, 1, 1)] = 1
        made.connect(lane)
    return made


def reasons(found: list[job_pb2.WaitReason]) -> list[tuple[int, str]]:
    return [(reason.cause, reason.message) for reason in found]


def test_q8_a_scheduled_job_waits_for_its_time() -> None:
    (reason,) = wait_reasons(job(state=JobState.SCHEDULED, due=Micros(5_000_000)), ECHO, 0, registry())
    assert (reason.cause, reason.until_time.seconds) == (job_pb2.WAIT_CAUSE_TIME, 5)
    assert reason.message == "waits for its schedule time"
    (backoff,) = wait_reasons(job(state=JobState.SCHEDULED, failures=1), ECHO, 0, registry())
    assert backoff.message == "waits for the backoff after a failed attempt"


def test_q8_without_workers_that_is_the_reason() -> None:
    ((cause, message),) = reasons(wait_reasons(job(), ECHO, 1, registry()))
    assert cause == job_pb2.WAIT_CAUSE_NO_WORKER
    assert "headrace work" in message
    broken = registry()
    broken.note_local_fault("it has ended with status 1")
    ((_, message),) = reasons(wait_reasons(job(), ECHO, 1, broken))
    assert message == "no worker is connected, and the local one does not run: it has ended with status 1"


def test_q8_q7_drained_workers_are_named() -> None:
    workers = registry((capabilities(), 1), (capabilities(), 1), (capabilities("other"), 1))
    workers.want("w0", worker_service_pb2.WANTED_WORKER_DRAIN)
    assert wait_reasons(job(), ECHO, 1, workers) == []
    workers.want("w1", worker_service_pb2.WANTED_WORKER_EXIT)
    ((cause, message),) = reasons(wait_reasons(job(), ECHO, 1, workers))
    assert cause == job_pb2.WAIT_CAUSE_NO_FREE_SLOT
    assert message == "the 2 workers that can run it are drained: w0, w1"


def test_q8_what_no_worker_has_is_named() -> None:
    lacking = {
        Needs("handler", "other"): "handler 'other' is not registered on the connected worker",
        Needs("command", "rm"): "program 'rm' is not allowed on the connected worker; allow it with --allow-command",
        Needs("handler", "echo", (("zone", "b"),)): "the labels zone=b are not those of the connected worker",
    }
    able = Capabilities(frozenset({"handler", "command"}), {"zone": "a"}, frozenset({"make"}), frozenset({"echo"}))
    for needs, text in lacking.items():
        found = reasons(wait_reasons(job(), needs, 1, registry((able, 1))))
        assert found == [(job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER, text)]
    ((_, message),) = reasons(wait_reasons(job(), Needs("claude"), 1, registry((able, 1), (able, 1))))
    assert message.startswith("Claude Code is not to be had on any of the 2 connected workers")


def test_q8_full_workers_and_the_jobs_before_it() -> None:
    full, rank = wait_reasons(job(), ECHO, 4, registry((capabilities(), 0), (capabilities("other"), 1)))
    assert (full.cause, rank.cause) == (job_pb2.WAIT_CAUSE_NO_FREE_SLOT, job_pb2.WAIT_CAUSE_RANK)
    assert "3 jobs of queue 'default'" in rank.message


def test_q8_a_job_that_will_start_now_waits_for_nothing() -> None:
    assert wait_reasons(job(), ECHO, 1, registry((capabilities(), 1))) == []
    assert wait_reasons(job(state=JobState.RUNNING), ECHO, 0, registry()) == []


def test_q8_a_job_that_waits_for_its_holder_says_which_and_until_when() -> None:
    (reason,) = wait_reasons(job(holder="w9", due=Micros(7_000_000)), ECHO, 1, registry())
    assert (reason.cause, reason.until_time.seconds) == (job_pb2.WAIT_CAUSE_HOLDER, 7)
    assert reason.message == "worker 'w9' holds the session to resume and is not connected"
    (full,) = wait_reasons(job(holder="w0"), ECHO, 1, registry((capabilities(), 0)))
    assert full.message.endswith("has no room for it")
    assert wait_reasons(job(holder="w0"), ECHO, 1, registry((capabilities(), 1))) == []


def test_q8_positions_count_the_jobs_that_rank_before(bench: Bench) -> None:
    jobs = bench.submit(new_job(), new_job(spec=handler_spec("other")), new_job(priority=1), new_job())
    positions = [bench.read(reads.queue_position, one) for one in jobs]
    assert positions == [2, 3, 1, 4]
    bench.assign(jobs[2].id)
    assert [bench.read(reads.queue_position, bench.job(one.id)) for one in jobs] == [1, 2, 0, 3]


def test_a_newer_stream_replaces_the_older_one() -> None:
    made = Registry(30.0)
    first, second = (ControlLane(HOME, name, 1, capabilities()) for name in ("a", "b"))
    reborn = ControlLane(Holder("w1", "i2"), "c", 1, capabilities())
    for lane in (first, second, reborn):
        made.connect(lane)
    assert first.ended is not None
    assert second.ended is not None
    assert (first.ended.reason.value, second.ended.reason.value) == ("CONNECTION_REPLACED", "STALE_INCARNATION")
    made.disconnect(first)
    assert made.lane("w1") is reborn
    made.disconnect(reborn)
    assert made.lanes() == []
