"""X8: how the CLI is started, and what it can see."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from headrace.v1 import job_pb2, task_pb2, worker_pb2
from headrace_worker.executors.claude.launch import (
    ClaudeCommand,
    Launch,
    LaunchRefused,
    cap_cost,
    credentials_of,
    plan,
    write_files,
)
from headrace_worker.workspace import PreparedWorkspace

SESSION = "11111111-2222-3333-4444-555555555555"


def command(folder: Path, **more: Any) -> ClaudeCommand:
    environment = {"PATH": "/bin", "LANG": "C.UTF-8", "HOME": "/home"}
    return ClaudeCommand(("/bin/claude",), simulated=False, data_folder=folder, environment=environment, **more)


def launch(folder: Path, resume: str = "", command_fields: dict[str, Any] | None = None, **task: Any) -> Launch:
    assignment = worker_pb2.Assignment(
        lease=worker_pb2.Lease(job_id="job-1", attempt=1),
        spec=job_pb2.JobSpec(claude=task_pb2.ClaudeTask(**task)),
        resume_claude_session_id=resume,
    )
    workspace = PreparedWorkspace(folder / "work", folder / "tmp", owned=True)
    return plan(command(folder, **(command_fields or {})), assignment, workspace, SESSION)


def test_plain_task_is_started_closed(tmp_path: Path) -> None:
    made = launch(tmp_path, prompt="hello")
    assert made.program.arguments == (
        "/bin/claude",
        "--output-format=stream-json",
        "--verbose",
        "--input-format=stream-json",
        "--permission-prompt-tool=stdio",
        "--setting-sources=",
        "--strict-mcp-config",
        "--permission-mode=default",
        "--include-partial-messages",
        f"--session-id={SESSION}",
    )
    assert (made.program.folder, made.files, made.session_id) == (str(tmp_path / "work"), {}, SESSION)


def test_x8_environment_is_an_allow_list(tmp_path: Path) -> None:
    seen = credentials_of(
        {"ANTHROPIC_API_KEY": "key", "CLAUDECODE": "1", "NODE_OPTIONS": "x", "CLAUDE_CODE_FOO": "x", "AWS_SECRET": "x"}
    )
    assert launch(tmp_path, command_fields={"credentials": seen}).program.environment == {
        "PATH": "/bin",
        "LANG": "C.UTF-8",
        "HOME": "/home",
        "ANTHROPIC_API_KEY": "key",
        "DISABLE_AUTOUPDATER": "1",
        "DISABLE_TELEMETRY": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_MAX_RETRIES": "1",
        "CLAUDE_CONFIG_DIR": str(tmp_path / "claude" / "job-1" / "config"),
        "TMPDIR": str(tmp_path / "tmp"),
    }


def test_prompt_and_credentials_are_never_arguments(tmp_path: Path) -> None:
    fields = {"credentials": {"ANTHROPIC_API_KEY": "sk-secret"}}
    made = launch(tmp_path, command_fields=fields, prompt="the prompt")
    assert not any("sk-secret" in argument or "the prompt" in argument for argument in made.program.arguments)
    assert "sk-secret" not in repr(command(tmp_path, **fields))


def test_every_field_of_the_task_reaches_the_cli(tmp_path: Path) -> None:
    schema = json_format.ParseDict({"type": "object", "maxProperties": 2}, struct_pb2.Struct())
    made = launch(
        tmp_path,
        model="opus",
        fallback_model="sonnet",
        allowed_tools=["Read", "Bash(git log:*)"],
        disallowed_tools=["WebFetch"],
        permission_mode=task_pb2.PERMISSION_MODE_PLAN,
        append_system_prompt="--be brief",
        limits=task_pb2.ClaudeLimits(max_turns=3, max_cost_usd_micros=250_000),
        output_schema=schema,
        deltas=False,
    )
    assert set(made.program.arguments[7:]) == {
        "--permission-mode=plan",
        "--model=opus",
        "--fallback-model=sonnet",
        "--allowedTools=Read,Bash(git log:*)",
        "--disallowedTools=WebFetch",
        "--append-system-prompt=--be brief",
        "--max-turns=3",
        "--max-budget-usd=0.250000",
        '--json-schema={"maxProperties": 2, "type": "object"}',
        f"--session-id={SESSION}",
    }


def test_r6_resume_takes_the_place_of_a_new_id(tmp_path: Path) -> None:
    made = launch(tmp_path, resume="abc-1")
    assert made.program.arguments[-1] == "--resume=abc-1"
    assert made.session_id == "abc-1"
    assert launch(tmp_path).program.environment["CLAUDE_CONFIG_DIR"] == made.program.environment["CLAUDE_CONFIG_DIR"]


@pytest.mark.parametrize("resume", ["--dangerously-skip-permissions", "a b", "../x", "x" * 200])
def test_an_id_that_is_none_is_refused(resume: str, tmp_path: Path) -> None:
    with pytest.raises(LaunchRefused):
        launch(tmp_path, resume=resume)


def test_long_texts_go_into_private_files(tmp_path: Path) -> None:
    tools = [f"Bash(git log {number}:*)" for number in range(2000)]
    made = launch(tmp_path, append_system_prompt="p" * 100_000, allowed_tools=tools)
    write_files(made)
    write_files(made)
    prompt, settings = tmp_path / "claude/job-1/system-prompt.txt", tmp_path / "claude/job-1/settings.json"
    assert f"--append-system-prompt-file={prompt}" in made.program.arguments
    assert f"--settings={settings}" in made.program.arguments
    assert (prompt.read_text(), '"allow"' in settings.read_text()) == ("p" * 100_000, True)
    assert [path.stat().st_mode & 0o777 for path in (prompt, settings)] == [0o600, 0o600]
    assert (tmp_path / "claude/job-1/config").stat().st_mode & 0o777 == 0o700


def test_what_does_not_fit_into_an_argument_is_refused(tmp_path: Path) -> None:
    for model in ("m" * 130_000, "m\0"):
        with pytest.raises(LaunchRefused):
            launch(tmp_path, model=model)


def test_environment_profile_takes_the_place_of_the_credentials(tmp_path: Path) -> None:
    fields = {"credentials": {"ANTHROPIC_API_KEY": "a"}, "profiles": {"team": {"ANTHROPIC_AUTH_TOKEN": "b"}}}
    environment = launch(tmp_path, command_fields=fields, environment_profile="team").program.environment
    assert ("ANTHROPIC_API_KEY" in environment, environment["ANTHROPIC_AUTH_TOKEN"]) == (False, "b")
    with pytest.raises(LaunchRefused, match="no environment profile"):
        launch(tmp_path, command_fields=fields, environment_profile="other")


def test_a_shared_config_folder_is_used_when_one_is_named(tmp_path: Path) -> None:
    made = launch(tmp_path, command_fields={"config_folder": tmp_path / "own"})
    assert made.program.environment["CLAUDE_CONFIG_DIR"] == str(tmp_path / "own")


@pytest.mark.parametrize(("own", "reserved", "cap"), [(0, 0, 0), (5, 0, 5), (0, 7, 7), (5, 7, 5), (7, 5, 5)])
def test_x6_the_cli_is_capped_at_what_is_reserved_or_at_the_tasks_own_smaller_limit(
    own: int, reserved: int, cap: int
) -> None:
    task = task_pb2.ClaudeTask(prompt="hi", limits={"max_cost_usd_micros": own} if own else None)
    assignment = worker_pb2.Assignment(spec=job_pb2.JobSpec(claude=task), cost_max_usd_micros=reserved)
    cap_cost(assignment)
    assert assignment.spec.claude.limits.max_cost_usd_micros == cap
    assert assignment.spec.claude.HasField("limits") == bool(cap)
