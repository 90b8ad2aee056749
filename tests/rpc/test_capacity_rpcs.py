"""How operators see, open and close capacity domains, and set budgets: the servicer on a real store, with its checks;
and what a job that waits for them is told (X5, X6, Q8)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import admin_service_pb2 as pb
from headrace.v1 import capacity_pb2, event_pb2, job_pb2, outcome_pb2
from headrace_server.core.budgets import next_day
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId
from headrace_server.core.job import Usage
from headrace_server.core.refusal import Reason
from headrace_server.rpc.admin_service import AdminService
from headrace_server.rpc.messages.job_view import get_snapshot, reasons
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.capacity import budgets as store_budgets
from headrace_server.store.codec import time_of
from headrace_server.store.records.audit import list_audit
from rpc.calling import Calls
from store.driving import HOME, NAMESPACE, capabilities, claude_spec, failure, new_job, offer

NOBODY: Any = None
DOLLAR = 1_000_000


class Edge(Calls):
    """A store with the servicer in front of it, and a worker."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.registry = Registry(30.0)
        self.serve(AdminService(self.bench.store, watching=NOBODY, registry=self.registry))
        self.registry.connect(ControlLane(HOME, "c", 8, capabilities()))

    def domains(self) -> dict[str, capacity_pb2.CapacityDomain]:
        found = self.call("list_capacity_domains", pb.ListCapacityDomainsRequest()).domains
        return {domain.name: domain for domain in found}

    def order(self, order: "pb.CapacityOrder", name: str = "default/default", **more: Any) -> None:
        self.call("update_capacity_domain", pb.UpdateCapacityDomainRequest(name=name, order=order, **more))

    def set_budget(self, **fields: Any) -> capacity_pb2.Budget:
        budget = capacity_pb2.Budget(**({"period": capacity_pb2.BUDGET_PERIOD_TOTAL} | fields))
        made: capacity_pb2.Budget = self.call("set_budget", pb.SetBudgetRequest(budget=budget)).budget
        return made

    def budgets(self, **fields: Any) -> list[capacity_pb2.Budget]:
        return list(self.call("list_budgets", pb.ListBudgetsRequest(**fields)).budgets)

    def told(self, job_id: JobId) -> list[tuple[int, str, int]]:
        """Cause, message, and seconds until it ends."""
        snapshot = self.bench.run(get_snapshot(self.bench.store, NAMESPACE, job_id, with_attempts=False))
        now = self.bench.clock.now()
        return [
            (one.cause, one.message, (time_of(one.until_time) - now) // SECOND if one.HasField("until_time") else 0)
            for one in reasons(snapshot, self.registry)
            if one.cause in (job_pb2.WAIT_CAUSE_CAPACITY_DOMAIN, job_pb2.WAIT_CAUSE_BUDGET, job_pb2.WAIT_CAUSE_TIME)
        ]

    def audited(self, kind: str) -> list[tuple[str, str, str]]:
        entries = self.bench.read(list_audit, NAMESPACE, kind, "", 0, 20)
        return [(entry.action, entry.resource_name, entry.detail) for entry in reversed(entries)]


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path / "data")
    yield edge
    edge.bench.close()


def submit(edge: Edge, count: int, **changes: Any) -> list[JobId]:
    return [job.id for job in edge.bench.submit(*[new_job(spec=claude_spec(), **changes) for _ in range(count)])]


def refuse(edge: Edge, job_id: JobId, kind: FailureClass, retry_after: float | None = None) -> None:
    lease = edge.bench.assign(job_id)
    edge.bench.finish(lease, failed=failure(kind, retry_after))


def test_x5_a_closed_domain_is_seen_with_its_reason_its_time_and_how_many_wait(edge: Edge) -> None:
    first, *others = submit(edge, 5)
    refuse(edge, first, FailureClass.QUOTA, 3600)
    (domain,) = edge.domains().values()
    assert (domain.state, domain.cause) == (capacity_pb2.CAPACITY_STATE_CLOSED, capacity_pb2.CAPACITY_CAUSE_QUOTA)
    assert (domain.reason, domain.running, domain.waiting) == ("it broke", 0, 4)
    assert time_of(domain.until_time) == edge.bench.clock.now() + 3600 * SECOND
    message = "capacity domain default/default is closed (QUOTA): it broke"
    assert edge.told(others[0]) == [(job_pb2.WAIT_CAUSE_CAPACITY_DOMAIN, message, 3600)]
    assert edge.told(first) == [(job_pb2.WAIT_CAUSE_TIME, "waits for the reset of a usage limit", 3600)]


