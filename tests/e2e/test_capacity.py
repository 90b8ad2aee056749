"""Usage limits and budgets with the real programs: who waits, who is stopped, and what it says (X5, X6, Q8)."""

import json
from collections.abc import Callable
from typing import Any

from e2e.control_plane import ControlPlane, wait_for
from headrace import blocking, claude
from headrace.v1 import capacity_pb2, event_pb2, job_pb2, outcome_pb2

StartControlPlane = Callable[..., ControlPlane]
RESET_SECONDS = 4


def script(*steps: dict[str, Any]) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


def domain(client: blocking.Client) -> capacity_pb2.CapacityDomain:
    return next(one for one in client.capacity.list() if one.name == "default/default")


def causes(client: blocking.Client, job: blocking.Job) -> list[int]:
    return [reason.cause for reason in job.explain().wait_reasons]


def test_x5_a_usage_limit_is_met_by_one_job_and_waited_for_by_all_the_others(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated", "--workers", "4")
    with plane.connect() as client:
        limit = {"fault": "api_error", "kind": "quota", "resets_in_seconds": RESET_SECONDS}
        first = client.submit(claude(script(limit)))
        closed = wait_for(lambda: [one for one in client.capacity.list() if one.until_time.seconds], "closed")[0]
        assert (closed.state, closed.cause) == (capacity_pb2.CAPACITY_STATE_CLOSED, capacity_pb2.CAPACITY_CAUSE_QUOTA)
        jobs = [client.submit(claude(script({"text": "done"}))) for _ in range(20)]
        assert causes(client, jobs[-1])[0] == job_pb2.WAIT_CAUSE_CAPACITY_DOMAIN
        first.cancel()
        results = [job.result() for job in jobs]
        assert all(one.text == "done" for one in results)
        assert domain(client).state == capacity_pb2.CAPACITY_STATE_OPEN
        begun = sorted(job.get().attempts[0].assign_time.ToNanoseconds() for job in jobs)
        assert begun[0] >= closed.until_time.ToNanoseconds()
        assert begun[0] < begun[1], "the first one tried alone"
        assert all(job.get().attempt_count == 1 for job in jobs)
        assert first.get().failure_count == 0


def test_x6_a_budget_stops_who_passes_it_and_keeps_the_next_one_waiting(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated", "--workers", "2")
    with plane.connect() as client:
        client.budgets.set(period="total", max_tokens=1000)
        much = {"text": "a lot", "usage": {"output_tokens": 2000}, "tools": [_sleep(60)]}
        passing = client.submit(claude(script(much, {"text": "never"}), allowed_tools=["Bash"]))
        wait_for(lambda: passing.get().HasField("failure"), "stopped")
        failure = passing.get().failure
        assert (failure.failure_class, failure.sign) == (outcome_pb2.FAILURE_CLASS_BUDGET, "budget")
        assert [one.mark for one in _reached(passing)] == [event_pb2.BUDGET_MARK_WARNING, event_pb2.BUDGET_MARK_LIMIT]
        assert {(one.max_tokens, one.used_tokens >= 2000) for one in _reached(passing)} == {(1000, True)}
        (budget,) = client.budgets.list()
        assert budget.spent_tokens >= 2000
        assert budget.left_tokens < 0
        waiting = client.submit(claude(script({"text": "done"})))
        wait_for(lambda: job_pb2.WAIT_CAUSE_BUDGET in causes(client, waiting), "waits for the budget")
        client.budgets.set(period="total", max_tokens=1_000_000)
        assert waiting.result().text == "done"


def test_x6_the_cli_ends_a_turn_that_costs_more_than_was_reserved(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated", "--workers", "2")
    with plane.connect() as client:
        client.budgets.set("ann", period="total", max_cost_usd=0.5, reservation_usd=0.02)
        dear = {"text": "dear", "usage": {"output_tokens": 10_000}, "tools": [_sleep(0)]}
        failing = client.submit(claude(script(dear, {"text": "never"}), allowed_tools=["Bash"]), owner="ann")
        wait_for(lambda: failing.get().HasField("failure"), "failed")
        failure = failing.get().failure
        assert failure.failure_class == outcome_pb2.FAILURE_CLASS_BUDGET
        (reached,) = _reached(failing)
        assert (reached.mark, reached.owner) == (event_pb2.BUDGET_MARK_RESERVATION, "ann")
        assert reached.reserved_usd_micros == 20_000
        (budget,) = client.budgets.list("ann")
        assert budget.spent_usd_micros == failing.get().usage.cost_usd_micros > 20_000
        assert budget.reserved_usd_micros == 0


def _reached(job: blocking.Job) -> list[event_pb2.BudgetReached]:
    events = [event for event in job.events() if isinstance(event, event_pb2.Event)]
    return [event.budget_reached for event in events if event.HasField("budget_reached")]


def _sleep(seconds: int) -> dict[str, Any]:
    return {"name": "Bash", "input": {"command": f"sleep {seconds}"}}
