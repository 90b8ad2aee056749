"""Opaque page tokens: where the next page begins, bound to the list that it continues.

The digest is no secret. It keeps a token from being used with another filter, by accident or after an upgrade; a forged
one shows nothing that the list itself would not show.
"""

import base64
import hashlib
import json
from collections.abc import Sequence

from headrace_server.core import limits
from headrace_server.core.refusal import Reason, Refusal, Refused

Position = Sequence[int | str]
"""The last row of the page, by the columns that the list is sorted by."""

_DIGEST_BYTES = 8
ROW_MAX = 2**63 - 1
LIST_BYTES_MAX = 3 * 1024 * 1024
"""A page ends early rather than pass the limit of a message."""


def encode_page_token(position: Position, *scope: str) -> str:
    """A token for the page after `position` of the list that `scope` names: its rpc, namespace, filter."""
    content = json.dumps(list(position), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(content, scope) + content).decode().rstrip("=")


def decode_page_token(token: str, *scope: str) -> list[int | str] | None:
    """The position in a token; None for the first page. Raises Refused (INVALID_TOKEN)."""
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise Refused(_refusal("was not made by this server")) from None
    digest, content = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if digest != _digest(content, scope):
        raise Refused(_refusal("was not made by this server, or for another list or filter"))
    try:
        position: list[int | str] = json.loads(content)
    except (ValueError, RecursionError):
        raise Refused(_refusal("was not made by this server")) from None
    return position


def row_of(position: list[int | str] | None) -> int:
    """The row in the token of a list by row; zero for the first page. Raises Refused (INVALID_TOKEN)."""
    if position is None:
        return 0
    match position:
        case [int(row)] if 0 < row <= ROW_MAX:
            return row
    raise Refused(_refusal("was not made by this server"))


def name_of(position: list[int | str] | None) -> str:
    """The name in the token of a list by name; empty for the first page. Raises Refused (INVALID_TOKEN)."""
    if position is None:
        return ""
    match position:
        case [str(name)]:
            return name
    raise Refused(_refusal("was not made by this server"))


def name_and_number_of(position: list[int | str] | None) -> tuple[str, int] | None:
    """Name and number in the token of a list by both; None for the first page. Raises Refused (INVALID_TOKEN)."""
    match position:
        case None:
            return None
        case [str(name), int(number)] if 0 < number <= ROW_MAX:
            return name, number
    raise Refused(_refusal("was not made by this server"))


def page_rows(page_size: int) -> int:
    """How many rows a page has at most: the default for zero, never more than the limit."""
    return min(page_size, limits.PAGE_SIZE_MAX) if page_size else limits.PAGE_SIZE_DEFAULT


def _digest(content: bytes, scope: Sequence[str]) -> bytes:
    bound = json.dumps([content.decode("latin-1"), *scope]).encode()
    return hashlib.blake2b(bound, digest_size=_DIGEST_BYTES, person=b"headrace-page-1").digest()


def _refusal(why: str) -> Refusal:
    return Refusal(Reason.INVALID_TOKEN, f"page_token {why}", metadata={"field": "page_token"})
