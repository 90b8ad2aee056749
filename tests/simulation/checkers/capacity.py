"""X5, X6, I15: no second job into the wall, nothing granted past a budget, everything paid once.

It counts from the logs, with rules of its own; of the tables it reads what is reserved and what is said to be spent.
"""

from dataclasses import dataclass, field
from typing import Any

from headrace.v1 import outcome_pb2
from headrace_server.core.states import LEASED
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh, Known, Logged
from simulation.clients import Told
from simulation.violation import hold

CALL_USD_MICROS_MAX = 20_000
"""What one call of the model costs at most."""
SECOND = 1_000_000
QUOTA_SECONDS = 300
PAUSE_SECONDS = 5
FOR_EVER = 1 << 62
_ENDS = frozenset({"attempt_failed", "attempt_released", "attempt_lost", "attempt_handed_back", "attempt_snoozed"})
_OVER = _ENDS | {"succeeded", "failed", "cancelled"}
_QUOTA = outcome_pb2.FAILURE_CLASS_QUOTA
_SHORT = frozenset({outcome_pb2.FAILURE_CLASS_OVERLOADED, outcome_pb2.FAILURE_CLASS_RATE_LIMITED})
_FOR_OPERATORS = frozenset({outcome_pb2.FAILURE_CLASS_AUTH, outcome_pb2.FAILURE_CLASS_BILLING})

BudgetName = tuple[str, str, int]


def domain_of_spec(model: str) -> str:
    """The domain of a Claude job without a profile."""
    family = next((family for family in ("opus", "sonnet", "haiku") if family in model), model or "default")
    return f"default/{family}"


@dataclass(slots=True)
class _Wall:
    """What is known of a domain: nobody starts before a time, and then one until it is answered."""

    until: int = 0
    tries: dict[str, int] = field(default_factory=dict)
    """Jobs that were granted since, and have not ended: their epoch."""

    def is_up(self, time: int) -> bool:
        return time < self.until


@dataclass
class _Running:
    """An attempt that runs."""

    touched: bool
    """An operator has changed its domain meanwhile."""


