"""Somebody answers what attempts ask of a person, or two do: the first answer wins, and the log has it once (X3)."""

from random import Random
from typing import Any

from headrace.v1 import input_pb2
from headrace_server.core.ids import parse_job_id
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.store.attempts import inputs
from headrace_server.store.jobs.new_job import DEFAULT_NAMESPACE
from simulation.clients import UNAVAILABLE, when_answered
from simulation.server import Server
from simulation.violation import hold
from simulation.world import World

ACTORS = ("ann", "bob")
TOO_LATE = frozenset({Reason.INPUT_RESOLVED, Reason.NOT_FOUND})
"""It was answered or withdrawn, its attempt has ended, or its job is gone."""


def answer(world: World, chance: Random) -> None:
    """One or two people answer something that was asked, not always at the same time."""
    asking = [known.id for known in world.chronicle.jobs.values() if known.row.open_inputs]
    if not asking:
        return
    job_id = chance.choice(asking)
    request_id = chance.choice(world.chronicle.jobs[job_id].row.open_inputs).request_id
    for actor in ACTORS[: chance.randint(1, 2)]:
        given = input_pb2.InputAnswer(request_id=request_id, allow=chance.random() < 0.5)
        if world.server is None:
            # It may be killed at any commit.
            return
        _answer(world, world.server, job_id, given, actor)
        world.server.run()
        if chance.random() < 0.5:
            world.commit()


def _answer(world: World, server: Server, job_id: str, given: input_pb2.InputAnswer, actor: str) -> None:
    async def call() -> Any:
        job = parse_job_id(job_id)
        # By the module, so that a mutant can take its place.
        return await server.inline.write(lambda ledger: inputs.answer(ledger, DEFAULT_NAMESPACE, job, given, actor))

    def judge(answered: Any) -> None:
        if isinstance(answered, Refused):
            hold(answered.refusal.reason in UNAVAILABLE, "X3", f"an answer was refused: {answered.refusal}")
        elif isinstance(answered, Refusal):
            hold(answered.reason in TOO_LATE, "X3", f"an answer was refused: {answered}")
        elif job_id in world.chronicle.jobs:
            log = world.chronicle.jobs[job_id].log
            epoch = max((one.event.epoch for one in log if _asks(one.event, given.request_id)), default=0)
            resolved = [one.event.input_resolved for one in log if _resolves(one.event, given.request_id, epoch)]
            told = [(int(one.resolution), one.actor) for one in resolved]
            hold(told == [(int(answered), actor)], "X3", f"{actor} was told {answered.name}, the log has {told}")

    server.call(call()).add_done_callback(when_answered(judge))


def _asks(event: Any, request_id: str) -> bool:
    return bool(event.input_requested.request.request_id == request_id)


def _resolves(event: Any, request_id: str, epoch: int) -> bool:
    return bool(event.epoch == epoch and event.input_resolved.request_id == request_id)
