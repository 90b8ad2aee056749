"""What follows the end of leases: what the attempts asked and were told is over, what they held is free, tokens come
back, shares are charged (X3, Q2, Q3, Q4)."""

from headrace_server.store.attempts.commands import drop_commands
from headrace_server.store.attempts.inputs import close_inputs
from headrace_server.store.capacity.words import note_words
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_limits import look_at_freed
from headrace_server.store.queueing.rate_buckets import refund_releases
from headrace_server.store.queueing.shares import charge_shares


def account(ledger: Ledger) -> None:
    """Keeps account of the leases that have ended in this transaction. Called before slots are given out, and before
    the commit."""
    if ledger.silenced:
        close_inputs(ledger, ledger.silenced)
        drop_commands(ledger, ledger.silenced)
        ledger.silenced.clear()
    look_at_freed(ledger)
    refund_releases(ledger)
    charge_shares(ledger)
    note_words(ledger)
