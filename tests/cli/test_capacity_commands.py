"""`headrace capacity` and `headrace budget`: what they ask, and what they print."""

from __future__ import annotations

import json
from typing import Any

import pytest

from headrace.v1 import admin_service_pb2, capacity_pb2

CLOSED = capacity_pb2.CapacityDomain(
    name="default/opus",
    state=capacity_pb2.CAPACITY_STATE_CLOSED,
    cause=capacity_pb2.CAPACITY_CAUSE_AUTH,
    reason="the credential is refused",
    running=2,
    waiting=198,
    max_concurrency=4,
)
OPEN = capacity_pb2.CapacityDomain(name="default/haiku", state=capacity_pb2.CAPACITY_STATE_OPEN)
BUDGET = capacity_pb2.Budget(
    owner="ann",
    period=capacity_pb2.BUDGET_PERIOD_DAY,
    max_cost_usd_micros=10_000_000,
    spent_usd_micros=2_500_000,
    reserved_usd_micros=1_000_000,
    left_usd_micros=6_500_000,
    spent_tokens=1500,
)


def test_domains_are_listed_with_their_state_and_what_closed_them(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["ListCapacityDomains"] = admin_service_pb2.ListCapacityDomainsResponse(domains=[OPEN, CLOSED])
    header, first, second = headrace_command("capacity", "list").stdout.splitlines()
    assert header.split() == ["NAME", "STATE", "UNTIL", "RUNNING", "WAITING", "CAUSE", "REASON"]
    assert first.split() == ["default/haiku", "OPEN", "0", "0"]
    assert second.split()[:2] == ["default/opus", "CLOSED"]
    assert "somebody opens it  2/4      198      AUTH   the credential is refused" in second
    answers.by_rpc["ListCapacityDomains"] = admin_service_pb2.ListCapacityDomainsResponse()
    assert headrace_command("capacity", "list").stdout == "no capacity domains\n"


def test_a_domain_is_opened_and_closed_with_a_reason_and_for_a_while(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["UpdateCapacityDomain"] = admin_service_pb2.UpdateCapacityDomainResponse(domain=CLOSED)
    said = headrace_command("capacity", "close", "default/opus", "--reason", "costs", "--for", "8h")
    assert (said.exit_code, said.stdout) == (0, "default/opus: CLOSED until somebody opens it\n")
    headrace_command("capacity", "open", "default/opus", "--reason", "a new key")
    closed, opened = answers.requests
    assert (closed.order, closed.reason, closed.duration.seconds) == (
        admin_service_pb2.CAPACITY_ORDER_CLOSE,
        "costs",
        8 * 3600,
    )
    assert (opened.order, opened.HasField("duration")) == (admin_service_pb2.CAPACITY_ORDER_OPEN, False)


def test_a_domain_that_no_job_uses_is_said_to_be_unused(headrace_command: Any, answers: Any) -> None:
    unused = capacity_pb2.CapacityDomain(name="default/*", state=capacity_pb2.CAPACITY_STATE_CLOSED, unused=True)
    answers.by_rpc["UpdateCapacityDomain"] = admin_service_pb2.UpdateCapacityDomainResponse(domain=unused)
    said = headrace_command("capacity", "close", "default/*")
    assert "CLOSED until somebody opens it; no job uses it yet, see `headrace capacity list`" in said.stdout


def test_budgets_are_listed_with_what_is_spent_reserved_and_left(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["ListBudgets"] = admin_service_pb2.ListBudgetsResponse(budgets=[BUDGET])
    header, row = headrace_command("budget", "list", "--owner", "ann").stdout.splitlines()
    assert header.split() == ["OWNER", "PERIOD", "SPENT", "RESERVED", "LEFT", "LIMIT", "TOKENS"]
    assert row.split() == ["ann", "day", "$2.50", "$1.00", "$6.50", "$10.00", "1.5k"]
    assert answers.requests[0].owner == "ann"


def test_a_budget_is_set_for_an_owner_or_the_namespace(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["SetBudget"] = admin_service_pb2.SetBudgetResponse(budget=BUDGET)
    arguments = ("--owner", "ann", "--period", "total", "--usd", "12.5", "--tokens", "1000", "--warn", "0.5")
    said = headrace_command("budget", "set", *arguments, "--reservation", "0.5")
    assert said.exit_code == 0, said.output
    headrace_command("budget", "set", "--usd", "3")
    (owners,), (namespaces,) = [[one.budget] for one in answers.requests]
    assert (owners.owner, owners.period, owners.max_cost_usd_micros, owners.max_tokens) == (
        "ann",
        capacity_pb2.BUDGET_PERIOD_TOTAL,
        12_500_000,
        1000,
    )
    assert (owners.warn_fraction, owners.reservation_usd_micros) == (0.5, 500_000)
    assert (namespaces.owner, namespaces.period) == ("", capacity_pb2.BUDGET_PERIOD_DAY)


def test_deleting_a_budget_says_nothing_but_its_exit_status(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["DeleteBudget"] = admin_service_pb2.DeleteBudgetResponse()
    said = headrace_command("budget", "delete", "--owner", "ann")
    assert (said.exit_code, said.output) == (0, "")
    assert answers.requests[0].period == capacity_pb2.BUDGET_PERIOD_DAY


@pytest.mark.parametrize(
    ("rpc", "answer", "arguments", "field"),
    [
        (
            "UpdateCapacityDomain",
            admin_service_pb2.UpdateCapacityDomainResponse(domain=CLOSED),
            ("capacity", "open", "a/b"),
            "cause",
        ),
        (
            "ListCapacityDomains",
            admin_service_pb2.ListCapacityDomainsResponse(domains=[OPEN]),
            ("capacity", "list"),
            "domains",
        ),
        ("SetBudget", admin_service_pb2.SetBudgetResponse(budget=BUDGET), ("budget", "set", "--usd", "1"), "owner"),
        ("ListBudgets", admin_service_pb2.ListBudgetsResponse(budgets=[BUDGET]), ("budget", "list"), "budgets"),
    ],
)
def test_each_prints_one_json_document(
    headrace_command: Any, answers: Any, rpc: str, answer: Any, arguments: tuple[str, ...], field: str
) -> None:
    answers.by_rpc[rpc] = answer
    assert field in json.loads(headrace_command(*arguments, "-o", "json").stdout)
