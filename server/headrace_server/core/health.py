"""How the server does, as one look saw it, and what of that is worth an alert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from headrace_server.core.alerts import AlertName, Finding, Severity, Verdict, judge, named
from headrace_server.core.budgets import Budget, BudgetPeriod, Spending
from headrace_server.core.capacity import Domain, DomainState
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.states import JobState

QUEUE_CLEAR_SHARE = 5 / 6
"""Of the saturation at which an alert begins: where it may clear."""
TIME_CLEAR_SHARE = 0.5
"""The same for times."""
DISK_LOW_BYTES_MIN = 64 * 1024 * 1024
"""An alert about the disk begins below twice the reserve, and never later than here."""
DISK_CLEAR_FACTOR = 1.25
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class QueueFill:
    """How many jobs of a queue wait, of how many that may."""

    queue: str
    waiting: int
    max_queued: int

    @property
    def saturation(self) -> float:
        """0 is empty, 1 is full; more when the limit was lowered since."""
        return self.waiting / self.max_queued if self.max_queued else 0.0


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Jobs that wait for a worker and that no connected one can run."""

    queue: str
    jobs: int
    why: str


@dataclass(frozen=True, slots=True)
class WorkerCounts:
    """Workers by state."""

    ready: int = 0
    draining: int = 0
    disconnected: int = 0
    lost: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one look saw."""

    time: Micros = Micros(0)
    jobs: Mapping[JobState, int] = field(default_factory=dict)
    fullest: Sequence[QueueFill] = ()
    """The fullest queues, that one first."""
    ready_jobs: int = 0
    """Jobs that any able worker might be given: of queues that nobody has stopped."""
    unplaced: Sequence[Unplaced] = ()
    workers: WorkerCounts = WorkerCounts()
    newly_lost: Sequence[str] = ()
    """Workers that were lost a short while ago and did not leave in order."""
    slots: int = 0
    slots_used: int = 0
    attempts: int = 0
    followers: int = 0
    waiting_writes: int = 0
    lag_seconds: float = 0.0
    commit_p50_seconds: float | None = None
    """None when nothing was committed."""
    stuck_seconds: float = 0.0
    """How long writes have waited without a commit."""
    commits: bool = True
    """Whether the store does, as far as anybody knows."""
    disk_free_bytes: int | None = None
    """None when nobody can tell."""
    memory_bytes: int = 0
    session_processes: int = 0
    """Processes that this node's workers keep for sessions."""
    session_memory_bytes: int = 0
    local_fault: str = ""
    """Why the local worker does not run."""
    closed: Sequence[tuple[str, Domain]] = ()
    """Capacity domains of which nothing may start, but for one job that tries."""
    low_budgets: Sequence[tuple[Budget, Spending]] = ()


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on something is bad."""

    queue_saturation: float
    commit_seconds: float
    lag_seconds: float
    disk_reserve_bytes: int


def find(sample: Sample, thresholds: Thresholds) -> list[Finding]:
    """What a sample says of each kind of alert."""
    return [
        _disk(sample, thresholds),
        _no_worker(sample),
        _no_eligible_worker(sample),
        _queue_full(sample, thresholds),
        _commits_slow(sample, thresholds),
        _loop_slow(sample, thresholds),
        _if(AlertName.WORKER_LOST, bool(sample.newly_lost), _lost_text(sample.newly_lost)),
        _if(AlertName.STORE_UNAVAILABLE, not sample.commits, "the store can't commit", Severity.CRITICAL),
        _if(
            AlertName.LOCAL_WORKER_FAILING,
            bool(sample.local_fault),
            f"the local worker does not run: {sample.local_fault}",
        ),
        _capacity_closed(sample),
        _budget_low(sample),
    ]


def _if(name: AlertName, bad: bool, message: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(name, Verdict.BAD, severity, message) if bad else Finding(name, Verdict.GOOD)


def _disk(sample: Sample, thresholds: Thresholds) -> Finding:
    free, reserve = sample.disk_free_bytes, thresholds.disk_reserve_bytes
    if free is None:
        return Finding(AlertName.DISK_LOW, Verdict.BETWEEN, message="nobody can tell how much of the disk is free")
    low = max(2 * reserve, DISK_LOW_BYTES_MIN)
    message = f"{free // _MIB} MiB are free on the disk of the store"
    if free < reserve:
        message += f", {reserve // _MIB} are kept for running work: new jobs are refused"
        return Finding(AlertName.DISK_LOW, Verdict.BAD, Severity.CRITICAL, message)
    return Finding(AlertName.DISK_LOW, judge(free, low, low * DISK_CLEAR_FACTOR), Severity.WARNING, message)


def _no_worker(sample: Sample) -> Finding:
    workers = sample.workers
    why = f"all {workers.draining} that are connected drain" if workers.draining else "none is connected"
    message = f"{_jobs(sample.ready_jobs)} for a worker, and {why}"
    return _if(AlertName.NO_WORKER, bool(sample.ready_jobs and not workers.ready), message, Severity.CRITICAL)


def _no_eligible_worker(sample: Sample) -> Finding:
    texts = [f"{one.jobs} of queue {one.queue} ({one.why})" for one in sample.unplaced]
    message = f"jobs wait that no connected worker can run: {named(texts)}"
    return _if(AlertName.NO_ELIGIBLE_WORKER, bool(sample.workers.ready and texts), message)


def _queue_full(sample: Sample, thresholds: Thresholds) -> Finding:
    name, raise_at = AlertName.QUEUE_FULL, thresholds.queue_saturation
    clear_at = raise_at * QUEUE_CLEAR_SHARE
    full = [one for one in sample.fullest if one.saturation >= raise_at]
    shown = full or [one for one in sample.fullest if one.saturation > clear_at]
    if not shown:
        return Finding(name, Verdict.GOOD)
    texts = [f"{one.queue} ({one.waiting} of {one.max_queued})" for one in shown]
    refused = shown[0].saturation >= 1
    message = f"jobs wait in {'a full queue' if refused else 'a queue that is nearly full'}: {named(texts)}"
    return Finding(
        name,
        judge(shown[0].saturation, raise_at, clear_at),
        Severity.CRITICAL if refused else Severity.WARNING,
        message + (": its new jobs are refused" if refused else ""),
    )


def _commits_slow(sample: Sample, thresholds: Thresholds) -> Finding:
    if sample.stuck_seconds >= thresholds.commit_seconds:
        message = f"{sample.waiting_writes} writes wait, and nothing was committed for {sample.stuck_seconds:.0f} s"
        return Finding(AlertName.COMMITS_SLOW, Verdict.BAD, message=message)
    took = sample.commit_p50_seconds
    if took is None:
        verdict = Verdict.BETWEEN if sample.waiting_writes else Verdict.GOOD
        return Finding(AlertName.COMMITS_SLOW, verdict, message="no commit has ended")
    message = f"half of all commits take {took * 1000:.0f} ms or more"
    verdict = judge(took, thresholds.commit_seconds, thresholds.commit_seconds * TIME_CLEAR_SHARE)
    return Finding(AlertName.COMMITS_SLOW, verdict, message=message)


def _loop_slow(sample: Sample, thresholds: Thresholds) -> Finding:
    late = sample.lag_seconds
    verdict = judge(late, thresholds.lag_seconds, thresholds.lag_seconds * TIME_CLEAR_SHARE)
    message = f"the event loop is up to {late * 1000:.0f} ms late, and every call waits for it"
    return Finding(AlertName.LOOP_SLOW, verdict, message=message)


def _capacity_closed(sample: Sample) -> Finding:
    """One that opens by itself is a warning; one that waits for an operator stands still until somebody comes."""
    texts = [f"{name} ({_closed_text(domain)})" for name, domain in sample.closed]
    for_operator = any(domain.state is DomainState.CLOSED and not domain.until for _, domain in sample.closed)
    severity = Severity.CRITICAL if for_operator else Severity.WARNING
    return _if(AlertName.CAPACITY_CLOSED, bool(texts), f"no Claude jobs are started in {named(texts)}", severity)


def _closed_text(domain: Domain) -> str:
    if domain.state is DomainState.HALF_OPEN:
        return f"{domain.cause.name}, one job tries"
    if not domain.until:
        return f"{domain.cause.name}, until an operator opens it"
    return f"{domain.cause.name}, until {datetime.fromtimestamp(domain.until // SECOND, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _budget_low(sample: Sample) -> Finding:
    texts = [f"{_used_percent(budget, spending)} % of {_scope_text(budget)}" for budget, spending in sample.low_budgets]
    return _if(AlertName.BUDGET_LOW, bool(texts), f"budgets are nearly or wholly used: {named(texts)}")


def _used_percent(budget: Budget, spending: Spending) -> int:
    pairs = (
        (spending.spent_usd_micros + spending.used_usd_micros, budget.cost_max_usd_micros),
        (spending.spent_tokens + spending.used_tokens, budget.tokens_max),
    )
    return max((100 * used // most for used, most in pairs if most), default=0)


def _scope_text(budget: Budget) -> str:
    of = f"owner {budget.owner} in {budget.namespace}" if budget.owner else f"namespace {budget.namespace}"
    return f"{of} ({'by day' if budget.period is BudgetPeriod.DAY else 'in total'})"


def _lost_text(names: Sequence[str]) -> str:
    lost = "a worker was" if len(names) == 1 else f"{len(names)} workers were"
    return f"{lost} lost, what they ran goes to others: {named(names)}"


def _jobs(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count} jobs wait"
