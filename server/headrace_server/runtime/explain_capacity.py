"""What a Claude job waits for because of its capacity domain or of a budget, as a line for a person (Q8, X5, X6)."""

from headrace.v1 import job_pb2
from headrace_server.core.budgets import BudgetPeriod, left_tokens, left_usd_micros
from headrace_server.core.capacity import DomainState
from headrace_server.core.ids import Micros, job_id_text
from headrace_server.store.capacity.waits import BudgetWait, DomainWait
from headrace_server.store.codec import set_time
from headrace_server.store.queueing.waiting import Waiting


def capacity_reasons(waiting: Waiting) -> list[job_pb2.WaitReason]:
    """The reasons, in order."""
    reasons = [] if waiting.domain is None else [_of_domain(waiting.domain)]
    return reasons + [_of_budget(wait) for wait in waiting.budgets]


def _of_domain(wait: DomainWait) -> job_pb2.WaitReason:
    domain = wait.domain
    told = f"capacity domain {wait.name} "
    if domain.state is DomainState.OPEN:
        told += f"runs {wait.running}/{domain.most} jobs, as many as the service takes of late"
    elif domain.state is DomainState.HALF_OPEN:
        first = f"job {job_id_text(wait.probe)}" if wait.probe is not None else "another job"
        told += f"is half open: {first} tries first"
    else:
        who = f" by {domain.actor}" if domain.actor else ""
        told += f"is closed{who} ({domain.cause.name})" + (f": {domain.reason}" if domain.reason else "")
        if not domain.until:
            told += f"; open it with `headrace capacity open {wait.name}`"
    return _reason(job_pb2.WAIT_CAUSE_CAPACITY_DOMAIN, told, domain.until)


def _of_budget(wait: BudgetWait) -> job_pb2.WaitReason:
    budget, spending = wait.budget, wait.spending
    whose = f"of owner {budget.owner!r}" if budget.owner else f"of namespace {budget.namespace!r}"
    period = "by day" if budget.period is BudgetPeriod.DAY else "in total"
    parts = []
    usd, tokens = left_usd_micros(budget, spending), left_tokens(budget, spending)
    if usd is not None:
        held = f" and {_usd(spending.held_usd_micros)} are reserved" if spending.held_usd_micros else ""
        parts.append(f"{_usd(spending.spent_usd_micros)} of {_usd(budget.cost_max_usd_micros)} are spent{held}")
    if tokens is not None:
        parts.append(f"{spending.spent_tokens + spending.used_tokens} of {budget.tokens_max} tokens are used")
    message = f"the budget {whose} {period} leaves too little: {'; '.join(parts)}"
    return _reason(job_pb2.WAIT_CAUSE_BUDGET, message, wait.until)


def _usd(micros: int) -> str:
    return f"${micros / 1_000_000:.2f}"


def _reason(cause: job_pb2.WaitCause, message: str, until: Micros) -> job_pb2.WaitReason:
    reason = job_pb2.WaitReason(cause=cause, message=message)
    if until:
        set_time(reason.until_time, until)
    return reason
