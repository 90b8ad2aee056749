"""Shares of slot time through the real verbs: weights, absences, and nothing left idle (Q2)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import queue_pb2
from headrace_server.core.fairness import FairnessScope
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.placement import Needs
from headrace_server.core.resources import Resources
from headrace_server.runtime.cycle import Granted
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.queueing.queues import create_queue, update_queue
from headrace_server.store.queueing.shares import usages_of
from headrace_server.store.sqlite import SqliteEngine
from store.checkers import check_store
from store.driving import NAMESPACE, Bench, capabilities, handler_spec, new_job, offer

MEMORY = Path("/dev/shm")
OWNER, KEY = queue_pb2.FAIRNESS_SCOPE_OWNER, queue_pb2.FAIRNESS_SCOPE_KEY


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A store without a node around it, in a database that need not wait for a disk."""
    bench = Bench(SqliteEngine(tmp_path / "data"))
    bench.engine._writer.execute("PRAGMA synchronous = OFF")  # type: ignore[attr-defined]  # a test of turns
    yield bench
    bench.read(check_store)
    bench.close()


@dataclass
class Works:
    """A worker with slots, on which jobs run as long as their share says."""

    bench: Bench
    slots: int
    seconds: Callable[[Granted], float]
    queue: str = "q"
    names: dict[JobId, str] = field(default_factory=dict)
    running: list[tuple[float, float, Lease]] = field(default_factory=list)
    """When each ends and began, in seconds since the start."""
    now: float = 0.0
    used: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    """Slot time by share, as a third party sees it."""
    order: list[str] = field(default_factory=list)

    def submit(self, name: str, count: int, **changes: Any) -> None:
        """Jobs of a share; the owner, unless the changes say otherwise."""
        made = [new_job(queue=self.queue, **{"owner": name, **changes}) for _ in range(count)]
        for job in self.bench.submit(*made):
            self.names[job.id] = name

    def run(self, seconds: float) -> None:
        """Lets the worker work for a while, full wherever it can be."""
        end = self.now + seconds
        while True:
            self._fill()
            ends = min((one[0] for one in self.running), default=end)
            if ends > end:
                self._pass(end)
                return
            self._pass(ends)
            over = [one for one in self.running if one[0] <= self.now]
            self.running = [one for one in self.running if one[0] > self.now]
            for _, _, lease in over:
                self.bench.finish(lease)
            if ends >= end:
                return

    def _fill(self) -> None:
        free = self.slots - len(self.running)
        for granted in self.bench.cycle(offer(slots=free)).granted if free else ():
            self.order.append(self.names[granted.lease.job_id])
            self.running.append((self.now + self.seconds(granted), self.now, granted.lease))

    def _pass(self, until: float) -> None:
        for _, _, lease in self.running:
            self.used[self.names[lease.job_id]] += until - self.now
        self.bench.clock.advance(until - self.now)
        self.now = until

    def shares(self) -> dict[str, float]:
        """The part of the slot time that each had."""
        total = sum(self.used.values())
        return {name: used / total for name, used in self.used.items()}


def make(bench: Bench, scope: Any = OWNER, **weights: float) -> None:
    queue = queue_pb2.Queue(name="q", max_queued=1_000_000, fairness={"scope": scope, "weights": weights})
    bench.write(create_queue, NAMESPACE, queue, "tester")


def works(bench: Bench, slots: int = 4, seconds: float = 10.0, **lengths: float) -> Works:
    work = Works(bench, slots, lambda granted: lengths.get(work.names[granted.lease.job_id], seconds))
    return work


def test_q2_slot_time_follows_the_weights_while_all_have_work(bench: Bench) -> None:
    make(bench, ann=1, bob=2, cem=5)
    work = works(bench)
    for name, count in (("ann", 1000), ("bob", 100), ("cem", 100)):
        work.submit(name, count)
    work.run(320)
    assert work.shares() == pytest.approx({"ann": 1 / 8, "bob": 2 / 8, "cem": 5 / 8}, abs=0.05)


def test_q2_a_job_is_charged_for_every_slot_that_it_had(bench: Bench) -> None:
    make(bench)
    needs = Needs("handler", "echo", resources=Resources(slots=3))
    bench.submit(new_job(queue="q", owner="one"), new_job(queue="q", owner="three", needs=needs))
    leases = [granted.lease for granted in bench.cycle(offer(slots=4)).granted]
    bench.clock.advance(10)
    for lease in leases:
        bench.finish(lease)
    usages = bench.read(lambda connection: usages_of(connection.rows, NAMESPACE, "q", FairnessScope.OWNER))
    assert {name: usage.slot_seconds for name, usage in usages.items()} == pytest.approx({"one": 10, "three": 30})


def test_q2_it_is_slot_time_that_is_shared_and_not_the_number_of_jobs(bench: Bench) -> None:
    make(bench)
    work = works(bench, slots=6, long=40.0, short=2.0)
    work.submit("long", 200)
    work.submit("short", 2000)
    work.run(900)
    assert work.shares() == pytest.approx({"long": 0.5, "short": 0.5}, abs=0.05)


