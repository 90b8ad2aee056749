"""People who run the system: they pause, drain and resume queues, change limits, make schedules and take them away."""

from random import Random
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import job_pb2, queue_pb2, schedule_pb2
from headrace.v1 import queue_service_pb2 as queues_pb
from headrace.v1 import schedule_service_pb2 as schedules_pb
from headrace_server.core.refusal import Reason, Refused
from headrace_server.core.states import LEASED
from simulation.clients import UNAVAILABLE, call, when_answered
from simulation.policies import FAIR_QUEUE, NARROW_QUEUE, RATED_QUEUE
from simulation.violation import hold
from simulation.world import World

STOPPABLE = (NARROW_QUEUE, FAIR_QUEUE, RATED_QUEUE, "default")
DRAIN = 2
"""The kind of a stop."""
SCHEDULES_COUNT_MAX = 3
INTERVALS = (7, 20, 45)
OVERLAPS = (
    schedule_pb2.OVERLAP_SKIP,
    schedule_pb2.OVERLAP_BUFFER_ONE,
    schedule_pb2.OVERLAP_ALLOW,
    schedule_pb2.OVERLAP_CANCEL_OTHER,
)
POLICIES = (
    schedule_pb2.CATCH_UP_POLICY_NONE,
    schedule_pb2.CATCH_UP_POLICY_LAST,
    schedule_pb2.CATCH_UP_POLICY_ALL,
)
SCOPES = (queue_pb2.FAIRNESS_SCOPE_NONE, queue_pb2.FAIRNESS_SCOPE_OWNER, queue_pb2.FAIRNESS_SCOPE_KEY)


def stop_queue(world: World, chance: Random) -> None:
    """A queue is paused or drained."""
    if world.server is None:
        return
    name = chance.choice(STOPPABLE)
    seconds = chance.choice((0, 5, 60))
    limit = Duration(seconds=seconds) if seconds else None
    if chance.random() < 0.6:
        request = queues_pb.PauseQueueRequest(name=name, reason="maintenance", duration=limit)
        _ask(world, world.server.queues.pause_queue(request, call()), "Q7")
    else:
        drain = queues_pb.DrainQueueRequest(name=name, reason="moving", grace=limit)
        _ask(world, world.server.queues.drain_queue(drain, call()), "Q7")


def drain_busy_queue(world: World, chance: Random) -> None:
    """A queue of which something runs is drained, now and then."""
    assert world.server is not None
    busy = {one.row.queue for one in world.chronicle.jobs.values() if one.row.state in LEASED} & {*STOPPABLE}
    if busy and chance.random() < 0.4:
        name = chance.choice(sorted(busy))
        request = queues_pb.DrainQueueRequest(name=name, reason="closing", grace=Duration(seconds=3))
        _ask(world, world.server.queues.drain_queue(request, call()), "Q7")
        world.commit()


def resume_queue(world: World, chance: Random) -> None:
    """A queue goes on."""
    if world.server is not None:
        request = queues_pb.ResumeQueueRequest(name=chance.choice(STOPPABLE))
        _ask(world, world.server.queues.resume_queue(request, call()), "Q7")


def resume_all(world: World) -> None:
    """Nothing is stopped for longer than it was said to, and nothing makes jobs by itself: the end of a run begins."""
    assert world.server is not None
    while world.commit():
        # A stop that is still on its way to the store could not be seen there.
        continue
    with world.engine.reading() as connection:
        stopped = connection.rows("SELECT DISTINCT queue FROM queue_stops WHERE kind = ? OR until = 0", (DRAIN,))
    for (name,) in stopped:
        _ask(world, world.server.queues.resume_queue(queues_pb.ResumeQueueRequest(name=name), call()), "Q7")
    for name in world.schedules.names:
        request = schedules_pb.DeleteScheduleRequest(name=name)
        _ask(world, world.server.schedules.delete_schedule(request, call()), "K3")


