"""What a run of the simulation ends with when a promise was broken."""


class Violation(AssertionError):
    """A promise was broken: which, and how it shows."""

    def __init__(self, promise: str, what: str) -> None:
        super().__init__(f"{promise}: {what}")
        self.promise = promise
        self.what = what


def hold(condition: object, promise: str, what: str) -> None:
    """Raises a Violation unless the condition holds. For texts that cost something, ask first."""
    if not condition:
        raise Violation(promise, what)
