"""I9, E1, E3: what a reader got is the log, byte by byte; what was acknowledged to a worker is in it."""

from headrace_server.core.states import ENDED
from simulation.checkers.retention import RetentionChecker
from simulation.chronicle import Chronicle
from simulation.readers import Reader, Readers
from simulation.violation import hold
from simulation.workers import Worker


class ReaderChecker:
    """Compares what readers got with the log."""

    def __init__(self, readers: Readers, retention: RetentionChecker) -> None:
        self._readers = readers
        self._retention = retention
        self._checked: dict[int, int] = {}

    def check_step(self, chronicle: Chronicle) -> None:
        """After a step."""
        for number, reader in enumerate(self._readers.all):
            checked = self._checked.get(number, 0)
            if len(reader.got) < checked:
                checked = 0
            if len(reader.got) > checked and reader.job_id in chronicle.jobs:
                _check_got(chronicle, reader, checked)
            self._check_lacking(chronicle, reader)
            self._checked[number] = len(reader.got)

    def check_end(self, chronicle: Chronicle) -> None:
        """When everything has come to rest: a reader of an ended job has got all of it."""
        for reader in self._readers.all:
            known = chronicle.jobs.get(reader.job_id)
            if known is None:
                hold(reader.ended, "E3", "a reader was not told that its job was deleted")
                continue
            wanted = [
                one
                for one in known.log
                if not (reader.without_output and one.kind == "output") and one.event.sequence not in reader.lacking
            ]
            hold(len(reader.got) == len(wanted), "I9", f"a reader got {len(reader.got)} of {len(wanted)} events")
            hold(reader.ended == (known.row.state in ENDED), "E3", f"a reader was told ended={reader.ended}")

    def _check_lacking(self, chronicle: Chronicle, reader: Reader) -> None:
        if not reader.lacking or reader.job_id not in chronicle.jobs:
            return
        log = chronicle.jobs[reader.job_id].log
        there = {
            sequence
            for sequence in reader.lacking
            if log[sequence - 1].kind != "output" or not self._retention.is_dropped(reader.job_id, sequence)
        }
        hold(not there, "I9", f"a reader of {reader.job_id} was told that {there} are gone, which are there")


def _check_got(chronicle: Chronicle, reader: Reader, checked: int) -> None:
    log = chronicle.jobs[reader.job_id].log
    for event in reader.got[checked:]:
        there = event.sequence <= len(log)
        hold(there, "I9", f"a reader got event {event.sequence} of a log of {len(log)}")
        same = log[event.sequence - 1].event == event
        hold(same, "I9", f"a reader got another event {event.sequence} of {reader.job_id} than is stored")
        hold(log[event.sequence - 1].kind != "output" or not reader.without_output, "I9", "output for who wants none")


def check_acknowledged_output(chronicle: Chronicle, worker: Worker) -> None:
    """L7: output that was acknowledged to a worker is in the log."""
    for attempt in worker.attempts.values():
        known = chronicle.jobs.get(attempt.key.job_id)
        if known is None or attempt.stale or known.row.truncated or attempt.key.generation != chronicle.generation:
            continue
        kept = sum(one.kind == "output" and one.event.epoch == attempt.key.epoch for one in known.log)
        # Bytes of an artifact are kept beside the log.
        kept += sum(one.HasField("artifact_part") for one in attempt.outputs[: attempt.committed])
        hold(kept >= attempt.committed, "L7", f"{attempt.committed} outputs are acknowledged, {kept} are kept")
