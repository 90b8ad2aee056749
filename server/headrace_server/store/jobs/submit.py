"""Accepting jobs (S1–S8, Q6): keys, dependencies, job and first event in one transaction. What is accepted is decided
in `planning`."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from headrace.v1 import job_pb2
from headrace_server.core import facts
from headrace_server.core.dependencies import Verdict
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import CancelCause, Cancellation, Job, Usage
from headrace_server.core.ranking import rank
from headrace_server.core.refusal import Refusal
from headrace_server.core.states import ENDED, JobState
from headrace_server.core.timeouts import NONE_STATED, Timeouts
from headrace_server.store.jobs.dependencies import Judged, Parent, dependency_rows, insert_dependencies, judged
from headrace_server.store.jobs.planning import Create, Plan, Planner, Repeat, Taken
from headrace_server.store.jobs.refusals import key_taken
from headrace_server.store.jobs.submission import Accepted, NewJob, UniqueKeyConflict
from headrace_server.store.jobs.unblocking import obey
from headrace_server.store.jobs.unique_keys import KeyPlace, KeyRow, claim, give_up
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import QueuePolicy
from headrace_server.store.sessions.bindings import held_at
from headrace_server.store.sessions.line import enter_line

__all__ = ("Accepted", "NewJob", "UniqueKeyConflict", "check_each", "deadlines_of", "submit_all", "submit_each")


def submit_each(ledger: Ledger, submits: Sequence[NewJob]) -> list[Accepted | Refusal]:
    """Accepts or refuses each job on its own."""
    planner = Planner(ledger, submits)
    return _Submitting(ledger, planner.submits, planner.plan()).carry_out(planner.order, planner.borrowed)


def check_each(ledger: Ledger, submits: Sequence[NewJob]) -> list[Refusal | None]:
    """What `submit_each` would refuse; stores nothing (S8). An item that would be deduplicated is not refused."""
    return _refusals(submits, Planner(ledger, submits).plan())


def submit_all(ledger: Ledger, submits: Sequence[NewJob]) -> Sequence[Accepted | Refusal | None]:
    """Accepts every job, or stores nothing: then the answer has each refusal at the place of its job, and None
    elsewhere."""
    planner = Planner(ledger, submits)
    plans = planner.plan()
    checked = _refusals(submits, plans)
    if any(refusal is not None for refusal in checked):
        return checked
    return _Submitting(ledger, planner.submits, plans).carry_out(planner.order, planner.borrowed)


def deadlines_of(stated: Timeouts, policy: QueuePolicy, arrival: Micros) -> tuple[Micros, Micros]:
    """By when a job has to have started and to have ended, from its timeouts and those of its queue; zero for never
    (C3). `arrival` is its submit, or its schedule time when that is later."""
    if stated is NONE_STATED and policy.timeouts is NONE_STATED:
        return Micros(0), Micros(0)
    timeouts = stated.over(policy.timeouts)
    start_by = Micros(arrival + timeouts.queue) if timeouts.queue else Micros(0)
    return start_by, Micros(arrival + timeouts.total) if timeouts.total else Micros(0)


def _refusals(submits: Sequence[NewJob], plans: Sequence[Plan]) -> list[Refusal | None]:
    return [
        plan if isinstance(plan, Refusal) else key_taken(new, None) if isinstance(plan, Taken) else None
        for new, plan in zip(submits, plans, strict=True)
    ]


class _Submitting:
    """Carries out the plans of one submit."""

    def __init__(self, ledger: Ledger, submits: Sequence[NewJob], plans: Sequence[Plan]) -> None:
        self._ledger = ledger
        self._submits = submits
        self._plans = plans
        self._numbers = [ledger.next_job() if isinstance(plan, Create) else None for plan in plans]
        """Row and id of each new job, in the order of the items."""
        self._jobs: dict[int, Job] = {}
        """The new ones, by item."""
        self._requests: list[tuple[str, str, bytes, JobId]] = []
        self._claims: list[KeyRow] = []
        self._dependencies: list[tuple[Any, ...]] = []

    def carry_out(self, order: Sequence[int], borrowed: Sequence[int]) -> list[Accepted | Refusal]:
        """Makes the jobs, parents before their children; the answers are in the order of the items."""
        for item in order:
            plan = self._plans[item]
            if isinstance(plan, Create):
                self._jobs[item] = self._create(item, plan)
        ledger = self._ledger
        ledger.insert("requests", ("namespace", "request_id", "fingerprint", "id"), self._requests)
        self._borrow(borrowed)
        if self._claims:
            claim(ledger, self._claims)
        if self._dependencies:
            insert_dependencies(ledger, self._dependencies)
        return [self._answer(item, plan) for item, plan in enumerate(self._plans)]

    def _borrow(self, items: Sequence[int]) -> None:
        """Remembers the requests that were answered with another's job: a repeat is answered with it, too (S1)."""
        rows = []
        for item in items:
            answer = self._answer(item, self._plans[item])
            assert isinstance(answer, Accepted), "only a job can be borrowed"
            new = self._submits[item]
            rows.append((new.namespace, new.request_id, new.fingerprint, answer.job.id, 1))
        self._ledger.insert("requests", ("namespace", "request_id", "fingerprint", "id", "borrowed"), rows)

    def _answer(self, item: int, plan: Plan) -> Accepted | Refusal:
        if isinstance(plan, Create):
            return Accepted(self._jobs[item], deduplicated=False)
        if isinstance(plan, Repeat):
            return Accepted(self._jobs[plan.item], deduplicated=True)
        if isinstance(plan, Taken):
            return key_taken(self._submits[item], self._jobs[plan.item].id)
        return plan

    def _create(self, item: int, plan: Create) -> Job:
        number = self._numbers[item]
        assert number is not None, "a job without a row"
        new, ledger = plan.new, self._ledger
        waits = new.schedule_time > ledger.now
        arrival = new.schedule_time if waits else ledger.now
        job = _job(ledger, plan, arrival, *number)
        state = JobState.SCHEDULED if waits else JobState.QUEUED
        parents: Judged | None = None
        if plan.place is KeyPlace.NEXT:
            state = JobState.BLOCKED
        if plan.parents:
            parents = judged(new.dependency_rule, [self._parent(parent) for parent in plan.parents])
            if parents.judgement.verdict is not Verdict.RUN:
                state = JobState.BLOCKED
        start_by, end_by = deadlines_of(new.timeouts, plan.policy, arrival)
        due = new.schedule_time if waits else Micros(0)
        first = facts.Submitted(state, new.actor, due, start_by, end_by, origin=new.origin)
        if new.session_id is not None:
            first = self._as_turn(new, job, first)
        spec = new.spec if parents is None else _with_ids(new, parents.parents)
        ledger.create(job, first, spec=spec, traceparent=new.traceparent, request_id=new.request_id, labels=new.labels)
        if new.request_id:
            self._requests.append((new.namespace, new.request_id, new.fingerprint, job.id))
        if new.unique_key:
            self._claim(plan, job)
        if parents is not None:
            self._depend(job, plan, parents)
        return job

    def _as_turn(self, new: NewJob, job: Job, first: facts.Submitted) -> facts.Submitted:
        assert new.session_id is not None, "a turn without its session"
        turn, waits = enter_line(self._ledger, new.session_id, job.row, new.background)
        if waits:
            return replace(first, turn=turn, state=JobState.BLOCKED)
        if first.state is not JobState.QUEUED:
            return replace(first, turn=turn)
        holder, until = held_at(self._ledger, new.session_id)
        return replace(first, turn=turn, holder=holder, hold_until=until)

    def _claim(self, plan: Create, job: Job) -> None:
        new, replaced = plan.new, plan.replaces
        self._claims.append(KeyRow((new.namespace, new.queue, new.unique_key), job.row, plan.place))
        if isinstance(replaced, int):
            replaced = self._jobs[replaced]
        elif replaced is not None:
            give_up(self._ledger, replaced)
        if replaced is not None:
            reason = f"job {job_id_text(job.id)} with the same unique_key took its place"
            cancellation = Cancellation(reason, new.actor, self._ledger.now, CancelCause.SUPERSEDED, job.id)
            self._ledger.record(replaced, facts.Cancelled(cancellation, Usage()))

    def _depend(self, job: Job, plan: Create, parents: Judged) -> None:
        self._dependencies += dependency_rows(job.row, plan.new.dependency_rule, parents.parents)
        if parents.judgement.verdict not in (Verdict.RUN, Verdict.WAIT):
            obey(self._ledger, job, parents)

    def _parent(self, parent: Parent | int) -> Parent:
        if isinstance(parent, Parent):
            return parent
        job = self._jobs[parent]
        return Parent(job.row, job.id, job.state if job.state in ENDED else None)


