"""Agents for tests, run against a scripted control plane, and the jobs that they are given."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from google.protobuf import struct_pb2

from headrace.v1 import job_pb2, task_pb2, worker_pb2
from headrace_worker.agent import Agent, EndCause, Terms
from headrace_worker.connection import Identity
from headrace_worker.held_sessions import HeldSessions
from headrace_worker.host import boot_seconds
from headrace_worker.slots import Run
from worker.agent_server import DEADLINE_SECONDS, ScriptedServer


@asynccontextmanager
async def running_agent(
    server: ScriptedServer,
    folder: Path,
    runs: Mapping[str, Run],
    terms: Terms | None = None,
    *,
    slots: int = 4,
    cause: EndCause = EndCause.DRAINED,
    ends: bool = False,
    on_lease: Callable[[float], None] = lambda deadline: None,
    clock: Callable[[], float] = boot_seconds,
    sessions: HeldSessions | None = None,
) -> AsyncIterator[Agent]:
    """An agent that is connected; at the end it is drained, unless it `ends` by itself or for another `cause`."""
    capabilities = worker_pb2.WorkerCapabilities(executors=list(runs))
    identity = Identity("w", "1", slots, capabilities, "host", "0")
    agent = Agent(
        server.address,
        identity,
        runs,
        folder / "data",
        terms or Terms(drain_seconds=0.2),
        sessions=sessions,
        on_lease=on_lease,
        clock=clock,
        resources=worker_pb2.HostResources,
    )
    running = asyncio.ensure_future(agent.run())
    try:
        await asyncio.wait_for(agent.wait_connected(), DEADLINE_SECONDS)
        yield agent
    finally:
        if cause is EndCause.DRAINED and not ends:
            agent.drain()
        ending = await asyncio.wait_for(running, DEADLINE_SECONDS)
    assert ending.cause is cause


def handler_spec(name: str, **values: Any) -> job_pb2.JobSpec:
    """A job for a handler."""
    struct = struct_pb2.Struct()
    struct.update(values)
    return job_pb2.JobSpec(handler=task_pb2.HandlerTask(name=name, input=struct))


def numbered(count: int) -> Iterator[bytes]:
    """Lines that say which they are."""
    return (f"{number}\n".encode() for number in range(count))