def change_limits(world: World, chance: Random) -> None:
    """The limits of a queue become others."""
    if world.server is None:
        return
    queue = queue_pb2.Queue(name=NARROW_QUEUE)
    queue.max_concurrency = chance.choice((0, 1, 2, 4))
    queue.max_concurrency_per_key = chance.choice((0, 1, 2))
    mask = FieldMask(paths=["max_concurrency", "max_concurrency_per_key"])
    if chance.random() < 0.3:
        queue = queue_pb2.Queue(name=FAIR_QUEUE)
        queue.fairness.scope = chance.choice(SCOPES)
        queue.fairness.weights["eve"] = chance.choice((0.1, 1.0, 9.0))
        mask = FieldMask(paths=["fairness"])
    request = queues_pb.UpdateQueueRequest(queue=queue, update_mask=mask)
    _ask(world, world.server.queues.update_queue(request, call()), "Q3")


def purge_queue(world: World, chance: Random) -> None:
    """What waits in a queue is cancelled."""
    if world.server is not None:
        request = queues_pb.PurgeQueueRequest(name=chance.choice((NARROW_QUEUE, RATED_QUEUE)), reason="not wanted")
        _ask(world, world.server.queues.purge_queue(request, call()), "Q7")


def schedule(world: World, chance: Random) -> None:
    """A schedule is made, changed, paused, triggered or taken away."""
    if world.server is None:
        return
    schedules, names, draw = world.server.schedules, world.schedules.names, chance.random()
    if len(names) < SCHEDULES_COUNT_MAX and (not names or draw < 0.3):
        _create_schedule(world, chance)
        return
    name = chance.choice(names)
    if draw < 0.5:
        changed = schedule_pb2.Schedule(name=name, overlap=chance.choice(OVERLAPS))
        mask = FieldMask(paths=["overlap"])
        if chance.random() < 0.5:
            changed = schedule_pb2.Schedule(name=name, interval=Duration(seconds=chance.choice(INTERVALS)))
            mask = FieldMask(paths=["interval"])
        request = schedules_pb.UpdateScheduleRequest(schedule=changed, update_mask=mask)
        _ask(world, schedules.update_schedule(request, call()), "K3")
    elif draw < 0.7:
        _ask(world, schedules.pause_schedule(schedules_pb.PauseScheduleRequest(name=name), call()), "K3")
    elif draw < 0.85:
        _ask(world, schedules.resume_schedule(schedules_pb.ResumeScheduleRequest(name=name), call()), "K3")
    elif draw < 0.95:
        _ask(world, schedules.trigger_schedule(schedules_pb.TriggerScheduleRequest(name=name), call()), "K1")
    else:
        _ask(world, schedules.delete_schedule(schedules_pb.DeleteScheduleRequest(name=name), call()), "K3")


def _create_schedule(world: World, chance: Random) -> None:
    assert world.server is not None
    name = f"s{len(world.schedules.names)}"

    def spec_of(number: int) -> job_pb2.JobSpec:
        spec = job_pb2.JobSpec(display_name=str(number), queue=chance.choice(("default", NARROW_QUEUE)))
        spec.handler.name = "echo"
        return spec

    submit = world.clients.want(spec_of, chance, with_id=False)
    interval = chance.choice(INTERVALS)
    made = schedule_pb2.Schedule(name=name, interval=Duration(seconds=interval), spec=submit.spec)
    made.overlap = chance.choice(OVERLAPS)
    made.catch_up.policy = chance.choice(POLICIES)
    made.catch_up.max_count = chance.choice((0, 2))
    if chance.random() < 0.3:
        made.jitter.CopyFrom(Duration(seconds=3))
    request = schedules_pb.CreateScheduleRequest(schedule=made)
    world.schedules.names.append(name)
    _ask(world, world.server.schedules.create_schedule(request, call()), "K1")


_MAY = UNAVAILABLE | {Reason.NOT_FOUND, Reason.NAME_TAKEN, Reason.QUEUE_FULL}


def _ask(world: World, coroutine: Any, promise: str) -> None:
    assert world.server is not None

    def judge(answer: Any) -> None:
        refused = isinstance(answer, Refused)
        hold(not refused or answer.refusal.reason in _MAY, promise, f"an operator was refused: {answer}")

    world.server.call(coroutine).add_done_callback(when_answered(judge))
    world.server.run()
