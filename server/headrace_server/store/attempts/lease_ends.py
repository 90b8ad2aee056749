"""What follows the end of leases for those that share slots: tokens come back, shares are charged (Q2, Q4)."""

from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.rate_buckets import refund_releases
from headrace_server.store.queueing.shares import charge_shares


def account(ledger: Ledger) -> None:
    """Keeps account of the leases that have ended in this transaction. Called before slots are given out, and before
    the commit."""
    refund_releases(ledger)
    charge_shares(ledger)
