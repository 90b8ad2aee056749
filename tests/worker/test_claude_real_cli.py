"""The executor with the real CLI against the scripted model server: what the simulator is only believed to do."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop
from google.protobuf import json_format, struct_pb2

from headrace.v1 import outcome_pb2, task_pb2
from headrace_worker.executors.claude.executor import ClaudeExecutor
from headrace_worker.executors.claude.launch import ClaudeCommand
from headrace_worker.executors.contract import Cancelled, Failed, Outcome, Succeeded
from headrace_worker.trees import Trees
from headrace_worker.workspace import Workspaces

pytestmark = pytest.mark.timeout(120)
Run = Callable[..., tuple[Outcome, Any]]


@pytest.fixture
def run(
    tmp_path: Path,
    workspaces: Workspaces,
    lease: Trees,
    base_environment: dict[str, str],
    attempt_of: Callable[..., Any],
    real_cli: Path,
    model_server: Any,
) -> Run:
    """Runs a task on the real CLI; `answers` are what the model says."""
    command = ClaudeCommand(
        (str(real_cli),),
        simulated=False,
        data_folder=tmp_path / "data",
        environment={**base_environment, "HOME": str(tmp_path / "home")},
        credentials={"ANTHROPIC_API_KEY": "made-up", "ANTHROPIC_BASE_URL": model_server.url},
    )
    executor = ClaudeExecutor(command, workspaces, lease, lambda: 0.0)

    def run_task(
        *answers: dict[str, Any], meanwhile: Callable[[Any], Any] | None = None, resume: str = "", **task: Any
    ) -> tuple[Outcome, Any]:
        async def main() -> tuple[Outcome, Any]:
            prompt = f"please SCRIPT<<{json.dumps(answers)}>>"
            attempt = attempt_of(resume=resume, claude=task_pb2.ClaudeTask(prompt=prompt, **task))
            async with asyncio.timeout(60):
                running = asyncio.create_task(executor.run(attempt))
                if meanwhile is not None:
                    await meanwhile(attempt)
                return await running, attempt

        return uvloop.run(main())

    return run_task


def class_of(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    return outcome_pb2.FailureClass.Name(outcome.failure.failure_class).removeprefix("FAILURE_CLASS_")


def test_a_turn_and_its_resumption(run: Run) -> None:
    first, attempt = run({"text": "one"})
    assert isinstance(first, Succeeded)
    assert (first.result.claude.text, first.usage.turns) == ("one", 1)
    assert first.usage.cost_usd_micros > 0
    assert not any(frame.HasField("unknown") for frame in attempt.frames())
    assert "".join(delta.text for delta in attempt.deltas) == "one"
    session_id = first.result.claude.claude_session_id
    second, _ = run({"text": "two"}, resume=session_id)
    assert isinstance(second, Succeeded)
    assert (second.result.claude.text, second.result.claude.claude_session_id) == ("two", session_id)
    assert second.usage.cost_usd_micros == first.usage.cost_usd_micros


def test_denied_and_allowed_tools(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "allowed"
    write = {"name": "Write", "input": {"file_path": str(folder / "written"), "content": "x"}}
    task = {"workspace": task_pb2.Workspace(folder=str(folder))}
    denied, _ = run({"tools": [write]}, {"text": "no"}, **task)
    assert isinstance(denied, Succeeded)
    assert (denied.result.claude.permission_denials, (folder / "written").exists()) == (1, False)
    allowed, attempt = run({"tools": [write]}, {"text": "yes"}, allowed_tools=["Write"], **task)
    assert isinstance(allowed, Succeeded)
    assert (folder / "written").read_text() == "x"
    assert any(output.dirty for output in attempt.outputs)


def test_c1_a_running_tool_is_ended_with_its_children(run: Run, tmp_path: Path, processes: Any) -> None:
    pid_file = tmp_path / "allowed" / "pid"
    script = f"import os,time; open('{pid_file}','w').write(str(os.getpid())+chr(10)); time.sleep(600)"
    bash = {"name": "Bash", "input": {"command": f'setsid python3 -c "{script}"', "description": "s"}}

    async def cancel(attempt: Any) -> None:
        await processes.until_file(pid_file)
        attempt.stop(grace_seconds=10)

    outcome, attempt = run(
        {"tools": [bash]},
        meanwhile=cancel,
        allowed_tools=["Bash"],
        permission_mode=task_pb2.PERMISSION_MODE_ACCEPT_EDITS,
        workspace=task_pb2.Workspace(folder=str(pid_file.parent)),
    )
    assert isinstance(outcome, Cancelled)
    assert (attempt.rungs()[0], attempt.rungs()[-1], attempt.steps[-1].survivors) == ("INTERRUPT", "TREE_GONE", 0)
    assert not processes.is_alive(int(pid_file.read_text()))


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, "AUTH"), (404, "INVALID"), (413, "CONTEXT"), (429, "RATE_LIMITED"), (500, "OVERLOADED")],
)
def test_failure_classes(run: Run, status: int, expected: str) -> None:
    assert class_of(run(*[{"status": status}] * 3)[0]) == expected


def test_turn_limit_and_schema(run: Run) -> None:
    read = {"tools": [{"name": "Read", "input": {"file_path": "/nothing"}}]}
    assert class_of(run(read, read, limits=task_pb2.ClaudeLimits(max_turns=1))[0]) == "TURN_LIMIT"
    schema = json_format.ParseDict(
        {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, struct_pb2.Struct()
    )
    answer = {"tools": [{"name": "StructuredOutput", "input": {"n": 4}}]}
    outcome, attempt = run(answer, {"text": "done"}, output_schema=schema)
    assert isinstance(outcome, Succeeded)
    assert json_format.MessageToDict(outcome.result.claude.structured_output) == {"n": 4.0}
    assert not any(output.dirty for output in attempt.outputs)


def test_long_lists_and_prompts_in_files_are_taken(run: Run, model_server: Any, tmp_path: Path) -> None:
    tools = ["Write", *(f"Bash(git log {number}:*)" for number in range(1000))]
    target = tmp_path / "allowed" / "written"
    write = {"name": "Write", "input": {"file_path": str(target), "content": "x"}}
    outcome, _ = run(
        {"tools": [write]},
        {"text": "ok"},
        allowed_tools=tools,
        append_system_prompt="Remember the herring. " * 2000,
        workspace=task_pb2.Workspace(folder=str(target.parent)),
    )
    assert isinstance(outcome, Succeeded)
    assert target.exists()
    assert "Remember the herring." in json.dumps(model_server.model_calls[0].body["system"])


def test_an_unknown_conversation_is_an_unknown_outcome(run: Run) -> None:
    assert class_of(run({"text": "x"}, resume="09eefe67-6db0-483d-bc48-b2dc30e1a6f8")[0]) == "UNKNOWN_OUTCOME"


def test_bypass_of_permissions_is_refused_to_root_alone(run: Run) -> None:
    outcome, _ = run({"text": "x"}, permission_mode=task_pb2.PERMISSION_MODE_BYPASS_PERMISSIONS)
    if os.geteuid() == 0:
        assert class_of(outcome) == "INVALID"
    else:
        assert isinstance(outcome, Succeeded)
