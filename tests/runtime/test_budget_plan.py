"""Budgets in the plan: reserved at dispatch, waited for when spent, stopped when passed, paid once (X6, I15)."""

from typing import Any

import pytest

from core.budgeting import DOLLAR
from core.budgeting import budget as some_budget
from headrace.v1 import event_pb2, outcome_pb2
from headrace_server.core.budgets import DAY_MICROS, Budget, BudgetPeriod, Spending
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId
from headrace_server.core.job import Usage
from headrace_server.core.states import JobState
from headrace_server.core.wanted import StopCause, Wanted
from headrace_server.runtime.cycle import Cycle
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.wanted import wanted_of
from headrace_server.store.attempts.workers import Release
from headrace_server.store.capacity import budgets, reservations
from headrace_server.store.ledger import Ledger
from store.driving import HOME, NAMESPACE, Bench, claude_spec, failure, frame, new_job, offer
from store.scheduling import forbid_reading

MANY = offer(slots=64)


def set_budget(bench: Bench, **changes: Any) -> Budget:
    budget = some_budget(**{"cost_max_usd_micros": 10 * DOLLAR, **changes})

    def store(ledger: Ledger) -> None:
        budgets.store_budget(ledger, budget, "ann")
        reservations.open_keys(ledger, budget.namespace, budget.owner)

    bench.write(store)
    return budget


def spending(bench: Bench, budget: Budget) -> Spending:
    def read(ledger: Ledger) -> Spending:
        row = budgets.read_budget(ledger.look_up, budget.namespace, budget.owner, budget.period, ledger.now)
        assert row is not None
        return row.spending

    return bench.write(read)


def submit(bench: Bench, count: int = 1, limit: int = 0, **changes: Any) -> list[JobId]:
    spec = claude_spec()
    spec.claude.limits.max_cost_usd_micros = limit
    bench.clock.advance(0.001)
    return [job.id for job in bench.submit(*[new_job(spec=spec, **changes) for _ in range(count)])]


def ids(cycle: Cycle) -> list[JobId]:
    return [one.lease.job_id for one in cycle.granted]


def leases(bench: Bench, cycle: Cycle) -> list[Lease]:
    found = [one.lease for one in cycle.granted]
    bench.hear(starts=found)
    return found


def used(sequence: int, cost: int = 0, *, input_tokens: int = 0, output_tokens: int = 0) -> event_pb2.Output:
    usage = outcome_pb2.Usage(cost_usd_micros=cost, input_tokens=input_tokens, output_tokens=output_tokens)
    return event_pb2.Output(producer_sequence=sequence, usage=usage)


def wanted(bench: Bench) -> tuple[Wanted, ...]:
    return bench.write(wanted_of, HOME)


def reserved(cycle: Cycle) -> list[int]:
    return [one.assignment.cost_max_usd_micros for one in cycle.granted]


def test_x6_without_a_budget_nothing_is_reserved(bench: Bench) -> None:
    submit(bench, 2, limit=DOLLAR)
    assert reserved(bench.cycle(MANY)) == [0, 0]


