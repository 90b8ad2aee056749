"""The latest checkpoint of each job's handler: one row a job, replaced, handed to the next attempt (R6)."""

from headrace_server.store.engine import Connection
from headrace_server.store.ledger import Ledger


def keep_checkpoint(ledger: Ledger, row: int, value: bytes) -> None:
    """Replaces the checkpoint of a job; `value` is a `google.protobuf.Value`."""
    ledger.insert(
        "checkpoints", ("job", "body"), [(row, value)], "ON CONFLICT (job) DO UPDATE SET body = excluded.body"
    )


def checkpoint_of(ledger: Ledger, row: int) -> bytes | None:
    """The checkpoint of a job, or None."""
    found = ledger.look_up("SELECT body FROM checkpoints WHERE job = ?", (row,))
    return bytes(found[0][0]) if found else None


def read_checkpoint(connection: Connection, row: int) -> bytes | None:
    """The same, outside of a transaction."""
    found = connection.rows("SELECT body FROM checkpoints WHERE job = ?", (row,))
    return bytes(found[0][0]) if found else None


def remove_checkpoint(ledger: Ledger, row: int) -> None:
    """Removes the checkpoint of a job that is deleted."""
    ledger.run("DELETE FROM checkpoints WHERE job = ?", (row,))
