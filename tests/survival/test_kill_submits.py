"""Acknowledged submits against kill -9 at any moment (S1, S4, L7): 64 callers, the real control plane, no worker."""

import asyncio
from collections.abc import Callable
from random import Random

import grpc
import pytest

from e2e.control_plane import ControlPlane
from headrace.v1 import (
    job_service_pb2,
    job_service_pb2_grpc,
    queue_pb2,
    queue_service_pb2,
    queue_service_pb2_grpc,
)
from survival.sending import handler_spec

StartControlPlane = Callable[..., ControlPlane]
CALLERS = 64
ACKNOWLEDGED_MAX = 600
"""Of one round: a kill comes after any number up to this."""


class Callers:
    """64 callers who submit one job after the other, each with a request id of its own, until nobody answers."""

    def __init__(self, address: str, round_number: int) -> None:
        self._address = address
        self._round = round_number
        self.asked: list[str] = []
        self.acknowledged: dict[str, str] = {}
        """Job ids by request id."""

    async def run(self, kill: Callable[[], None], after: int) -> None:
        """Kills after so many acknowledgements."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = job_service_pb2_grpc.JobServiceStub(channel)
            callers = [asyncio.create_task(self._submit(stub, caller)) for caller in range(CALLERS)]
            while len(self.acknowledged) < after:
                done, _ = await asyncio.wait(callers, timeout=0.001, return_when=asyncio.FIRST_COMPLETED)
                assert not done, "a caller got no answer before the kill"
            kill()
            await asyncio.gather(*callers)

    async def _submit(self, stub: "job_service_pb2_grpc.JobServiceAsyncStub", caller: int) -> None:
        number = 0
        while True:
            request_id = f"{self._round}-{caller}-{number}"
            self.asked.append(request_id)
            request = job_service_pb2.SubmitJobRequest(request_id=request_id, spec=handler_spec())
            try:
                answer = await stub.SubmitJob(request, timeout=20)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                return
            self.acknowledged[request_id] = answer.job.id
            number += 1


async def submit_again(address: str, request_ids: list[str]) -> list[job_service_pb2.SubmitJobsResult]:
    """What the control plane says to the same request ids."""
    results: list[job_service_pb2.SubmitJobsResult] = []
    async with grpc.aio.insecure_channel(address) as channel:
        stub = job_service_pb2_grpc.JobServiceStub(channel)
        for start in range(0, len(request_ids), 1000):
            items = [
                job_service_pb2.SubmitJobsItem(request_id=request_id, spec=handler_spec())
                for request_id in request_ids[start : start + 1000]
            ]
            results += (await stub.SubmitJobs(job_service_pb2.SubmitJobsRequest(items=items))).results
    return results


async def count_jobs(address: str) -> int:
    async with grpc.aio.insecure_channel(address) as channel:
        listed = await job_service_pb2_grpc.JobServiceStub(channel).ListJobs(job_service_pb2.ListJobsRequest())
        return sum(one.count for one in listed.state_counts)


async def allow_a_million(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        request = queue_service_pb2.UpdateQueueRequest(queue=queue_pb2.Queue(name="default", max_queued=1_000_000))
        request.update_mask.paths.append("max_queued")
        await queue_service_pb2_grpc.QueueServiceStub(channel).UpdateQueue(request)


def kill_and_check(plane: ControlPlane, rounds: int, seed: int) -> int:
    """Kills and restarts so many times, and checks every promise that was made; returns how many jobs there are."""
    random = Random(seed)
    asyncio.run(allow_a_million(plane.address))
    promised: dict[str, str] = {}
    asked: set[str] = set()
    for number in range(rounds):
        callers = Callers(plane.address, number)
        asyncio.run(callers.run(plane.kill, random.randint(0, ACKNOWLEDGED_MAX)))
        plane.start()
        asked.update(callers.asked)
        first = asyncio.run(submit_again(plane.address, callers.asked))
        second = asyncio.run(submit_again(plane.address, callers.asked))
        found = dict(zip(callers.asked, (result.job_id for result in first), strict=True))
        assert {request_id: found[request_id] for request_id in callers.acknowledged} == callers.acknowledged
        assert [result.job_id for result in second] == [result.job_id for result in first]
        assert all(result.deduplicated for result in second)
        assert len(set(found.values())) == len(found)
        promised.update(found)
        assert asyncio.run(count_jobs(plane.address)) == len(asked), "one job for each request id"
    last = asyncio.run(submit_again(plane.address, list(promised)))
    assert [result.job_id for result in last] == list(promised.values())
    return len(promised)


def test_s1_acknowledged_submits_survive_kills_at_random_moments(start_plane: StartControlPlane) -> None:
    assert kill_and_check(start_plane("--no-worker"), rounds=4, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_s1_acknowledged_submits_survive_a_hundred_kills(start_plane: StartControlPlane) -> None:
    assert kill_and_check(start_plane("--no-worker"), rounds=100, seed=2)
