"""A scripted server for the command's tests: real gRPC on a free port, in threads, so that subprocesses reach it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import error_details_pb2, status_pb2
from typer.testing import CliRunner, Result

from headrace.cli.app import app
from headrace.v1 import (
    admin_service_pb2,
    admin_service_pb2_grpc,
    event_pb2,
    event_service_pb2,
    event_service_pb2_grpc,
    job_pb2,
    job_service_pb2,
    job_service_pb2_grpc,
    outcome_pb2,
    queue_service_pb2,
    queue_service_pb2_grpc,
    schedule_service_pb2,
    schedule_service_pb2_grpc,
    session_service_pb2,
    session_service_pb2_grpc,
    watch_pb2,
    worker_service_pb2,
    worker_service_pb2_grpc,
)

JOB_ID = "0199b3a0-0000-7000-8000-000000000001"


class Log:
    """Builds a job's log, event after event."""

    def __init__(self) -> None:
        self.events: list[event_pb2.Event] = []

    def add(self, *, attempt: int = 1, at: int = 0, **kind: Any) -> Log:
        time = Timestamp(seconds=1_700_000_000 + at)
        self.events.append(
            event_pb2.Event(job_id=JOB_ID, sequence=len(self.events) + 1, time=time, attempt=attempt, **kind)
        )
        return self

    def output(self, **kind: Any) -> Log:
        return self.add(output=event_pb2.Output(producer_sequence=1, **kind))

    def chunk(self, data: bytes, stream: event_pb2.OutputStream = event_pb2.OUTPUT_STREAM_STDOUT) -> Log:
        return self.output(chunk=event_pb2.Chunk(stream=stream, data=data))

    def says(self, text: str, message_id: str = "m1", *, simulated: bool = False, raw: str = "{}") -> Log:
        message = event_pb2.ClaudeMessage(message_id=message_id, blocks=[event_pb2.ContentBlock(text=text)])
        return self.output(claude=event_pb2.ClaudeFrame(assistant=message, simulated=simulated, raw_json=raw))

    def started(self) -> Log:
        self.add(attempt=0, submitted=event_pb2.JobSubmitted(state=job_pb2.JOB_STATE_QUEUED))
        return self.add(attempt_started=event_pb2.AttemptStarted(worker_id="w1"))


def opened(job: job_pb2.Job) -> job_service_pb2.WatchJobResponse:
    return job_service_pb2.WatchJobResponse(opened=watch_pb2.WatchOpened(job=job))


def batch(*events: event_pb2.Event) -> job_service_pb2.WatchJobResponse:
    return job_service_pb2.WatchJobResponse(cursor=f"c{events[-1].sequence}", batch=watch_pb2.EventBatch(events=events))


def end(job: job_pb2.Job, reason: watch_pb2.EndReason) -> job_service_pb2.WatchJobResponse:
    return job_service_pb2.WatchJobResponse(cursor="end", end=watch_pb2.WatchEnd(reason=reason, job=job))


@dataclass
class Answers:
    """What the fake server says, by rpc, and what it was asked.

    An answer is a message, a refusal, a function of the request, or a list of answers of which the last one stays.
    """

    by_rpc: dict[str, Any] = field(default_factory=dict)
    watches: list[list[job_service_pb2.WatchJobResponse]] = field(default_factory=list)
    health: list[admin_service_pb2.WatchHealthResponse] = field(default_factory=list)
    """What each stream of the server's health says before it goes on in silence."""
    feeds: list[list[event_service_pb2.WatchEventsResponse]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    watching: threading.Event = field(default_factory=threading.Event)
    hold: threading.Event = field(default_factory=threading.Event)
    address: str = ""

    def job_with_log(self, log: Log, state: job_pb2.JobState, spec: job_pb2.JobSpec | None = None, **more: Any) -> None:
        """A job that has this log and ended in this state."""
        claude = job_pb2.JobSpec()
        claude.claude.prompt = "hi"
        job = job_pb2.Job(id=JOB_ID, state=state, spec=spec or claude, **more)
        self.by_rpc["GetJob"] = job_service_pb2.GetJobResponse(job=job)
        self.by_rpc["SubmitJob"] = job_service_pb2.SubmitJobResponse(job=job_pb2.Job(id=JOB_ID))
        running = job_pb2.Job(id=JOB_ID, state=job_pb2.JOB_STATE_RUNNING)
        messages = [opened(running), *([batch(*log.events)] if log.events else [])]
        self.watches.append([*messages, end(job, watch_pb2.END_REASON_JOB_ENDED)])

    def refuse(self, rpc: str, code: grpc.StatusCode, reason: str, message: str, **violations: str) -> None:
        """The rpc fails with ErrorInfo and the violations."""
        status = status_pb2.Status(code=code.value[0], message=message)
        status.details.add().Pack(error_details_pb2.ErrorInfo(reason=reason, domain="headrace"))
        bad = error_details_pb2.BadRequest()
        for path, description in violations.items():
            bad.field_violations.add(field=path.replace("__", "."), description=description)
        status.details.add().Pack(bad)
        self.by_rpc[rpc] = (code, message, status)

    def answer(self, rpc: str, request: Any, context: Any) -> Any:
        self.requests.append(request)
        answer = self.by_rpc[rpc]
        if callable(answer):
            answer = answer(request)
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, tuple):
            code, message, status = answer
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(code, message)
        return answer


