"""Time and chance: the one place that reads a clock, sleeps, or draws a number.

Natural delays are scaled by a pace (0 in tests); delays that a script asks for by name are not.
"""

import hashlib
import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

_SLICE_SECONDS = 0.05


class TurnInterruptedError(Exception):
    """The host asked to end the turn."""


class Timing:
    """A clock whose waits end early, by TurnInterruptedError, when the host interrupts."""

    def __init__(self, pace: float, wait: Callable[[float], bool]) -> None:
        """`wait` blocks for the given seconds and returns True as soon as an interrupt is there."""
        self._pace = pace
        self._wait = wait

    def monotonic(self) -> float:
        return time.monotonic()

    def epoch_seconds(self) -> int:
        return int(time.time())

    def natural(self, seconds: float) -> None:
        """A delay as a model or a tool would cause it."""
        self.exactly(seconds * self._pace)

    def exactly(self, seconds: float) -> None:
        """A delay that was asked for; zero still notices an interrupt."""
        if self._wait(max(0.0, seconds)):
            raise TurnInterruptedError

    def forever(self) -> None:
        while True:
            self.exactly(3600)

    def deaf_forever(self) -> None:
        """Hangs so that only a signal ends it."""
        while True:
            time.sleep(3600)

    def rest(self) -> None:
        """A short sleep between two looks at something that cannot be waited for."""
        time.sleep(_SLICE_SECONDS)


def timestamp() -> str:
    """The wall clock, as frames and transcripts write it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Ids:
    """Identifiers and choices, the same for the same seed."""

    def __init__(self, seed: str) -> None:
        digest = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()
        self._random = random.Random(digest)

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def message(self) -> str:
        return f"msg_sim_{self._hex()}"

    def tool_use(self) -> str:
        return f"toolu_sim_{self._hex()}"

    def request(self) -> str:
        return f"req_sim_{self._hex()}"

    def task(self) -> str:
        return f"b{self._random.getrandbits(32):08x}"

    def between(self, low: float, high: float) -> float:
        return self._random.uniform(low, high)

    def pick(self, choices: tuple[str, ...]) -> str:
        return self._random.choice(choices)

    def _hex(self) -> str:
        return f"{self._random.getrandbits(64):016x}"