def test_q8_the_job_that_tries_is_named_to_those_that_wait_for_it(edge: Edge) -> None:
    first, *others = submit(edge, 3)
    refuse(edge, first, FailureClass.QUOTA, 60)
    edge.bench.clock.advance(61)
    assert edge.told(others[1]) == [], "one may start"
    (probe,) = edge.bench.cycle(offer(slots=8)).granted
    waiting = next(job for job in [first, *others] if job != probe.lease.job_id)
    edge.bench.cycle()
    assert [said.split(" is ")[1][:25] for _, said, _ in edge.told(waiting)] == ["half open: job 018bcfe5-6"]
    (domain,) = edge.domains().values()
    assert (domain.state, domain.running) == (capacity_pb2.CAPACITY_STATE_HALF_OPEN, 1)


def test_q8_a_limit_on_what_runs_at_once_is_told_with_its_numbers(edge: Edge) -> None:
    submit(edge, 9)
    granted = edge.bench.cycle(offer(slots=4)).granted
    edge.bench.finish(granted[0].lease, failed=failure(FailureClass.OVERLOADED))
    edge.bench.clock.advance(5)
    (probe,) = edge.bench.cycle(offer(slots=4)).granted
    edge.bench.finish(probe.lease)
    (domain,) = edge.domains().values()
    assert (domain.state, domain.max_concurrency) == (capacity_pb2.CAPACITY_STATE_OPEN, 2)
    waiting = submit(edge, 1)[0]
    message = "capacity domain default/default runs 3/2 jobs, as many as the service takes of late"
    assert edge.told(waiting) == [(job_pb2.WAIT_CAUSE_CAPACITY_DOMAIN, message, 0)]


def test_x5_an_operator_closes_and_opens_with_a_reason_that_is_kept(edge: Edge) -> None:
    edge.order(pb.CAPACITY_ORDER_CLOSE, reason="costs", duration={"seconds": 60})
    edge.order(pb.CAPACITY_ORDER_CLOSE, name="team/opus", reason="for good")
    (waiting,) = submit(edge, 1)
    message = "capacity domain default/default is closed by ada (OPERATOR): costs"
    assert edge.told(waiting) == [(job_pb2.WAIT_CAUSE_CAPACITY_DOMAIN, message, 60)]
    edge.order(pb.CAPACITY_ORDER_OPEN, reason="enough")
    assert edge.domains()["default/default"].state == capacity_pb2.CAPACITY_STATE_HALF_OPEN
    assert not edge.domains()["team/opus"].HasField("until_time")
    assert len(edge.bench.cycle(offer(slots=4)).granted) == 1
    first, second, third = edge.audited("capacity")
    assert first[:2] == ("AdminService.UpdateCapacityDomain", "default/default")
    assert first[2].endswith("; reason: costs")
    assert (second[2], third[2]) == ("closed; reason: for good", "opened; reason: enough")


def test_x5_a_domain_that_is_not_there_is_not_opened_and_those_that_are_there_are_named(edge: Edge) -> None:
    request = pb.UpdateCapacityDomainRequest(name="default/*", order=pb.CAPACITY_ORDER_OPEN)
    refusal = edge.refusal("update_capacity_domain", request)
    assert (refusal.reason, refusal.resource_name) == (Reason.NOT_FOUND, "default/*")
    assert refusal.message.endswith("; there is none yet")
    submit(edge, 1)
    for number in range(10):
        edge.order(pb.CAPACITY_ORDER_CLOSE, name=f"team{number}/opus")
    refusal = edge.refusal("update_capacity_domain", request)
    named = refusal.message.split("; there are ")[1]
    assert named == ", ".join(["default/default", *(f"team{number}/opus" for number in range(9))]) + " …"
    assert edge.domains()["default/default"].state == capacity_pb2.CAPACITY_STATE_OPEN
    assert [detail for _, _, detail in edge.audited("capacity")] == ["closed"] * 10


def test_x5_a_domain_may_be_closed_ahead_of_its_first_job_and_says_that_it_is_unused(edge: Edge) -> None:
    request = pb.UpdateCapacityDomainRequest(name="default/default", order=pb.CAPACITY_ORDER_CLOSE, reason="later")
    closed = edge.call("update_capacity_domain", request).domain
    assert (closed.unused, closed.state) == (True, capacity_pb2.CAPACITY_STATE_CLOSED)
    submit(edge, 1)
    assert not edge.domains()["default/default"].unused
    assert edge.bench.cycle(offer(slots=4)).granted == ()
    edge.order(pb.CAPACITY_ORDER_CLOSE, name="team/opus")
    assert edge.domains()["team/opus"].unused
    edge.order(pb.CAPACITY_ORDER_OPEN, name="team/opus")
    assert set(edge.domains()) == {"default/default"}, "a name that was not meant is gone again"


