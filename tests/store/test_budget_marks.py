"""What the logs of jobs and the feed say of budgets: a warning once for each period, and each stop (X6)."""

from typing import Any

from core.budgeting import DOLLAR, budget
from headrace.v1 import capacity_pb2, event_pb2, outcome_pb2
from headrace_server.core.budgets import DAY_MICROS, BudgetPeriod
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND
from headrace_server.core.job import Usage
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.attempts.outputs import Batch, append_each
from headrace_server.store.attempts.wanted import wanted_of
from headrace_server.store.attempts.workers import Word, hear_each
from headrace_server.store.capacity.control import set_budget
from headrace_server.store.ledger import Ledger
from store.driving import HOME, NAMESPACE, Bench, OpenStore, claude_spec, failure, finished, new_job, offer

WARNING = event_pb2.BUDGET_MARK_WARNING
RESERVATION = event_pb2.BUDGET_MARK_RESERVATION
LIMIT = event_pb2.BUDGET_MARK_LIMIT


def set_a_budget(bench: Bench, **changes: Any) -> None:
    bench.write(set_budget, budget(**changes), "ann")


def start(bench: Bench, count: int = 1, own_max_usd_micros: int = 0) -> list[Lease]:
    spec = claude_spec()
    spec.claude.limits.max_cost_usd_micros = own_max_usd_micros
    bench.submit(*[new_job(spec=spec) for _ in range(count)])
    bench.clock.advance(0.001)
    leases = [one.lease for one in bench.cycle(offer(slots=count)).granted]
    bench.hear(starts=leases)
    return leases


def used(sequence: int, cost: int = 0, tokens: int = 0) -> event_pb2.Output:
    usage = outcome_pb2.Usage(cost_usd_micros=cost, output_tokens=tokens)
    return event_pb2.Output(producer_sequence=sequence, usage=usage)


def told(bench: Bench, lease: Lease) -> list[event_pb2.BudgetReached]:
    return [event.budget_reached for event in bench.events(lease.job_id) if event.HasField("budget_reached")]


def marks(bench: Bench, lease: Lease) -> list[int]:
    return [one.mark for one in told(bench, lease)]


def test_x6_a_warning_names_the_budget_and_comes_once(reopen: OpenStore) -> None:
    bench = reopen()
    set_a_budget(bench, owner="me", tokens_max=1000, cost_max_usd_micros=0)
    first, second = start(bench, 2)
    bench.append(first, used(1, tokens=700))
    assert told(bench, first) == []
    bench.append(second, used(1, tokens=100))
    assert told(bench, second) == [
        event_pb2.BudgetReached(
            mark=WARNING,
            namespace=NAMESPACE,
            owner="me",
            period=capacity_pb2.BUDGET_PERIOD_TOTAL,
            max_tokens=1000,
            used_tokens=800,
            used_usd_micros=20_000,
            attempt_usd_micros=2_500,
        )
    ]
    bench = reopen()
    bench.append(first, used(2, tokens=750))
    bench.finish(second, outputs=1, usage=Usage(output_tokens=200))
    assert (marks(bench, first), marks(bench, second)) == ([], [WARNING])


