"""Drains of workers that a person or service asked for: kept until they are undone, over restarts of both sides (Q7).

What a worker wants of itself, because it was told to stop, is not kept here.
"""

from dataclasses import dataclass

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.engine import Connection, Row
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import record_audit

ACTION = "WorkerService.DrainWorker"
_SELECT = "SELECT actor, time, return_time, exits FROM worker_drains"


@dataclass(frozen=True, slots=True)
class WorkerDrain:
    """Why a worker gets no more work."""

    actor: str
    time: Micros
    return_time: Micros
    """When what still runs is to be returned; zero when it runs to its end."""
    exits: bool
    """It is to exit once it is empty."""


def drain_worker(ledger: Ledger, worker: str, actor: str, grace: int | None, *, exits: bool) -> WorkerDrain | Refusal:
    """Drains a worker; `grace` in microseconds, None for no end. A drained one is drained anew."""
    if not _is_known(ledger, worker):
        return not_found(worker)
    drain = WorkerDrain(actor, ledger.now, Micros(0 if grace is None else ledger.now + grace), exits)
    ledger.insert(
        "worker_drains",
        ("worker", "actor", "time", "return_time", "exits"),
        [(worker, drain.actor, drain.time, drain.return_time, int(exits))],
        "ON CONFLICT (worker) DO UPDATE SET actor = excluded.actor, time = excluded.time,"
        " return_time = excluded.return_time, exits = excluded.exits",
    )
    what = "exit" if exits else "drain"
    until = "" if grace is None else f", what runs is returned after {grace / SECOND:g} s"
    record_audit(ledger, actor, ACTION, "", "worker", worker, what + until)
    return drain


def end_drain(ledger: Ledger, worker: str, actor: str) -> Refusal | None:
    """Undoes a drain, if there is one."""
    if not _is_known(ledger, worker):
        return not_found(worker)
    if drain_of(ledger, worker) is not None:
        ledger.run("DELETE FROM worker_drains WHERE worker = ?", (worker,))
        record_audit(ledger, actor, ACTION, "", "worker", worker, "run")
    return None


def not_found(worker: str) -> Refusal:
    """There is no such worker."""
    return Refusal(Reason.NOT_FOUND, f"there is no worker {worker!r}", "headrace.v1.Worker", worker)


def drain_of(ledger: Ledger, worker: str) -> WorkerDrain | None:
    """The drain of a worker, or None."""
    found = ledger.look_up(f"{_SELECT} WHERE worker = ?", (worker,))
    return _drain(found[0]) if found else None


def read_drain(connection: Connection, worker: str) -> WorkerDrain | None:
    """The drain of a worker, or None; outside of a transaction."""
    found = connection.rows(f"{_SELECT} WHERE worker = ?", (worker,))
    return _drain(found[0]) if found else None


def return_due(ledger: Ledger, worker: str) -> bool:
    """Whether what a worker still runs is to be returned by now."""
    drain = drain_of(ledger, worker)
    return drain is not None and 0 < drain.return_time <= ledger.now


def _is_known(ledger: Ledger, worker: str) -> bool:
    return bool(ledger.look_up("SELECT 1 FROM workers WHERE worker = ?", (worker,)))


def _drain(row: Row) -> WorkerDrain:
    actor, time, return_time, exits = row
    return WorkerDrain(str(actor), Micros(int(time)), Micros(int(return_time)), bool(exits))
