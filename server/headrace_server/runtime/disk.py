"""The room that is left on the disk of the data folder, and how much of it is kept for work that was accepted
already."""

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)


class DiskReserve:
    """Says when new jobs have to be refused, so that those that run can still say what they have to and finish."""

    def __init__(self, folder: Path, reserve_bytes: int) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._low = False

    def is_low(self) -> bool:
        """Whether less is free than is kept. Costs two microseconds, so it is asked for every transaction."""
        free = self.free_bytes()
        if free is None:
            # The commit will tell.
            return False
        low = free < self._reserve_bytes
        if low is not self._low:
            self._low = low
            what = "new jobs are refused" if low else "new jobs are taken again"
            log.warning("%s: %d bytes are free, %d are kept: %s", self._folder, free, self._reserve_bytes, what)
        return low

    def free_bytes(self) -> int | None:
        """What is free; None when nobody can tell."""
        try:
            disk = os.statvfs(self._folder)
        except OSError:
            return None
        return disk.f_bavail * disk.f_frsize
