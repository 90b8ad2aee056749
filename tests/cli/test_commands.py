"""The commands against a scripted server: what they send, print and return."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from typing import Any

import grpc
import pytest

from headrace.cli import launch
from headrace.cli.__main__ import main
from headrace.v1 import (
    event_pb2,
    job_pb2,
    job_service_pb2,
    outcome_pb2,
    task_pb2,
    watch_pb2,
)

JOB_ID = "0199b3a0-0000-7000-8000-000000000001"
COMMAND = job_pb2.JobSpec(command=task_pb2.CommandTask(program="sh"))


@pytest.mark.parametrize(
    ("state", "code", "word"),
    [
        (job_pb2.JOB_STATE_SUCCEEDED, 0, "✓ succeeded"),
        (job_pb2.JOB_STATE_FAILED, 1, "✗ failed: OVERLOADED: busy (status=529)"),
        (job_pb2.JOB_STATE_CANCELLED, 3, "✗ cancelled by ann: enough"),
        (job_pb2.JOB_STATE_EXPIRED, 4, "✗ expired"),
        (job_pb2.JOB_STATE_SKIPPED, 4, "✗ skipped"),
    ],
)
def test_the_exit_status_of_run_is_the_outcome(
    headrace_command: Any, answers: Any, log: Any, usage: Any, state: job_pb2.JobState, code: int, word: str
) -> None:
    failure = outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_OVERLOADED, message="busy", sign="status=529")
    cancellation = job_pb2.Cancellation(actor="ann", reason="enough")
    answers.job_with_log(log.started(), state, failure=failure, cancellation=cancellation, usage=usage)
    result = headrace_command("run", "say hi")
    assert result.exit_code == code
    assert word in result.stderr
    assert "2 turns · 1 tool call · 1.2k in / 340 out tokens · $0.0123" in result.stderr


def test_run_sends_what_its_options_say(headrace_command: Any, answers: Any, log: Any, tmp_path: Any) -> None:
    answers.job_with_log(log, job_pb2.JOB_STATE_SUCCEEDED)
    result = headrace_command(
        *("run", "say hi", "--folder", str(tmp_path), "--share-folder", "--model", "opus", "--allowed-tool", "Read"),
        *("--allowed-tool", "Bash(git log:*)", "--permission-mode", "acceptEdits", "--max-turns", "3"),
        *("--max-cost", "0.5", "--queue", "q", "--label", "a=b", "--name", "greeting", "--priority", "-7"),
        *("--run-timeout", "1m30s", "--namespace", "n"),
    )
    assert result.exit_code == 0, result.output
    request = answers.requests[0]
    spec = request.spec
    assert (request.namespace, spec.queue, spec.display_name, spec.priority) == ("n", "q", "greeting", -7)
    assert dict(spec.labels) == {"a": "b"}
    assert spec.timeouts.run_timeout.seconds == 90
    assert spec.claude == task_pb2.ClaudeTask(
        prompt="say hi",
        model="opus",
        allowed_tools=["Read", "Bash(git log:*)"],
        permission_mode=task_pb2.PERMISSION_MODE_ACCEPT_EDITS,
        limits=task_pb2.ClaudeLimits(max_turns=3, max_cost_usd_micros=500_000),
        workspace=task_pb2.Workspace(folder=str(tmp_path), shared=True),
    )
    assert answers.requests[1].deltas


def test_answer_goes_to_stdout_and_everything_about_it_to_stderr(headrace_command: Any, answers: Any, log: Any) -> None:
    answers.job_with_log(log.started().says("Hello."), job_pb2.JOB_STATE_SUCCEEDED)
    result = headrace_command("run", "say hi")
    assert result.stdout == "Hello.\n"
    assert "attempt 1 started on w1" in result.stderr
    assert JOB_ID in result.stderr


@pytest.mark.parametrize(
    ("arguments", "task"),
    [
        (["claude", "hi"], {"claude": {"prompt": "hi"}, "display_name": "hi"}),
        (["command", "--", "ls", "-la"], {"command": {"program": "ls", "arguments": ["-la"]}}),
        (["command", "ls", "-la"], {"command": {"program": "ls", "arguments": ["-la"]}}),
        (["handler", "build", "--input", '{"n": 1}'], {"handler": {"name": "build", "input": {"n": 1}}}),
    ],
)
def test_submit_prints_the_id_alone(headrace_command: Any, answers: Any, arguments: Any, task: Any) -> None:
    answers.by_rpc["SubmitJob"] = job_service_pb2.SubmitJobResponse(job=job_pb2.Job(id=JOB_ID))
    result = headrace_command("job", "submit", *arguments)
    assert result.stdout == f"{JOB_ID}\n"
    kind = next(iter(task))
    expected = job_pb2.JobSpec(**{k: v for k, v in task.items() if k != "handler"})
    if kind == "handler":
        expected.handler.name = "build"
        expected.handler.input.update({"n": 1})
    assert answers.requests[0].spec == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "hi", "--label", "nope"],
        ["run", "hi", "--permission-mode", "yolo"],
        ["run", "hi", "--run-timeout", "soon"],
        ["run", "hi", "--priority", "101"],
        ["run", "hi", "--server", "http://x"],
        ["job", "submit", "handler", "h", "--input", "[1]"],
        ["run", "hi", "--on-conflict", "refuse"],
        ["run", "hi", "--after-condition", "all-ended"],
        ["run", "hi", "--at", "2030-01-01T00:00", "--in", "5m"],
        ["run", "hi", "--at", "soon"],
        ["run", "hi", "--memory", "much"],
        ["run", "hi", "--require-label", "zone"],
        ["job", "submit", "file", "/nowhere.json"],
        ["job", "update", JOB_ID],
        ["job", "logs"],
        ["job", "logs", JOB_ID, "--unique-key", "k"],
        ["job", "cancel"],
        ["job", "cancel", JOB_ID, "--queue", "q"],
        ["job", "cancel", JOB_ID, "--dry-run"],
        ["job", "retry", JOB_ID, "other", "--request-id", "r"],
        ["job", "delete"],
        ["queue", "update", "q"],
        ["queue", "create", "q", "--rate", "fast"],
        ["queue", "create", "q", "--burst", "3"],
        ["queue", "create", "q", "--weight", "ann=much"],
        ["schedule", "create", "handler", "s", "h"],
        ["schedule", "create", "handler", "s", "h", "--cron", "* * * * *", "--every", "5m"],
        ["schedule", "update", "s"],
        ["schedule", "update", "s", "--spec", '{"nonsense": 1}'],
        ["schedule", "preview"],
        ["schedule", "preview", "s", "--cron", "* * * * *"],
        ["nonsense"],
    ],
)
def test_bad_usage_exits_with_2_and_sends_nothing(headrace_command: Any, answers: Any, arguments: list[str]) -> None:
    result = headrace_command(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert answers.requests == []


def test_every_bad_field_is_named_on_a_line(headrace_command: Any, answers: Any) -> None:
    answers.refuse(
        "SubmitJob",
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_FIELD",
        "2 fields are not as they have to be",
        spec__queue="no such characters",
        spec__claude__prompt="is required",
    )
    result = headrace_command("job", "submit", "claude", "")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        "headrace: 2 fields are not as they have to be [INVALID_FIELD]",
        "  spec.queue: no such characters",
        "  spec.claude.prompt: is required",
    ]


def test_a_refusal_exits_with_1_and_one_line(headrace_command: Any, answers: Any) -> None:
    answers.refuse("CancelJob", grpc.StatusCode.FAILED_PRECONDITION, "JOB_ENDED", "the job has ended")
    result = headrace_command("job", "cancel", JOB_ID, "--reason", "enough")
    assert (result.exit_code, result.stderr) == (1, "headrace: the job has ended [JOB_ENDED]\n")
    assert answers.requests[0].reason == "enough"


def test_an_unreachable_server_exits_with_5_and_one_line(start_command: Any) -> None:
    process = start_command("job", "list", server="127.0.0.1:1")
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout) == (5, b"")
    assert stderr.decode().count("\n") == 1
    assert "cannot reach a Headrace server at 127.0.0.1:1" in stderr.decode()


def test_e9_interrupting_a_follow_detaches_and_says_how_to_return(start_command: Any, answers: Any, log: Any) -> None:
    answers.job_with_log(log.started().says("Half"), job_pb2.JOB_STATE_SUCCEEDED)
    answers.watches[0].pop()
    process = start_command("run", "hi")
    assert answers.watching.wait(60)
    assert process.stdout.readline() == b"Half\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"headrace job logs -f {JOB_ID}" in stderr.decode()
    assert "Traceback" not in stderr.decode()
    assert {type(request).__name__ for request in answers.requests} == {"SubmitJobRequest", "WatchJobRequest"}


def test_logs_are_the_exact_bytes_of_a_command(start_command: Any, answers: Any, log: Any) -> None:
    err = event_pb2.OUTPUT_STREAM_STDERR
    log.started().chunk(b"\x1b[31m\xe2\x82").chunk(b"\xacx\x00\xff").chunk(b"oops", err).chunk(b"\r\n")
    answers.job_with_log(log, job_pb2.JOB_STATE_FAILED, COMMAND)
    process = start_command("job", "logs", JOB_ID)
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, stderr) == (0, b"\x1b[31m\xe2\x82\xacx\x00\xff\r\n", b"oops")
    assert answers.requests[1].no_follow


def test_logs_f_ends_with_the_status_of_the_job(headrace_command: Any, answers: Any, log: Any) -> None:
    answers.job_with_log(log.started().chunk(b"x"), job_pb2.JOB_STATE_FAILED, COMMAND)
    result = headrace_command("job", "logs", "-f", JOB_ID, "--cursor", "c0")
    assert (result.exit_code, result.stdout, result.stderr) == (1, "x", "")
    assert answers.requests[1].cursor == "c0"


def test_raw_logs_are_the_frames_of_the_cli(start_command: Any, answers: Any, log: Any) -> None:
    log.started().says("Hello.", raw='{"type":"assistant"}')
    log.chunk(b'{"big":', event_pb2.OUTPUT_STREAM_FRAME).chunk(b"1}", event_pb2.OUTPUT_STREAM_FRAME)
    log.output(claude=event_pb2.ClaudeFrame(stored=event_pb2.StoredFrame(), unknown=event_pb2.ClaudeUnknown()))
    log.output(claude=event_pb2.ClaudeFrame(raw_bytes=b"\xff", unknown=event_pb2.ClaudeUnknown()))
    answers.job_with_log(log, job_pb2.JOB_STATE_SUCCEEDED)
    stdout, _ = start_command("job", "logs", "--raw", JOB_ID).communicate(timeout=60)
    assert stdout == b'{"type":"assistant"}\n{"big":1}\n\xff\n'


def test_logs_finds_a_job_by_its_unique_key(headrace_command: Any, answers: Any, log: Any) -> None:
    answers.job_with_log(log.started().chunk(b"data"), job_pb2.JOB_STATE_SUCCEEDED, COMMAND)
    opened = job_service_pb2.WatchJobResponse(cursor="c0", opened=watch_pb2.WatchOpened(job=job_pb2.Job(id=JOB_ID)))
    answers.watches.insert(0, [opened])
    answers.hold.set()
    result = headrace_command("job", "logs", "--unique-key", "k", "--queue", "q", "--wait")
    assert (result.exit_code, result.stdout) == (0, "data")
    assert answers.requests[0].unique_key == job_service_pb2.WatchUniqueKey(queue="q", key="k", wait=True)
    assert answers.requests[-1].job_id == JOB_ID


def test_logs_ask_for_the_part_that_was_named(headrace_command: Any, answers: Any, log: Any) -> None:
    answers.job_with_log(log.started().chunk(b"x"), job_pb2.JOB_STATE_SUCCEEDED, COMMAND)
    options = ["--last", "5", "--since", "2026-01-31T08:00:00+00:00", "--attempt", "2"]
    result = headrace_command("job", "logs", JOB_ID, *options, "--only", "stdout,progress", "--max-rate", "64KiB")
    assert result.exit_code == 0, result.stderr
    asked = answers.requests[1]
    assert (asked.last, asked.attempt, asked.max_bytes_per_second) == (5, 2, 65536)
    assert asked.start_time.ToJsonString() == "2026-01-31T08:00:00Z"
    assert list(asked.outputs) == [job_service_pb2.OUTPUT_KIND_STDOUT, job_service_pb2.OUTPUT_KIND_PROGRESS]


@pytest.mark.parametrize("options", [("--only", "sound"), ("--cursor", "c", "--last", "3"), ("--since", "soon")])
def test_logs_refuse_a_part_that_means_nothing(headrace_command: Any, options: tuple[str, ...]) -> None:
    assert headrace_command("job", "logs", JOB_ID, *options).exit_code == 2


def test_a_closed_pipe_ends_the_command_quietly(start_command: Any, answers: Any, log: Any) -> None:
    log.started()
    for _ in range(200):
        log.chunk(b"x" * 4096)
    answers.job_with_log(log, job_pb2.JOB_STATE_SUCCEEDED, COMMAND)
    process = start_command("job", "logs", JOB_ID)
    process.stdout.close()
    process.stdout = None
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (141, b"")


def test_json_of_a_follow_is_one_line_per_event(headrace_command: Any, answers: Any, log: Any) -> None:
    gap = job_service_pb2.WatchJobResponse(gap=watch_pb2.WatchGap(from_sequence=3, to_sequence=4))
    answers.job_with_log(log.started(), job_pb2.JOB_STATE_SUCCEEDED)
    answers.watches[0].insert(2, gap)
    result = headrace_command("run", "hi", "-o", "json")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line.get("sequence") for line in lines[:2]] == ["1", "2"]
    assert lines[1]["attemptStarted"] == {"workerId": "w1"}
    assert lines[2] == {"gap": {"fromSequence": "3", "toSequence": "4"}}
    assert lines[3]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert result.stderr == ""


def test_list_asks_with_a_filter_and_prints_jobs_and_counts(headrace_command: Any, answers: Any) -> None:
    job = job_pb2.Job(id=JOB_ID, state=job_pb2.JOB_STATE_RUNNING, spec=COMMAND)
    counts = [job_pb2.StateCount(state=job_pb2.JOB_STATE_RUNNING, count=3)]
    answers.by_rpc["ListJobs"] = job_service_pb2.ListJobsResponse(jobs=[job], state_counts=counts)
    result = headrace_command(
        *("job", "list", "--state", "running", "--state", "QUEUED", "--queue", "q", "--owner", 'a"b'),
        *("--label", "team=search", "--filter", 'worker_id = "w1"'),
    )
    assert answers.requests[0].filter == (
        'state = (RUNNING OR QUEUED) AND queue = "q" AND owner = "a\\"b"'
        ' AND labels.team = "search" AND worker_id = "w1"'
    )
    assert JOB_ID in result.stdout
    assert "command: sh" in result.stdout
    assert result.stdout.splitlines()[-1] == "in all: 3 RUNNING"


def test_watching_the_list_shows_it_until_it_is_interrupted(start_command: Any, answers: Any) -> None:
    answers.by_rpc["ListJobs"] = job_service_pb2.ListJobsResponse()
    process = start_command("job", "list", "--watch")
    assert process.stdout.readline() == b"no jobs\n"
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, b"")


DOCUMENTS: dict[str, tuple[list[str], Any, str]] = {
    "GetJob": (["job", "show", JOB_ID], job_service_pb2.GetJobResponse(job=job_pb2.Job(id=JOB_ID)), "id"),
    "ListJobs": (
        ["job", "list"],
        job_service_pb2.ListJobsResponse(jobs=[job_pb2.Job(id=JOB_ID)]),
        "jobs",
    ),
    "CancelJob": (["job", "cancel", JOB_ID], job_service_pb2.CancelJobResponse(job=job_pb2.Job(id=JOB_ID)), "id"),
    "ExplainJob": (["job", "explain", JOB_ID], job_service_pb2.ExplainJobResponse(queue_position=2), "queuePosition"),
    "SubmitJob": (
        ["job", "submit", "claude", "hi"],
        job_service_pb2.SubmitJobResponse(job=job_pb2.Job(id=JOB_ID)),
        "job",
    ),
}


@pytest.mark.parametrize("rpc", sorted(DOCUMENTS))
def test_every_command_prints_text_and_one_json_document(headrace_command: Any, answers: Any, rpc: str) -> None:
    arguments, answer, field = DOCUMENTS[rpc]
    answers.by_rpc[rpc] = answer
    text = headrace_command(*arguments)
    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout.strip()
    document = json.loads(headrace_command(*arguments, "-o", "json").stdout)
    assert field in document


def test_a_prompt_of_a_dash_is_read_from_standard_input(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["SubmitJob"] = job_service_pb2.SubmitJobResponse(job=job_pb2.Job(id=JOB_ID))
    headrace_command("job", "submit", "claude", "-", input="from a pipe")
    assert answers.requests[0].spec.claude.prompt == "from a pipe"


@pytest.mark.parametrize(("command", "module"), [("serve", "headrace_server"), ("work", "headrace_worker")])
def test_serve_and_work_pass_their_arguments_untouched(
    monkeypatch: pytest.MonkeyPatch, command: str, module: str
) -> None:
    became: list[list[str]] = []

    def become(program: str, arguments: list[str]) -> None:
        became.append([program, *arguments])
        raise SystemExit

    monkeypatch.setattr(os, "execv", become)
    monkeypatch.setattr(sys, "argv", ["headrace", command, "--help", "--", "-x", "--y=z", ""])
    with pytest.raises(SystemExit):
        main()
    assert became == [[sys.executable, sys.executable, "-m", module, "--help", "--", "-x", "--y=z", ""]]


def test_serve_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SystemExit, match=r"pip install 'headrace\[server\]'"):
        launch.launch("serve", [])


def test_without_typer_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'typer'", name="typer")

    monkeypatch.setattr(importlib, "import_module", missing)
    monkeypatch.setattr(sys, "argv", ["headrace", "job", "list"])
    with pytest.raises(SystemExit, match=r"needs typer: pip install 'headrace\[cli\]'"):
        main()


def test_version_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headrace.cli", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("headrace ")


def test_a_shell_can_complete_commands_and_options() -> None:
    asked = {"COMP_WORDS": "headrace job list --st", "COMP_CWORD": "3", "_HEADRACE_COMPLETE": "complete_bash"}
    command = [sys.executable, "-c", "from headrace.cli.__main__ import main; main()"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=60, env=os.environ | asked, input=""
    )
    assert done.stdout.split() == ["--state"]
