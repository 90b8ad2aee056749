"""Sessions and the agent: what the server is told of their processes, and what its words do to them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace.v1 import job_pb2, task_pb2, worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.agent import Agent, EndCause, Terms
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.claude.sessions import Sessions
from headrace_worker.trees import Trees
from headrace_worker.workspace import Workspaces
from worker.agent_running import running_agent
from worker.agent_server import ScriptedServer, ServedAttempt, serving
from worker.session_running import QUICK, SESSION, SIMULATOR, scripted

Main = Callable[[ScriptedServer, Agent], Any]


@pytest.fixture
def run(tmp_path: Path, base_environment: dict[str, str], processes: Any) -> Callable[..., None]:
    """Runs a test with an agent that has sessions, and looks that no process is left."""

    @asynccontextmanager
    async def agent_of(server: ScriptedServer, **settings: Any) -> AsyncIterator[Agent]:
        workspaces, trees = Workspaces(tmp_path / "data", []), Trees()
        credentials = {"ANTHROPIC_API_KEY": "made-up", "HEADRACE_SIMULATOR_PACE": "0"}
        command = ClaudeCommand(SIMULATOR, True, tmp_path / "data", base_environment, credentials=credentials)
        sessions = Sessions(4, workspaces, QUICK, command.session_folder)
        executor = ClaudeExecutor(command, workspaces, trees, lambda: 0.0, QUICK, None, sessions)
        runs = {"claude": executor.run}
        async with running_agent(server, tmp_path, runs, sessions=sessions, on_lease=trees.extend, **settings) as agent:
            yield agent

    def run_test(main: Main, **settings: Any) -> None:
        async def body() -> None:
            async with asyncio.timeout(60), serving(tmp_path) as server, agent_of(server, **settings) as agent:
                await main(server, agent)

        uvloop.run(body())
        assert processes.left() == []

    return run_test


def assign(server: ScriptedServer, prompt: str, number: int = 1, background_number: int = 0) -> ServedAttempt:
    turn = worker_pb2.SessionTurn(session_id=SESSION, binding_epoch=1, turn=number, background_number=background_number)
    spec = job_pb2.JobSpec(claude=task_pb2.ClaudeTask(prompt=prompt))
    return server.assign(spec, session=turn)


def held(server: ScriptedServer) -> list[pb.HeldSession]:
    """What the last renewal said of sessions."""
    return list(server.control.renewals[-1].sessions)


def test_a_renewal_names_every_session_with_a_process(run: Callable[..., None]) -> None:
    async def main(server: ScriptedServer, agent: Agent) -> None:
        attempt = assign(server, scripted({"fault": "delay", "milliseconds": 400}, {"text": "one"}))
        await server.until(lambda: held(server) and held(server)[0].process.busy)
        await server.until(lambda: attempt.settled)
        await server.until(lambda: held(server) and not held(server)[0].process.busy)
        (entry,) = held(server)
        assert (entry.session_id, entry.binding_epoch, attempt.outcome) == (SESSION, 1, "succeeded")
        assert os.readlink(f"/proc/{entry.process.process_id}/cwd") == entry.process.folder
        await server.until(lambda: held(server)[0].process.memory_bytes > 0)

    run(main)


def test_a_session_that_the_server_names_ends(run: Callable[..., None]) -> None:
    async def main(server: ScriptedServer, agent: Agent) -> None:
        attempt = assign(server, scripted({"text": "one"}))
        await server.until(lambda: attempt.settled)
        server.say(pb.ConnectResponse(ended_session_ids=[SESSION]))
        await server.until(lambda: held(server) == [])

    run(main)


def test_a_turn_of_its_own_is_announced_until_it_is_acknowledged(run: Callable[..., None]) -> None:
    async def main(server: ScriptedServer, agent: Agent) -> None:
        own = {"fault": "unsolicited_turn", "steps": [{"text": "by itself"}]}
        attempt = assign(server, scripted(own, {"text": "one"}))
        await server.until(lambda: attempt.settled and server.background_turns)
        server.cut()
        await server.until(lambda: len(server.background_turns) == 2)
        first, second = server.background_turns
        assert first == second == pb.BackgroundTurn(session_id=SESSION, binding_epoch=1, number=1)
        server.say(pb.ConnectResponse(background_turn_acks=[pb.BackgroundTurnAck(turn=first, job_id="own")]))
        delivered = assign(server, "", 2, background_number=1)
        await server.until(lambda: delivered.settled)
        assert delivered.finishes[-1].succeeded.claude.text == "by itself"
        server.cut()
        await server.until_welcomed(3)
        await server.until_renewed()
        assert len(server.background_turns) == 2

    run(main)


def test_l4_no_idle_process_outlives_the_lease(run: Callable[..., None]) -> None:
    async def main(server: ScriptedServer, agent: Agent) -> None:
        attempt = assign(server, scripted({"text": "one"}))
        await server.until(lambda: attempt.settled and held(server))
        (entry,) = held(server)
        server.answering = False
        server.cut()
        server.lease_seconds = 1.0
        await server.until(lambda: len(server.controls) > 1 and held(server) == [])
        # It is named no more from when its end begins: that of its tree is proved a little later.
        await server.until(lambda: not Path(f"/proc/{entry.process.process_id}").exists())
        server.answering = True

    run(main)


def test_q7_a_drained_worker_keeps_no_process(run: Callable[..., None]) -> None:
    async def main(server: ScriptedServer, agent: Agent) -> None:
        attempt = assign(server, scripted({"text": "one"}))
        await server.until(lambda: attempt.settled and held(server))
        server.wanted_worker = pb.WANTED_WORKER_DRAIN
        await server.until(lambda: held(server) == [])

    run(main)


def test_a_worker_that_ends_at_once_leaves_no_process(run: Callable[..., None]) -> None:
    async def main(server: ScriptedServer, agent: Agent) -> None:
        attempt = assign(server, scripted({"text": "one"}))
        await server.until(lambda: attempt.settled and held(server))
        agent.abort()

    run(main, cause=EndCause.ABORTED, terms=Terms())
