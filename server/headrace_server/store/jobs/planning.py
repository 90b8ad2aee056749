"""What is to become of each job of a submit, decided before anything is written (S1–S3, S5–S8, Q6).

The same plan answers `validate_only`, says whether an `atomic` call goes through, and is then carried out, so they
can't disagree. Items are planned parents first, each with what those before it will have taken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from headrace_server.core.dependencies import Verdict, judge
from headrace_server.core.graph import ordered
from headrace_server.core.ids import JobId, Micros
from headrace_server.core.job import Job
from headrace_server.core.refusal import Refusal
from headrace_server.core.states import ENDED, JobState
from headrace_server.store.engine import in_list
from headrace_server.store.jobs.dependencies import Parent
from headrace_server.store.jobs.refusals import (
    behind_a_circle,
    disk_full,
    key_taken,
    no_dependency,
    no_queue,
    not_taken,
    parent_refused,
    queue_full,
    request_reused,
)
from headrace_server.store.jobs.submission import Accepted, NewJob, UniqueKeyConflict
from headrace_server.store.jobs.unblocking import hand_over_key
from headrace_server.store.jobs.unique_keys import KeyName, KeyPlace, holders
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.queue_policy import QueuePolicy, policy_of
from headrace_server.store.sessions.limits import limits_of, too_many_turns
from headrace_server.store.sessions.line import pending_count
from headrace_server.store.sessions.session_row import find_session, session_ended
from headrace_server.store.sessions.turn_spec import completed, too_many_labels


@dataclass(slots=True)
class Create:
    """A job is to be made."""

    new: NewJob
    policy: QueuePolicy
    parents: "tuple[Parent | int, ...]" = ()
    """Jobs that are there, or items of the call."""
    place: KeyPlace = KeyPlace.NONE
    replaces: Job | int | None = None
    """The job that is there, or the item, whose place it takes."""
    end: JobState | None = None
    """It ends at once, or is replaced by a later item."""


@dataclass(frozen=True, slots=True)
class Repeat:
    """It is the job of an earlier item."""

    item: int


@dataclass(frozen=True, slots=True)
class Taken:
    """Refused: the job of an earlier item holds its unique key."""

    item: int


ENDS_AT_ONCE = {
    Verdict.SKIP: JobState.SKIPPED,
    Verdict.FAIL: JobState.FAILED,
    Verdict.CANCEL: JobState.CANCELLED,
}

Plan = Create | Repeat | Taken | Accepted | Refusal


@dataclass(frozen=True, slots=True)
class _Request:
    fingerprint: bytes
    job_id: JobId | None
    """None while it belongs to an item of this call."""
    item: int = 0
    state: int = 0
    """How a job ended that was deleted since."""
    is_session: bool = False
    """It made a session, not a job."""


class Planner:
    """Plans one submit. Reads only, and may hand on keys whose holder has ended in the same transaction."""

    def __init__(self, ledger: Ledger, submits: Sequence[NewJob]) -> None:
        self._ledger = ledger
        self.submits = submits = completed(ledger, submits)
        """The jobs, turns with what their sessions have set."""
        self._known = _known_requests(ledger, submits)
        self._policies: dict[tuple[str, str], QueuePolicy | None] = {}
        self._room: dict[tuple[str, str], int] = {}
        self._keys: dict[KeyName, dict[KeyPlace, Job | int]] = {}
        self._items: dict[str, int] = {}
        """Of this call, by their `ref`."""
        self._turns: dict[JobId, int] = {}
        """How many turns of a session have not ended, with those before in this call."""
        self._plans: list[Plan | None] = [None] * len(submits)
        self.borrowed: list[int] = []
        """Items that are answered with a job that their unique key has, and not by their `request_id`."""
        self.order: Sequence[int] = range(len(submits))
        """The items, parents before their children."""

    def plan(self) -> list[Plan]:
        """What becomes of each item."""
        if any(new.dependencies for new in self.submits):
            self._look_at_graph()
        plans, submits = self._plans, self.submits
        for item in self.order:
            plans[item] = self._plan(item, submits[item])
        return [behind_a_circle() if plan is None else plan for plan in plans]

    def _look_at_graph(self) -> None:
        self._items = {new.ref: item for item, new in enumerate(self.submits) if new.ref}
        parents = [
            [self._items[one] for one in new.dependencies if isinstance(one, str) and one in self._items]
            for new in self.submits
        ]
        if any(parents):
            self.order = ordered(parents)
        # All at once: each alone would be a statement.
        self._ledger.jobs(one for new in self.submits for one in new.dependencies if not isinstance(one, str))

    def _plan(self, item: int, new: NewJob) -> Plan:
        request = self._known.get((new.namespace, new.request_id)) if new.request_id else None
        if request is not None:
            if request.job_id is None and request.fingerprint == new.fingerprint:
                return Repeat(request.item)
            return _repeated(self._ledger, new.namespace, new.request_id, new.fingerprint, request)
        if new.session_id is not None:
            refusal = self._turn_refused(new, new.session_id)
            if refusal is not None:
                return refusal
        name = (new.namespace, new.queue)
        policy = self._policies[name] if name in self._policies else self._read_policy(*name)
        if policy is None:
            return no_queue(new)
        if policy.executors and new.needs.executor not in policy.executors:
            return not_taken(new, policy)
        return self._plan_job(item, Create(new, policy))

    def _plan_job(self, item: int, plan: Create) -> Plan:
        new, name = plan.new, (plan.new.namespace, plan.new.queue)
        if new.dependencies:
            parents = self._parents(new)
            if isinstance(parents, Refusal):
                return parents
            plan.parents = parents
            verdict = judge(new.dependency_rule, [self._end(parent) for parent in parents]).verdict
            plan.end = ENDS_AT_ONCE.get(verdict)
        if new.unique_key:
            answer = self._key(plan)
            if answer is not None:
                self._borrow(item, new, answer)
                return answer
        if self._ledger.disk_is_low and not new.background:
            return disk_full()
        if plan.replaces is None and plan.end is None and not new.background:
            if self._room[name] <= 0:
                return queue_full(new, plan.policy, self._ledger.waiting_count(*name))
            self._room[name] -= 1
        self._take(item, plan)
        return plan

    def _turn_refused(self, new: NewJob, session_id: JobId) -> Refusal | None:
        """Why a session takes no further turn; a name that is not there is the caller's fault."""
        session = find_session(self._ledger, new.namespace, session_id, "spec.claude.session_id")
        if isinstance(session, Refusal):
            return session
        refusal = session_ended(session) or too_many_labels(new)
        if refusal is not None or new.background:
            return refusal
        if session_id not in self._turns:
            self._turns[session_id] = pending_count(self._ledger, session)
        most = limits_of(self._ledger, new.namespace).pending_turns_max
        return too_many_turns(session, self._turns[session_id], most)

    def _borrow(self, item: int, new: NewJob, answer: Plan) -> None:
        if not new.request_id or not isinstance(answer, Accepted | Repeat):
            return
        self.borrowed.append(item)
        if isinstance(answer, Accepted):
            request = _Request(new.fingerprint, answer.job.id)
        else:
            request = _Request(new.fingerprint, None, answer.item)
        self._known[new.namespace, new.request_id] = request

    def _take(self, item: int, plan: Create) -> None:
        new = plan.new
        if new.request_id:
            self._known[new.namespace, new.request_id] = _Request(new.fingerprint, None, item)
        if new.session_id in self._turns:
            self._turns[new.session_id] += 1
        if not new.unique_key:
            return
        if plan.place:
            self._keys[new.namespace, new.queue, new.unique_key][plan.place] = item
        if isinstance(plan.replaces, int):
            replaced = self._plans[plan.replaces]
            assert isinstance(replaced, Create), "only a job that is to be made is replaced"
            replaced.place, replaced.end = KeyPlace.NONE, JobState.CANCELLED

    def _read_policy(self, namespace: str, queue: str) -> QueuePolicy | None:
        policy = policy_of(self._ledger, namespace, queue)
        self._policies[namespace, queue] = policy
        if policy is not None:
            self._room[namespace, queue] = policy.max_queued - self._ledger.waiting_count(namespace, queue)
        return policy

    def _parents(self, new: NewJob) -> tuple[Parent | int, ...] | Refusal:
        parents: list[Parent | int] = []
        parent: Parent | int | None
        for place, one in enumerate(new.dependencies):
            if isinstance(one, str):
                parent = self._item(one)
                if parent is None:
                    return parent_refused(one)
            else:
                parent = self._job(new, one)
                if parent is None:
                    return no_dependency(one, place)
            parents.append(parent)
        return tuple(parents)

    def _end(self, parent: Parent | int) -> JobState | None:
        if isinstance(parent, Parent):
            return parent.end
        plan = self._plans[parent]
        return plan.end if isinstance(plan, Create) else None

    def _item(self, ref: str) -> Parent | int | None:
        """The item of a ref, or the job that it was before; None when it was refused."""
        if ref not in self._items:
            return None
        item = self._items[ref]
        plan = self._plans[item]
        if isinstance(plan, Repeat):
            item, plan = plan.item, self._plans[plan.item]
        if isinstance(plan, Accepted):
            return _parent(plan.job)
        return item if isinstance(plan, Create) else None

    def _job(self, new: NewJob, job_id: JobId) -> Parent | None:
        job = self._ledger.job(job_id)
        if job is not None and job.namespace == new.namespace:
            return _parent(job)
        if new.known_ends is not None and job_id in new.known_ends:
            row, end = new.known_ends[job_id]
            return Parent(row, job_id, end)
        return None

    def _key(self, plan: Create) -> Plan | None:
        """What its unique key makes of a job; None when it is to be made, with the place that it has. One that ends at
        once takes none."""
        new = plan.new
        name = (new.namespace, new.queue, new.unique_key)
        if name not in self._keys:
            self._keys[name] = self._holders(name)
        first = self._keys[name].get(KeyPlace.FIRST)
        if first is not None and new.on_conflict is UniqueKeyConflict.RETURN_EXISTING:
            return Repeat(first) if isinstance(first, int) else Accepted(first, deduplicated=True)
        if first is not None and new.on_conflict is UniqueKeyConflict.REFUSE:
            return Taken(first) if isinstance(first, int) else key_taken(new, first.id)
        if plan.end is None:
            active = isinstance(first, Job) and first.epoch > 0
            plan.place = KeyPlace.NEXT if active else KeyPlace.FIRST
            plan.replaces = self._keys[name].get(plan.place)
        return None

    def _holders(self, name: KeyName) -> dict[KeyPlace, Job | int]:
        found = holders(self._ledger, name)
        while any(job.state in ENDED for job in found.values()):
            for job in found.values():
                if job.state in ENDED:
                    hand_over_key(self._ledger, job)
            found = holders(self._ledger, name)
        return dict(found)