def test_q2_one_owner_of_a_thousand_jobs_and_two_of_few(bench: Bench) -> None:
    make(bench)
    work = works(bench, slots=3)
    work.submit("many", 1000)
    work.submit("some", 100)
    work.submit("few", 10)
    work.run(100)
    assert work.shares() == pytest.approx(dict.fromkeys(("many", "some", "few"), 1 / 3), abs=0.05)
    work.run(200)
    assert work.used["few"] == 100, "all of it had its turn"
    assert sum(work.used.values()) == 3 * 300, "no slot was ever idle"


def test_q2_new_weights_apply_to_the_backlog_at_once(bench: Bench) -> None:
    make(bench)
    work = works(bench, slots=4, seconds=5.0)
    work.submit("ann", 500)
    work.submit("bob", 500)
    work.run(100)
    body = queue_pb2.Fairness(scope=OWNER, weights={"ann": 3.0})
    bench.write(update_queue, NAMESPACE, "q", "", lambda queue: queue.fairness.CopyFrom(body), ["fairness"], "tester")
    work.run(200)
    work.used.clear()
    work.run(400)
    assert work.shares() == pytest.approx({"ann": 0.75, "bob": 0.25}, abs=0.05)


def test_q2_one_that_was_away_for_a_week_does_not_take_everything(bench: Bench) -> None:
    make(bench)
    work = works(bench)
    work.submit("here", 30)
    work.submit("away", 3)
    work.run(50)
    bench.clock.advance(7 * 86400)
    work.submit("here", 400)
    work.run(300)
    work.submit("away", 400)
    work.used.clear()
    work.run(300)
    assert work.shares() == pytest.approx({"here": 0.5, "away": 0.5}, abs=0.05)


def test_q2_leaving_for_a_moment_wipes_nothing_out(bench: Bench) -> None:
    make(bench)
    work = works(bench, slots=2)
    work.submit("greedy", 40)
    work.run(200)
    work.submit("modest", 100)
    work.run(20)
    work.submit("greedy", 100)
    work.order.clear()
    work.run(60)
    assert set(work.order) == {"modest"}, "what greedy had before is not forgotten"


def test_q2_a_single_owner_gets_all_slots_in_the_order_of_rank(bench: Bench) -> None:
    make(bench)
    work = works(bench, slots=3)
    ids = [bench.submit(new_job(queue="q", owner="me"))[0].id for _ in range(9)]
    granted = []
    for _ in range(3):
        cycle = bench.cycle(offer(slots=3))
        granted += [one.lease.job_id for one in cycle.granted]
        for one in cycle.granted:
            bench.finish(one.lease)
    assert granted == ids
    assert work.used == {}


def test_q2_shares_may_be_those_of_concurrency_keys(bench: Bench) -> None:
    make(bench, KEY, red=3)
    work = works(bench, slots=4)
    for owner in ("x", "y"):
        for key in ("red", "blue"):
            for spec in (handler_spec("echo"), handler_spec("echo")):
                for job in bench.submit(
                    *(new_job(queue="q", owner=owner, concurrency_key=key, spec=spec) for _ in range(100))
                ):
                    work.names[job.id] = key
    work.run(320)
    assert work.shares() == pytest.approx({"red": 0.75, "blue": 0.25}, abs=0.05)


def test_q2_the_grants_of_one_moment_take_turns(bench: Bench) -> None:
    make(bench, ann=2)
    work = works(bench, slots=9)
    work.submit("ann", 50)
    work.submit("bob", 50)
    work.run(1)
    assert Counter(work.order) == {"ann": 6, "bob": 3}


def test_i4_in_a_fair_queue_every_share_has_its_turn_and_other_queues_too(bench: Bench) -> None:
    make(bench)
    work = works(bench, slots=2, seconds=1.0)
    for number in range(30):
        work.submit(f"o{number}", 3)
    work.submit("plain", 5)
    others = Works(bench, 0, lambda granted: 1.0, "default", work.names)
    others.submit("other", 20)
    work.run(80)
    assert Counter(work.order) == {**{f"o{n}": 3 for n in range(30)}, "plain": 5, "other": 20}


def test_q2_a_share_that_waits_for_another_worker_keeps_its_turn(bench: Bench) -> None:
    """Also while plans are made in which nothing of it can start."""
    make(bench)
    work = works(bench, slots=2, busy=100.0, patient=1.0)
    work.submit("busy", 3, spec=handler_spec("other"))
    work.submit("busy", 9)
    work.submit("patient", 1)
    work.submit("patient", 3, spec=handler_spec("other"))
    work.run(300)
    elsewhere, turns = Holder("w2", "i1"), []
    for _ in range(6):
        (granted,) = bench.cycle(offer(elsewhere, 1, capabilities("other"))).granted
        turns.append(work.names[granted.lease.job_id])
        bench.finish(granted.lease, elsewhere)
    assert turns == ["patient"] * 3 + ["busy"] * 3


def test_q2_shares_that_mean_nothing_any_more_are_forgotten(bench: Bench) -> None:
    make(bench)
    work = works(bench, slots=4, seconds=1.0)
    for number in range(40):
        work.submit(f"o{number}", 1)
    work.submit("stays", 200)
    work.run(60)

    def names(ledger: Any) -> set[str]:
        return set(usages_of(ledger.look_up, NAMESPACE, "q", FairnessScope.OWNER))

    assert bench.write(names) == {"stays"}
    assert Micros(bench.clock.now()) > 0
