"""`top`: what it reads, what a frame shows, what keys do, and that a terminal is given back as it was."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import signal
import struct
import termios
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

import headrace
from e2e.terminal import Terminal
from headrace.cli.top import columns, keyboard, panels, reading, view
from headrace.cli.top.panels import Panel
from headrace.v1 import (
    job_pb2,
    job_service_pb2,
    queue_pb2,
    queue_service_pb2,
    worker_pb2,
    worker_service_pb2,
)

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def a_queue(number: int) -> queue_pb2.Queue:
    queue = queue_pb2.Queue(name=f"queue-{number}")
    queue.state_counts.add(state=job_pb2.JOB_STATE_QUEUED, count=number * 100)
    return queue


def a_job(number: int) -> job_pb2.Job:
    job = job_pb2.Job(id=f"job-{number:03}", state=job_pb2.JOB_STATE_RUNNING, worker_id="w", attempt_count=1)
    job.spec.display_name = f"folder {number} \x1b[2J"
    job.spec.queue = "queue-1"
    job.start_time.FromDatetime(NOW - timedelta(seconds=60 * number))
    job.progress.done, job.progress.total = number, 50
    return job


def a_worker(number: int) -> worker_pb2.Worker:
    worker = worker_pb2.Worker(id=f"w{number}", state=worker_pb2.WORKER_STATE_READY, slots=4, slots_used=number)
    worker.host_resources.memory_bytes = 8 << 30
    return worker


def statistics(name: str) -> queue_pb2.QueueStatistics:
    made = queue_pb2.QueueStatistics(name=name, submit_rate=2.0, start_rate=1.5, end_rate=0.25)
    made.wait.count = 3
    made.wait.p50.nanos = 120_000_000
    return made


def a_snapshot(queues: int = 12, jobs: int = 40, workers: int = 3) -> reading.Snapshot:
    return reading.Snapshot(
        time=NOW,
        queues=tuple(a_queue(number) for number in range(queues)),
        statistics={f"queue-{number}": statistics(f"queue-{number}") for number in range(queues)},
        jobs=tuple(a_job(number) for number in range(jobs)),
        counts=(job_pb2.StateCount(state=job_pb2.JOB_STATE_RUNNING, count=jobs),),
        workers=tuple(a_worker(number) for number in range(workers)),
    )


def a_scene(snapshot: reading.Snapshot | None = None) -> view.Scene:
    return view.Scene("here:1", "", snapshot or a_snapshot(), None, view.Choices())


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
@pytest.mark.parametrize("height", [5, 10, 13, 24, 60])
def test_a_frame_fills_its_terminal_exactly(width: int, height: int) -> None:
    lines = view.frame(a_scene(), width, height, NOW).plain.split("\n")
    assert len(lines) == height
    assert max(len(line) for line in lines) <= width
    assert "\x1b" not in "".join(lines)


def test_a_wide_frame_shows_everything_and_a_narrow_one_what_matters() -> None:
    wide = view.frame(a_scene(), 200, 60, NOW).plain
    for word in ("BLOCKED", "WAIT P50", "120ms", "OLDEST", "MEMORY FREE", "PROGRESS", "39 min 00 s", "39/50 (78 %)"):
        assert word in wide
    assert "40 RUNNING  |  3/12 slots of 3 workers, 3 ready  |  24.0/s in, 18.0/s started, 3.0/s ended" in wide
    narrow = view.frame(a_scene(), 44, 30, NOW).plain
    for word in ("QUEUED", "RUNS FOR", "folder 39", "SLOTS"):
        assert word in narrow
    assert "BLOCKED" not in narrow


def test_slots_are_those_of_workers_that_are_connected() -> None:
    snapshot = a_snapshot(workers=4)
    states = ("WORKER_STATE_READY", "WORKER_STATE_DRAINING", "WORKER_STATE_DISCONNECTED", "WORKER_STATE_LOST")
    for worker, state in zip(snapshot.workers, states, strict=True):
        worker.state = getattr(worker_pb2, state)
    assert "  |  1/8 slots of 2 workers, 1 ready  |  " in view.frame(a_scene(snapshot), 200, 60, NOW).plain


def test_panels_share_the_height_and_a_low_terminal_has_the_focused_one() -> None:
    wanted = {Panel.QUEUES: 2, Panel.JOBS: 100, Panel.WORKERS: 5}
    shares = view.shares(wanted, 24, Panel.JOBS)
    assert shares == {Panel.QUEUES: 2, Panel.JOBS: 8, Panel.WORKERS: 5}
    assert view.shares(wanted, 10, Panel.WORKERS) == {Panel.WORKERS: 5}
    assert sum(view.shares(wanted, None, Panel.JOBS).values()) == 107


def test_what_does_not_fit_is_counted() -> None:
    assert re.search(r"RUNNING JOBS  40  1-\d+\n", view.frame(a_scene(), 100, 24, NOW).plain)
    many = replace(a_snapshot(), counts=(job_pb2.StateCount(state=job_pb2.JOB_STATE_RUNNING, count=900),))
    assert "RUNNING JOBS  900  1-40" in view.frame(a_scene(many), 100, None, NOW).plain


def test_a_server_that_is_gone_is_told_beside_what_was_there() -> None:
    trouble = view.Trouble(NOW - timedelta(seconds=70), "connection refused", NOW + timedelta(seconds=3))
    text = view.frame(replace(a_scene(), trouble=trouble), 80, 24, NOW).plain
    assert re.search(r"disconnected since \d\d:58:50 \(1m\), next try in 3 s", text)
    assert "queue-1" in text


def pressed(*keys: str, width: int = 200) -> view.Choices:
    choices = view.Choices()
    for key in keys:
        shown = view.titles(replace(a_scene(), choices=choices), width, NOW)
        choices = view.pressed(choices, key, shown)
    return choices


def test_keys_choose_panel_order_and_place() -> None:
    assert pressed("tab").focus is Panel.WORKERS
    assert pressed("backtab").focus is Panel.QUEUES
    assert pressed("tab", "tab", "tab").focus is Panel.JOBS
    assert pressed("right").sort[Panel.JOBS] == ("PROGRESS", True)
    assert pressed("left", "r").sort[Panel.JOBS] == ("TRY", False)
    assert pressed("up", "down", "page down").first[Panel.JOBS] == 11
    assert pressed("p").paused
    assert not pressed("p", " ").paused
    assert pressed("x") == view.Choices()


def test_the_sorted_column_is_always_one_that_is_seen() -> None:
    seen = view.titles(a_scene(), 40, NOW)
    assert len(seen) < len(panels.columns(Panel.JOBS, NOW))
    chosen = [pressed(*["right"] * times, width=40).sort[Panel.JOBS][0] for times in range(1, len(seen) + 1)]
    assert sorted(chosen) == sorted(seen)


def test_rows_stand_in_the_chosen_order_and_scroll() -> None:
    def jobs(choices: view.Choices) -> list[str]:
        text = view.frame(replace(a_scene(), choices=choices), 120, 20, NOW).plain
        return re.findall(r"^job-(\d+)", text, re.MULTILINE)

    assert jobs(pressed())[:2] == ["039", "038"]
    assert jobs(pressed("r"))[:2] == ["000", "001"]
    assert jobs(pressed("r", "down"))[:1] == ["001"]
    assert jobs(pressed(*["down"] * 500))[-1] == "000"


def test_every_column_can_be_shown_and_sorted_by_without_values() -> None:
    empty = reading.Snapshot(NOW, (queue_pb2.Queue(),), {}, (job_pb2.Job(),), (), (worker_pb2.Worker(),))
    for panel in Panel:
        for column in panels.columns(panel, NOW):
            rows = columns.ordered(panels.columns(panel, NOW), panels.rows(empty, panel), column.title, True)
            assert all(isinstance(column.cell(row), str) for row in rows)
    assert "WORKER" in view.frame(a_scene(empty), 200, 40, NOW).plain


@pytest.mark.parametrize(
    ("sent", "names"),
    [
        ("q", ["q"]),
        ("\x1b[A\x1bOBp", ["up", "down", "p"]),
        ("\t\x1b[Z\x1b[6~", ["tab", "backtab", "page down"]),
        ("\x1b[1;5Cx", ["x"]),
        ("\x1b", []),
        ("\x1b[20", []),
    ],
)
def test_keys_are_read_from_what_a_terminal_sends(sent: str, names: list[str]) -> None:
    assert keyboard.keys(sent) == names


@pytest.fixture
def served(answers: Any) -> Any:
    """A fake server with something to see; requests of statistics are answered by name."""
    answers.by_rpc["ListJobs"] = job_service_pb2.ListJobsResponse(jobs=[a_job(7)], state_counts=a_snapshot().counts)
    answers.by_rpc["ListQueues"] = queue_service_pb2.ListQueuesResponse(queues=[a_queue(n) for n in range(6)])
    answers.by_rpc["ListWorkers"] = worker_service_pb2.ListWorkersResponse(workers=[a_worker(1)])
    answers.by_rpc["GetQueueStatistics"] = lambda request: queue_service_pb2.GetQueueStatisticsResponse(
        statistics=statistics(request.name)
    )
    return answers


def measured(answers: Any) -> list[str]:
    """Names of the queues whose statistics were asked for since the last look."""
    names = [one.name for one in answers.requests if isinstance(one, queue_service_pb2.GetQueueStatisticsRequest)]
    answers.requests.clear()
    return names


def test_a_refresh_is_a_few_calls_and_statistics_take_turns(served: Any) -> None:
    async def run() -> None:
        now = NOW
        async with headrace.connect(served.address) as server:
            reader = reading.Reader(server, lambda: now)
            await reader.read()
            assert len(served.requests) == 4 + reading.STATISTICS_AT_ONCE
            assert measured(served) == [f"queue-{n}" for n in range(4)]
            now += timedelta(seconds=1)
            assert len((await reader.read()).statistics) == 6
            assert measured(served) == ["queue-4", "queue-5"]
            await reader.read()
            assert measured(served) == []
            now += timedelta(seconds=5)
            await reader.read()
            assert measured(served) == [f"queue-{n}" for n in range(4)]
            served.by_rpc["ListQueues"] = queue_service_pb2.ListQueuesResponse(queues=[a_queue(0)])
            assert list((await reader.read()).statistics) == ["queue-0"]

    asyncio.run(run())


def test_a_server_without_statistics_is_not_asked_again(served: Any) -> None:
    async def run() -> None:
        served.refuse("GetQueueStatistics", grpc.StatusCode.UNIMPLEMENTED, "NOT_SUPPORTED", "not served")
        async with headrace.connect(served.address) as server:
            reader = reading.Reader(server, lambda: NOW)
            snapshot = await reader.read()
            assert measured(served) == ["queue-0"]
            await reader.read()
            assert measured(served) == []
        assert "queue-1" in view.frame(a_scene(snapshot), 200, 40, NOW).plain

    asyncio.run(run())


def test_once_prints_one_frame_or_one_document(headrace_command: Any, served: Any) -> None:
    result = headrace_command("top", "--once", env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    assert re.search(r"^queue-5 +open +500", result.stdout, re.MULTILINE)
    assert re.search(r"^job-007 +RUNNING", result.stdout, re.MULTILINE)
    document = json.loads(headrace_command("top", "--once", "-o", "json").stdout)
    assert [len(document[name]) for name in ("queues", "statistics", "jobs", "workers")] == [6, 6, 1, 1]


def test_once_without_a_server_exits_as_any_command(headrace_command: Any, answers: Any) -> None:
    result = headrace_command("top", "--once", "--server", "127.0.0.1:1")
    assert result.exit_code == 5
    assert "cannot reach a Headrace server" in result.stderr


@pytest.fixture
def top(served: Any) -> Iterator[Callable[[], Terminal]]:
    started: list[Terminal] = []

    def start() -> Terminal:
        terminal = Terminal(["top", "--interval", "0.2"], served.address)
        started.append(terminal)
        terminal.wait_for("job-007")
        return terminal

    yield start
    for terminal in started:
        terminal.close()


LEAVE_ALTERNATE_SCREEN = "\x1b[?1049l"
SHOW_CURSOR = "\x1b[?25h"


def assert_given_back(terminal: Terminal) -> None:
    assert LEAVE_ALTERNATE_SCREEN in terminal.shown
    assert SHOW_CURSOR in terminal.shown
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert "Traceback" not in terminal.shown


@pytest.mark.parametrize(("end", "code"), [("q", 0), ("\x03", 130), ("TERM", 0)])
def test_the_terminal_is_given_back_however_it_ends(top: Any, end: str, code: int) -> None:
    terminal = top()
    assert termios.tcgetattr(terminal.slave) != terminal.before
    if end == "TERM":
        terminal.process.send_signal(signal.SIGTERM)
    else:
        terminal.press(end)
    assert terminal.ended() == code
    assert_given_back(terminal)


def test_keys_act_at_once_and_a_paused_screen_reads_nothing(top: Any, served: Any) -> None:
    terminal = top()
    terminal.press("\t")
    terminal.press("p")
    terminal.wait_for("PAUSED")
    served.by_rpc["ListJobs"] = job_service_pb2.ListJobsResponse(jobs=[a_job(8)])
    terminal.press("p")
    terminal.wait_for("job-008")
    terminal.press("q")
    assert terminal.ended() == 0


def test_a_server_that_goes_away_is_waited_for(top: Any, served: Any) -> None:
    terminal = top()
    there = served.by_rpc["ListJobs"]
    served.refuse("ListJobs", grpc.StatusCode.UNAVAILABLE, "DRAINING", "the server is shutting down")
    terminal.wait_for("disconnected since")
    served.by_rpc["ListJobs"] = job_service_pb2.ListJobsResponse(jobs=[a_job(9), *there.jobs])
    terminal.wait_for("job-009")
    terminal.press("q")
    assert terminal.ended() == 0
    assert_given_back(terminal)


def test_a_suspended_screen_gives_the_terminal_back_meanwhile(top: Any) -> None:
    terminal = top()
    terminal.press("\x1a")
    terminal.wait_for(LEAVE_ALTERNATE_SCREEN)
    _, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert termios.tcgetattr(terminal.slave) == terminal.before
    terminal.process.send_signal(signal.SIGCONT)
    terminal.wait_for("job-007")
    terminal.press("q")
    assert terminal.ended() == 0
    assert_given_back(terminal)


def test_a_changed_size_is_followed(top: Any) -> None:
    terminal = top()
    fcntl.ioctl(terminal.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 200, 0, 0))
    terminal.process.send_signal(signal.SIGWINCH)
    terminal.wait_for("BLOCKED")
    terminal.press("q")
    assert terminal.ended() == 0
