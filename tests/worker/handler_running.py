"""One handler on a worker that is connected to a scripted control plane, for as long as a test's scenario takes."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from headrace.v1 import event_pb2, job_pb2, outcome_pb2
from headrace.worker import Worker
from headrace_worker.executors.values import to_python
from worker.agent_running import handler_spec
from worker.agent_server import ScriptedServer, ServedAttempt, serving

Scenario = Callable[[ScriptedServer], Awaitable[None]]


def play_handler(folder: Path, function: Callable[..., Any], scenario: Scenario, *, slots: int = 4) -> None:
    """Runs a worker with the handler `f` for as long as the scenario takes."""

    async def run() -> None:
        async with serving(folder) as server:
            worker = Worker(server.address, slots=slots, id="w", data=folder / "data", drain_seconds=0.2)
            worker.handler("f")(function)
            async with worker.running():
                await scenario(server)

    uvloop.run(run())


def run_handler(
    folder: Path, function: Callable[..., Any], spec: job_pb2.JobSpec | None = None, **assignment: Any
) -> ServedAttempt:
    """The attempt of one job of the handler `f`, to its end."""
    done: list[ServedAttempt] = []

    async def scenario(server: ScriptedServer) -> None:
        attempt = server.assign(spec or handler_spec("f"), **assignment)
        await server.until(lambda: attempt.finishes)
        done.append(attempt)

    play_handler(folder, function, scenario)
    return done[0]


def value_of(attempt: ServedAttempt) -> Any:
    """What the handler returned."""
    return to_python(attempt.finishes[-1].succeeded.handler.value)


def failure_of(attempt: ServedAttempt) -> outcome_pb2.Failure:
    """Why the attempt failed."""
    return attempt.finishes[-1].failed


def class_of(attempt: ServedAttempt) -> str:
    """The class of its failure, in a word."""
    return outcome_pb2.FailureClass.Name(failure_of(attempt).failure_class).removeprefix("FAILURE_CLASS_")


def outputs_of(attempt: ServedAttempt, kind: str) -> list[Any]:
    """What was committed of one kind, in order."""
    return [getattr(output, kind) for output in attempt.outputs if output.WhichOneof("kind") == kind]


def checkpoints_of(attempt: ServedAttempt) -> list[Any]:
    """The checkpoints that were committed, in order."""
    return [to_python(checkpoint.value) for checkpoint in outputs_of(attempt, "checkpoint")]


def progress_of(attempt: ServedAttempt) -> list[event_pb2.Output]:
    """The progress that was committed, in order."""
    return [output for output in attempt.outputs if output.WhichOneof("kind") == "progress"]