def test_x6_a_warning_is_in_the_feed(bench: Bench) -> None:
    set_a_budget(bench)
    (lease,) = start(bench)
    bench.append(lease, used(1, 4 * DOLLAR // 5))
    bench.finish(lease, outputs=1, usage=Usage(cost_usd_micros=4 * DOLLAR))
    kinds = [event.WhichOneof("kind") for event in bench.events(lease.job_id)]
    assert kinds[-2:] == ["budget_reached", "succeeded"], "what an attempt had not told before its end is told, too"
    (event,) = [one for one in bench.events(lease.job_id) if one.HasField("budget_reached")]
    assert event.position > 0
    assert (event.attempt, event.epoch) == (1, lease.epoch)
    assert event.budget_reached.used_usd_micros == 4 * DOLLAR


def test_x6_a_day_s_budget_warns_each_day_and_one_that_is_set_anew_warns_again(bench: Bench) -> None:
    set_a_budget(bench, period=BudgetPeriod.DAY, tokens_max=100, cost_max_usd_micros=0)
    first, second, third = start(bench, 3)
    bench.append(first, used(1, tokens=90))
    bench.finish(first, outputs=1, usage=Usage(output_tokens=90))
    bench.clock.advance(DAY_MICROS / SECOND)
    bench.append(second, used(1, tokens=50))
    assert marks(bench, second) == []
    bench.append(second, used(2, tokens=85))
    assert (marks(bench, first), marks(bench, second)) == ([WARNING], [WARNING])
    set_a_budget(bench, period=BudgetPeriod.DAY, tokens_max=110, cost_max_usd_micros=0)
    bench.append(third, used(1, tokens=5))
    assert marks(bench, third) == [WARNING]


def test_x6_who_is_stopped_since_it_used_what_it_had_reserved_says_so_before_it_ends(bench: Bench) -> None:
    set_a_budget(bench)
    set_a_budget(bench, owner="me", period=BudgetPeriod.DAY, cost_max_usd_micros=3 * DOLLAR)
    (lease,) = start(bench)
    bench.append(lease, used(1, DOLLAR + 7))
    bench.append(lease, used(2, DOLLAR + 9))
    (stop,) = told(bench, lease)
    assert (stop.mark, stop.owner, stop.period) == (RESERVATION, "me", capacity_pb2.BUDGET_PERIOD_DAY)
    assert (stop.max_cost_usd_micros, stop.used_usd_micros) == (3 * DOLLAR, DOLLAR + 7)
    assert (stop.reserved_usd_micros, stop.attempt_usd_micros) == (DOLLAR, DOLLAR + 7)
    (wanted,) = bench.write(wanted_of, HOME)
    assert wanted.job.id == lease.job_id
    bench.finish(lease, outputs=2, usage=Usage(cost_usd_micros=DOLLAR + 9))
    assert marks(bench, lease) == [RESERVATION]


def test_x6_each_budget_that_is_passed_stops_and_says_so(bench: Bench) -> None:
    set_a_budget(bench, tokens_max=100, cost_max_usd_micros=0)
    set_a_budget(bench, owner="me", tokens_max=120, cost_max_usd_micros=0)
    set_a_budget(bench, owner="me", period=BudgetPeriod.DAY, tokens_max=10_000, cost_max_usd_micros=0)
    (lease,) = start(bench)
    bench.append(lease, used(1, tokens=130))
    assert [(one.mark, one.owner) for one in told(bench, lease)] == [
        (WARNING, ""),
        (WARNING, "me"),
        (LIMIT, ""),
        (LIMIT, "me"),
    ]


def test_x6_a_turn_that_its_cli_ends_at_the_cap_of_a_budget_says_which(bench: Bench) -> None:
    set_a_budget(bench)
    (lease,) = start(bench)
    bench.finish(lease, failed=failure(FailureClass.BUDGET), usage=Usage(cost_usd_micros=DOLLAR + 3))
    (stop,) = told(bench, lease)
    assert (stop.mark, stop.attempt_usd_micros, stop.reserved_usd_micros) == (RESERVATION, DOLLAR + 3, DOLLAR)
    kinds = [event.WhichOneof("kind") for event in bench.events(lease.job_id)]
    assert kinds[-3:] == ["budget_reached", "attempt_failed", "failed"]


def test_x6_a_job_that_meets_its_own_limit_blames_no_budget(bench: Bench) -> None:
    set_a_budget(bench)
    (lease,) = start(bench, own_max_usd_micros=DOLLAR // 2)
    bench.finish(lease, failed=failure(FailureClass.BUDGET), usage=Usage(cost_usd_micros=DOLLAR // 2 + 3))
    assert told(bench, lease) == []


def test_x6_use_and_end_in_one_commit_are_told_before_the_end(bench: Bench) -> None:
    set_a_budget(bench, tokens_max=100, cost_max_usd_micros=0)
    (lease,) = start(bench)

    def both(ledger: Ledger) -> None:
        append_each(ledger, [Batch(HOME, lease, [used(1, tokens=90)])])
        hear_each(ledger, [Word(HOME, finishes=[finished(lease, outputs=1, usage=Usage(output_tokens=90))])])

    bench.write(both)
    kinds = [event.WhichOneof("kind") for event in bench.events(lease.job_id)]
    assert kinds[-3:] == ["output", "budget_reached", "succeeded"]


def test_x6_without_a_budget_nothing_is_told(bench: Bench) -> None:
    set_a_budget(bench, owner="bob")
    (lease,) = start(bench)
    bench.append(lease, used(1, 50 * DOLLAR))
    bench.finish(lease, outputs=1, usage=Usage(cost_usd_micros=50 * DOLLAR))
    assert told(bench, lease) == []
