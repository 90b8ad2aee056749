"""A program that writes so many bytes, each block another, as fast as they are taken: `python producer.py BYTES`."""

import hashlib
import sys
from collections.abc import Iterator

BLOCK_BYTES = 64 * 1024


def blocks(size: int) -> Iterator[bytes]:
    """The bytes, in blocks that begin with their number."""
    filler = bytes(range(256)) * (BLOCK_BYTES // 256)
    for number in range(-(-size // BLOCK_BYTES)):
        block = number.to_bytes(8, "big") + filler[8:]
        yield block[: size - number * BLOCK_BYTES]


def digest(size: int) -> str:
    """What a reader of all of it should come to."""
    total = hashlib.blake2b(digest_size=16)
    for block in blocks(size):
        total.update(block)
    return total.hexdigest()


if __name__ == "__main__":
    for one in blocks(int(sys.argv[1])):
        sys.stdout.buffer.write(one)
