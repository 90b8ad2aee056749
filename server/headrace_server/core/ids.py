"""Ids and numbers that must not be confused, and how a job's id is made.

An id is UUIDv7: it sorts by the time it was made. Text at the edge, 16 bytes inside.
"""

from typing import NewType

JobId = NewType("JobId", bytes)
"""A job's UUIDv7, 16 bytes."""

Micros = NewType("Micros", int)
"""A point in time: microseconds since 1970, UTC, by the server's clock. Zero means never."""

SECOND: int = 1_000_000
"""Microseconds."""

_RANDOM_BITS = 74
_BYTES, _TEXT_CHARACTERS = 16, 36


def new_job_id(now: Micros, random_bits: int) -> JobId:
    """Makes a UUIDv7 (RFC 9562) of a time and 74 bits of chance."""
    low = random_bits & ((1 << 62) - 1)
    middle = (random_bits >> 62) & 0xFFF
    value = ((now // 1000) & ((1 << 48) - 1)) << 80 | 0x7 << 76 | middle << 64 | 0b10 << 62 | low
    return JobId(value.to_bytes(16, "big"))


def random_bits_needed() -> int:
    """How many bits of chance `new_job_id` takes."""
    return _RANDOM_BITS


def job_id_text(job_id: JobId) -> str:
    """The form that leaves the server: 36 characters, lower case."""
    text = job_id.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def parse_job_id(text: str) -> JobId:
    """Reads a job's id. Raises ValueError when it is not a UUID."""
    job_id = bytes.fromhex(text.replace("-", ""))
    if len(text) != _TEXT_CHARACTERS or len(job_id) != _BYTES:
        raise ValueError(f"not a UUID: {text!r}")
    return JobId(job_id)
