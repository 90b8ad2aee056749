"""What Claude jobs meet and spend: calls of the model, refusals, operators of capacity domains and budgets.

With a chance of its own, in some seeds only: the others take the steps that they took without.
"""

from random import Random
from typing import Any

from headrace.v1 import admin_service_pb2 as pb
from headrace.v1 import capacity_pb2, job_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.refusal import Reason, Refused
from headrace_server.rpc.admin_service import AdminService
from headrace_server.store.codec import number
from simulation.actions import Action
from simulation.attempts import STARTED, HeldAttempt
from simulation.checkers.capacity import CALL_USD_MICROS_MAX, domain_of_spec
from simulation.clients import UNAVAILABLE, call, is_lost, when_answered
from simulation.ground import Ending
from simulation.policies import OWNERS
from simulation.violation import hold
from simulation.workers import Worker
from simulation.world import World

SPENDING_SHARE = 0.6
"""After which part of the other steps one of these is taken, in a seed that has them."""
SPENDING_EVERY, SPENDING_PLACE = 10, 8
"""Of so many seeds one has them, which is the one at this place, from zero."""
MODELS = ("", "", "opus", "claude-sonnet-5")
LIMITS = (0, 0, 30_000, 300_000)
PERIODS = (capacity_pb2.BUDGET_PERIOD_DAY, *[capacity_pb2.BUDGET_PERIOD_TOTAL] * 2)
BUDGETS = (120_000, 400_000, 2_000_000)
REFUSALS = (
    FailureClass.QUOTA,
    FailureClass.QUOTA,
    FailureClass.OVERLOADED,
    FailureClass.OVERLOADED,
    FailureClass.RATE_LIMITED,
    FailureClass.AUTH,
    FailureClass.BILLING,
)
_MAY = UNAVAILABLE | {Reason.NOT_FOUND}


def submit_claude(world: World, chance: Random) -> None:
    """A client has several Claude jobs at once, some with a limit of their own."""
    if world.server is None:
        return
    for _ in range(chance.randint(1, 4)):
        limit, model, owner = chance.choice(LIMITS), chance.choice(MODELS), chance.choice(OWNERS)

        def spec_of(number: int, limit: int = limit, model: str = model, owner: str = owner) -> job_pb2.JobSpec:
            spec = job_pb2.JobSpec(display_name=str(number), queue="default", owner=owner)
            spec.claude.prompt, spec.claude.model = "hi", model
            if limit:
                spec.claude.limits.max_cost_usd_micros = limit
            return spec

        world.clients.ask_submit(world.server, world.clients.want(spec_of, chance), chance)
    world.server.run()


def use_model(world: World, chance: Random) -> None:
    """Attempts call the model and say what they have used; the CLI ends one that has passed its cap."""
    for worker, attempt in _started(world):
        if chance.random() < 0.7:
            worker.look_at_clock()
            if attempt.phase == STARTED:
                _call(world, worker, attempt, chance)
                _speak(worker, chance)


def refuse(world: World, chance: Random) -> None:
    """The model's service refuses an attempt, or several at once."""
    able = [one for one in _started(world) if not one[1].cancelling]
    kind, retry_after = chance.choice(REFUSALS), chance.choice((0, 3, 20, 60))
    for worker, attempt in chance.sample(able, min(len(able), chance.choice((1, 1, 3)))):
        worker.look_at_clock()
        if attempt.phase == STARTED:
            worker.conclude(attempt, Ending.FAILED, number(kind), retry_after)
            _speak(worker, chance)


def succeed(world: World, chance: Random) -> None:
    """An attempt ends well."""
    able = [one for one in _started(world) if not one[1].endless]
    if able:
        worker, attempt = chance.choice(able)
        worker.look_at_clock()
        if attempt.phase == STARTED:
            worker.conclude(attempt, Ending.SUCCEEDED)
            _speak(worker, chance)


def lose_who_has_spent(world: World, chance: Random) -> None:
    """A worker is gone whose attempts have said what they used."""
    able = [worker for worker, attempt in _started(world) if attempt.used_tokens]
    if able:
        worker = chance.choice(able)
        worker.send_output(chance)
        world.flow(chance)
        worker.kill()