def test_x5_domains_are_listed_page_by_page(edge: Edge) -> None:
    for name in ("a/opus", "b/opus", "c/opus"):
        edge.order(pb.CAPACITY_ORDER_CLOSE, name=name)
    page = edge.call("list_capacity_domains", pb.ListCapacityDomainsRequest(page_size=2))
    rest = edge.call("list_capacity_domains", pb.ListCapacityDomainsRequest(page_token=page.next_page_token))
    assert [one.name for one in [*page.domains, *rest.domains]] == ["a/opus", "b/opus", "c/opus"]
    assert rest.next_page_token == ""
    token = page.next_page_token
    assert edge.refusal("list_budgets", pb.ListBudgetsRequest(page_token=token)).reason is Reason.INVALID_TOKEN


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        ({}, ["name", "order"]),
        ({"name": "opus", "order": 1}, ["name"]),
        ({"name": "a/b", "order": 9}, ["order"]),
        ({"name": "a/b", "order": 1, "duration": {"seconds": 5}}, ["duration"]),
        ({"name": "a/b", "order": 2, "duration": {"seconds": 40 * 86_400}}, ["duration"]),
    ],
)
def test_a_bad_order_names_its_fields(edge: Edge, fields: dict[str, Any], bad: list[str]) -> None:
    refusal = edge.refusal("update_capacity_domain", pb.UpdateCapacityDomainRequest(**fields))
    assert [violation.field for violation in refusal.violations] == bad


def test_x6_a_budget_is_seen_with_what_is_spent_reserved_and_left(edge: Edge) -> None:
    made = edge.set_budget(max_cost_usd_micros=10 * DOLLAR, max_tokens=1000)
    assert (made.warn_fraction, made.reservation_usd_micros, made.actor) == (0.8, DOLLAR, "ada")
    submit(edge, 2)
    first, second = [one.lease for one in edge.bench.cycle(offer(slots=4)).granted]
    edge.bench.finish(first, usage=Usage(cost_usd_micros=250_000, output_tokens=40))
    edge.bench.append(second, _used(1, 100_000, 7))
    (budget,) = edge.budgets()
    assert (budget.spent_usd_micros, budget.reserved_usd_micros, budget.left_usd_micros) == (250_000, DOLLAR, 8_750_000)
    assert (budget.spent_tokens, budget.running_tokens, budget.left_tokens) == (40, 7, 953)
    assert not budget.HasField("reset_time")


def _used(sequence: int, cost: int, tokens: int) -> event_pb2.Output:
    used = outcome_pb2.Usage(cost_usd_micros=cost, output_tokens=tokens)
    return event_pb2.Output(producer_sequence=sequence, usage=used)


def test_q8_a_job_that_waits_for_a_budget_says_which_and_until_when(edge: Edge) -> None:
    edge.set_budget(owner="me", period=capacity_pb2.BUDGET_PERIOD_DAY, max_cost_usd_micros=DOLLAR)
    assert edge.bench.effects[-1].next_due == next_day(edge.bench.clock.now()), (
        "a cycle is asked for when it begins anew"
    )
    edge.set_budget(max_tokens=5)
    _, waiting = submit(edge, 2)
    (granted,) = edge.bench.cycle(offer(slots=4)).granted
    edge.bench.append(granted.lease, _used(1, 20_000, 5))
    now = edge.bench.clock.now()
    assert edge.told(waiting) == [
        (
            job_pb2.WAIT_CAUSE_BUDGET,
            "the budget of namespace 'default' in total leaves too little: 5 of 5 tokens are used",
            0,
        ),
        (
            job_pb2.WAIT_CAUSE_BUDGET,
            "the budget of owner 'me' by day leaves too little: $0.00 of $1.00 are spent and $1.00 are reserved",
            (next_day(now) - now) // SECOND,
        ),
    ]
    (handler,) = [job.id for job in edge.bench.submit(new_job())]
    assert edge.told(handler) == [], "budgets are about Claude jobs"


