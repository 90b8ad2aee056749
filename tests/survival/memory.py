"""The memory of processes that are not ours: what they hold, and the most of it while something goes on."""

import threading
from pathlib import Path

MIB = 1024 * 1024
SAMPLE_SECONDS = 0.05


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) * 1024


class Peak:
    """The most memory that processes had while the block ran."""

    def __init__(self, *pids: int) -> None:
        self.idle = [resident(pid) for pid in pids]
        self.most = list(self.idle)
        self._pids = pids
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(SAMPLE_SECONDS):
            self.most = [max(most, resident(pid)) for most, pid in zip(self.most, self._pids, strict=True)]

    @property
    def growth(self) -> list[int]:
        """Of each process, above where it began."""
        return [most - idle for most, idle in zip(self.most, self.idle, strict=True)]
