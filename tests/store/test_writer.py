"""Group commit: who commits together, who fails alone, and when a caller is answered."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from headrace_server.core import facts
from headrace_server.core.lifecycle import IllegalTransition
from headrace_server.core.limits import COMMIT_BATCH_COUNT_MAX, COMMIT_QUEUE_COUNT_MAX
from headrace_server.runtime.cycle import run_cycle
from headrace_server.store.attempts.leases import Disposition
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.effects import Effects
from headrace_server.store.engine import Connection, Engine
from headrace_server.store.errors import StoreBusy, StoreFull, StoreUnavailable
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.jobs.submit import Accepted, NewJob, submit_each
from headrace_server.store.ledger import Ledger
from headrace_server.store.records import reads
from headrace_server.store.store import Store
from manual_clock import ManualClock
from store.checkers import check_store
from store.driving import HOME, NAMESPACE, Bench, chunk, finished, new_job, offer

OpenEngine = Callable[[Path], Engine]


class FaultyEngine:
    """An engine whose transactions can be made to fail, and that says when one is about to commit."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner
        self.exclusive = inner.exclusive
        self.transactions = 0
        self.begin_error: Exception | None = None
        self.commit_error: Exception | None = None
        self.before_commit: Callable[[], object] = lambda: None

    def migrate(self) -> None:
        self._inner.migrate()

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        self.transactions += 1
        if self.begin_error is not None:
            raise self.begin_error
        with self._inner.writing() as connection:
            yield connection
            self.before_commit()
            if self.commit_error is not None:
                raise self.commit_error

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._inner.reading() as connection:
            yield connection

    def close(self) -> None:
        self._inner.close()


class Held:
    """A store whose writer is held inside a transaction, so that what is written meanwhile makes the next group."""

    def __init__(self, store: Store, engine: FaultyEngine, effects: list[Effects]) -> None:
        self.store = store
        self.engine = engine
        self.effects = effects
        self._go = threading.Event()

    async def hold(self) -> None:
        """Holds the writer until it is let go."""
        loop, inside = asyncio.get_running_loop(), asyncio.Event()

        def wait(ledger: Ledger) -> None:
            loop.call_soon_threadsafe(inside.set)
            assert self._go.wait(20)

        self._go.clear()
        self._held = self.store.write(wait)
        await inside.wait()

    async def let_go(self) -> None:
        """Lets it go on; what waits is committed then."""
        self._go.set()
        await self._held

    def submit(self, *news: NewJob) -> "list[asyncio.Future[Any]]":
        """Submits, each by a caller of its own."""
        return [self.store.write_each(submit_each, new, crowd=True) for new in news]

    async def check(self) -> int:
        """Checks the store; returns how many jobs it has."""
        await self.store.read(check_store)
        return int((await self.store.read(lambda connection: connection.rows("SELECT count(*) FROM jobs")))[0][0])


RunHeld = Callable[[Callable[[Held], Coroutine[Any, Any, None]]], None]