def _job(ledger: Ledger, plan: Create, arrival: Micros, row: int, job_id: JobId) -> Job:
    new = plan.new
    # A turn that the CLI began runs already, and waits for nothing.
    folder = "" if new.background else new.folder
    return Job(
        row=row,
        id=job_id,
        namespace=new.namespace,
        queue=new.queue,
        owner=new.owner,
        key=ledger.key_of(new.namespace, new.queue, new.needs, new.owner, new.concurrency_key, folder),
        rank=rank(arrival, new.priority, int(plan.policy.priority_head_start_seconds * SECOND)),
        priority=new.priority,
        created=ledger.now,
        output_bytes_max=new.output_bytes_max,
        slots=new.needs.resources.slots,
        concurrency_key=new.concurrency_key,
        unique=bool(new.unique_key),
        dependent=bool(plan.parents),
        timeouts=new.timeouts,
    )


def _with_ids(new: NewJob, parents: Sequence[Parent]) -> bytes:
    """The spec with the ids of the jobs in the place of refs."""
    if not any(isinstance(one, str) for one in new.dependencies):
        return new.spec
    spec = job_pb2.JobSpec.FromString(new.spec)
    for dependency, parent in zip(spec.dependencies, parents, strict=True):
        dependency.job_id = job_id_text(parent.id)
    return spec.SerializeToString(deterministic=True)
