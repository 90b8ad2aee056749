"""Unary calls of the asyncio client: what is sent, what comes back, what is raised."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import uuid
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2

import headrace
from headrace import channel, errors, statuses, tasks
from headrace.v1 import error_pb2, job_pb2, job_service_pb2, task_pb2

CODES = {
    "INVALID_FIELD": "INVALID_ARGUMENT",
    "INVALID_TOKEN": "INVALID_ARGUMENT",
    "NOT_SUPPORTED": "UNIMPLEMENTED",
    "NOT_FOUND": "NOT_FOUND",
    "REQUEST_ID_REUSED": "ALREADY_EXISTS",
    "UNIQUE_KEY_TAKEN": "ALREADY_EXISTS",
    "NAME_TAKEN": "ALREADY_EXISTS",
    "RETRY_LIVE": "ALREADY_EXISTS",
    "JOB_ENDED": "FAILED_PRECONDITION",
    "JOB_NOT_ENDED": "FAILED_PRECONDITION",
    "JOB_STARTED": "FAILED_PRECONDITION",
    "NOT_CONNECTED": "FAILED_PRECONDITION",
    "QUEUE_NOT_EMPTY": "FAILED_PRECONDITION",
    "DEPENDENCY_REFUSED": "FAILED_PRECONDITION",
    "SESSION_ENDED": "FAILED_PRECONDITION",
    "NO_ACTIVE_TURN": "FAILED_PRECONDITION",
    "SESSION_EMPTY": "FAILED_PRECONDITION",
    "INPUT_RESOLVED": "FAILED_PRECONDITION",
    "SNAPSHOT_NEEDED": "FAILED_PRECONDITION",
    "EXECUTOR_NOT_TAKEN": "FAILED_PRECONDITION",
    "TOO_MANY_SESSIONS": "RESOURCE_EXHAUSTED",
    "UNSUPPORTED_PROTOCOL": "FAILED_PRECONDITION",
    "STALE_LEASE": "ABORTED",
    "STALE_ETAG": "ABORTED",
    "STALE_INCARNATION": "ABORTED",
    "CONNECTION_REPLACED": "ABORTED",
    "QUEUE_FULL": "RESOURCE_EXHAUSTED",
    "TOO_MANY_CALLS": "RESOURCE_EXHAUSTED",
    "STORE_BUSY": "RESOURCE_EXHAUSTED",
    "DISK_FULL": "RESOURCE_EXHAUSTED",
    "DRAINING": "UNAVAILABLE",
    "STORE_UNAVAILABLE": "UNAVAILABLE",
    "INTERNAL": "INTERNAL",
    "EXPIRED": "OUT_OF_RANGE",
    "UNAUTHENTICATED": "UNAUTHENTICATED",
    "PERMISSION_DENIED": "PERMISSION_DENIED",
}


def test_every_reason_of_the_contract_has_an_exception_of_its_own() -> None:
    reasons = {name.removeprefix("ERROR_REASON_") for name, _ in error_pb2.ErrorReason.items()} - {"UNSPECIFIED"}
    assert set(errors.BY_REASON) == reasons
    assert set(CODES) == reasons
    assert len(set(errors.BY_REASON.values())) == len(reasons)


@pytest.mark.parametrize("reason", sorted(CODES))
def test_a_refusal_becomes_the_exception_of_its_reason(
    serving: Any, fake_jobs: Any, make: Any, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(channel, "RETRIED_METHODS", {"headrace.v1.QueueService": ("GetQueue",)})

    async def run() -> None:
        refusal = make.refuses(
            grpc.StatusCode[CODES[reason]],
            "because",
            make.reason(reason, key="value"),
            error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000)),
            error_details_pb2.ResourceInfo(resource_type="headrace.v1.Job", resource_name="j1"),
            error_details_pb2.BadRequest(
                field_violations=[{"field": "spec.claude.prompt", "description": "is required"}]
            ),
        )
        async with serving(fake_jobs(answers={"GetJob": refusal})) as address, headrace.connect(address) as client:
            with pytest.raises(errors.BY_REASON[reason]) as raised:
                await client.job("j").get()
        error = raised.value
        assert (error.reason, error.message, error.status.name) == (reason, "because", CODES[reason])
        assert (dict(error.metadata), error.retry_after, error.resource) == ({"key": "value"}, 1.5, "j1")
        assert error.violations == (errors.FieldViolation("spec.claude.prompt", "is required"),)

    asyncio.run(run())


def test_an_error_of_another_domain_has_no_reason(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        foreign = error_details_pb2.ErrorInfo(reason="NOT_FOUND", domain="example.com")
        refusal = make.refuses(grpc.StatusCode.FAILED_PRECONDITION, "no", foreign)
        async with serving(fake_jobs(answers={"GetJob": refusal})) as address, headrace.connect(address) as client:
            with pytest.raises(errors.FailedPrecondition) as raised:
                await client.job("j").get()
        assert raised.value.reason == ""

    asyncio.run(run())


def test_a_server_that_is_not_there_is_named_in_one_line(short_folder: Any) -> None:
    async def run() -> None:
        async with headrace.connect(f"unix:{short_folder}/none") as client:
            with pytest.raises(errors.ConnectionFailed) as raised:
                await client.job("j").get()
        text = str(raised.value)
        assert f"unix:{short_folder}/none" in text
        assert "headrace serve" in text
        assert "\n" not in text

    asyncio.run(run())


def test_every_unary_call_has_a_deadline(serving: Any, fake_jobs: Any) -> None:
    async def run() -> None:
        remaining: list[float] = []

        async def hang(request: Any, context: Any) -> None:
            remaining.append(context.time_remaining())
            await asyncio.Event().wait()

        jobs = fake_jobs(answers={"GetJob": hang, "SubmitJob": hang})
        async with serving(jobs) as address:
            async with headrace.connect(address, deadline_seconds=0.2) as client:
                with pytest.raises(errors.DeadlineExceeded):
                    await client.job("j").get()
            async with headrace.connect(address) as client:
                jobs.asked.clear()
                call = asyncio.ensure_future(client.submit(headrace.claude("hi")))
                await jobs.asked.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
        assert 0 < remaining[0] < 1
        assert 25 < remaining[1] < channel.DEADLINE_SECONDS + 1

    asyncio.run(run())


def test_s1_a_submit_that_grpc_repeats_carries_the_same_request_id(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        tries = 0

        async def answer(request: Any, context: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries < 3:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
            return job_service_pb2.SubmitJobResponse(job=make.job(), deduplicated=True)

        jobs = fake_jobs(answers={"SubmitJob": answer})
        async with serving(jobs) as address, headrace.connect(address, namespace="n") as client:
            job = await client.submit(headrace.command("echo", "hi"), queue="q", labels={"a": "b"})
        assert (job.id, job.deduplicated) == (make.JOB_ID, True)
        assert len({request.request_id for request in jobs.requests}) == 1
        assert uuid.UUID(jobs.requests[0].request_id).version == 4
        assert jobs.requests[0].namespace == "n"
        assert jobs.requests[0].spec.queue == "q"
        assert list(jobs.requests[0].spec.command.arguments) == ["hi"]

    asyncio.run(run())


def test_s7_submit_many_gives_a_result_for_each_item_in_order(serving: Any, fake_jobs: Any) -> None:
    async def run() -> None:
        refused = error_pb2.ItemError(
            code=8,
            reason=error_pb2.ERROR_REASON_QUEUE_FULL,
            message="queue q holds 10 jobs",
            retry_after=Duration(seconds=3),
        )
        answer = job_service_pb2.SubmitJobsResponse(
            results=[
                job_service_pb2.SubmitJobsResult(job_id="a", deduplicated=True),
                job_service_pb2.SubmitJobsResult(error=refused),
            ]
        )
        jobs = fake_jobs(answers={"SubmitJobs": answer})
        async with serving(jobs) as address, headrace.connect(address) as client:
            first = headrace.item(headrace.handler("build", {"n": 1}), ref="first")
            results = await client.submit_many(
                [first, headrace.spec(headrace.claude("go"), after=[headrace.ref("first")])], atomic=True
            )
        assert [(one.job_id, one.deduplicated) for one in results] == [("a", True), ("", False)]
        assert isinstance(results[1].error, errors.QueueFull)
        assert results[1].error.retry_after == 3.0
        sent = jobs.requests[0]
        assert sent.atomic
        assert [item.ref for item in sent.items] == ["first", ""]
        assert sent.items[1].spec.dependencies[0].ref == "first"
        assert all(item.request_id for item in sent.items)

    asyncio.run(run())


def test_list_reads_every_page_also_short_ones(serving: Any, fake_jobs: Any) -> None:
    async def run() -> None:
        pages = {"": (["1", "2"], "p2"), "p2": ([], "p3"), "p3": (["3"], "")}

        async def answer(request: Any, context: Any) -> Any:
            ids, token = pages[request.page_token]
            return job_service_pb2.ListJobsResponse(jobs=[job_pb2.Job(id=one) for one in ids], next_page_token=token)

        jobs = fake_jobs(answers={"ListJobs": answer})
        async with serving(jobs) as address, headrace.connect(address) as client:
            assert [job.id async for job in client.list("state = RUNNING")] == ["1", "2", "3"]
        assert {request.filter for request in jobs.requests} == {"state = RUNNING"}

    asyncio.run(run())


def test_a_claude_task_says_what_its_options_say() -> None:
    task = headrace.claude(
        "hi", folder="/w", model="opus", permission_mode="acceptEdits", max_turns=3, max_cost_usd=0.25, ask=True
    )
    assert task == task_pb2.ClaudeTask(
        prompt="hi",
        model="opus",
        permission_mode=task_pb2.PERMISSION_MODE_ACCEPT_EDITS,
        permission_prompts=task_pb2.PERMISSION_PROMPTS_ASK,
        limits=task_pb2.ClaudeLimits(max_turns=3, max_cost_usd_micros=250_000),
        workspace=task_pb2.Workspace(folder="/w"),
    )


@pytest.mark.parametrize(
    "options",
    [{"permission_mode": "yolo"}, {"folder": "/a", "repository": "/b"}, {"ref": "main"}, {"share_folder": True}],
)
def test_a_claude_task_that_contradicts_itself_is_refused(options: Any) -> None:
    with pytest.raises(ValueError, match=r"permission mode|not in both|needs a"):
        headrace.claude("hi", **options)


def test_a_spec_refuses_a_time_without_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        headrace.spec(headrace.claude("hi"), schedule_time=datetime(2030, 1, 1))  # noqa: DTZ001  # what is tested
    later = headrace.spec(headrace.claude("hi"), schedule_time=datetime(2030, 1, 1, tzinfo=UTC))
    assert later.schedule_time.seconds == 1893456000


def test_options_left_out_are_not_set() -> None:
    assert headrace.spec(headrace.handler("h")) == job_pb2.JobSpec(handler=task_pb2.HandlerTask(name="h"))


def test_options_lie_over_a_given_spec() -> None:
    given = job_pb2.JobSpec(queue="a", priority=5, command=task_pb2.CommandTask(program="ls"))
    assert tasks.spec(given, queue="b").queue == "b"
    assert tasks.spec(given, queue="b").priority == 5
    assert given.queue == "a"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("localhost:7410", "dns:///localhost:7410"),
        ("example.com", "dns:///example.com:7410"),
        ("[::1]:80", "dns:///[::1]:80"),
        ("[::1]", "dns:///[::1]:7410"),
        ("unix:/run/h.sock", "unix:/run/h.sock"),
    ],
)
def test_an_address_is_read_in_both_forms(text: str, target: str) -> None:
    assert channel.parse_address(text).target == target


@pytest.mark.parametrize("text", ["", ":7410", "host:port", "host:0", "https://host:1", "unix:", "a/b:1"])
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not an address|needs a path"):
        channel.parse_address(text)


def test_an_item_error_of_a_later_version_still_has_its_status() -> None:
    error = statuses.from_item(error_pb2.ItemError(code=6, reason=9999, message="later"))  # type: ignore[arg-type]  # a value of a later version
    assert type(error) is errors.AlreadyExists
    assert error.reason == ""


def test_importing_the_client_needs_neither_the_worker_nor_the_command_line() -> None:
    program = (
        "import sys, headrace; "
        "print([m for m in ('typer', 'rich', 'psutil', 'uvloop', 'headrace_worker') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_page_of_a_cancel_by_filter_is_read(serving: Any, fake_jobs: Any) -> None:
    async def run() -> None:
        pages = {"": (["1", "2"], "p2"), "p2": (["3"], "")}

        async def answer(request: Any, context: Any) -> Any:
            ids, token = pages[request.page_token]
            results = [job_service_pb2.CancelJobsResult(job_id=one) for one in ids]
            return job_service_pb2.CancelJobsResponse(results=results, next_page_token=token)

        jobs = fake_jobs(answers={"CancelJobs": answer})
        async with serving(jobs) as address, headrace.connect(address) as server:
            assert [one.job_id async for one in server.cancel_all("state = QUEUED")] == ["1", "2", "3"]

    asyncio.run(run())


class Unreached(grpc.RpcError):
    """An rpc that found no server, in gRPC's words."""

    def __init__(self, words: str) -> None:
        self.words = words

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return self.words

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("errors resolving h:1: [field:hostname lookup error: C-ares: Could not contact DNS servers]", "resolved"),
        ("errors resolving h:1: [address lookup failed for h:1: Domain name not found]", "resolved"),
        ("DNS resolution failed for h:1", "resolved"),
        ("failed to connect: UNKNOWN: ipv4:127.0.0.1:1: Connection refused (111)", "connection refused"),
    ],
)
def test_why_no_server_was_reached_is_said_in_plain_words(words: str, cause: str) -> None:
    error = statuses.from_rpc(Unreached(words), "h:1")
    assert isinstance(error, errors.ConnectionFailed)
    assert error.cause == ("the host name can't be resolved" if cause == "resolved" else cause)
