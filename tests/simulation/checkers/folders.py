"""I5, Q3: no two jobs that workers hold have the same folder to themselves.

It reads what the clients asked for, and compares folders by a rule of its own.
"""

from headrace.v1 import job_pb2
from headrace_server.core.states import LEASED
from headrace_server.store.engine import Connection
from simulation.chronicle import Chronicle, Fresh
from simulation.clients import Told
from simulation.violation import hold


def folder_of(spec: job_pb2.JobSpec) -> str:
    """The folder that a job wants to have to itself, as its steps; empty for most."""
    place = spec.claude.workspace
    return "" if place.shared else "/".join(step for step in place.folder.split("/") if step)


class FolderChecker:
    """Looks at every lease."""

    def __init__(self, told: Told) -> None:
        self._told = told

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        holders: dict[str, str] = {}
        for known in chronicle.jobs.values():
            if known.row.state not in LEASED:
                continue
            folder = folder_of(self._told.submits[known.number - 1].spec)
            if folder:
                other = holders.setdefault(folder, known.id)
                hold(other == known.id, "I5", f"{known.id} and {other} work in {folder}")
