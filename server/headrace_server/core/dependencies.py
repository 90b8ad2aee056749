"""What the ends of the jobs that a job depends on mean for it (Q6, C2): a decision, with the parent that it is owed to.

Asked anew whenever a parent has ended, and only while the job is BLOCKED: once it goes on, its parents have no say any
more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from headrace_server.core.states import JobState


class Condition(IntEnum):
    """Which ends let a job run; numbers are those of `DependencyCondition` in job.proto."""

    ALL_SUCCEEDED = 1
    ALL_ENDED = 2
    ANY_SUCCEEDED = 3


class FailureAction(IntEnum):
    """What becomes of a job whose condition can't come true; numbers are those of `DependencyFailureAction`."""

    SKIP = 1
    FAIL = 2


class CancelAction(IntEnum):
    """What becomes of a job when a parent is cancelled; numbers are those of `DependencyCancelAction`."""

    EVALUATE = 1
    CANCEL = 2


@dataclass(frozen=True, slots=True)
class DependencyRule:
    """How a job depends on its parents."""

    condition: Condition = Condition.ALL_SUCCEEDED
    on_failure: FailureAction = FailureAction.SKIP
    on_cancel: CancelAction = CancelAction.EVALUATE

    def encode(self) -> int:
        """One small number for equal rules."""
        return self.condition | self.on_failure << 4 | self.on_cancel << 8

    @staticmethod
    def decode(number: int) -> "DependencyRule":
        """Reads what `encode` made."""
        return DependencyRule(
            Condition(number & 0xF), FailureAction(number >> 4 & 0xF), CancelAction(number >> 8 & 0xF)
        )


DEFAULT_RULE = DependencyRule()


class Verdict(Enum):
    """What is to be done with a job for its parents' sake."""

    WAIT = "wait"
    RUN = "run"
    SKIP = "skip"
    FAIL = "fail"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and the place of the parent that it is owed to: of the first one where several would do."""

    verdict: Verdict
    place: int = 0


def judge(rule: DependencyRule, ends: Sequence[JobState | None]) -> Judgement:
    """What the ends of the parents mean, in the order of the spec; None for one that has not ended.

    A cancelled parent whose cancel is to be passed on comes first, whatever else is true: a cancel is somebody's will.
    """
    if rule.on_cancel is CancelAction.CANCEL and JobState.CANCELLED in ends:
        return Judgement(Verdict.CANCEL, ends.index(JobState.CANCELLED))
    if rule.condition is Condition.ALL_ENDED:
        return Judgement(Verdict.WAIT if None in ends else Verdict.RUN)
    unmet = [place for place, end in enumerate(ends) if end is not None and end is not JobState.SUCCEEDED]
    if rule.condition is Condition.ANY_SUCCEEDED:
        if JobState.SUCCEEDED in ends:
            return Judgement(Verdict.RUN, ends.index(JobState.SUCCEEDED))
        unmet = unmet if None not in ends else []
    if unmet:
        return Judgement(Verdict.SKIP if rule.on_failure is FailureAction.SKIP else Verdict.FAIL, unmet[0])
    return Judgement(Verdict.WAIT if None in ends else Verdict.RUN)
