"""Given folders that Claude jobs have to themselves: who works in which, by the counts of ready keys (Q3).

A folder is taken while a worker holds a job of it, in whatever queue and namespace; so it is free again with the lease,
also after a crash. A job wants one folder at most, and waits for it holding nothing: nobody waits in a circle.
"""

from dataclasses import dataclass

from headrace_server.core.ids import JobId
from headrace_server.core.job import Job
from headrace_server.store.counters import UNTIL_FREED
from headrace_server.store.engine import Query
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_limits import LEASED_STATES

_TAKEN = "folder = ? AND folder <> '' AND leased > 0"
PASSED_OVER_COUNT_MAX = 32
NOT_TAKEN = (
    "NOT EXISTS (SELECT 1 FROM ready_keys AS working"
    " WHERE working.folder = ready_keys.folder AND working.folder <> '' AND working.leased > 0)"
)
"""Of a row of `ready_keys`: nobody works in its folder."""


@dataclass(frozen=True, slots=True)
class FolderWait:
    """A folder that another job has."""

    folder: str
    job_id: JobId | None
    """That job, when it is of the same namespace."""


class FolderRoom:
    """Which folders are taken, while one plan is made."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._taken: dict[str, bool] = {}
        self._wanted: set[str] = set()
        """Taken ones that a job was met of."""

    @property
    def waited_for(self) -> list[str]:
        """Some of those whose keys are parked in any case, so that nobody need look at these."""
        return sorted(self._wanted)[:PASSED_OVER_COUNT_MAX]

    def is_taken(self, folder: str) -> bool:
        """Whether the jobs of a folder have to wait; then their keys are parked."""
        if not folder:
            return False
        taken = self._taken.get(folder)
        if taken is None:
            taken = self._taken[folder] = is_taken(self._ledger.query, folder)
        if taken:
            self._wanted.add(folder)
        return taken

    def take(self, folder: str) -> None:
        """Takes note that a job of a folder is started."""
        if folder:
            self._taken[folder] = True

    def park(self) -> None:
        """Has the keys of the folders that were met as taken not looked at until they are free."""
        for folder in sorted(self._wanted):
            self._ledger.run(
                "UPDATE ready_keys SET parked = ? WHERE folder = ? AND folder <> '' AND ready > 0 AND parked = 0",
                (UNTIL_FREED, folder),
            )


def is_taken(query: Query, folder: str) -> bool:
    """Whether a worker holds a job of a folder."""
    return bool(query(f"SELECT 1 FROM ready_keys WHERE {_TAKEN} LIMIT 1", (folder,)))


def waits_for_folder(ledger: Ledger, job: Job) -> bool:
    """Whether a job that has not started could not, because another one has its folder."""
    folder = ledger.place_of(job.key).folder
    return bool(folder) and is_taken(ledger.query, folder)


def folder_wait(query: Query, job: Job) -> FolderWait | None:
    """The folder of a job that has not started, when another one has it."""
    found = query("SELECT folder FROM ready_keys WHERE key = ? AND folder <> ''", (job.key,))
    if not found or not is_taken(query, found[0][0]):
        return None
    folder = str(found[0][0])
    having = query(
        f"SELECT jobs.id, jobs.namespace FROM jobs WHERE state IN {LEASED_STATES} AND key IN"
        f" (SELECT key FROM ready_keys WHERE {_TAKEN})",
        (folder,),
    )
    own = [JobId(bytes(job_id)) for job_id, namespace in having if namespace == job.namespace]
    return FolderWait(folder, own[0] if own else None)
