"""`health`: what it prints, its exit status, that --watch tells of each alert once; and the alerts of `top`."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

import headrace
from headrace.cli.amounts import clock
from headrace.cli.describe import health_text
from headrace.cli.top import reading, view
from headrace.v1 import (
    admin_service_pb2,
    job_pb2,
    job_service_pb2,
    queue_service_pb2,
    worker_pb2,
    worker_service_pb2,
)

DEADLINE_SECONDS = 30.0
BEGIN = 1_700_000_000


def alert(name: str = "no-worker", message: str = "2 jobs wait", cleared: int = 0) -> admin_service_pb2.Alert:
    made = admin_service_pb2.Alert(name=name, message=message, severity=admin_service_pb2.ALERT_SEVERITY_CRITICAL)
    made.start_time.FromSeconds(BEGIN)
    if cleared:
        made.clear_time.FromSeconds(BEGIN + cleared)
    return made


def message(
    *alerts: admin_service_pb2.Alert, serving: bool = True, at: int = 0
) -> admin_service_pb2.WatchHealthResponse:
    made = admin_service_pb2.WatchHealthResponse(serving=serving, slots=4, slots_used=1, queue_saturation=0.123)
    made.time.FromSeconds(BEGIN + at)
    made.state_counts.add(state=job_pb2.JOB_STATE_QUEUED, count=2)
    made.worker_counts.add(state=worker_pb2.WORKER_STATE_READY, count=1)
    made.commit_p50.FromMilliseconds(2)
    made.commit_max.FromMilliseconds(9)
    made.disk_free_bytes = 3 << 30
    made.alerts.extend(alerts)
    return made


def local(seconds: int) -> str:
    """A time as a person sees it."""
    return clock(Timestamp(seconds=BEGIN + seconds))


def test_it_shows_everything_once(headrace_command: Any, answers: Any) -> None:
    answers.health = [message(alert(), alert("disk-low", cleared=5))]
    result = headrace_command("health", "--interval", "2")
    assert result.exit_code == 0, result.output
    for text in (
        "server     serving",
        "jobs       2 QUEUED",
        "queues     the fullest is 12 % full",
        "slots      1 of 4 in use",
        "workers    1 ready",
        "commits    half of them within 2ms, all within 9ms; 0 writes waiting",
        "disk       3.0 GiB free",
        f"CRITICAL no-worker since {local(0)}: 2 jobs wait",
    ):
        assert text in result.output.splitlines()
    assert "disk-low" not in result.output
    assert answers.requests[0].interval.seconds == 2


def test_a_server_that_takes_no_work_is_a_failure(headrace_command: Any, answers: Any) -> None:
    answers.health = [message(serving=False)]
    result = headrace_command("health")
    assert result.exit_code == 1
    assert "server     NOT SERVING" in result.output
    assert "alerts     none" in result.output


def test_a_server_that_is_not_there_is_told(headrace_command: Any) -> None:
    result = headrace_command("health", "--server", "127.0.0.1:1")
    assert result.exit_code == 5


def test_json_is_the_message_as_it_is(headrace_command: Any, answers: Any) -> None:
    answers.health = [message(alert())]
    shown = json.loads(headrace_command("health", "-o", "json").output)
    assert (shown["serving"], shown["alerts"][0]["name"]) == (True, "no-worker")


@pytest.mark.parametrize("as_json", [False, True])
def test_watch_goes_on_line_after_line_until_it_is_interrupted(
    start_command: Callable[..., subprocess.Popen[bytes]], answers: Any, as_json: bool
) -> None:
    answers.health = [message(at=second) for second in range(3)]
    process = start_command("health", "--watch", *(["-o", "json"] if as_json else []))
    assert process.stdout is not None
    lines = [process.stdout.readline().decode() for _ in range(3)]
    assert answers.watching.wait(DEADLINE_SECONDS)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, output, errors) == (130, b"", b"")
    if as_json:
        assert [json.loads(line)["time"][-3:] for line in lines] == ["20Z", "21Z", "22Z"]
    else:
        assert lines[0].startswith(f"{local(0)} serving  |  2 QUEUED  |  slots 1/4  |  workers 1 ready  |  commits 2ms")


def test_each_alert_is_told_when_it_begins_changes_and_clears_and_no_more() -> None:
    told = health_text.Told()
    said = [
        told.lines(message(*alerts))[1:]
        for alerts in ([], [alert()], [alert()], [alert(message="3 jobs wait")], [alert(cleared=60)], [])
    ]
    assert said == [
        [],
        [f"CRITICAL no-worker since {local(0)}: 2 jobs wait"],
        [],
        [f"CRITICAL no-worker since {local(0)}: 3 jobs wait"],
        [f"CLEARED no-worker at {local(60)}, since {local(0)}: 2 jobs wait"],
        [],
    ]


NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("height", [4, 13, 24])
def test_on_the_screen_of_top_standing_alerts_have_a_line_the_gravest_first(height: int) -> None:
    warning = alert("queue-full")
    warning.severity = admin_service_pb2.ALERT_SEVERITY_WARNING
    snapshot = reading.Snapshot(NOW, alerts=(warning, alert(message="2 jobs\x1b[2J")))
    scene = view.Scene("here:1", "", snapshot, None, view.Choices())
    lines = view.frame(scene, 80, height, NOW).plain.split("\n")
    assert lines[2] == "CRITICAL no-worker: 2 jobs[2J  |  also queue-full"
    assert len(lines) == height


def test_top_reads_the_alerts_and_does_not_ask_a_server_without_them_again(answers: Any) -> None:
    answers.by_rpc["ListJobs"] = job_service_pb2.ListJobsResponse()
    answers.by_rpc["ListQueues"] = queue_service_pb2.ListQueuesResponse()
    answers.by_rpc["ListWorkers"] = worker_service_pb2.ListWorkersResponse()

    async def run() -> None:
        async with headrace.connect(answers.address) as server:
            reader = reading.Reader(server, lambda: NOW)
            assert [(await reader.read()).alerts for _ in range(2)] == [(), ()]
            assert sum(isinstance(one, admin_service_pb2.WatchHealthRequest) for one in answers.requests) == 1
            answers.health = [message(alert())]
            reader = reading.Reader(server, lambda: NOW)
            assert [(await reader.read()).alerts for _ in range(6)] == [(alert(),)] * 6

    asyncio.run(run())
