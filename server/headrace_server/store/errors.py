"""What can go wrong with a store as a whole. Towards a caller each is a refusal; what is behind it goes into the
log."""

from headrace_server.core.refusal import Reason, Refusal, Refused

RETRY_SECONDS = 1.0
FULL_RETRY_SECONDS = 30.0


class StoreUnavailable(Refused):
    """The store can't commit or read; nothing of what was asked has happened."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            Refusal(Reason.STORE_UNAVAILABLE, "the store can't be used just now", retry_after_seconds=RETRY_SECONDS)
        )
        self.detail = detail

    def __str__(self) -> str:
        return self.detail


class StoreFull(StoreUnavailable):
    """The disk has no room; nothing of what was asked has happened."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(
            Reason.DISK_FULL, "the disk of the store is full", retry_after_seconds=FULL_RETRY_SECONDS
        )


class StoreBusy(Refused):
    """More writes wait than the store takes; nothing of what was asked has happened."""

    def __init__(self, waiting_count: int) -> None:
        message = f"{waiting_count} writes wait for the store, which is its limit"
        super().__init__(Refusal(Reason.STORE_BUSY, message, retry_after_seconds=RETRY_SECONDS))


class DataInUse(Exception):
    """Another control plane has the data."""


class ForeignData(Exception):
    """What is there is not ours, is damaged, or is newer than this software."""
