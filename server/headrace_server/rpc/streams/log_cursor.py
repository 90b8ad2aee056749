"""Cursors of the log of a job: opaque to clients, checked when they come back."""

import re

from headrace_server.core.ids import JobId, job_id_text, parse_job_id
from headrace_server.core.refusal import Reason, Refusal, Refused

_CURSOR = re.compile(r"([0-9]{1,18}):([0-9]{1,18})(?::([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}))?", re.ASCII)


def encode_cursor(generation: int, sequence: int, job_id: JobId | None = None) -> str:
    """The place right after a sequence; names the job where the request names a unique key only."""
    return f"{generation}:{sequence}" if job_id is None else f"{generation}:{sequence}:{job_id_text(job_id)}"


def decode_cursor(cursor: str, generation: int, last_sequence: int, job_id: JobId) -> int:
    """The sequence in a cursor; zero for the beginning. Raises Refused (INVALID_TOKEN)."""
    if not cursor:
        return 0
    made_by, sequence, named = _parts(cursor)
    if made_by != generation or sequence > last_sequence or named not in (None, job_id):
        raise Refused(_bad_cursor("is not one of this job"))
    return sequence


def job_of_cursor(cursor: str) -> JobId | None:
    """The job that a cursor of a unique key's stream names; None for no cursor. Raises Refused (INVALID_TOKEN)."""
    if not cursor:
        return None
    named = _parts(cursor)[2]
    if named is None:
        raise Refused(_bad_cursor("is not one of a unique key's stream"))
    return named


def _parts(cursor: str) -> tuple[int, int, JobId | None]:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise Refused(_bad_cursor("was not made by this server"))
    generation, sequence, job_id = match.groups()
    return int(generation), int(sequence), parse_job_id(job_id) if job_id else None


def _bad_cursor(why: str) -> Refusal:
    return Refusal(Reason.INVALID_TOKEN, f"cursor {why}", metadata={"field": "cursor"})
