"""Capacity domains and budgets in the store: as they were after a restart, untouched by what could not be committed
(X5, X6, I15)."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from core.budgeting import DOLLAR, budget
from headrace.v1 import event_pb2, outcome_pb2
from headrace_server.core.budgets import Budget, BudgetPeriod, Spending
from headrace_server.core.capacity import DomainState
from headrace_server.core.failures import FailureClass
from headrace_server.core.job import Usage
from headrace_server.runtime.cycle import run_cycle
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.wanted import wanted_of
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.capacity import budgets, domains
from headrace_server.store.capacity.control import close_domain, delete_budget, open_domain, set_budget
from headrace_server.store.ledger import Ledger
from store.driving import HOME, NAMESPACE, Bench, OpenStore, claude_spec, failure, finished, frame, new_job, offer

DOMAIN = "default/default"


class Broken(Exception):
    """What ends a transaction of these tests."""


def spending(bench: Bench, of: Budget) -> Spending:
    def read(ledger: Ledger) -> Spending:
        row = budgets.read_budget(ledger.look_up, of.namespace, of.owner, of.period, ledger.now)
        assert row is not None
        return row.spending

    return bench.write(read)


def state(bench: Bench) -> DomainState:
    return bench.write(lambda ledger: domains.read_domain(ledger.look_up, DOMAIN, ledger.now)).state


def start(bench: Bench, count: int) -> list[Lease]:
    bench.submit(*[new_job(spec=claude_spec()) for _ in range(count)])
    bench.clock.advance(0.001)
    leases = [one.lease for one in bench.cycle(offer(slots=count)).granted]
    bench.hear(starts=leases)
    return leases


def used(sequence: int, cost: int, tokens: int = 0) -> event_pb2.Output:
    usage = outcome_pb2.Usage(cost_usd_micros=cost, output_tokens=tokens)
    return event_pb2.Output(producer_sequence=sequence, usage=usage)


def broken(bench: Bench, verb: Callable[[Ledger], Any]) -> None:
    """A transaction that does something and is then rolled back, as by a kill before its commit."""

    def run(ledger: Ledger) -> None:
        verb(ledger)
        ledger.query("SELECT 1")
        raise Broken

    with pytest.raises(Broken):
        bench.write(run)


def test_x5_a_domain_is_as_it_was_after_a_restart(reopen: OpenStore) -> None:
    bench = reopen()
    first, second = start(bench, 2)
    bench.finish(first, failed=failure(FailureClass.QUOTA, 60))
    bench = reopen()
    assert state(bench) is DomainState.CLOSED
    bench.clock.advance(61)
    bench.submit(new_job(spec=claude_spec()))
    assert len(bench.cycle(offer(slots=4)).granted) == 1
    bench = reopen()
    assert bench.cycle(offer(slots=4)).granted == (), "one tries, and one that runs since before says nothing"
    bench.finish(second)
    assert state(bench) is DomainState.HALF_OPEN


def test_x5_a_refusal_that_was_not_committed_closes_nothing(bench: Bench) -> None:
    (lease,) = start(bench, 1)
    word = Word(HOME, finishes=[finished(lease, failed=failure(FailureClass.AUTH))])
    broken(bench, lambda ledger: hear_each(ledger, [word]))
    assert state(bench) is DomainState.OPEN
    bench.finish(lease, failed=failure(FailureClass.AUTH))
    assert state(bench) is DomainState.CLOSED


def test_x6_what_was_not_committed_is_neither_reserved_nor_paid(reopen: OpenStore) -> None:
    bench, of = reopen(), budget()
    bench.write(set_budget, of, "ann")
    bench.clock.advance(1)
    (lease,) = start(bench, 1)
    assert spending(bench, of) == Spending(held_usd_micros=DOLLAR)
    word = Word(HOME, finishes=[finished(lease, usage=Usage(cost_usd_micros=7))])
    for _ in range(3):
        broken(bench, lambda ledger: hear_each(ledger, [word]))
        assert spending(bench, of) == Spending(held_usd_micros=DOLLAR)
        bench = reopen()
    bench.finish(lease, usage=Usage(cost_usd_micros=7))
    bench.finish(lease, usage=Usage(cost_usd_micros=7))
    assert spending(bench, of) == Spending(7)
    bench.submit(new_job(spec=claude_spec()))
    broken(bench, run_one_cycle)
    assert spending(bench, of) == Spending(7)


def run_one_cycle(ledger: Ledger) -> None:
    assert len(run_cycle(ledger, [offer(slots=1)], []).granted) == 1


def test_x6_a_stop_for_what_was_used_is_told_again_after_a_restart(reopen: OpenStore) -> None:
    bench = reopen()
    bench.write(set_budget, budget(), "ann")
    (lease,) = start(bench, 1)
    bench.append(lease, used(1, DOLLAR + 1))
    bench = reopen()
    (wanted,) = bench.write(wanted_of, HOME)
    assert wanted.job.id == lease.job_id


@pytest.mark.parametrize("seed", range(12))
def test_i15_whatever_happens_spending_is_what_the_logs_say(reopen: OpenStore, seed: int) -> None:
    chance, bench = Random(seed), reopen()
    day = budget(period=BudgetPeriod.DAY, tokens_max=400, cost_max_usd_micros=0)
    total, owners = budget(), budget(owner="ann", cost_max_usd_micros=2 * DOLLAR)
    for one in (total, owners, day):
        bench.write(set_budget, one, "ann")
    bench.clock.advance(1)
    leases: dict[Lease, int] = {}
    for _ in range(60):
        bench.clock.advance(chance.choice([0.1, 5.0, 400.0]))
        draw = chance.random()
        if draw < 0.25:
            bench.submit(new_job(spec=claude_spec(), owner=chance.choice(["ann", "bob"])))
        elif draw < 0.45:
            granted = [one.lease for one in bench.cycle(offer(slots=chance.randint(1, 3))).granted]
            bench.hear(starts=granted)
            leases |= dict.fromkeys(granted, 0)
        elif draw < 0.65 and leases:
            lease = chance.choice(list(leases))
            leases[lease] += 1
            bench.append(lease, used(leases[lease], chance.randint(0, DOLLAR), chance.randint(0, 90)))
        elif draw < 0.8 and leases:
            lease = chance.choice(list(leases))
            kind = chance.choice([None, FailureClass.CRASH, FailureClass.INVALID, FailureClass.OVERLOADED])
            usage = Usage(output_tokens=chance.randint(0, 200), cost_usd_micros=chance.choice([0, 300_000]))
            failed = None if kind is None else failure(kind)
            bench.finish(lease, failed=failed, usage=usage, outputs=leases.pop(lease))
        elif draw < 0.85:
            bench.lose()
            leases.clear()
        elif draw < 0.9:
            bench = reopen()
        elif draw < 0.95:
            bench.write(open_domain, DOMAIN, "", "ann")
        else:
            bench.write(close_domain, DOMAIN, "", 3_000_000, "ann")
        for one in (total, owners):
            now = spending(bench, one)
            assert now.held_usd_micros >= now.used_usd_micros
    bench.lose()
    assert spending(bench, total).held_usd_micros == 0


def test_x6_a_deleted_budget_leaves_nothing_behind(bench: Bench) -> None:
    bench.write(set_budget, budget(owner="me"), "ann")
    (lease,) = start(bench, 1)
    assert bench.write(delete_budget, NAMESPACE, "me", BudgetPeriod.TOTAL, "ann") is None
    assert bench.write(lambda ledger: ledger.look_up("SELECT count(*) FROM reservations")) == [(0,)]
    bench.append(lease, frame(1))
    bench.finish(lease, outputs=1, usage=Usage(cost_usd_micros=9))
