"""What can go wrong with a store as a whole. A caller's own fault is a `Refusal`, never one of these."""


class StoreUnavailable(Exception):
    """The store can't commit or read; nothing of what was asked has happened."""


class StoreFull(StoreUnavailable):
    """The disk has no room; nothing of what was asked has happened."""


class StoreBusy(Exception):
    """More writes wait than the store takes; nothing of what was asked has happened."""


class DataInUse(Exception):
    """Another control plane has the data."""


class ForeignData(Exception):
    """What is there is not ours, is damaged, or is newer than this software."""
