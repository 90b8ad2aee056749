"""I2, I3, I6, I7, E5: what the log of a job may say about its attempts, beside what really happened on the ground."""

from dataclasses import dataclass, field

from headrace.v1 import job_pb2, outcome_pb2
from headrace_server.core.limits import LOSSES_COUNT_MAX, MAX_ATTEMPTS_DEFAULT, MAX_SNOOZES_DEFAULT
from headrace_server.store.engine import Connection
from simulation.attempts import stamp
from simulation.chronicle import KINDS_OF_END, Chronicle, Fresh, Known, Logged
from simulation.clients import Told
from simulation.ground import Ending, Ground, Run
from simulation.violation import Violation, hold

_ENDS_LEASE = KINDS_OF_END | frozenset(
    {"attempt_released", "attempt_failed", "attempt_lost", "attempt_handed_back", "attempt_snoozed"}
)
_OF_ATTEMPT = frozenset({"output", "attempt_started", "input_requested", "input_resolved", "cancel_stepped"})
OVERSPENT = "budget"
"""The sign of an attempt that the server has ended for what it has used."""
_AFTER_CANCEL = _OF_ATTEMPT | _ENDS_LEASE | {"output_truncated"}


@dataclass(slots=True)
class _Seen:
    """Where the log of one job stands, read event by event."""

    place: int = 0
    epoch: int = 0
    live: bool = False
    outputs: dict[int, int] = field(default_factory=dict)
    """By epoch: the last piece."""
    failures: int = 0
    losses: int = 0
    assigned: int = 0
    given_back: int = 0
    cancelling: bool = False
    truncated: bool = False
    started: bool = False
    timed_out: int = 0
    """The epoch whose attempt was told to end because its time was over."""


