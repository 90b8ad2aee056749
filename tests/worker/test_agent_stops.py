"""Why an attempt is ended does not change how, but what is reported; and what a host slept through is not acted on."""

import asyncio
from pathlib import Path

import uvloop
from google.protobuf.duration_pb2 import Duration

from headrace.v1 import outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.attempts import RunningAttempt
from headrace_worker.executors.contract import Cancelled, Outcome, StopRequest, Succeeded
from worker.agent_running import handler_spec, running_agent
from worker.agent_server import ScriptedServer, ServedAttempt, serving

GRACE = Duration(seconds=2)


class Obedient:
    """An executor that runs until it is asked to stop, and then for as long as it is held."""

    def __init__(self) -> None:
        self.stops: list[StopRequest] = []
        self.released = asyncio.Event()

    async def run(self, attempt: RunningAttempt) -> Outcome:
        self.stops.append(await attempt.wait_stop())
        await self.released.wait()
        return Cancelled()


async def finishes_at_once(attempt: RunningAttempt) -> Outcome:
    return Succeeded(outcome_pb2.Result())


def want(server: ScriptedServer, attempt: ServedAttempt, state: pb.WantedState, cause: pb.StopCause) -> None:
    wanted = pb.WantedAttempt(lease=attempt.lease, wanted=state, cause=cause, cancel_grace=GRACE)
    server.say(pb.ConnectResponse(wanted=[wanted]))


def stopped_by(folder: Path, *words: tuple[pb.WantedState, pb.StopCause]) -> tuple[str, list[StopRequest]]:
    """What is reported of an attempt of which this was wanted, one after the other, and what its executor was told."""

    async def run() -> tuple[str, list[StopRequest]]:
        executor = Obedient()
        async with serving(folder) as server, running_agent(server, folder, {"handler": executor.run}):
            attempt = server.assign(handler_spec("f"))
            await server.until(lambda: attempt.starts)
            for state, cause in words:
                want(server, attempt, state, cause)
            await server.until(lambda: executor.stops)
            await server.until_renewed(3)
            executor.released.set()
            await server.until(lambda: attempt.finishes)
            return attempt.outcome, executor.stops

    return uvloop.run(run())


def test_c3_an_attempt_whose_time_is_over_is_ended_as_by_a_cancel(tmp_path: Path) -> None:
    outcome, stops = stopped_by(tmp_path, (pb.WANTED_STATE_CANCEL, pb.STOP_CAUSE_TIMEOUT))
    assert outcome == "cancelled"
    assert stops == [StopRequest(kill=False, grace_seconds=2.0, reason="timeout")]


def test_q7_what_a_drain_hands_back_is_ended_with_its_grace(tmp_path: Path) -> None:
    outcome, stops = stopped_by(tmp_path, (pb.WANTED_STATE_RETURN, pb.STOP_CAUSE_DRAIN))
    assert outcome == "returned"
    assert stops == [StopRequest(kill=False, grace_seconds=2.0, reason="drain")]


def test_c2_a_cancel_that_follows_a_return_is_what_is_reported(tmp_path: Path) -> None:
    returned, cancelled = (
        (pb.WANTED_STATE_RETURN, pb.STOP_CAUSE_DRAIN),
        (pb.WANTED_STATE_CANCEL, pb.STOP_CAUSE_CANCEL),
    )
    outcome, stops = stopped_by(tmp_path, returned, cancelled)
    assert (outcome, len(stops)) == ("cancelled", 1)


def test_l7_what_waited_while_the_host_slept_is_not_acted_on(tmp_path: Path) -> None:
    """Time jumps past the lease, as after a sleep, before the worker can read what the server had said."""

    async def run() -> None:
        slept_seconds = [0.0]
        async with (
            serving(tmp_path) as server,
            running_agent(server, tmp_path, {"handler": finishes_at_once}, clock=lambda: 1000 + slept_seconds[0]),
        ):
            await server.until_renewed(2)
            slept_seconds[0] = 3600.0
            waiting = server.assign(handler_spec("f"))
            await server.until_welcomed(2)
            await server.until_renewed(2)
            assert (waiting.starts, waiting.releases, waiting.finishes) == (0, [], [])
            assert not server.control.renewals[-1].held
            later = server.assign(handler_spec("f"))
            await server.until(lambda: later.finishes)
            assert later.outcome == "succeeded"

    uvloop.run(run())
