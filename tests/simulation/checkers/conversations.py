"""X1, X4, R6 at the end of a run: no process goes on that the server wants no more, and what was said in a session that
is open stands in the one conversation that the next turn would go on with."""

from collections.abc import Iterator, Mapping

from headrace_server.core.states import ENDED
from simulation.checkers.sessions import Row, session_of
from simulation.chronicle import Chronicle
from simulation.conversations import Disk
from simulation.held_process import Process
from simulation.turns import Turns
from simulation.violation import hold
from simulation.workers import Worker


def processes_in_vain(chronicle: Chronicle, rows: Mapping[str, Row], workers: list[Worker]) -> Iterator[Process]:
    """Those of sessions that are over, or that are bound anew."""
    live = {session_of(known.row) for known in chronicle.jobs.values() if known.row.state not in ENDED}
    sources = {row.source for row in rows.values() if not (row.ended or row.conversation)}
    for worker in workers:
        for process in worker.sessions.processes:
            row = rows.get(process.session_id)
            unbound = row is None or not _is_bound(row, worker, process)
            if unbound or (row is not None and row.ended and row.id not in live | sources):
                yield process


def check_conversations(rows: Mapping[str, Row], disks: Mapping[str, Disk], turns: Turns) -> None:
    """Of every session that takes turns."""
    for row in rows.values():
        if row.ended or not row.conversation:
            continue
        disk = disks[row.worker]
        if row.id not in disk.taken:
            transcript = disk.transcripts.get(row.id)
            said = [] if transcript is None else transcript.said
            before = turns.succeeded[row.id]
            kept = [one for one in said if one in before]
            hold(kept == before, "X1", f"{before} of {row.id} have succeeded, and {said} stand in its conversation")


def _is_bound(row: Row, worker: Worker, process: Process) -> bool:
    return (row.worker, row.incarnation, row.epoch) == (worker.kind.name, worker.incarnation, process.binding_epoch)
