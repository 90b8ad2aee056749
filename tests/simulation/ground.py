"""What really happens on the workers' hosts, whatever anybody believes: what runs, what it made, how it ended.

Only checkers read it. L7 and I5 are held here: at the moment when something starts.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from headrace_worker.lease import LeaseKey
from simulation.turns import Turns
from simulation.violation import hold


class Ending(Enum):
    """How an attempt really ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    RETURNED = "returned"
    SNOOZED = "snoozed"
    LOST = "lost"


@dataclass(slots=True)
class Run:
    """One attempt that really started."""

    worker: str
    key: LeaseKey
    slots: int = 1
    alive: bool = True
    outputs: int = 0
    """That it made, and that its worker took."""
    reports: int = 0
    ending: Ending | None = None
    sign: str = ""
    """What its finish can be told from another's by."""


class Ground:
    """Every run of a simulation."""

    def __init__(self, lives: Callable[[LeaseKey], bool]) -> None:
        """`lives` tells whether a lease is the live one of its job."""
        self.turns = Turns()
        self._lives = lives
        self._runs: dict[tuple[str, int, int], Run] = {}
        self.acknowledged: list[Run] = []
        """Whose finish the server said it had accepted."""
        self._of_job: defaultdict[str, list[Run]] = defaultdict(list)
        self._alive: defaultdict[str, int] = defaultdict(int)

    def begin(self, worker: str, slots: int, key: LeaseKey, takes: int = 1) -> Run:
        """A process tree starts, on a worker with so many slots."""
        for other in self._of_job[key.job_id]:
            # What a restore of the store has forgotten may still run, until its worker is told.
            if other.alive and other.key.generation == key.generation:
                hold(False, "L7", f"{worker} runs {key} while {other.worker} still runs {other.key}")
        name = (key.job_id, key.epoch, key.generation)
        hold(name not in self._runs, "L7", f"{key} is run twice")
        hold(self._lives(key), "L1", f"{worker} starts {key}, whose lease has ended")
        self._alive[worker] += takes
        hold(self._alive[worker] <= slots, "I5", f"{worker} runs more than its {slots} slots")
        run = self._runs[name] = Run(worker, key, takes)
        self._of_job[key.job_id].append(run)
        return run

    def find(self, job_id: str, epoch: int, generation: int) -> Run | None:
        """The run of a lease, when it was ever started."""
        return self._runs.get((job_id, epoch, generation))

    def end(self, run: Run) -> None:
        """Nothing of the tree is left. May be said twice."""
        if run.alive:
            run.alive = False
            self._alive[run.worker] -= run.slots

    def alive(self, worker: str) -> int:
        """Slots that attempts take on a worker now."""
        return self._alive[worker]
