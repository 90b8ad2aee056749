"""Fairness: whose turn it is when slots are short (Q2)."""

from enum import IntEnum


class FairnessScope(IntEnum):
    """Among whom slots are shared out; numbers are those of `FairnessScope` in queue.proto."""

    NONE = 1
    OWNER = 2
    KEY = 3