def change_domain(world: World, chance: Random) -> None:
    """An operator opens or closes a domain."""
    order = pb.CAPACITY_ORDER_OPEN if chance.random() < 0.7 else pb.CAPACITY_ORDER_CLOSE
    model = chance.choice(MODELS)
    request = pb.UpdateCapacityDomainRequest(name=domain_of_spec(model), order=order)
    if order == pb.CAPACITY_ORDER_CLOSE:
        request.duration.FromSeconds(chance.choice((5, 40)))
    _ask(world, chance, "update_capacity_domain", request, "X5")


def change_budget(world: World, chance: Random) -> None:
    """A budget is set or deleted, of an owner or of all."""
    owner, period = chance.choice(("", *OWNERS)), chance.choice(PERIODS)
    if chance.random() < 0.2:
        deleted = pb.DeleteBudgetRequest(owner=owner, period=period)
        _ask(world, chance, "delete_budget", deleted, "X6")
        return
    budget = capacity_pb2.Budget(owner=owner, period=period, reservation_usd_micros=100_000)
    if chance.random() < 0.8:
        budget.max_cost_usd_micros = chance.choice(BUDGETS)
    if not budget.max_cost_usd_micros or chance.random() < 0.2:
        budget.max_tokens = chance.choice((500, 5000))
    _ask(world, chance, "set_budget", pb.SetBudgetRequest(budget=budget), "X6")


def lift_all(world: World, chance: Random) -> None:
    """No budget holds anybody any more, and somebody looks after what needs an operator: the end of a run begins.
    What opens by itself has to do so."""
    while world.commit():
        continue
    with world.engine.reading() as connection:
        found = connection.rows("SELECT owner, period FROM budgets")
    open_refused(world, chance)
    for owner, period in found:
        deleted = pb.DeleteBudgetRequest(owner=owner, period=period)
        _ask(world, chance, "delete_budget", deleted, "X6", surely=True)
    while world.commit():
        continue


def open_refused(world: World, chance: Random) -> None:
    """An operator opens the domains that are closed until one does so. A refusal may still be on its way when it is
    done for the first time."""
    with world.engine.reading() as connection:
        found = connection.rows("SELECT name FROM capacity_domains WHERE state = 2 AND until = 0")
    for (name,) in found:
        opened = pb.UpdateCapacityDomainRequest(name=name, order=pb.CAPACITY_ORDER_OPEN)
        _ask(world, chance, "update_capacity_domain", opened, "X5", surely=True)


SPENDING: dict[str, tuple[Action, float]] = {
    "submit_claude": (submit_claude, 4),
    "use_model": (use_model, 8),
    "refuse": (refuse, 2.5),
    "succeed": (succeed, 4),
    "lose_who_has_spent": (lose_who_has_spent, 2.0),
    "change_domain": (change_domain, 1.2),
    "change_budget": (change_budget, 1.5),
}
"""With how often each is taken."""


def _started(world: World) -> list[tuple[Worker, HeldAttempt]]:
    return [
        (worker, attempt)
        for worker in world.awake()
        for attempt in list(worker.attempts.values())
        if attempt.phase == STARTED and attempt.assignment.spec.HasField("claude")
    ]


def _call(world: World, worker: Worker, attempt: HeldAttempt, chance: Random) -> None:
    world.capacity.check_cap(attempt.key.job_id, attempt.key.epoch, attempt.assignment.cost_max_usd_micros)
    attempt.used_usd_micros += chance.randint(0, CALL_USD_MICROS_MAX)
    attempt.used_tokens += chance.randint(1, 300)
    attempt.say_usage()
    caps = (attempt.assignment.cost_max_usd_micros, attempt.assignment.spec.claude.limits.max_cost_usd_micros)
    if any(cap and attempt.used_usd_micros > cap for cap in caps):
        worker.conclude(attempt, Ending.FAILED, number(FailureClass.BUDGET))


def _speak(worker: Worker, chance: Random) -> None:
    if chance.random() < 0.8:
        worker.send_output(chance)
    if chance.random() < 0.8:
        worker.say()


def _ask(world: World, chance: Random, method: str, request: Any, promise: str, *, surely: bool = False) -> None:
    if world.server is None or (not surely and is_lost(chance)):
        return
    admin = AdminService(world.server.inline, None, world.server.registry)  # type: ignore[arg-type]  # nobody watches

    def judge(answer: Any) -> None:
        refused = isinstance(answer, Refused)
        hold(not refused or answer.refusal.reason in _MAY, promise, f"an operator was refused: {answer}")

    world.server.call(getattr(admin, method)(request, call())).add_done_callback(when_answered(judge))
    world.server.run()
