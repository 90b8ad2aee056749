"""Output that says when it was written, by the clock that all processes of a host share."""

STAMP_BYTES = 8


def stamp(seconds: float, event_bytes: int) -> bytes:
    """So many bytes that begin with a time."""
    return round(seconds * 1e9).to_bytes(STAMP_BYTES, "big").ljust(event_bytes, b".")


def age(data: bytes, now: float) -> float:
    """Seconds since such bytes were written."""
    return now - int.from_bytes(data[:STAMP_BYTES], "big") / 1e9
