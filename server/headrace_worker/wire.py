"""Length-delimited protobuf fields written by hand, so that output is serialised once and resent as it is.

Only the data lane's outgoing messages are made this way; everything else goes through the generated code.
"""

from collections.abc import Iterable


def delimited(field: int, payload: bytes) -> bytes:
    """One field of wire type 2 with its payload."""
    return _head(field, len(payload)) + payload


def delimited_size(payload_bytes: int) -> int:
    """At most this many bytes is a delimited field with such a payload, for field numbers below 16."""
    return payload_bytes + 6


def joined(field: int, payloads: Iterable[bytes]) -> bytes:
    """A repeated field: every payload, delimited, one after the other."""
    return b"".join([delimited(field, payload) for payload in payloads])


def _head(field: int, length: int) -> bytes:
    tag = field << 3 | 2
    if length < 0x80:
        return bytes((tag, length))
    head = bytearray((tag,))
    while length >= 0x80:
        head.append(length & 0x7F | 0x80)
        length >>= 7
    head.append(length)
    return bytes(head)