def repeated(ledger: Ledger, namespace: str, request_id: str, fingerprint: bytes) -> Accepted | Refusal | None:
    """The answer to a call whose `request_id` was used before; None when it was not."""
    if not request_id:
        return None
    request = _read_requests(ledger, namespace, [request_id]).get(request_id)
    return None if request is None else _repeated(ledger, namespace, request_id, fingerprint, request)


def _known_requests(ledger: Ledger, submits: Sequence[NewJob]) -> dict[tuple[str, str], _Request]:
    by_namespace: dict[str, list[str]] = {}
    for new in submits:
        if new.request_id:
            by_namespace.setdefault(new.namespace, []).append(new.request_id)
    return {
        (namespace, request_id): request
        for namespace, request_ids in by_namespace.items()
        for request_id, request in _read_requests(ledger, namespace, request_ids).items()
    }


def _read_requests(ledger: Ledger, namespace: str, request_ids: Sequence[str]) -> dict[str, _Request]:
    marks, values = in_list(request_ids)
    found = ledger.look_up(
        "SELECT request_id, fingerprint, id, state, session FROM requests"
        f" WHERE namespace = ? AND request_id IN ({marks})",
        (namespace, *values),
    )
    return {
        row[0]: _Request(bytes(row[1]), JobId(bytes(row[2])), state=int(row[3]), is_session=bool(row[4]))
        for row in found
    }


def _repeated(
    ledger: Ledger, namespace: str, request_id: str, fingerprint: bytes, request: _Request
) -> Accepted | Refusal:
    if request.fingerprint != fingerprint or request.job_id is None:
        return request_reused(request_id, request.job_id, is_session=request.is_session)
    if request.state:
        return Accepted(_deleted(namespace, request.job_id, JobState(request.state)), deduplicated=True)
    job = ledger.job(request.job_id)
    assert job is not None, "a request without its job"
    return Accepted(job, deduplicated=True)


def _parent(job: Job) -> Parent:
    return Parent(job.row, job.id, job.state if job.state in ENDED else None)


def _deleted(namespace: str, job_id: JobId, state: JobState) -> Job:
    """What is still known of a job that was deleted: who it was, and how it ended."""
    return Job(
        row=0,
        id=job_id,
        namespace=namespace,
        queue="",
        owner="",
        key=0,
        rank=0,
        priority=0,
        created=Micros(0),
        output_bytes_max=0,
        state=state,
    )
