"""What follows the end of a job for others: at once in the transaction that ended it, and for its children in steps.

`settle` is called by the writer once the verbs of a transaction have run, and before it commits.
"""

from headrace_server.core.job import Job
from headrace_server.store.attempts.lease_ends import account
from headrace_server.store.jobs.dependencies import children_wait, note_ended_parents
from headrace_server.store.jobs.unblocking import hand_over_key, tell_some_children
from headrace_server.store.ledger import Ledger
from headrace_server.store.scheduling import firings
from headrace_server.store.sessions.turn_ends import turn_ended

CHILDREN_COUNT_MAX = 250
"""Children that one cycle tells of their parents' ends; the next cycle follows at once."""


def settle(ledger: Ledger) -> None:
    """Draws the consequences of everything that has ended; what ends by that is settled too."""
    account(ledger)
    if not ledger.ended:
        return
    ended: list[Job] = []
    while ledger.ended:
        job = ledger.ended.pop()
        ended.append(job)
        if job.origin.schedule:
            firings.job_ended(ledger, job)
        if job.unique:
            hand_over_key(ledger, job)
        if job.turn is not None:
            turn_ended(ledger, job)
    note_ended_parents(ledger, ended)


def resolve_children(ledger: Ledger) -> None:
    """Tells children of their parents' ends, a bounded number of them, and has the next cycle go on where some are
    left."""
    settle(ledger)
    room = CHILDREN_COUNT_MAX
    while room > 0:
        told = tell_some_children(ledger, room)
        if told is None:
            return
        # A parent without further children counts too: as many as there are may have ended.
        room -= max(told, 1)
        settle(ledger)
    if children_wait(ledger):
        ledger.effects.next_due = ledger.now
