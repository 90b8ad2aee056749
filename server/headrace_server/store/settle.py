"""What follows the end of a job for others, in the transaction that ended it.

Called by the writer once the verbs of a transaction have run, and before it commits.
"""

from headrace_server.store import firings
from headrace_server.store.ledger import Ledger


def settle(ledger: Ledger) -> None:
    """Draws the consequences of everything that has ended; what ends by that is settled too."""
    while ledger.ended:
        job = ledger.ended.pop()
        if job.origin.schedule:
            firings.job_ended(ledger, job)
