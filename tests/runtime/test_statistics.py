"""Statistics of queues: what commits tell, over a time, from memory and from the store, across restarts and nodes."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.placement import Needs
from headrace_server.core.quantiles import quantiles
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.core.states import JobState
from headrace_server.runtime.statistics import Statistics, Window
from headrace_server.store.effects import Effects, Measure
from headrace_server.store.records.statistics import MINUTE, oldest_queued
from headrace_server.store.sqlite import SqliteEngine
from headrace_server.store.store import Store
from manual_clock import ManualClock
from store.driving import NAMESPACE, Bench, new_job

QUEUE = "default"
BEGINNING = Micros(0)


def told(*measured: tuple[Measure, int], queue: str = QUEUE) -> Effects:
    return Effects(measured=[(measure, NAMESPACE, queue, value) for measure, value in measured])


class Counting:
    """Statistics on a store that nothing else writes to."""

    def __init__(self, folder: Path, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self._folder = folder
        self.store = Store(SqliteEngine(folder), self.clock.now, Random(0), lambda effects: None)
        self.statistics = Statistics(self.store, self.clock)

    async def window(self, seconds: float = 300, queue: str = QUEUE, not_before: Micros = BEGINNING) -> Window:
        return await self.statistics.window(NAMESPACE, queue, seconds, not_before)

    async def reopen(self) -> "Counting":
        await self.close()
        return Counting(self._folder, self.clock)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(None, self.store.close)


Scenario = Callable[[Counting], Coroutine[Any, Any, None]]


@pytest.fixture
def counting(tmp_path: Path) -> Callable[[Scenario], None]:
    """Runs a test on statistics that began a day ago."""

    def run(scenario: Scenario) -> None:
        async def main() -> None:
            counting = Counting(tmp_path / "data")
            counting.clock.advance(86_400)
            try:
                await scenario(counting)
            finally:
                await counting.close()

        asyncio.run(asyncio.wait_for(main(), 30))

    return run


def test_each_measure_is_counted_as_itself(counting: Callable[[Scenario], None]) -> None:
    async def scenario(counting: Counting) -> None:
        counting.statistics.committed(
            told(
                (Measure.SUBMITTED, 0),
                (Measure.SUBMITTED, 0),
                (Measure.STARTED, 1000),
                (Measure.STARTED, -1),
                (Measure.ATTEMPT_ENDED, 5000),
                (Measure.ATTEMPT_FAILED, FailureClass.CRASH),
                (Measure.ENDED, JobState.FAILED),
            )
        )
        counting.statistics.committed(told((Measure.SUBMITTED, 0), queue="other"))
        totals = (await counting.window()).totals
        assert (totals.submitted, totals.started) == (2, 2)
        assert sum(totals.waits.values()) == 1
        assert sum(totals.runs.values()) == 1
        assert dict(totals.failed) == {FailureClass.CRASH: 1}
        assert dict(totals.ended) == {JobState.FAILED: 1}

    counting(scenario)


def test_memory_and_store_add_up(counting: Callable[[Scenario], None]) -> None:
    async def scenario(counting: Counting) -> None:
        for expected in range(1, 6):
            counting.statistics.committed(told((Measure.SUBMITTED, 0), (Measure.STARTED, 77)))
            if expected % 2:
                await counting.statistics.write()
            totals = (await counting.window()).totals
            assert (totals.submitted, sum(totals.waits.values())) == (expected, expected)

    counting(scenario)


def test_what_was_written_outlives_a_restart_and_the_window_reaches_back_to_it(tmp_path: Path) -> None:
    async def main() -> None:
        counting = Counting(tmp_path / "data")
        counting.statistics.committed(told((Measure.SUBMITTED, 0)))
        await counting.statistics.write()
        counting.clock.advance(120)
        again = await counting.reopen()
        window = await again.window()
        assert window.totals.submitted == 1
        assert window.begin == counting.clock.now() // MINUTE * MINUTE - 2 * MINUTE
        await again.close()

    asyncio.run(main())


def test_two_nodes_that_write_the_same_minute_add_up(counting: Callable[[Scenario], None]) -> None:
    async def scenario(counting: Counting) -> None:
        other = Statistics(counting.store, counting.clock)
        for statistics in (counting.statistics, other, other):
            statistics.committed(told((Measure.SUBMITTED, 0)))
            await statistics.write()
        assert (await counting.window()).totals.submitted == 3

    counting(scenario)


def test_minutes_before_the_window_do_not_count(counting: Callable[[Scenario], None]) -> None:
    async def scenario(counting: Counting) -> None:
        counting.statistics.committed(told((Measure.SUBMITTED, 0)))
        counting.clock.advance(300)
        assert (await counting.window(300)).totals.submitted == 1
        counting.clock.advance(60)
        counting.statistics.committed(told((Measure.SUBMITTED, 0), (Measure.SUBMITTED, 0)))
        window = await counting.window(300)
        assert window.totals.submitted == 2
        assert 300 <= window.seconds < 360
        assert (await counting.window(3600)).totals.submitted == 3

    counting(scenario)


def test_the_window_is_no_longer_than_the_queue_is_old(counting: Callable[[Scenario], None]) -> None:
    async def scenario(counting: Counting) -> None:
        created = counting.clock.now()
        counting.clock.advance(7)
        window = await counting.window(300, not_before=created)
        assert window.seconds == 7

    counting(scenario)


def test_what_cannot_be_written_is_kept(counting: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(counting: Counting) -> None:
        def refuse(*arguments: Any, **named: Any) -> None:
            raise Refused(Refusal(Reason.STORE_UNAVAILABLE, "no disk"))

        counting.statistics.committed(told((Measure.SUBMITTED, 0)))
        with monkeypatch.context() as patch:
            patch.setattr(counting.store, "write", refuse)
            await counting.statistics.write()
        assert (await counting.window()).totals.submitted == 1
        await counting.statistics.write()
        assert (await counting.window()).totals.submitted == 1

    counting(scenario)


def test_q8_a_queue_that_began_late_has_the_rate_of_the_time_since(counting: Callable[[Scenario], None]) -> None:
    async def scenario(counting: Counting) -> None:
        counting.clock.advance(600 - counting.clock.now() // SECOND % 60)
        counting.statistics.committed(told(*[(Measure.STARTED, 1)] * 6))
        assert counting.statistics.start_rate(NAMESPACE, QUEUE) == pytest.approx(6 / 60), "a minute at least"
        counting.clock.advance(90)
        assert counting.statistics.start_rate(NAMESPACE, QUEUE) == pytest.approx(6 / 90)

    counting(scenario)


def test_the_rate_of_starts_is_over_the_last_minutes(counting: Callable[[Scenario], None]) -> None:
    async def scenario(counting: Counting) -> None:
        statistics = counting.statistics
        assert statistics.start_rate(NAMESPACE, QUEUE) == 0
        for _ in range(300):
            counting.clock.advance(1)
            statistics.committed(told((Measure.STARTED, 5), (Measure.STARTED, -1)))
        assert statistics.start_rate(NAMESPACE, QUEUE) == pytest.approx(2, rel=0.1)
        counting.clock.advance(600)
        assert statistics.start_rate(NAMESPACE, QUEUE) == 0
        await statistics.write()
        assert statistics.start_rate(NAMESPACE, QUEUE) == 0

    counting(scenario)


events = st.lists(
    st.tuples(
        st.sampled_from([Measure.SUBMITTED, Measure.STARTED, Measure.ATTEMPT_ENDED, Measure.ENDED]),
        st.integers(1, 10**9),
        st.integers(0, 40),
        st.booleans(),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=events, asked=st.integers(60, 900))
def test_counts_are_exact_and_quantiles_within_a_tenth(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[Measure, int, int, bool]], asked: int
) -> None:
    async def main() -> None:
        counting = Counting(tmp_path_factory.mktemp("counts"))
        happened: list[tuple[int, Measure, int]] = []
        for measure, drawn, seconds, write in events:
            counting.clock.advance(seconds)
            value = int(JobState.SUCCEEDED) if measure is Measure.ENDED else drawn
            counting.statistics.committed(told((measure, value)))
            happened.append((counting.clock.now(), measure, value))
            if write:
                await counting.statistics.write()
        first = (counting.clock.now() - asked * SECOND) // MINUTE * MINUTE
        within = [(measure, value) for time, measure, value in happened if time >= first]
        counts = Counter(measure for measure, _ in within)
        totals = (await counting.window(asked)).totals
        await counting.close()
        assert (totals.submitted, totals.started) == (counts[Measure.SUBMITTED], counts[Measure.STARTED])
        assert sum(totals.ended.values()) == counts[Measure.ENDED]
        for measure, buckets in ((Measure.STARTED, totals.waits), (Measure.ATTEMPT_ENDED, totals.runs)):
            times = sorted(value for one, value in within if one is measure)
            found = quantiles(buckets)
            assert (found.count if found else 0) == len(times)
            if found is not None:
                for percent, quantile in ((50, found.p50), (90, found.p90), (99, found.p99), (100, found.longest)):
                    true = times[-(-len(times) * percent // 100) - 1]
                    assert true <= quantile <= true * 1.1

    asyncio.run(main())


def measured(bench: Bench) -> list[tuple[Measure, int]]:
    found = [(measure, value) for one in bench.effects for measure, _, _, value in one.measured]
    bench.effects.clear()
    return found


def test_a_wait_is_from_the_submit_to_the_first_start_whatever_came_between(bench: Bench) -> None:
    (job,) = bench.submit()
    bench.clock.advance(2)
    bench.assign(job.id)
    bench.lose()
    bench.clock.advance(3)
    lease = bench.assign(job.id)
    bench.hear(starts=[lease])
    assert measured(bench) == [(Measure.SUBMITTED, 0), (Measure.STARTED, 5 * SECOND)]


def test_a_wait_is_from_the_schedule_time_when_there_is_one(bench: Bench) -> None:
    (job,) = bench.submit(new_job(schedule_time=Micros(bench.clock.now() + 60 * SECOND)))
    bench.clock.advance(64)
    bench.cycle()
    lease = bench.assign(job.id)
    bench.hear(starts=[lease])
    assert measured(bench)[-1] == (Measure.STARTED, 4 * SECOND)


def test_a_run_is_from_the_start_of_its_attempt_and_a_later_start_has_no_wait(bench: Bench) -> None:
    (job,) = bench.submit()
    lease = bench.assign(job.id)
    bench.clock.advance(1)
    bench.hear(starts=[lease])
    bench.clock.advance(7)
    bench.lose()
    again = bench.assign(job.id)
    bench.hear(starts=[again])
    bench.clock.advance(2)
    bench.finish(again)
    assert measured(bench)[1:] == [
        (Measure.STARTED, SECOND),
        (Measure.ATTEMPT_ENDED, 7 * SECOND),
        (Measure.STARTED, -1),
        (Measure.ATTEMPT_ENDED, 2 * SECOND),
        (Measure.ENDED, JobState.SUCCEEDED),
    ]


def test_a_failed_attempt_is_counted_by_class_and_an_unstarted_one_has_no_run(bench: Bench) -> None:
    lease = bench.running()
    bench.fail(lease, FailureClass.INVALID)
    (job,) = bench.submit()
    bench.assign(job.id)
    bench.lose()
    kinds = [(measure, value) for measure, value in measured(bench) if measure is not Measure.SUBMITTED]
    assert kinds == [
        (Measure.STARTED, 0),
        (Measure.ATTEMPT_FAILED, FailureClass.INVALID),
        (Measure.ATTEMPT_ENDED, 0),
        (Measure.ENDED, JobState.FAILED),
    ]


def test_the_oldest_job_that_waits_is_found_by_an_index(bench: Bench) -> None:
    first, second = bench.submit(new_job(needs=Needs("claude")), new_job())
    assert bench.read(oldest_queued, NAMESPACE, QUEUE) == (first.id, first.created)
    bench.cancel(first.id)
    assert bench.read(oldest_queued, NAMESPACE, QUEUE) == (second.id, second.created)
    assert bench.read(oldest_queued, NAMESPACE, "none") is None
    plan = bench.read(
        lambda connection: connection.rows(
            "EXPLAIN QUERY PLAN SELECT id, created FROM jobs WHERE namespace = ? AND queue = ? AND state = 3"
            " ORDER BY job LIMIT 1",
            (NAMESPACE, QUEUE),
        )
    )
    (step,) = plan
    assert "INDEX jobs_queued (" in step[-1]