class AttemptChecker:
    """Reads every log along."""

    def __init__(self, ground: Ground, told: Told) -> None:
        self._ground = ground
        self._told = told
        self._seen: dict[str, _Seen] = {}

    def check_commit(self, chronicle: Chronicle, fresh: Fresh, connection: Connection) -> None:
        """After a commit."""
        for known in fresh.changed:
            seen = self._seen.setdefault(known.id, _Seen())
            for logged in known.log[seen.place :]:
                self._check(known, seen, logged, chronicle.generation)
                seen.place += 1
            hold((known.row.epoch, known.row.worker != "") == (seen.epoch, seen.live), "I2", f"{known.id}: its lease")
            self._check_bounds(known, seen)

    def _check(self, known: Known, seen: _Seen, logged: Logged, generation: int) -> None:
        kind, event = logged.kind, logged.event
        if seen.cancelling:
            hold(kind in _AFTER_CANCEL, "I7", f"{kind} of {known.id} after its cancel was accepted")
        if kind == "attempt_assigned":
            hold(not seen.live, "I2", f"{known.id} is granted while a lease lives")
            hold(event.epoch == seen.epoch + 1, "I2", f"{known.id}: epoch {event.epoch} after {seen.epoch}")
            seen.epoch, seen.live = event.epoch, True
            seen.assigned += 1
        elif kind in _OF_ATTEMPT:
            hold(seen.live and event.epoch == seen.epoch, "I3", f"{kind} of a fenced attempt of {known.id}")
            if kind == "attempt_started":
                self._run(known, generation, seen.epoch)
                seen.started = True
        if kind == "output":
            self._check_output(known, seen, logged, generation)
        elif kind == "output_truncated":
            seen.truncated = True
        elif kind == "cancel_requested":
            seen.cancelling = True
        elif kind == "updated":
            hold(not seen.started, "UpdateJob", f"{known.id} is changed after it has started")
        elif kind == "attempt_timed_out":
            hold(seen.live and seen.timed_out != seen.epoch, "C3", f"{known.id} times out once in an attempt")
            seen.timed_out = seen.epoch
        elif kind in _ENDS_LEASE:
            self._check_ending(known, seen, logged, generation)

    def _check_output(self, known: Known, seen: _Seen, logged: Logged, generation: int) -> None:
        output = logged.event.output
        sequence, last = output.producer_sequence, seen.outputs.get(seen.epoch, 0)
        # The bytes of an artifact, which come before it, are no event.
        first = last + (2 if output.HasField("artifact") else 1)
        follows = sequence == first or (seen.truncated and sequence > last)
        hold(follows, "E5", f"output {sequence} of {known.id} after {last}")
        seen.outputs[seen.epoch] = sequence
        said = output.claude.raw_json.encode() or output.chunk.data or output.checkpoint.value.string_value.encode()
        run = self._run(known, generation, seen.epoch)
        expected = stamp(run.key, sequence)
        unsaid = seen.truncated or output.WhichOneof("kind") in ("usage", "artifact", "snapshot")
        hold(said == expected or (unsaid and not said), "I3", f"output {said!r} where {expected!r} is due")
        hold(sequence <= run.outputs, "E5", "output that nobody made")

    def _check_ending(self, known: Known, seen: _Seen, logged: Logged, generation: int) -> None:
        kind, event = logged.kind, logged.event
        if kind == "attempt_lost":
            seen.losses += 1
        elif kind in ("attempt_released", "attempt_handed_back", "attempt_snoozed"):
            seen.given_back += 1
            if kind == "attempt_handed_back":
                ending = self._run(known, generation, seen.epoch).ending
                hold(ending in (Ending.RETURNED, Ending.CANCELLED), "Q7", f"{known.id} is handed back, really {ending}")
        elif kind == "attempt_failed":
            failure = event.attempt_failed.failure
            run = self._run(known, generation, seen.epoch)
            if failure.failure_class == outcome_pb2.FAILURE_CLASS_TIMEOUT:
                # One that was handed back may have been told of its timeout on the way.
                stopped = seen.timed_out == seen.epoch and run.ending in (Ending.CANCELLED, Ending.RETURNED)
                hold(stopped, "C3", f"{known.id} failed by a timeout, really {run.ending}")
            elif failure.sign == OVERSPENT:
                obeyed = run.ending in (Ending.CANCELLED, Ending.RETURNED)
                hold(obeyed, "X6", f"{known.id} is stopped for what it used, really {run.ending}")
            elif run.ending is Ending.SNOOZED:
                policy = self._told.submits[known.number - 1].spec.retry_policy
                most = policy.max_snoozes if policy.HasField("max_snoozes") else MAX_SNOOZES_DEFAULT
                hold(known.row.snoozes == most, "R5", f"{known.id} may not be put off after {known.row.snoozes} times")
            else:
                really = f"{known.id} failed by {failure.failure_class}, really {run.ending}"
                hold(run.ending is Ending.FAILED, "L6", really)
                hold(failure.sign == run.sign, "I3", f"failure {failure.sign} of {run.sign}")
            waits = event.attempt_failed.decision.action != job_pb2.RETRY_ACTION_FAIL
            quota = failure.failure_class == outcome_pb2.FAILURE_CLASS_QUOTA and waits
            seen.given_back += quota
            seen.failures += not quota
            self._check_delivered(known, seen, run)
        elif kind == "succeeded":
            run = self._run(known, generation, seen.epoch)
            sign = event.succeeded.result.handler.value.string_value
            hold(run.ending is Ending.SUCCEEDED and sign == run.sign, "I3", f"result {sign} of {run.sign}")
            self._check_delivered(known, seen, run)
        ended = self._ground.find(known.id, seen.epoch, generation)
        hold(ended is None or not ended.alive, "L7", f"{kind} of {known.id} while its tree still runs")
        seen.live = False

    def _check_delivered(self, known: Known, seen: _Seen, run: Run) -> None:
        if not seen.truncated:
            last = seen.outputs.get(seen.epoch, 0)
            hold(last == run.outputs, "E3", f"{known.id} ended with {last} of {run.outputs} outputs")

    def _run(self, known: Known, generation: int, epoch: int) -> Run:
        run = self._ground.find(known.id, epoch, generation)
        if run is None:
            raise Violation("I3", f"{known.id} hears of epoch {epoch} of generation {generation}, which nobody ran")
        return run

    def _check_bounds(self, known: Known, seen: _Seen) -> None:
        row = known.row
        hold((row.failures, row.losses) == (seen.failures, seen.losses), "I6", f"{known.id}: failures and losses")
        submit = self._told.submits[known.number - 1]
        attempts_max = submit.spec.retry_policy.max_attempts or MAX_ATTEMPTS_DEFAULT
        hold(seen.failures <= attempts_max, "I6", f"{known.id} failed {seen.failures} times of {attempts_max}")
        hold(seen.losses <= LOSSES_COUNT_MAX + 1, "I6", f"{known.id} was lost {seen.losses} times")
        granted = seen.failures + seen.losses + seen.given_back + 1
        hold(seen.assigned <= granted, "I6", f"{known.id} had {seen.assigned} grants")
