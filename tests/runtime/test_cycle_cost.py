"""What a cycle costs: statements and steps of the database's machine, not time. What waits behind a limit costs
nothing, and of many keys only those are read whose turn comes (Q3, I4)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from headrace.v1 import queue_pb2
from headrace_server.core.placement import Offer
from headrace_server.store.queueing import ready
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.sqlite import SqliteEngine
from runtime.test_limits import make, per_second, submit
from store.driving import NAMESPACE, Bench, claude_spec, new_job, offer

STEPS_EACH = 50
"""Instructions of SQLite's machine between two calls of the counter."""


@dataclass
class Cost:
    """Of what was run meanwhile."""

    statements: list[str] = field(default_factory=list)
    steps: int = 0
    """Of each statement, up to STEPS_EACH of earlier runs may be counted now."""

    @property
    def steps_max(self) -> int:
        """What as many statements count at most, when they take as many steps."""
        return self.steps + STEPS_EACH * len(self.statements)

    def of(self, part: str) -> int:
        """How many statements have some text."""
        return sum(part in statement for statement in self.statements)


@contextmanager
def counting(bench: Bench) -> Iterator[Cost]:
    """Counts what the writing connection does."""
    assert isinstance(bench.engine, SqliteEngine)
    raw: Any = bench.engine._writer
    cost = Cost()

    def step() -> int:
        cost.steps += STEPS_EACH
        return 0

    raw.set_trace_callback(cost.statements.append)
    raw.set_progress_handler(step, STEPS_EACH)
    yield cost
    raw.set_trace_callback(None)
    raw.set_progress_handler(None, 0)