def test_x6_each_job_reserves_its_own_limit_or_the_default_and_the_last_what_is_left(bench: Bench) -> None:
    budget = set_budget(bench, cost_max_usd_micros=4_500_000)
    submit(bench, 1, limit=2 * DOLLAR)
    submit(bench, 4)
    cycle = bench.cycle(MANY)
    assert reserved(cycle) == [2 * DOLLAR, DOLLAR, DOLLAR, DOLLAR // 2]
    assert spending(bench, budget).held_usd_micros == 4_500_000
    assert ids(bench.cycle(MANY)) == []


def test_x6_what_was_reserved_and_not_used_lets_the_next_one_go(bench: Bench) -> None:
    budget = set_budget(bench, cost_max_usd_micros=2 * DOLLAR)
    first, _, third = submit(bench, 3)
    started = leases(bench, bench.cycle(MANY))
    assert [lease.job_id for lease in started] == [first, started[1].job_id]
    bench.finish(started[0], usage=Usage(cost_usd_micros=300_000, output_tokens=10, input_tokens=5))
    assert bench.effects[-1].queued
    assert spending(bench, budget) == Spending(300_000, 15, DOLLAR, 0, 0)
    cycle = bench.cycle(MANY)
    assert (ids(cycle), reserved(cycle)) == ([third], [700_000])


def test_x6_a_spent_budget_of_an_owner_holds_that_owner_only(bench: Bench) -> None:
    set_budget(bench, owner="ann", cost_max_usd_micros=DOLLAR)
    submit(bench, 5, owner="ann")
    bob = submit(bench, 2, owner="bob")
    handler = bench.submit(new_job(owner="ann"))[0].id
    cycle = bench.cycle(MANY)
    assert len(cycle.granted) == 4
    assert set(ids(cycle)[1:]) == {*bob, handler}
    assert ids(bench.cycle(MANY)) == []


def test_x6_keys_of_an_owner_without_a_budget_left_are_not_looked_at(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_budget(bench, owner="ann", cost_max_usd_micros=DOLLAR)
    for key in range(30):
        submit(bench, 2, owner="ann", concurrency_key=f"k{key}")
    assert len(bench.cycle(MANY).granted) == 1
    looked = forbid_reading(monkeypatch)
    assert ids(bench.cycle(MANY)) == []
    assert looked == []


def test_x6_a_spent_budget_of_a_namespace_holds_it_until_more_is_set(bench: Bench) -> None:
    set_budget(bench, cost_max_usd_micros=DOLLAR)
    jobs = submit(bench, 3)
    other = submit(bench, 1, namespace="other")
    assert len(bench.cycle(MANY).granted) == 2
    assert ids(bench.cycle(MANY)) == []
    set_budget(bench, cost_max_usd_micros=3 * DOLLAR)
    assert bench.effects[-1].queued
    assert ids(bench.cycle(MANY)) == jobs[1:]
    assert other


def test_x6_a_budget_by_day_begins_anew_at_midnight_utc(bench: Bench) -> None:
    for owner in ("", "ann"):
        set_budget(bench, owner=owner, period=BudgetPeriod.DAY, cost_max_usd_micros=DOLLAR)
    submit(bench, 2, owner="ann")
    (lease,) = leases(bench, bench.cycle(MANY))
    bench.finish(lease, usage=Usage(cost_usd_micros=DOLLAR))
    cycle = bench.cycle(MANY)
    midnight = (bench.clock.now() // DAY_MICROS + 1) * DAY_MICROS
    assert (ids(cycle), cycle.next_due) == ([], midnight)
    bench.clock.advance((midnight - bench.clock.now()) / SECOND)
    assert len(bench.cycle(MANY).granted) == 1


def test_x6_an_attempt_that_uses_more_than_it_reserved_is_stopped_and_fails_as_budget(bench: Bench) -> None:
    budget = set_budget(bench, cost_max_usd_micros=2 * DOLLAR)
    (job,) = submit(bench, 1)
    (lease,) = leases(bench, bench.cycle(MANY))
    bench.append(lease, used(1, DOLLAR))
    assert wanted(bench) == ()
    bench.append(lease, used(2, DOLLAR + 1))
    assert [(one.job.id, one.cause) for one in bench.effects[-1].stopped] == [(job, StopCause.BUDGET)]
    assert [one.cause for one in wanted(bench)] == [StopCause.BUDGET], "again and again until it is done"
    bench.finish(lease, succeeded=None, usage=Usage(cost_usd_micros=DOLLAR + 1), outputs=2)
    failed = bench.job(job)
    assert failed.state is JobState.FAILED
    assert failed.failure is not None
    assert failed.failure.failure_class is FailureClass.BUDGET
    assert spending(bench, budget) == Spending(DOLLAR + 1)
    assert wanted(bench) == ()


def test_x6_a_result_that_came_before_the_stop_counts(bench: Bench) -> None:
    set_budget(bench)
    (job,) = submit(bench, 1)
    (lease,) = leases(bench, bench.cycle(MANY))
    bench.append(lease, used(1, 2 * DOLLAR))
    bench.finish(lease, usage=Usage(cost_usd_micros=2 * DOLLAR), outputs=1)
    assert bench.job(job).state is JobState.SUCCEEDED


def test_x6_a_limit_in_tokens_stops_whoever_passes_it(bench: Bench) -> None:
    budget = set_budget(bench, cost_max_usd_micros=0, tokens_max=100)
    submit(bench, 3)
    first, second = leases(bench, bench.cycle(offer(slots=2)))
    bench.append(first, used(1, output_tokens=60))
    bench.append(second, used(1, input_tokens=40))
    assert wanted(bench) == ()
    assert ids(bench.cycle(MANY)) == [], "no token is left"
    bench.append(second, used(2, input_tokens=41))
    assert [one.job.id for one in wanted(bench)] == [second.job_id]
    bench.append(first, used(2, output_tokens=61))
    assert len(wanted(bench)) == 2
    bench.finish(second, succeeded=None, usage=Usage(input_tokens=41), outputs=2)
    assert spending(bench, budget).spent_tokens == 41


def test_x6_tokens_without_a_cost_are_paid_by_the_list(bench: Bench) -> None:
    budget = set_budget(bench)
    submit(bench, 1)
    (lease,) = leases(bench, bench.cycle(MANY))
    bench.append(lease, used(1, output_tokens=1000))
    assert spending(bench, budget).used_usd_micros == 25_000
    bench.finish(lease, usage=Usage(output_tokens=1000, cost_usd_micros=7_000), outputs=1)
    assert spending(bench, budget) == Spending(7_000, 1000), "the CLI's own word takes its place"


def test_x6_a_lost_attempt_is_paid_as_far_as_it_was_known_and_once(bench: Bench) -> None:
    budget = set_budget(bench)
    (job,) = submit(bench, 1)
    (lease,) = leases(bench, bench.cycle(MANY))
    bench.append(lease, used(1, 400_000))
    bench.lose()
    assert spending(bench, budget) == Spending(400_000)
    bench.finish(lease, usage=Usage(cost_usd_micros=900_000), outputs=1)
    assert spending(bench, budget) == Spending(400_000), "what comes late changes nothing (L2)"
    (again,) = leases(bench, bench.cycle(MANY))
    bench.finish(again, failed=failure(FailureClass.INVALID), usage=Usage(cost_usd_micros=100_000))
    assert spending(bench, budget) == Spending(500_000)
    assert bench.job(job).usage.cost_usd_micros == 500_000


def test_x6_a_grant_that_goes_back_gives_back_what_it_reserved(bench: Bench) -> None:
    budget = set_budget(bench)
    submit(bench, 1)
    (granted,) = bench.cycle(MANY).granted
    bench.hear(releases=[Release(granted.lease, ReleaseCause.DECLINED, "no")])
    assert spending(bench, budget) == Spending()


def test_x6_what_ran_before_a_budget_was_set_is_paid_and_stopped_with_it(bench: Bench) -> None:
    submit(bench, 1)
    (lease,) = leases(bench, bench.cycle(MANY))
    budget = set_budget(bench, cost_max_usd_micros=DOLLAR)
    bench.append(lease, used(1, DOLLAR))
    assert (spending(bench, budget), wanted(bench)) == (Spending(0, 0, DOLLAR, DOLLAR, 0), ())
    bench.append(lease, used(2, DOLLAR + 1))
    assert len(wanted(bench)) == 1


def test_x6_a_job_that_is_held_by_a_worker_obeys_its_budget_and_hides_nobody(bench: Bench) -> None:
    lease = bench.running(claude_spec(), owner="ann")
    bench.append(lease, frame(1, dirty=True))
    bench.finish(lease, failed=failure(FailureClass.CRASH), outputs=1)
    set_budget(bench, owner="ann", cost_max_usd_micros=0, tokens_max=1)
    held = spending_all(bench)
    assert held == Spending()
    bench.write(lambda ledger: budgets.pay(ledger, budgets.covering(ledger, NAMESPACE, "ann"), 0, 5))
    bench.clock.advance(2)
    assert ids(bench.cycle(MANY)) == []
    bench.write(budgets.remove_budget, NAMESPACE, "ann", BudgetPeriod.TOTAL)
    assert ids(bench.cycle(MANY)) == [lease.job_id]


def spending_all(bench: Bench) -> Spending:
    def read(ledger: Ledger) -> Spending:
        (only,) = budgets.spendings(ledger.look_up, ledger.now).values()
        return only

    return bench.write(read)


def test_i15_reservations_are_those_of_the_jobs_that_workers_hold_also_after_a_restart(bench: Bench) -> None:
    budget = set_budget(bench, cost_max_usd_micros=3 * DOLLAR)
    submit(bench, 6)
    started = leases(bench, bench.cycle(MANY))
    assert len(started) == 3

    def forget(ledger: Ledger) -> None:
        ledger.forget("budgets")

    bench.write(forget)
    assert ids(bench.cycle(MANY)) == []
    bench.lose()
    assert spending(bench, budget) == Spending()
    assert len(bench.cycle(MANY).granted) == 3