class Jobs(job_service_pb2_grpc.JobServiceServicer):
    answers: Answers

    def WatchJob(self, request: Any, context: Any) -> Iterator[Any]:
        self.answers.requests.append(request)
        messages = self.answers.watches.pop(0)
        yield from messages
        if messages and messages[-1].WhichOneof("kind") != "end":
            self.answers.watching.set()
            self.answers.hold.wait(60)


class Admin(admin_service_pb2_grpc.AdminServiceServicer):
    answers: Answers

    def WatchHealth(self, request: Any, context: Any) -> Iterator[Any]:
        self.answers.requests.append(request)
        if not self.answers.health:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "no health here")
        left = threading.Event()
        context.add_callback(left.set)
        yield from self.answers.health
        self.answers.watching.set()
        left.wait(60)


class Events(event_service_pb2_grpc.EventServiceServicer):
    answers: Answers

    def WatchEvents(self, request: Any, context: Any) -> Iterator[Any]:
        self.answers.requests.append(request)
        messages = self.answers.feeds.pop(0)
        yield from messages
        if not self.answers.feeds and messages[-1].WhichOneof("kind") != "end":
            self.answers.watching.set()
            self.answers.hold.wait(60)


SERVANTS: dict[str, Any] = {"JobService": Jobs, "AdminService": Admin, "EventService": Events}
SERVICES = (
    (job_service_pb2_grpc, job_service_pb2, "JobService"),
    (queue_service_pb2_grpc, queue_service_pb2, "QueueService"),
    (schedule_service_pb2_grpc, schedule_service_pb2, "ScheduleService"),
    (worker_service_pb2_grpc, worker_service_pb2, "WorkerService"),
    (admin_service_pb2_grpc, admin_service_pb2, "AdminService"),
    (event_service_pb2_grpc, event_service_pb2, "EventService"),
    (session_service_pb2_grpc, session_service_pb2, "SessionService"),
)


def servicer(answers: Answers, stubs: Any, messages: Any, name: str) -> Any:
    """A servicer of which every unary rpc is answered by name."""
    kind: Any = SERVANTS.get(name) or getattr(stubs, f"{name}Servicer")
    made = kind()
    made.answers = answers
    for method in messages.DESCRIPTOR.services_by_name[name].methods:
        if not method.server_streaming:
            setattr(made, method.name, partial(answers.answer, method.name))
    return made


@pytest.fixture
def answers() -> Iterator[Answers]:
    """A running fake server; its address is in `address`."""
    made = Answers()
    server = grpc.server(ThreadPoolExecutor(4))
    for stubs, messages, name in SERVICES:
        getattr(stubs, f"add_{name}Servicer_to_server")(servicer(made, stubs, messages, name), server)
    made.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    yield made
    made.hold.set()
    server.stop(None).wait()


Headrace = Callable[..., Result]


@pytest.fixture
def headrace_command(answers: Answers) -> Headrace:
    """Runs the command in this process."""

    def run(*arguments: str, env: dict[str, str] | None = None, **options: Any) -> Result:
        seen = {"HEADRACE_SERVER": answers.address, **(env or {})}
        return CliRunner().invoke(app, list(arguments), env=seen, **options)

    return run


@pytest.fixture
def start_command(answers: Answers) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts the command as a process of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str, server: str = "") -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "headrace.cli", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "HEADRACE_SERVER": server or answers.address},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def usage() -> outcome_pb2.Usage:
    return outcome_pb2.Usage(turns=2, tool_calls=1, input_tokens=1200, output_tokens=340, cost_usd_micros=12_300)
