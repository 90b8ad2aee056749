"""The two clients have one face, and it reaches every rpc that a client may call."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import grpc_testing
import pytest
from google.protobuf import json_format

import headrace
from client.admin_calls import ADMIN_CALLS
from client.session_calls import SESSION_CALLS
from headrace import blocking, calls, client, errors
from headrace.v1 import (
    admin_service_pb2,
    job_pb2,
    job_service_pb2,
    queue_pb2,
    queue_service_pb2,
    schedule_pb2,
    schedule_service_pb2,
    session_service_pb2,
    worker_pb2,
    worker_service_pb2,
)

MODULES = (
    job_service_pb2,
    queue_service_pb2,
    schedule_service_pb2,
    session_service_pb2,
    worker_service_pb2,
    admin_service_pb2,
)
SERVICES = [service for module in MODULES for service in module.DESCRIPTOR.services_by_name.values()]
METHODS = {method.name: method for service in SERVICES for method in service.methods}
OF_WORKERS = {"Connect", "StreamOutput"}
STREAMS = {"WatchJob", "ReadArtifact", "WatchHealth", "Converse"}
DEADLINE_SECONDS = 20

PAIRS = [
    (client.AsyncClient, blocking.Client),
    (client.Job, blocking.Job),
    (client.Queues, blocking.Queues),
    (client.Schedules, blocking.Schedules),
    (client.Workers, blocking.Workers),
    (client.Feed, blocking.Feed),
    (client.Capacity, blocking.Capacity),
    (client.Budgets, blocking.Budgets),
    (client.ResponseCache, blocking.ResponseCache),
    (client.Sessions, blocking.Sessions),
    (client.Session, blocking.Session),
    (client.Conversation, blocking.Conversation),
]


def face(kind: type) -> dict[str, list[tuple[str, Any, Any]]]:
    """Public methods with the names, kinds and defaults of what they take."""
    return {
        name: [(one.name, one.kind, one.default) for one in inspect.signature(member).parameters.values()]
        for name, member in vars(kind).items()
        if not name.startswith("_") and inspect.isfunction(member)
    }


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=[pair[0].__name__ for pair in PAIRS])
def test_the_blocking_client_has_the_words_of_the_asyncio_client(ours: type, theirs: type) -> None:
    assert face(ours) == face(theirs)
    properties = {name for name, member in vars(ours).items() if isinstance(member, property)}
    assert properties == {name for name, member in vars(theirs).items() if isinstance(member, property)}


Ask = Callable[[Any], Any]

NIGHTLY = schedule_pb2.Schedule(name="nightly")
LATER = datetime(2030, 1, 1, tzinfo=UTC)

FACE: dict[str, tuple[Ask, dict[str, Any], Any]] = {
    "SubmitJob": (
        lambda c: (
            c.submit(
                headrace.handler("h"),
                request_id="r",
                unique_key=headrace.unique_key("k", "replace-waiting"),
                timeouts=headrace.timeouts(run=timedelta(minutes=2), total=0),
                placement=headrace.placement(required_labels={"a": "b"}, memory_bytes=5, cpus=1.5),
                retry_policy=headrace.retry_policy(4, max_backoff=9),
                dependency_condition="any-succeeded",
                dependency_failure_action="fail",
                after=["p"],
            ).id
        ),
        {
            "requestId": "r",
            "spec": {
                "handler": {"name": "h"},
                "uniqueKey": {"key": "k", "onConflict": "UNIQUE_KEY_CONFLICT_REPLACE_WAITING"},
                "timeouts": {"runTimeout": "120s", "totalTimeout": "0s"},
                "placement": {
                    "requiredLabels": {"a": "b"},
                    "resources": {"memoryBytes": "5", "cpuMillis": 1500},
                },
                "retryPolicy": {"maxAttempts": 4, "maxBackoff": "9s"},
                "dependencies": [{"jobId": "p"}],
                "dependencyCondition": "DEPENDENCY_CONDITION_ANY_SUCCEEDED",
                "dependencyFailureAction": "DEPENDENCY_FAILURE_ACTION_FAIL",
            },
        },
        job_service_pb2.SubmitJobResponse(job=job_pb2.Job(id="j")),
    ),
    "SubmitJobs": (
        lambda c: c.submit_many([headrace.item(headrace.handler("h"), ref="x", request_id="r")], atomic=True)[0].job_id,
        {"atomic": True, "items": [{"requestId": "r", "ref": "x", "spec": {"handler": {"name": "h"}}}]},
        job_service_pb2.SubmitJobsResponse(results=[job_service_pb2.SubmitJobsResult(job_id="j")]),
    ),
    "GetJob": (
        lambda c: c.job("j").get(view="basic").id,
        {"jobId": "j", "view": "JOB_VIEW_BASIC"},
        job_service_pb2.GetJobResponse(job=job_pb2.Job(id="j")),
    ),
    "ListJobs": (
        lambda c: next(c.list("state = RUNNING")).id,
        {"filter": "state = RUNNING", "pageSize": 100},
        job_service_pb2.ListJobsResponse(jobs=[job_pb2.Job(id="j")]),
    ),
    "UpdateJob": (
        lambda c: c.job("j").update(priority=0, labels={"a": "b"}, schedule_time=LATER, etag="e").id,
        {
            "jobId": "j",
            "etag": "e",
            "spec": {"labels": {"a": "b"}, "scheduleTime": "2030-01-01T00:00:00Z"},
            "updateMask": "priority,scheduleTime,labels",
        },
        job_service_pb2.UpdateJobResponse(job=job_pb2.Job(id="j")),
    ),
    "CancelJob": (
        lambda c: c.job("j").cancel("enough").id,
        {"jobId": "j", "reason": "enough"},
        job_service_pb2.CancelJobResponse(job=job_pb2.Job(id="j")),
    ),
    "CancelJobs": (
        lambda c: next(one.job_id for one in c.cancel_all('queue = "q"', reason="enough", validate_only=True)),
        {"filter": 'queue = "q"', "reason": "enough", "validateOnly": True},
        job_service_pb2.CancelJobsResponse(results=[job_service_pb2.CancelJobsResult(job_id="j")]),
    ),
    "RetryJob": (
        lambda c: c.job("i").retry(request_id="r").id,
        {"jobId": "i", "requestId": "r"},
        job_service_pb2.RetryJobResponse(job=job_pb2.Job(id="j")),
    ),
    "DeleteJob": (
        lambda c: c.job("j").delete(etag="e") or "j",
        {"jobId": "j", "etag": "e"},
        job_service_pb2.DeleteJobResponse(),
    ),
    "ExplainJob": (
        lambda c: "j" * c.job("j").explain().queue_position,
        {"jobId": "j"},
        job_service_pb2.ExplainJobResponse(queue_position=1),
    ),
    "CreateQueue": (
        lambda c: (
            c.queues.create(
                "j",
                max_concurrency=3,
                rate_limit=headrace.rate_limit(10, timedelta(minutes=1), burst=2),
                fairness=headrace.fairness("owner", {"ann": 2}),
                priority_head_start=30,
            ).name
        ),
        {
            "queue": {
                "name": "j",
                "maxConcurrency": 3,
                "rateLimit": {"count": 10, "period": "60s", "burst": 2},
                "fairness": {"scope": "FAIRNESS_SCOPE_OWNER", "weights": {"ann": 2.0}},
                "priorityHeadStart": "30s",
            }
        },
        queue_service_pb2.CreateQueueResponse(queue=queue_pb2.Queue(name="j")),
    ),
    "GetQueue": (
        lambda c: c.queues.get("j").name,
        {"name": "j"},
        queue_service_pb2.GetQueueResponse(queue=queue_pb2.Queue(name="j")),
    ),
    "ListQueues": (
        lambda c: next(c.queues.list()).name,
        {"pageSize": 100},
        queue_service_pb2.ListQueuesResponse(queues=[queue_pb2.Queue(name="j")]),
    ),
    "UpdateQueue": (
        lambda c: c.queues.update("j", etag="e", max_concurrency=0, timeouts=headrace.timeouts(run=60)).name,
        {
            "queue": {"name": "j", "etag": "e", "timeouts": {"runTimeout": "60s"}},
            "updateMask": "maxConcurrency,timeouts",
        },
        queue_service_pb2.UpdateQueueResponse(queue=queue_pb2.Queue(name="j")),
    ),
    "DeleteQueue": (
        lambda c: c.queues.delete("j", etag="e") or "j",
        {"name": "j", "etag": "e"},
        queue_service_pb2.DeleteQueueResponse(),
    ),
    "PauseQueue": (
        lambda c: c.queues.pause("j", reason="night", duration=timedelta(hours=1)).name,
        {"name": "j", "reason": "night", "duration": "3600s"},
        queue_service_pb2.PauseQueueResponse(queue=queue_pb2.Queue(name="j")),
    ),
    "ResumeQueue": (
        lambda c: c.queues.resume("j").name,
        {"name": "j"},
        queue_service_pb2.ResumeQueueResponse(queue=queue_pb2.Queue(name="j")),
    ),
    "DrainQueue": (
        lambda c: c.queues.drain("j", reason="night", grace=30).name,
        {"name": "j", "reason": "night", "grace": "30s"},
        queue_service_pb2.DrainQueueResponse(queue=queue_pb2.Queue(name="j")),
    ),
    "PurgeQueue": (
        lambda c: "j" * c.queues.purge("j", reason="wrong", validate_only=True).cancelled_count,
        {"name": "j", "reason": "wrong", "validateOnly": True},
        queue_service_pb2.PurgeQueueResponse(cancelled_count=1),
    ),
    "GetQueueStatistics": (
        lambda c: c.queues.statistics("j", window=3600).name,
        {"name": "j", "window": "3600s"},
        queue_service_pb2.GetQueueStatisticsResponse(statistics=queue_pb2.QueueStatistics(name="j")),
    ),
    "CreateSchedule": (
        lambda c: (
            c.schedules.create(
                "j",
                headrace.handler("h"),
                cron="0 3 * * *",
                time_zone="Europe/Berlin",
                catch_up="all",
                overlap="buffer-one",
                jitter=timedelta(seconds=30),
            ).name
        ),
        {
            "schedule": {
                "name": "j",
                "cron": "0 3 * * *",
                "timeZone": "Europe/Berlin",
                "spec": {"handler": {"name": "h"}},
                "catchUp": {"policy": "CATCH_UP_POLICY_ALL"},
                "overlap": "OVERLAP_BUFFER_ONE",
                "jitter": "30s",
            }
        },
        schedule_service_pb2.CreateScheduleResponse(schedule=schedule_pb2.Schedule(name="j")),
    ),
    "GetSchedule": (
        lambda c: c.schedules.get("j").name,
        {"name": "j"},
        schedule_service_pb2.GetScheduleResponse(schedule=schedule_pb2.Schedule(name="j")),
    ),
    "ListSchedules": (
        lambda c: next(c.schedules.list()).name,
        {"pageSize": 100},
        schedule_service_pb2.ListSchedulesResponse(schedules=[schedule_pb2.Schedule(name="j")]),
    ),
    "UpdateSchedule": (
        lambda c: c.schedules.update("j", headrace.spec(headrace.handler("h"), queue="q"), interval=60, etag="e").name,
        {
            "schedule": {
                "name": "j",
                "etag": "e",
                "interval": "60s",
                "spec": {"queue": "q", "handler": {"name": "h"}},
            },
            "updateMask": "interval,spec",
        },
        schedule_service_pb2.UpdateScheduleResponse(schedule=schedule_pb2.Schedule(name="j")),
    ),
    "DeleteSchedule": (
        lambda c: c.schedules.delete("j", etag="e") or "j",
        {"name": "j", "etag": "e"},
        schedule_service_pb2.DeleteScheduleResponse(),
    ),
    "PauseSchedule": (
        lambda c: c.schedules.pause("j", reason="night").name,
        {"name": "j", "reason": "night"},
        schedule_service_pb2.PauseScheduleResponse(schedule=schedule_pb2.Schedule(name="j")),
    ),
    "ResumeSchedule": (
        lambda c: c.schedules.resume("j").name,
        {"name": "j"},
        schedule_service_pb2.ResumeScheduleResponse(schedule=schedule_pb2.Schedule(name="j")),
    ),
    "TriggerSchedule": (
        lambda c: c.schedules.trigger("s", request_id="r").id,
        {"name": "s", "requestId": "r"},
        schedule_service_pb2.TriggerScheduleResponse(job=job_pb2.Job(id="j")),
    ),
    "PreviewSchedule": (
        lambda c: c.schedules.preview(headrace.schedule("", cron="* * * * *"), start=LATER, count=1)[0].local_time,
        {"schedule": {"cron": "* * * * *"}, "startTime": "2030-01-01T00:00:00Z", "count": 1},
        schedule_service_pb2.PreviewScheduleResponse(ticks=[schedule_service_pb2.PreviewedTick(local_time="j")]),
    ),
    "ListWorkers": (
        lambda c: next(c.workers.list()).id,
        {"pageSize": 100},
        worker_service_pb2.ListWorkersResponse(workers=[worker_pb2.Worker(id="j")]),
    ),
    "GetWorker": (
        lambda c: c.workers.get("j").id,
        {"workerId": "j"},
        worker_service_pb2.GetWorkerResponse(worker=worker_pb2.Worker(id="j")),
    ),
    "DrainWorker": (
        lambda c: c.workers.drain("j", exit=True, grace=60).id,
        {"workerId": "j", "wanted": "WANTED_WORKER_EXIT", "grace": "60s"},
        worker_service_pb2.DrainWorkerResponse(worker=worker_pb2.Worker(id="j")),
    ),
    **ADMIN_CALLS,
    **SESSION_CALLS,
}


def test_the_client_reaches_every_rpc_that_is_not_a_workers() -> None:
    assert set(FACE) == set(METHODS) - OF_WORKERS - STREAMS


@pytest.mark.parametrize("rpc", sorted(FACE))
def test_each_call_sends_what_it_was_given_and_reads_the_answer(rpc: str) -> None:
    ask, sent, answer = FACE[rpc]
    wire = grpc_testing.channel(SERVICES, grpc_testing.strict_real_time())
    with ThreadPoolExecutor(1) as pool:
        asked: Future[Any] = pool.submit(ask, blocking.Client(wire, namespace="n"))
        _, request, call = wire.take_unary_unary(METHODS[rpc])
        call.terminate(answer, (), grpc.StatusCode.OK, "")
        assert asked.result(DEADLINE_SECONDS) == "j"
    expected = type(request)()
    json_format.ParseDict(sent, expected)
    if "namespace" in request.DESCRIPTOR.fields_by_name:
        expected.namespace = "n"
    assert request == expected


def test_undraining_a_worker_wants_it_to_run() -> None:
    call = calls.workers.undrain("w")
    assert call.request.wanted == worker_service_pb2.WANTED_WORKER_RUN


def test_e2_a_job_is_followed_by_its_unique_key_and_waited_for(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        heartbeat = job_service_pb2.WatchJobResponse()
        heartbeat.heartbeat.SetInParent()
        waits = make.breaks(heartbeat)
        comes = make.says(make.opened("c0"), make.batch(1), make.end())
        jobs = fake_jobs(scripts=[waits, comes])
        async with serving(jobs) as address, headrace.connect(address, namespace="n") as server:
            stream: Any = headrace.Events(server.watch_unique_key("k", queue="q", wait=True))
            assert [event.sequence async for event in stream] == [1]
        subject = job_service_pb2.WatchUniqueKey(queue="q", key="k", wait=True)
        assert [request.unique_key for request in jobs.requests] == [subject, subject]
        assert jobs.requests[0].namespace == "n"

    asyncio.run(run())


def test_a_refused_graph_says_which_item_it_was(serving: Any, fake_jobs: Any, make: Any) -> None:
    async def run() -> None:
        refusal = make.refuses(grpc.StatusCode.NOT_FOUND, "no such queue", make.reason("NOT_FOUND", item="2"))
        async with serving(fake_jobs(answers={"SubmitJobs": refusal})) as address, headrace.connect(address) as server:
            with pytest.raises(errors.NotFound) as raised:
                await server.submit_many([headrace.handler("h")], atomic=True)
        assert raised.value.item == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "make_it",
    [
        lambda: headrace.schedule("s", cron="* * * * *", interval=5),
        lambda: headrace.unique_key("k", "sometimes"),
        lambda: headrace.fairness("unspecified"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(make_it: Callable[[], Any]) -> None:
    with pytest.raises(ValueError, match=r"not both|is not one of"):
        make_it()