class CapacityChecker:
    """Reads every log along."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._walls: dict[str, _Wall] = {}
        self._running: dict[str, dict[str, _Running]] = {}
        """By domain and job."""
        self._audited = 0
        self._budgets: dict[BudgetName, tuple[Any, ...]] = {}
        self._paid: dict[BudgetName, list[int]] = {}
        self._caps: dict[tuple[str, int], int] = {}

    def check_cap(self, job_id: str, epoch: int, cap: int) -> None:
        """When the CLI is started with it."""
        reserved = self._caps.get((job_id, epoch))
        hold(reserved is None or reserved == cap, "I15", f"{job_id} reserves {reserved} and is capped at {cap}")

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        touched = self._touched(connection)
        self._note_answers(fresh)
        for known, logged in fresh.events:
            domain = self._domain(known)
            if domain:
                self._check_event(known, logged, domain, domain in touched)
        self._check_budgets(chronicle, fresh, connection)

    def _domain(self, known: Known) -> str:
        spec = self._told.submits[known.number - 1].spec
        return domain_of_spec(spec.claude.model) if spec.HasField("claude") else ""

    def _touched(self, connection: Connection) -> set[str]:
        """Domains that an operator has changed in this commit: what came before and after that, nobody can tell."""
        found = connection.rows(
            "SELECT number, resource_name, detail FROM audit WHERE resource_type = 'capacity' AND number > ?"
            " ORDER BY number",
            (self._audited,),
        )
        for number, name, _ in found:
            self._audited = number
            self._walls.pop(name, None)
            for running in self._running.get(name, {}).values():
                running.touched = True
        return {name for _, name, _ in found}

    def _note_answers(self, fresh: Fresh) -> None:
        """The service has answered a job that tries: it is open again."""
        for known, logged in fresh.events:
            wall = self._walls.get(self._domain(known))
            said = logged.kind == "output" and logged.event.output.usage.output_tokens > 0
            tries = wall is not None and wall.tries.get(known.id) == logged.event.epoch
            if wall is not None and tries and (said or logged.kind == "succeeded"):
                del self._walls[self._domain(known)]

    def _check_event(self, known: Known, logged: Logged, domain: str, touched: bool) -> None:
        wall, time = self._walls.get(domain), logged.event.time.ToMicroseconds()
        if logged.kind == "attempt_assigned":
            self._running.setdefault(domain, {})[known.id] = _Running(touched)
        if logged.kind == "attempt_assigned" and wall is not None and not touched:
            hold(not wall.is_up(time), "X5", f"{known.id} is granted into the wall of {domain}")
            hold(not wall.tries, "X5", f"{known.id} is granted while {list(wall.tries)} try {domain}")
            wall.tries[known.id] = logged.event.epoch
        elif logged.kind in _OVER:
            tried = wall is not None and wall.tries.pop(known.id, None) is not None
            running = self._running.get(domain, {}).pop(known.id, None)
            failed = logged.event.attempt_failed.failure
            unsure = running is None or running.touched
            if failed.failure_class in _FOR_OPERATORS and not tried:
                # Of one that runs since before a domain was half open nothing is believed that may have been mended.
                touched = touched or unsure or (wall is not None and not wall.is_up(time))
            if logged.kind == "attempt_failed" and not touched:
                self._refused(domain, failed, time, unsure)

    def _refused(self, domain: str, failure: outcome_pb2.Failure, time: int, unsure: bool) -> None:
        """`unsure`: an operator may have closed it meanwhile, and what comes then makes that no longer by itself."""
        kind, asked = failure.failure_class, failure.retry_after.ToMicroseconds()
        if kind not in {_QUOTA} | _SHORT | _FOR_OPERATORS:
            return
        before = self._walls.get(domain, _Wall())
        if kind in _FOR_OPERATORS:
            until = FOR_EVER
        elif kind == _QUOTA:
            until = time + (max(asked, SECOND) if failure.HasField("retry_after") else QUOTA_SECONDS * SECOND)
        else:
            until = time + (asked if before.is_up(time) or unsure else max(asked, PAUSE_SECONDS * SECOND))
        if until > before.until:
            self._walls[domain] = _Wall(until)

    def _check_budgets(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        before = self._budgets
        found = connection.rows(
            "SELECT namespace, owner, period, cost_max, created, day, spent, spent_tokens FROM budgets"
        )
        self._budgets = {(row[0], row[1], row[2]): row[3:] for row in found}
        held = self._check_reservations(chronicle, connection)
        granted = [known for known, logged in fresh.events if logged.kind == "attempt_assigned" and self._domain(known)]
        for name, (cost_max, created, _, spent, tokens) in self._budgets.items():
            known = name in before and before[name][1] == created
            self._check_paid(name, fresh, (spent, tokens), is_new=not known)
            most = max(cost_max, before[name][0]) if known and before[name][0] and cost_max else 0
            owners = [one for one in granted if name[1] in ("", one.row.owner)]
            if most and owners:
                running = [amount for owner, amount in held if name[1] in ("", owner)]
                total, allowed = spent + sum(running), most + CALL_USD_MICROS_MAX * len(running)
                hold(total <= allowed, "I15", f"{total} are spent and reserved of {name}, which has {most}")
        for name in self._paid.keys() - self._budgets.keys():
            del self._paid[name]

    def _check_reservations(self, chronicle: Chronicle, connection: Connection) -> list[tuple[str, int]]:
        """Whose they are, and what each holds."""
        held, found = [], connection.rows("SELECT job, owner, reserved, used FROM reservations")
        jobs = {known.row.row: known for known in chronicle.jobs.values()} if found else {}
        for row, owner, reserved, used in found:
            known = jobs[row]
            hold(known.row.state in LEASED, "I15", f"{known.id} is {known.row.state.name} and reserves {reserved}")
            if (known.id, known.row.epoch) not in self._caps:
                self._caps[known.id, known.row.epoch] = reserved
            held.append((owner, max(reserved, used)))
        return held

    def _check_paid(self, name: BudgetName, fresh: Fresh, spent: tuple[int, int], *, is_new: bool) -> None:
        """Every attempt that has ended since a budget was set is paid once."""
        if is_new or name[2] == 1:
            # When it was set, and when its day began, nobody can tell from within a commit.
            self._paid[name] = list(spent)
            return
        paid = self._paid[name]
        for known, logged in fresh.events:
            if self._domain(known) and name[1] in ("", known.row.owner):
                used = used_by(known, logged)
                paid[0] += used.cost_usd_micros or (used.output_tokens and _listed(known, used, self._told))
                paid[1] += used.output_tokens
        hold(tuple(paid) == spent, "X6", f"{spent} are said to be spent of {name}, and {tuple(paid)} are")


def used_by(known: Known, logged: Logged) -> outcome_pb2.Usage:
    """What an attempt has used that ends with this event."""
    kind: Any = getattr(logged.event, logged.kind) if logged.kind in _OVER else None
    if logged.kind == "attempt_lost":
        said = [
            one.event.output.usage
            for one in known.log
            if one.kind == "output"
            and one.event.output.HasField("usage")
            and one.event.epoch == logged.event.epoch
            and one.event.sequence < logged.event.sequence
        ]
        return said[-1] if said else outcome_pb2.Usage()
    if kind is None or logged.kind in ("attempt_released", "failed"):
        return outcome_pb2.Usage()
    usage: outcome_pb2.Usage = kind.usage
    return usage


def _listed(known: Known, used: outcome_pb2.Usage, told: Told) -> int:
    """By the list of prices: what a million tokens of output cost in dollars."""
    model = told.submits[known.number - 1].spec.claude.model
    return used.output_tokens * (15 if "sonnet" in model else 25)