def counted(read: list[int], window: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
    """The window, noting how many jobs are read."""

    def noting(*arguments: Any) -> Sequence[Any]:
        found = window(*arguments)
        read.append(len(found))
        return found

    return noting


def cost_of_cycle(bench: Bench, *offers: Offer) -> tuple[Cost, int]:
    """What one cycle costs, and how many jobs it grants."""
    with counting(bench) as cost:
        granted = len(bench.cycle(*offers).granted)
    return cost, granted


@pytest.mark.parametrize(
    "policy", [{"max_concurrency_per_key": 1}, {"rate_limit_per_key": per_second(1)}, {"max_concurrency": 1}]
)
def test_i4_jobs_behind_a_limit_cost_nothing(bench: Bench, policy: dict[str, Any]) -> None:
    make(bench, **policy)
    submit(bench, "a", count=10)
    bench.cycle(offer(slots=9))
    bench.cycle(offer(slots=9))
    few, granted = cost_of_cycle(bench, offer(slots=9))
    assert granted == 0
    for _ in range(20):
        submit(bench, "a", count=1000)
    many, granted = cost_of_cycle(bench, offer(slots=9))
    assert granted == 0
    assert many.steps <= few.steps_max
    assert len(many.statements) == len(few.statements)
    assert many.of("FROM jobs WHERE jobs.key") == 0, "no job is looked at"


def test_i4_keys_behind_limits_cost_nothing(bench: Bench) -> None:
    make(bench, max_concurrency_per_key=1)
    bench.submit(*(new_job(queue="q", concurrency_key=f"k{n % 40}") for n in range(80)))
    while bench.cycle(offer(slots=200)).granted:
        pass
    few, _ = cost_of_cycle(bench, offer(slots=200))
    for start in range(0, 2000, 500):
        bench.submit(*(new_job(queue="q", concurrency_key=f"m{n % 500 + start}") for n in range(1000)))
    while bench.cycle(offer(slots=200)).granted:
        pass
    many, granted = cost_of_cycle(bench, offer(slots=200))
    assert granted == 0
    assert len(many.statements) == len(few.statements)
    assert many.steps <= few.steps_max


def test_a_submit_into_a_full_queue_costs_few_statements_a_cycle(bench: Bench) -> None:
    make(bench, max_concurrency=1)
    submit(bench, count=500)
    bench.cycle(offer(slots=9))
    submit(bench)
    cost, _ = cost_of_cycle(bench, offer(slots=9))
    assert len(cost.statements) <= 12, cost.statements


def test_of_a_thousand_keys_only_those_are_read_whose_turn_comes(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    monkeypatch.setattr(ready, "window", counted(read, ready.window))
    bench.submit(*(new_job(owner=f"o{number}") for number in range(1000) for _ in range(3)))
    cost, granted = cost_of_cycle(bench, offer(slots=10))
    assert granted == 10
    assert len(read) <= 12
    assert sum(read) <= 40
    assert cost.of("FROM ready_keys WHERE ready_group") <= 3


def test_one_key_is_read_with_one_statement_however_much_it_has(bench: Bench) -> None:
    submit(bench, queue="default", count=1000)
    cost, granted = cost_of_cycle(bench, offer(slots=128))
    assert granted == 128
    assert cost.of("FROM jobs WHERE jobs.key") == 1
    assert cost.of("FROM job_specs") == 1


def test_no_more_of_a_key_is_read_than_its_limits_let_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    make(bench, max_concurrency_per_key=2)
    submit(bench, "a", count=300)
    read: list[int] = []
    monkeypatch.setattr(ready, "window", counted(read, ready.window))
    assert cost_of_cycle(bench, offer(slots=100))[1] == 2
    assert sum(read) == 2


def test_of_a_thousand_shares_only_those_are_read_whose_turn_comes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(bench, fairness={"scope": queue_pb2.FAIRNESS_SCOPE_OWNER})
    bench.submit(*(new_job(queue="q", owner=f"o{number}") for number in range(1000) for _ in range(2)))
    bench.cycle(offer(slots=1))
    read: list[int] = []
    monkeypatch.setattr(ready, "window", counted(read, ready.window))
    cost, granted = cost_of_cycle(bench, offer(slots=10))
    assert granted == 10
    assert sum(read) <= 40
    assert len(cost.statements) <= 120


def test_of_a_share_with_very_many_keys_only_the_first_are_read(bench: Bench) -> None:
    make(bench, fairness={"scope": queue_pb2.FAIRNESS_SCOPE_OWNER}, max_concurrency_per_key=1)
    bench.submit(*(new_job(queue="q", owner="ann", concurrency_key=f"k{number}") for number in range(200)))
    bench.submit(new_job(queue="q", owner="bob"))
    bench.cycle(offer(slots=1))
    few, _ = cost_of_cycle(bench, offer(slots=4))
    bench.submit(*(new_job(queue="q", owner="ann", concurrency_key=f"m{number}") for number in range(5000)))
    bench.cycle(offer(slots=1))
    many, granted = cost_of_cycle(bench, offer(slots=4))
    assert granted == 4
    assert len(many.statements) <= len(few.statements) + 2
    assert many.steps <= few.steps * 1.5


def test_heads_that_were_too_low_are_put_right_once(bench: Bench) -> None:
    bench.submit(*(new_job(owner=f"o{n % 30}") for n in range(60)))
    bench.cycle(offer(slots=30))
    bench.cycle(offer(slots=1))
    cost, granted = cost_of_cycle(bench, offer(slots=1))
    assert granted == 1
    assert cost.of("FROM jobs WHERE jobs.key") <= 2


def test_every_look_of_a_plan_has_its_index(bench: Bench) -> None:
    for name, scope in (("fair", queue_pb2.FAIRNESS_SCOPE_OWNER), ("keyed", queue_pb2.FAIRNESS_SCOPE_KEY)):
        policy = queue_pb2.Queue(name=name, max_concurrency_per_key=2, rate_limit_per_key=per_second(9, burst=9))
        policy.fairness.scope = scope
        bench.write(create_queue, NAMESPACE, policy, "tester")
        submit(bench, "a", queue=name, count=5)
    for owner in ("ann", "bob"):
        submit(bench, "b", queue="default", owner=owner, count=40)
        for folder in ("/a", "/b"):
            submit(bench, queue="default", owner=owner, count=2, spec=claude_spec(), folder=folder)
    with counting(bench) as cost:
        bench.cycle(offer(slots=12))
        bench.cycle(offer(slots=90))
    assert isinstance(bench.engine, SqliteEngine)
    raw: Any = bench.engine._writer
    scans = []
    for statement in set(cost.statements):
        if statement.lstrip().startswith(("SELECT", "UPDATE", "DELETE")):
            for row in raw.execute(f"EXPLAIN QUERY PLAN {statement}"):
                if row[3].startswith("SCAN") and "CONSTANT" not in row[3] and "INDEX" not in row[3]:
                    scans.append((row[3], statement))
    assert not [one for one in scans if "jobs" in one[0] or "ready_keys" in one[0]], scans
