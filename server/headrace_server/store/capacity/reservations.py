"""What Claude jobs that workers hold have reserved of budgets, and have used (X6, I15): one row for each, gone with its
lease.

So reservations are exact after a crash, and what an attempt used is paid once: in the transaction that ends it.
"""

from collections.abc import Iterable

from headrace_server.core import prices
from headrace_server.core.budgets import Budget, is_passed, tokens_of
from headrace_server.core.capacity import family_of_domain
from headrace_server.core.job import Job, Usage
from headrace_server.store.capacity.budgets import budgets, covering, pay, spendings
from headrace_server.store.capacity.domains import domain_of
from headrace_server.store.capacity.marks import Used, tell_stop, tell_warnings
from headrace_server.store.engine import in_list
from headrace_server.store.ledger import AttemptWord, Ledger

_COLUMNS = ("job", "namespace", "owner", "reserved", "used", "used_tokens", "stopped")
_CLAUDE_GROUPS = "(SELECT ready_group FROM ready_groups WHERE namespace = ? AND domain <> '')"


def reserve(ledger: Ledger, job: Job, usd_micros: int) -> None:
    """Reserves for a job that was just granted; zero where no limit in dollars covers it."""
    ledger.insert("reservations", _COLUMNS, [(job.row, job.namespace, job.owner, usd_micros, 0, 0, 0)])


def note(ledger: Ledger, word: AttemptWord) -> None:
    """Draws from what happened to an attempt what it has used, and what of it is to be paid."""
    if not budgets(ledger):
        return
    job = word.job
    paid = covering(ledger, job.namespace, job.owner)
    domain = domain_of(ledger, job) if paid else ""
    if domain and word.after is not word.before:
        used = _difference(word.after, word.before)
        pay(ledger, paid, prices.cost_usd_micros(used, family_of_domain(domain)), tokens_of(used))
    if word.is_over:
        _drop(ledger, job)
    elif domain and word.after is word.before:
        _use(ledger, job, paid, prices.cost_usd_micros(word.so_far, family_of_domain(domain)), tokens_of(word.so_far))


def note_end(ledger: Ledger, job: Job, usage: Usage, own_max_usd_micros: int | None) -> None:
    """Has the log of an attempt that is about to end by its worker's word say what that makes of budgets: its end comes
    last. `own_max_usd_micros` of one that its CLI has ended for what it cost: its job's own limit, else None."""
    paid = covering(ledger, job.namespace, job.owner)
    domain = domain_of(ledger, job) if paid else ""
    if not domain:
        return
    usd_micros = prices.cost_usd_micros(usage, family_of_domain(domain))
    reserved, stopped = _keep(ledger, job, usd_micros, tokens_of(usage))
    used = _used(ledger, job, paid)
    tell_warnings(ledger, job, used, usd_micros)
    if own_max_usd_micros is not None and reserved not in (0, own_max_usd_micros) and not stopped:
        tell_stop(ledger, job, used, usd_micros, reserved)


def is_stopped(ledger: Ledger, job: Job) -> bool:
    """Whether the attempt of a job has to end for what it has used."""
    return bool(stopped_of(ledger, [job]))


def stopped_of(ledger: Ledger, jobs: Iterable[Job]) -> frozenset[int]:
    """Those of some jobs whose attempts have to end for what they have used, by row."""
    wanted = [job.row for job in jobs] if budgets(ledger) else []
    if not wanted:
        return frozenset()
    marks, values = in_list(wanted)
    found = ledger.look_up(f"SELECT job FROM reservations WHERE stopped > 0 AND job IN ({marks})", values)
    return frozenset(row for (row,) in found)


def drop_uncovered(ledger: Ledger, namespace: str) -> None:
    """Drops what was reserved of budgets that are no more."""
    found = ledger.look_up("SELECT DISTINCT owner FROM reservations WHERE namespace = ?", (namespace,))
    for (owner,) in found:
        if not covering(ledger, namespace, owner):
            ledger.run("DELETE FROM reservations WHERE namespace = ? AND owner = ?", (namespace, owner))


def park_keys(ledger: Ledger, namespace: str, owner: str, until: int) -> None:
    """Has the Claude jobs of an owner not looked at until a time, or until a budget of theirs has changed."""
    ledger.run(
        "UPDATE ready_keys SET parked = ? WHERE namespace = ? AND owner = ? AND ready > 0 AND parked = 0"
        f" AND ready_group IN {_CLAUDE_GROUPS}",
        (until, namespace, owner, namespace),
    )


def open_keys(ledger: Ledger, namespace: str, owner: str) -> None:
    """Has the Claude jobs of an owner looked at again, or with no owner those of the namespace."""
    of_owner = " AND owner = ?" if owner else ""
    ledger.run(
        f"UPDATE ready_keys SET parked = 0 WHERE parked > 0 AND namespace = ?{of_owner}"
        f" AND ready_group IN {_CLAUDE_GROUPS}",
        (namespace, *([owner] if owner else []), namespace),
    )
    ledger.effects.freed = True


def _use(ledger: Ledger, job: Job, paid: list[Budget], usd_micros: int, tokens: int) -> None:
    """Keeps what an attempt has used so far, and stops it when that is more than it may."""
    reserved, stopped = _keep(ledger, job, usd_micros, tokens)
    used = _used(ledger, job, paid)
    tell_warnings(ledger, job, used, usd_micros)
    if not stopped and ((reserved and usd_micros > reserved) or any(is_passed(*one) for one in used)):
        ledger.run("UPDATE reservations SET stopped = 1 WHERE job = ?", (job.row,))
        ledger.stopped.append(job)
        tell_stop(ledger, job, used, usd_micros, reserved)


def _keep(ledger: Ledger, job: Job, usd_micros: int, tokens: int) -> tuple[int, bool]:
    """Keeps it; returns what is reserved for the attempt, and whether it is stopped."""
    found = ledger.look_up("SELECT reserved, stopped FROM reservations WHERE job = ?", (job.row,))
    if not found:
        # It was granted before there was a budget.
        reserve(ledger, job, 0)
    ledger.run("UPDATE reservations SET used = ?, used_tokens = ? WHERE job = ?", (usd_micros, tokens, job.row))
    return (int(found[0][0]), bool(found[0][1])) if found else (0, False)


def _used(ledger: Ledger, job: Job, paid: list[Budget]) -> Used:
    used = spendings(ledger.look_up, ledger.now, (job.namespace, job.owner))
    return [(budget, used[budget.namespace, budget.owner, budget.period]) for budget in paid]


def _drop(ledger: Ledger, job: Job) -> None:
    ledger.run("DELETE FROM reservations WHERE job = ?", (job.row,))
    if any(budget.namespace == job.namespace for budget in budgets(ledger)):
        # What it had reserved and did not use is there for others.
        open_keys(ledger, job.namespace, job.owner)


def _difference(after: Usage, before: Usage) -> Usage:
    return Usage(
        after.turns - before.turns,
        after.input_tokens - before.input_tokens,
        after.output_tokens - before.output_tokens,
        after.cache_creation_tokens - before.cache_creation_tokens,
        after.cache_read_tokens - before.cache_read_tokens,
        after.cost_usd_micros - before.cost_usd_micros,
        after.api_micros - before.api_micros,
        after.tool_calls - before.tool_calls,
    )