@pytest.fixture
def run(open_engine: OpenEngine, tmp_path: Path) -> RunHeld:
    """Runs a test on a store of its own."""

    def run(test: Callable[[Held], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            engine, effects = FaultyEngine(open_engine(tmp_path / "data")), list[Effects]()
            store = Store(engine, ManualClock().now, Random(0), effects.append)
            try:
                await test(Held(store, engine, effects))
            finally:
                await asyncio.get_running_loop().run_in_executor(None, store.close)

        asyncio.run(asyncio.wait_for(main(), 30))

    return run


def test_what_arrives_while_a_transaction_runs_commits_together(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await held.hold()
        waiting = held.submit(*(new_job(f"r{n}") for n in range(100)))
        await held.let_go()
        accepted = await asyncio.gather(*waiting)
        assert held.engine.transactions == 2
        assert [one.job.row for one in accepted] == list(range(1, 101)), "in the order of the callers"
        assert await held.check() == 100

    run(test)


def test_a_group_is_bounded(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await held.hold()
        waiting = held.submit(*(new_job() for _ in range(COMMIT_BATCH_COUNT_MAX + 10)))
        await held.let_go()
        await asyncio.gather(*waiting)
        assert held.engine.transactions == 3

    run(test)


def test_s1_two_callers_with_one_request_id_in_one_group_get_one_job(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await held.hold()
        waiting = held.submit(new_job("r"), new_job("r"), new_job("r"))
        await held.let_go()
        accepted = await asyncio.gather(*waiting)
        assert len({one.job.id for one in accepted}) == 1
        assert sorted(one.deduplicated for one in accepted) == [False, True, True]

    run(test)


def test_a_verb_that_fails_fails_alone_and_the_others_commit(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        def broken(ledger: Ledger) -> None:
            submit_each(ledger, [new_job("broken")])
            raise ValueError("a caller's fault")

        await held.hold()
        good = held.submit(new_job("a"), new_job("b"))
        bad = held.store.write(broken)
        more = held.submit(new_job("c"))
        await held.let_go()
        with pytest.raises(ValueError, match="a caller's fault"):
            await bad
        accepted = await asyncio.gather(*good, *more)
        assert [one.deduplicated for one in accepted] == [False] * 3
        assert await held.check() == 3

    run(test)


def test_a_transition_that_is_not_allowed_fails_its_caller_only(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        (accepted,) = await asyncio.gather(*held.submit(new_job("a")))

        def illegal(ledger: Ledger) -> None:
            job = ledger.job(accepted.job.id)
            assert job is not None
            ledger.record(job, facts.Succeeded(b"", job.usage))

        await held.hold()
        bad, good = held.store.write(illegal), held.submit(new_job("b"))
        await held.let_go()
        with pytest.raises(IllegalTransition):
            await bad
        await asyncio.gather(*good)
        assert await held.check() == 2

    run(test)


def test_a_statement_that_breaks_a_constraint_is_not_taken_for_an_unusable_store(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        twice = "INSERT INTO sequences (name, value) VALUES ('job', 1)"
        with pytest.raises(Exception, match=r"(?i)unique") as caught:
            await held.store.write(lambda ledger: ledger.run(twice))
        assert not isinstance(caught.value, StoreUnavailable)

    run(test)


@pytest.mark.parametrize("error", [StoreUnavailable("injected"), StoreFull("injected")])
def test_a_commit_that_fails_answers_everybody_and_changes_nothing(run: RunHeld, error: StoreUnavailable) -> None:
    async def test(held: Held) -> None:
        await asyncio.gather(*held.submit(new_job("before")))
        before = len(held.effects)
        await held.hold()
        waiting = held.submit(*(new_job(f"r{n}") for n in range(20)))
        count = held.engine.transactions

        def fail_next() -> None:
            held.engine.commit_error = error if held.engine.transactions > count else None

        held.engine.before_commit = fail_next
        await held.let_go()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert answers == [error] * 20
        assert held.engine.transactions == count + 1, "all at once"
        assert await held.check() == 1
        held.engine.before_commit, held.engine.commit_error = lambda: None, None
        assert len(held.effects) == before + 1, "nobody is woken by what did not happen"
        again = await asyncio.gather(*held.submit(*(new_job(f"r{n}") for n in range(20))))
        assert [one.deduplicated for one in again] == [False] * 20
        assert await held.check() == 21

    run(test)


def test_a_transaction_that_can_not_begin_answers_everybody_at_once(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await held.hold()
        waiting = held.submit(*(new_job() for _ in range(20)))
        held.engine.begin_error = StoreUnavailable("locked")
        await held.let_go()
        answers = await asyncio.gather(*waiting, return_exceptions=True)
        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert held.engine.transactions == 2
        held.engine.begin_error = None
        assert await held.check() == 0

    run(test)


def test_a_failed_commit_of_a_leased_job_leaves_no_trace_in_what_follows(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await asyncio.gather(*held.submit(new_job("a")))
        (granted,) = (await held.store.write(lambda ledger: run_cycle(ledger, [offer()], ()))).granted
        word = Word(HOME, finishes=[finished(granted.lease)])
        held.engine.commit_error = StoreUnavailable("injected")
        with pytest.raises(StoreUnavailable):
            await held.store.write_each(hear_each, word)
        held.engine.commit_error = None
        heard = await held.store.write_each(hear_each, word)
        assert [disposition for _, disposition, _ in heard.finished] == [Disposition.ACCEPTED]
        await held.check()

    run(test)


def test_s4_nobody_is_answered_before_the_commit(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        early: list[bool] = []
        waiting: list[asyncio.Future[Any]] = []
        held.engine.before_commit = lambda: early.extend(future.done() for future in waiting)
        await held.hold()
        waiting += held.submit(*(new_job() for _ in range(10)))
        await held.let_go()
        await asyncio.gather(*waiting)
        assert early.count(False) >= 10
        assert True not in early

    run(test)


def test_e1_the_feed_is_woken_after_the_commit_and_before_the_callers(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        order: list[str] = []
        future = held.submit(new_job())[0]
        future.add_done_callback(lambda _: order.append(f"answered after {len(held.effects)}"))
        accepted = await future
        assert order == ["answered after 1"]
        assert held.effects[0].changed == {accepted.job.id}
        assert held.effects[0].queued

    run(test)


def test_too_many_waiting_writes_are_refused_at_once_but_not_those_of_the_control_plane(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await held.hold()
        waiting = [held.store.write(lambda ledger: None) for _ in range(COMMIT_QUEUE_COUNT_MAX - 1)]
        with pytest.raises(StoreBusy):
            held.submit(new_job())
        with pytest.raises(StoreBusy):
            held.store.write(lambda ledger: None)
        own = held.store.write(lambda ledger: "mine", bounded=False)
        word = held.store.write_each(hear_each, Word(HOME))
        await held.let_go()
        assert await own == "mine"
        await asyncio.gather(*waiting, word)
        await asyncio.gather(*held.submit(new_job()))

    run(test)


def test_a_caller_that_went_away_changes_nothing_for_the_others(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await held.hold()
        gone, there = held.submit(new_job("gone"), new_job("there"))
        gone.cancel()
        await held.let_go()
        assert isinstance(await there, Accepted)
        assert await held.check() == 2, "what was asked for is done"

    run(test)


def test_close_commits_what_waits_and_refuses_what_comes(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        waiting = held.submit(*(new_job() for _ in range(50)))
        closing = asyncio.get_running_loop().run_in_executor(None, held.store.close)
        await closing
        assert len(await asyncio.gather(*waiting)) == 50
        with pytest.raises(StoreUnavailable):
            held.submit(new_job())
        held.store.close()

    run(test)


def test_c2_completion_and_cancel_in_one_group_are_decided_by_their_order(run: RunHeld) -> None:
    async def test(held: Held) -> None:
        await asyncio.gather(*held.submit(new_job("a"), new_job("b")))
        cycle = await held.store.write(lambda ledger: run_cycle(ledger, [offer(slots=2)], ()))
        one, two = (granted.lease for granted in cycle.granted)
        await held.hold()
        first = held.store.write_each(hear_each, Word(HOME, finishes=[finished(one)]))
        held.store.write(lambda ledger: cancel(ledger, NAMESPACE, one.job_id, "", "me"))
        held.store.write(lambda ledger: cancel(ledger, NAMESPACE, two.job_id, "", "me"))
        last = held.store.write_each(hear_each, Word(HOME, finishes=[finished(two)]))
        await held.let_go()
        await asyncio.gather(first, last)
        states = []
        for lease in (one, two):
            job = await held.store.read(reads.get_job, NAMESPACE, lease.job_id)
            assert job is not None
            states.append(job.state.name)
        assert states == ["SUCCEEDED", "CANCELLED"]
        await held.check()

    run(test)


def test_what_a_verb_returned_stays_as_it_was_at_its_commit(bench: Bench) -> None:
    bench.welcome()
    lease = bench.running()
    (job,) = bench.welcome(HOME, lease, reattach=True).jobs
    bench.append(lease, chunk(1))
    bench.finish(lease, outputs=1)
    assert (job.state.name, job.producer_sequence) == ("RUNNING", 0)
