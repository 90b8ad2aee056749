"""Clients that want more than a plain job: limits, deadlines, unique keys, graphs; and changes of jobs that are there.

Each is an action of its own with draws of its own, so that plain submits stay what they are.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import job_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.refusal import Reason, Refused
from headrace_server.core.states import ENDED, WAITING
from headrace_server.store.codec import set_time
from simulation.clients import OF_GRAPH, UNAVAILABLE, Clients, Submit, call, copied, is_lost, new_spec, when_answered
from simulation.policies import FAIR_QUEUE, KEYS, NARROW_QUEUE, OWNERS, RATED_QUEUE
from simulation.server import Server
from simulation.violation import hold
from simulation.world import World

UNIQUE_KEYS = ("folder", "report")
CONDITIONS = (
    job_pb2.DEPENDENCY_CONDITION_ALL_SUCCEEDED,
    job_pb2.DEPENDENCY_CONDITION_ALL_ENDED,
    job_pb2.DEPENDENCY_CONDITION_ANY_SUCCEEDED,
)
FAILURE_ACTIONS = (job_pb2.DEPENDENCY_FAILURE_ACTION_SKIP, job_pb2.DEPENDENCY_FAILURE_ACTION_FAIL)
CANCEL_ACTIONS = (job_pb2.DEPENDENCY_CANCEL_ACTION_EVALUATE, job_pb2.DEPENDENCY_CANCEL_ACTION_CANCEL)
FILTERS = ("queue = narrow", "owner = bob", "state = (QUEUED OR BLOCKED OR SCHEDULED)")


def submit_limited(world: World, chance: Random) -> None:
    """A client submits a job under limits of its queue, with deadlines of its own; now and then many of a kind."""
    if chance.random() < 0.85:
        _submit(world, _limited, chance)
        return
    queue = chance.choice((NARROW_QUEUE, FAIR_QUEUE, RATED_QUEUE, RATED_QUEUE))
    key = chance.choice(KEYS)
    for _ in range(5):
        _submit(world, lambda number, now, chance: _alike(queue, key, number), chance)


def submit_unique(world: World, chance: Random) -> None:
    """A client submits a job with a unique key."""
    _submit(world, _unique, chance)


def submit_graph(world: World, chance: Random) -> None:
    """A client submits jobs that depend on each other, and on jobs that are there, in one call."""
    server, clients = world.server, world.clients
    if server is None or is_lost(chance):
        return
    submits = [
        clients.want(lambda number: _limited(number, world.clock.now(), chance), chance, with_id=True)
        for _ in range(chance.randint(2, 6))
    ]
    for place, submit in enumerate(submits):
        submit.bulk = OF_GRAPH
        _depend(submit.spec, [f"n{one.number}" for one in submits[:place]], list(clients.told.acknowledged), chance)
    items = [
        pb.SubmitJobsItem(request_id=one.request_id, spec=copied(one.spec), ref=f"n{one.number}") for one in submits
    ]
    chance.shuffle(items)
    order = [next(one for one in submits if one.request_id == item.request_id) for item in items]
    for _ in range(2 if chance.random() < 0.15 else 1):
        task = server.call(server.jobs.submit_jobs(pb.SubmitJobsRequest(items=map(copied, items)), call()))
        if not is_lost(chance):
            task.add_done_callback(when_answered(lambda answer: _told_graph(clients, order, answer)))
        server.run()


def update(world: World, chance: Random) -> None:
    """A client changes a job that it knows of."""

    def ask(server: Server, job_id: str) -> Any:
        spec = job_pb2.JobSpec(priority=chance.choice((-5, 0, 7)), labels={"changed": "yes"})
        mask = ["priority"] if chance.random() < 0.7 else ["priority", "labels"]
        if chance.random() < 0.3:
            mask.append("schedule_time")
            if chance.random() < 0.7:
                set_time(spec.schedule_time, Micros(world.clock.now() + chance.randint(-30, 60) * SECOND))
        request = pb.UpdateJobRequest(job_id=job_id, spec=spec, update_mask=FieldMask(paths=mask))
        return server.jobs.update_job(request, call())

    may = UNAVAILABLE | {Reason.JOB_STARTED, Reason.JOB_ENDED, Reason.NOT_FOUND}
    between = [one.id for one in world.chronicle.jobs.values() if one.row.started and one.row.state in WAITING]
    _ask_about_job(world, chance, ask, may, "UpdateJob", between if between and chance.random() < 0.6 else None)


def cancel_many(world: World, chance: Random) -> None:
    """A client cancels what a filter matches."""
    server = world.server
    if server is None or is_lost(chance):
        return
    dry = chance.random() < 0.3
    request = pb.CancelJobsRequest(filter=chance.choice(FILTERS), reason="all of it", validate_only=dry)
    task = server.call(server.jobs.cancel_jobs(request, call()))

    def judge(answer: Any) -> None:
        if isinstance(answer, Refused):
            hold(answer.refusal.reason in UNAVAILABLE, "C2", f"a cancel by filter was refused: {answer.refusal}")
        elif not dry:
            done = [one.job_id for one in answer.results if not one.HasField("error")]
            world.clients.told.cancelled.update(done)

    if not is_lost(chance):
        task.add_done_callback(when_answered(judge))
    server.run()


def retry(world: World, chance: Random) -> None:
    """A client wants an ended job once more."""

    request_id = f"again{chance.randint(1, 3)}" if chance.random() < 0.3 else ""

    def ask(server: Server, job_id: str) -> Any:
        return server.jobs.retry_job(pb.RetryJobRequest(job_id=job_id, request_id=request_id), call())

    may = {Reason.JOB_NOT_ENDED, Reason.RETRY_LIVE, Reason.QUEUE_FULL, Reason.UNIQUE_KEY_TAKEN, Reason.NOT_FOUND}
    may.add(Reason.SESSION_ENDED)
    if request_id:
        may.add(Reason.REQUEST_ID_REUSED)
    ended = _ended(world) if chance.random() < 0.8 else None
    seed = chance.getrandbits(32)
    for _ in range(2 if chance.random() < 0.3 else 1):
        _ask_about_job(world, Random(seed), ask, UNAVAILABLE | may, "R4", ended)


KEPT = frozenset({Reason.JOB_NOT_ENDED, Reason.NOT_FOUND, Reason.SNAPSHOT_NEEDED})
"""Why a job is not deleted."""


def delete(world: World, chance: Random) -> None:
    """A client has an ended job deleted."""
    told = world.clients.told

    def ask(server: Server, job_id: str) -> Any:
        known = world.chronicle.jobs.get(job_id)
        if known is not None:
            told.deleting.add(job_id)
        return server.jobs.delete_job(pb.DeleteJobRequest(job_id=job_id), call())

    ended = _ended(world) if chance.random() < 0.7 else None
    _ask_about_job(world, chance, ask, UNAVAILABLE | KEPT, "I14", ended)


def submit_deleted(world: World, chance: Random) -> None:
    """A client that does not know of it submits a job again that was deleted."""
    told = world.clients.told
    gone = [one for one in told.submits if one.request_id and not one.bulk and one.job_id in told.deleting]
    if world.server is not None and gone:
        world.clients.ask_submit(world.server, chance.choice(gone[-5:]), chance)
        world.server.run()


def _ended(world: World) -> list[str]:
    """Jobs that a client knows of and that have ended."""
    jobs = world.chronicle.jobs
    known = [job_id for job_id in world.clients.told.acknowledged if job_id in jobs]
    return [job_id for job_id in known if jobs[job_id].row.state in ENDED]


def _submit(world: World, make: Callable[[int, Micros, Random], job_pb2.JobSpec], chance: Random) -> None:
    if world.server is not None:
        submit = world.clients.want(lambda number: make(number, world.clock.now(), chance), chance)
        world.clients.ask_submit(world.server, submit, chance)
        world.server.run()


def _limited(number: int, now: Micros, chance: Random) -> job_pb2.JobSpec:
    spec = new_spec(number, now, chance)
    spec.queue = chance.choice((NARROW_QUEUE, FAIR_QUEUE, RATED_QUEUE))
    spec.owner = chance.choice(OWNERS)
    spec.concurrency_key = chance.choice(KEYS)
    _limit_time(spec, chance)
    if chance.random() < 0.35:
        spec.retry_policy.max_snoozes = chance.randint(0, 2)
    if chance.random() < 0.1:
        spec.placement.preferred_labels["zone"] = chance.choice("ab")
    if chance.random() < 0.1:
        spec.placement.resources.slots = 2
    return spec


def _alike(queue: str, key: str, number: int) -> job_pb2.JobSpec:
    spec = job_pb2.JobSpec(display_name=str(number), queue=queue, concurrency_key=key)
    spec.handler.name = "echo"
    return spec


def _limit_time(spec: job_pb2.JobSpec, chance: Random) -> None:
    for name, odds, choices in (
        ("queue_timeout", 0.12, (5, 40, 200)),
        ("run_timeout", 0.2, (4, 30)),
        ("total_timeout", 0.25, (8, 20, 90, 400)),
        ("silence_timeout", 0.2, (3, 10)),
    ):
        if chance.random() < odds:
            getattr(spec.timeouts, name).CopyFrom(Duration(seconds=chance.choice(choices)))
            if chance.random() < 0.4:
                spec.labels["endless"] = "yes"


def _unique(number: int, now: Micros, chance: Random) -> job_pb2.JobSpec:
    spec = new_spec(number, now, chance)
    spec.queue = "default"
    spec.unique_key.key = chance.choice(UNIQUE_KEYS)
    spec.unique_key.on_conflict = chance.choice(
        (
            job_pb2.UNIQUE_KEY_CONFLICT_REFUSE,
            job_pb2.UNIQUE_KEY_CONFLICT_RETURN_EXISTING,
            job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING,
            job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING,
            job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING,
        )
    )
    return spec


def _depend(spec: job_pb2.JobSpec, refs: list[str], job_ids: list[str], chance: Random) -> None:
    for ref in chance.sample(refs, min(len(refs), chance.choice((0, 1, 1, 2)))):
        spec.dependencies.add(ref=ref)
    if job_ids and chance.random() < 0.4:
        spec.dependencies.add(job_id=chance.choice(job_ids[-8:]))
    spec.dependency_condition = chance.choice(CONDITIONS)
    spec.dependency_failure_action = chance.choice(FAILURE_ACTIONS)
    spec.dependency_cancel_action = chance.choice(CANCEL_ACTIONS)


def _told_graph(clients: Clients, submits: list[Submit], answer: Any) -> None:
    if isinstance(answer, Refused):
        hold(answer.refusal.reason in UNAVAILABLE, "S7", f"a graph was refused: {answer.refusal}")
        return
    for submit, result in zip(submits, answer.results, strict=True):
        if result.HasField("error"):
            # A job that it depends on may have been deleted meanwhile; its own children are refused with it.
            hold(not submit.job_id, "S1", f"a repeated item was refused: {result.error.message}")
        else:
            clients.acknowledge(submit, result.job_id, result.deduplicated)


def _ask_about_job(
    world: World,
    chance: Random,
    ask: Callable[[Server, str], Any],
    may: "frozenset[Reason] | set[Reason]",
    promise: str,
    among: list[str] | None = None,
) -> None:
    server = world.server
    jobs = list(world.clients.told.acknowledged) if among is None else among
    if server is None or not jobs or is_lost(chance):
        return
    job_id = chance.choice(jobs[-14:])

    def judge(answer: Any) -> None:
        refused = isinstance(answer, Refused)
        hold(not refused or answer.refusal.reason in may, promise, f"{job_id}: {answer}")

    task = server.call(ask(server, job_id))
    task.add_done_callback(when_answered(judge))
    server.run()
