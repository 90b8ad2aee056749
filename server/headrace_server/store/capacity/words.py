"""What is drawn from the words of attempts for capacity domains and for budgets, each word once and in order."""

from headrace_server.store.capacity import domains, reservations
from headrace_server.store.ledger import Ledger


def note_words(ledger: Ledger) -> None:
    """Draws it from what was recorded since it was last done."""
    words, ledger.attempt_words = ledger.attempt_words, []
    for word in words:
        domains.note(ledger, word)
        reservations.note(ledger, word)