def test_x6_setting_it_again_keeps_what_was_spent_and_lets_jobs_go(edge: Edge) -> None:
    edge.set_budget(max_cost_usd_micros=DOLLAR)
    submit(edge, 2)
    (granted,) = edge.bench.cycle(offer(slots=4)).granted
    edge.bench.finish(granted.lease, usage=Usage(cost_usd_micros=DOLLAR))
    assert edge.bench.cycle(offer(slots=4)).granted == ()
    again = edge.set_budget(max_cost_usd_micros=3 * DOLLAR)
    assert (again.spent_usd_micros, again.left_usd_micros) == (DOLLAR, 2 * DOLLAR)
    assert len(edge.bench.cycle(offer(slots=4)).granted) == 1
    assert edge.audited("budget") == [
        ("AdminService.SetBudget", "TOTAL", "$1.00"),
        ("AdminService.SetBudget", "TOTAL", "$1.00 → $3.00"),
    ]


def test_x6_a_deleted_budget_holds_nobody_and_leaves_nothing_reserved(edge: Edge) -> None:
    edge.set_budget(owner="me", max_cost_usd_micros=DOLLAR)
    submit(edge, 3)
    assert len(edge.bench.cycle(offer(slots=4)).granted) == 1
    request = pb.DeleteBudgetRequest(owner="me", period=capacity_pb2.BUDGET_PERIOD_TOTAL)
    edge.call("delete_budget", request)
    assert len(edge.bench.cycle(offer(slots=4)).granted) == 2
    assert edge.budgets() == []
    assert edge.refusal("delete_budget", request).reason is Reason.NOT_FOUND
    assert edge.set_budget(owner="me", max_cost_usd_micros=DOLLAR).reserved_usd_micros == 0


def test_x6_budgets_are_listed_by_owner_page_by_page(edge: Edge) -> None:
    for owner in ("bob", "", "ann"):
        edge.set_budget(owner=owner, max_tokens=5)
        edge.set_budget(owner=owner, max_tokens=5, period=capacity_pb2.BUDGET_PERIOD_DAY)
    page = edge.call("list_budgets", pb.ListBudgetsRequest(page_size=3))
    rest = edge.call("list_budgets", pb.ListBudgetsRequest(page_token=page.next_page_token))
    assert [(one.owner, one.period) for one in [*page.budgets, *rest.budgets]] == [
        (owner, period) for owner in ("", "ann", "bob") for period in (1, 2)
    ]
    assert len(edge.budgets(owner="bob")) == 2
    assert edge.budgets(namespace="other") == []


def test_x6_there_is_a_bound_on_budgets(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace_server.store.capacity.control.BUDGETS_COUNT_MAX", 1)
    edge.set_budget(owner="ann", max_tokens=5)
    edge.set_budget(owner="ann", max_tokens=6)
    bob = capacity_pb2.Budget(owner="bob", max_tokens=5, period=capacity_pb2.BUDGET_PERIOD_DAY)
    assert edge.refusal("set_budget", pb.SetBudgetRequest(budget=bob)).reason is Reason.INVALID_FIELD
    assert store_budgets.BUDGETS_COUNT_MAX == 1000


@pytest.mark.parametrize(
    ("fields", "bad"),
    [
        (None, ["budget"]),
        ({}, ["budget.period", "budget.max_cost_usd_micros"]),
        ({"period": 1, "max_cost_usd_micros": 5}, ["budget.max_cost_usd_micros"]),
        ({"period": 7, "max_tokens": -1}, ["budget.period", "budget.max_tokens"]),
        ({"period": 1, "max_tokens": 1, "warn_fraction": 1.5}, ["budget.warn_fraction"]),
        ({"period": 1, "max_tokens": 1, "reservation_usd_micros": 9}, ["budget.reservation_usd_micros"]),
    ],
)
def test_a_bad_budget_names_its_fields(edge: Edge, fields: dict[str, Any] | None, bad: list[str]) -> None:
    request = pb.SetBudgetRequest() if fields is None else pb.SetBudgetRequest(budget=capacity_pb2.Budget(**fields))
    refusal = edge.refusal("set_budget", request)
    assert [violation.field for violation in refusal.violations] == bad


def test_l2_a_lease_of_before_pays_nothing_twice(edge: Edge) -> None:
    edge.set_budget(max_cost_usd_micros=DOLLAR)
    submit(edge, 1)
    lease: Lease = edge.bench.cycle(offer(slots=1)).granted[0].lease
    for _ in range(3):
        edge.bench.finish(lease, usage=Usage(cost_usd_micros=10))
    assert edge.budgets()[0].spent_usd_micros == 10
