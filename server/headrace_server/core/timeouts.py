"""The timeouts of a job, as its spec and its queue state them (C3). What they lead to is in `deadlines`."""

from dataclasses import dataclass

from headrace_server.core.ids import SECOND
from headrace_server.core.limits import CANCEL_GRACE_SECONDS_DEFAULT, INPUT_TIMEOUT_SECONDS_DEFAULT


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Microseconds each. None states nothing; zero states that there is none."""

    queue: int | None = None
    run: int | None = None
    total: int | None = None
    silence: int | None = None
    input: int | None = None
    cancel_grace: int | None = None

    def over(self, other: "Timeouts") -> "Timeouts":
        """These, and the other's where these state nothing."""
        return Timeouts(
            other.queue if self.queue is None else self.queue,
            other.run if self.run is None else self.run,
            other.total if self.total is None else self.total,
            other.silence if self.silence is None else self.silence,
            other.input if self.input is None else self.input,
            other.cancel_grace if self.cancel_grace is None else self.cancel_grace,
        )


NONE_STATED = Timeouts()

DEFAULTS = Timeouts(
    input=int(INPUT_TIMEOUT_SECONDS_DEFAULT * SECOND), cancel_grace=int(CANCEL_GRACE_SECONDS_DEFAULT * SECOND)
)
"""Where neither the job nor its queue states one."""
