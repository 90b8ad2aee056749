"""Jobs whose time has come: promoted, expired, ended, or told to end (C3, R1, R6). What is due is `core.deadlines`'."""

from headrace_server.core import facts
from headrace_server.core.deadlines import Due, due
from headrace_server.core.failures import TimeoutKind
from headrace_server.core.ids import Micros
from headrace_server.core.job import Job
from headrace_server.store import rows
from headrace_server.store.attempts.inputs import expire
from headrace_server.store.attempts.leases import expire_hold
from headrace_server.store.attempts.timeouts import WHAT_PASSED, timeout_failure
from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger
from headrace_server.store.sessions.bindings import free_turn, wait_longer, waits_for

LOOKED_AT_COUNT_MAX = 1000
"""Jobs that one cycle looks at; what is left is due in the next."""


def look_at_due(ledger: Ledger) -> None:
    """Does with each job whose time has come what is to be done."""
    found = ledger.query(
        f"{rows.SELECT} WHERE wake > 0 AND wake <= ? ORDER BY wake LIMIT ?", (ledger.now, LOOKED_AT_COUNT_MAX)
    )
    for job in ledger.adopt(found):
        what = due(job, ledger.now)
        if what is None:
            ledger.look_again(job)
        else:
            _act(ledger, job, *what)


def has_silence_limits(connection: Connection) -> bool:
    """Whether an attempt runs that may not be silent for too long."""
    return bool(connection.rows("SELECT 1 FROM jobs WHERE state IN (4, 5, 6, 7) AND silence > 0 LIMIT 1"))


def listen_anew(ledger: Ledger) -> None:
    """Silence counts from now on: while this process was not there, nobody could have heard anything (L5)."""
    for job in ledger.adopt(ledger.query(f"{rows.SELECT} WHERE state IN (4, 5, 6, 7) AND silence > 0")):
        ledger.note_life(job)


def next_due(ledger: Ledger) -> Micros | None:
    """When the next job has to be looked at."""
    found = ledger.query("SELECT min(wake) FROM jobs WHERE wake > 0")[0][0]
    return None if found is None else Micros(found)


def _act(ledger: Ledger, job: Job, what: Due, kind: TimeoutKind | None) -> None:
    if what is Due.PROMOTE:
        holder, until = waits_for(ledger, job)
        ledger.record(job, facts.Queued(facts.QueuedCause.DUE, until, "" if holder == job.holder else holder))
        free_turn(ledger, job)
    elif what is Due.GIVE_UP_HOLDER:
        if not wait_longer(ledger, job):
            expire_hold(ledger, job)
    elif what is Due.EXPIRE_INPUT:
        expire(ledger, job)
    else:
        assert kind is not None, "a timeout without its kind"
        if what is Due.EXPIRE:
            ledger.record(job, facts.Expired(timeout_failure(kind)))
        elif what is Due.END:
            ledger.record(job, facts.Failed(timeout_failure(kind)))
        else:
            ledger.record(job, facts.TimedOut(kind, WHAT_PASSED[kind]))
