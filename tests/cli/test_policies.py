"""Commands about queues, schedules, workers and the audit log: what they send, print and return."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.cli import amounts
from headrace.v1 import (
    admin_service_pb2,
    job_pb2,
    outcome_pb2,
    queue_pb2,
    queue_service_pb2,
    schedule_pb2,
    schedule_service_pb2,
    worker_pb2,
    worker_service_pb2,
)

QUEUE = queue_pb2.Queue(name="q", etag="7")
SCHEDULE = schedule_pb2.Schedule(name="s", cron="0 3 * * *")
WORKER = worker_pb2.Worker(id="w", slots=4, slots_used=3, slots_min=1, slots_max=8)

DOCUMENTS: dict[str, tuple[list[str], Any, str]] = {
    "GetQueue": (["queue", "show", "q"], queue_service_pb2.GetQueueResponse(queue=QUEUE), "name"),
    "ListQueues": (["queue", "list"], queue_service_pb2.ListQueuesResponse(queues=[QUEUE]), "queues"),
    "CreateQueue": (["queue", "create", "q"], queue_service_pb2.CreateQueueResponse(queue=QUEUE), "name"),
    "UpdateQueue": (
        ["queue", "update", "q", "--max-queued", "5"],
        queue_service_pb2.UpdateQueueResponse(queue=QUEUE),
        "name",
    ),
    "PauseQueue": (["queue", "pause", "q"], queue_service_pb2.PauseQueueResponse(queue=QUEUE), "name"),
    "ResumeQueue": (["queue", "resume", "q"], queue_service_pb2.ResumeQueueResponse(queue=QUEUE), "name"),
    "DrainQueue": (["queue", "drain", "q"], queue_service_pb2.DrainQueueResponse(queue=QUEUE), "name"),
    "PurgeQueue": (
        ["queue", "purge", "q", "--yes"],
        queue_service_pb2.PurgeQueueResponse(cancelled_count=2),
        "cancelledCount",
    ),
    "GetQueueStatistics": (
        ["queue", "stats", "q"],
        queue_service_pb2.GetQueueStatisticsResponse(statistics=queue_pb2.QueueStatistics(name="q")),
        "name",
    ),
    "GetWorker": (["worker", "show", "w"], worker_service_pb2.GetWorkerResponse(worker=WORKER), "id"),
    "ListWorkers": (["worker", "list"], worker_service_pb2.ListWorkersResponse(workers=[WORKER]), "workers"),
    "DrainWorker": (["worker", "drain", "w"], worker_service_pb2.DrainWorkerResponse(worker=WORKER), "id"),
    "CreateSchedule": (
        ["schedule", "create", "handler", "s", "h", "--cron", "0 3 * * *"],
        schedule_service_pb2.CreateScheduleResponse(schedule=SCHEDULE),
        "name",
    ),
    "GetSchedule": (["schedule", "show", "s"], schedule_service_pb2.GetScheduleResponse(schedule=SCHEDULE), "name"),
    "ListSchedules": (
        ["schedule", "list"],
        schedule_service_pb2.ListSchedulesResponse(schedules=[SCHEDULE]),
        "schedules",
    ),
    "UpdateSchedule": (
        ["schedule", "update", "s", "--every", "5m"],
        schedule_service_pb2.UpdateScheduleResponse(schedule=SCHEDULE),
        "name",
    ),
    "PauseSchedule": (
        ["schedule", "pause", "s"],
        schedule_service_pb2.PauseScheduleResponse(schedule=SCHEDULE),
        "name",
    ),
    "ResumeSchedule": (
        ["schedule", "resume", "s"],
        schedule_service_pb2.ResumeScheduleResponse(schedule=SCHEDULE),
        "name",
    ),
    "TriggerSchedule": (
        ["schedule", "trigger", "s"],
        schedule_service_pb2.TriggerScheduleResponse(job=job_pb2.Job(id="j")),
        "job",
    ),
    "PreviewSchedule": (
        ["schedule", "preview", "s"],
        schedule_service_pb2.PreviewScheduleResponse(ticks=[schedule_service_pb2.PreviewedTick(local_time="t")]),
        "ticks",
    ),
    "InvalidateResponseCache": (
        ["cache", "invalidate", "--yes"],
        admin_service_pb2.InvalidateResponseCacheResponse(invalidate_time=Timestamp(seconds=1)),
        "invalidateTime",
    ),
    "ListAuditEntries": (
        ["audit", "list"],
        admin_service_pb2.ListAuditEntriesResponse(entries=[admin_service_pb2.AuditEntry(number=3, actor="ann")]),
        "entries",
    ),
}


@pytest.mark.parametrize("rpc", sorted(DOCUMENTS))
def test_each_command_prints_text_and_one_json_document(headrace_command: Any, answers: Any, rpc: str) -> None:
    arguments, answer, field = DOCUMENTS[rpc]
    answers.by_rpc[rpc] = answer
    text = headrace_command(*arguments)
    assert (text.exit_code, text.stderr) == (0, "")
    assert text.stdout.strip()
    assert field in json.loads(headrace_command(*arguments, "-o", "json").stdout)


@pytest.mark.parametrize("noun", ["queue", "schedule"])
def test_deleting_says_nothing_but_its_exit_status(headrace_command: Any, answers: Any, noun: str) -> None:
    answers.by_rpc["DeleteQueue"] = queue_service_pb2.DeleteQueueResponse()
    answers.by_rpc["DeleteSchedule"] = schedule_service_pb2.DeleteScheduleResponse()
    result = headrace_command(noun, "delete", "x", "--etag", "7")
    assert (result.exit_code, result.output) == (0, "")
    assert (answers.requests[0].name, answers.requests[0].etag) == ("x", "7")


def test_queue_update_names_exactly_what_was_given(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["UpdateQueue"] = queue_service_pb2.UpdateQueueResponse(queue=QUEUE)
    result = headrace_command(
        *("queue", "update", "q", "--max-concurrency", "0", "--rate", "10/1m", "--burst", "3", "--fairness", "none"),
        *("--rate-per-key", "5/h", "--executor", "any", "--etag", "7"),
    )
    assert result.exit_code == 0, result.output
    request = answers.requests[0]
    assert sorted(request.update_mask.paths) == [
        *("executors", "fairness", "max_concurrency", "rate_limit", "rate_limit_per_key"),
    ]
    assert request.queue.etag == "7"
    assert (request.queue.rate_limit.count, request.queue.rate_limit.burst) == (10, 3)
    assert request.queue.rate_limit.period.seconds == 60
    assert request.queue.rate_limit_per_key.period.seconds == 3600
    assert request.queue.fairness.scope == queue_pb2.FAIRNESS_SCOPE_NONE


def test_parts_of_a_policy_are_changed_beside_those_that_are_there(headrace_command: Any, answers: Any) -> None:
    there = queue_pb2.Queue(name="q", etag="7", retry_policy={"max_attempts": 9})
    there.timeouts.run_timeout.seconds = 5
    there.fairness.scope = queue_pb2.FAIRNESS_SCOPE_KEY
    there.fairness.weights["bob"] = 3
    answers.by_rpc["GetQueue"] = queue_service_pb2.GetQueueResponse(queue=there)
    answers.by_rpc["UpdateQueue"] = queue_service_pb2.UpdateQueueResponse(queue=there)
    result = headrace_command(
        *("queue", "update", "q", "--max-backoff", "1m", "--silence-timeout", "30s", "--weight", "ann=2.5")
    )
    assert result.exit_code == 0, result.output
    request = answers.requests[1]
    assert sorted(request.update_mask.paths) == ["fairness", "retry_policy", "timeouts"]
    changed = request.queue
    assert (changed.etag, changed.retry_policy.max_attempts, changed.retry_policy.max_backoff.seconds) == ("7", 9, 60)
    assert (changed.timeouts.run_timeout.seconds, changed.timeouts.silence_timeout.seconds) == (5, 30)
    assert changed.fairness == queue_pb2.Fairness(scope=queue_pb2.FAIRNESS_SCOPE_KEY, weights={"ann": 2.5, "bob": 3.0})


def test_q7_pause_and_drain_send_reason_and_time(headrace_command: Any, answers: Any) -> None:
    paused = queue_pb2.Queue(name="q", pause=queue_pb2.QueuePause(actor="ann", reason="night"))
    paused.drain.actor = "bob"
    answers.by_rpc["PauseQueue"] = queue_service_pb2.PauseQueueResponse(queue=paused)
    answers.by_rpc["DrainQueue"] = queue_service_pb2.DrainQueueResponse(queue=paused)
    text = headrace_command("queue", "pause", "q", "--reason", "night", "--for", "1h").stdout
    assert "paused     by ann (night)" in text
    assert "draining   by bob" in text
    headrace_command("queue", "drain", "q", "--grace", "0")
    first, second = answers.requests
    assert (first.reason, first.duration.seconds) == ("night", 3600)
    assert second.HasField("grace")


def test_purge_goes_on_until_nothing_waits(headrace_command: Any, answers: Any) -> None:
    left = [1500]

    def answer(request: Any) -> Any:
        part = min(1000, left[0])
        if not request.validate_only:
            left[0] -= part
            return queue_service_pb2.PurgeQueueResponse(cancelled_count=part, remaining_count=left[0])
        return queue_service_pb2.PurgeQueueResponse(cancelled_count=part, remaining_count=left[0] - part)

    answers.by_rpc["PurgeQueue"] = answer
    assert headrace_command("queue", "purge", "q", "--dry-run").stdout == "1500 jobs would be cancelled\n"
    assert headrace_command("queue", "purge", "q").exit_code == 2
    result = headrace_command("queue", "purge", "q", "--yes", "--reason", "wrong")
    assert (result.stdout, result.stderr) == ("1500 jobs cancelled\n", "1000 cancelled, 500 left\n")
    assert answers.requests[-1].reason == "wrong"


def statistics() -> queue_pb2.QueueStatistics:
    made = queue_pb2.QueueStatistics(
        name="q", submitted_count=30, submit_rate=0.1, start_rate=2.5, end_rate=0.0, oldest_queued_job_id="old"
    )
    made.window.seconds = 300
    made.state_counts.add(state=job_pb2.JOB_STATE_QUEUED, count=4)
    made.ended_counts.add(state=job_pb2.JOB_STATE_SUCCEEDED, count=9)
    made.failure_counts.add(failure_class=outcome_pb2.FAILURE_CLASS_CRASH, count=2)
    made.oldest_queued_time.seconds = 1_700_000_000
    made.wait.count = 9
    made.wait.p50.nanos = 120_000_000
    made.wait.p99.seconds = 3
    return made


def test_statistics_are_told_in_full_and_in_a_table(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["GetQueueStatistics"] = queue_service_pb2.GetQueueStatisticsResponse(statistics=statistics())
    answers.by_rpc["ListQueues"] = queue_service_pb2.ListQueuesResponse(queues=[QUEUE])
    text = headrace_command("queue", "stats", "q", "--window", "5m").stdout
    assert answers.requests[0].window.seconds == 300
    for line in (
        "now        4 QUEUED",
        "over       the last 5 min 00 s",
        "submitted  30  (0.1/s)",
        "ended      9  (0/s)  9 SUCCEEDED",
        "failures   2 CRASH",
        "wait       p50 120 ms · p90 0 ms · p99 3.0 s · max 0 ms  (of 9)",
        "oldest     old, submitted ",
    ):
        assert line in text
    row = headrace_command("queue", "stats").stdout.splitlines()[1]
    assert re.fullmatch(r"q +4 +0 +0.1 +2.5 +0 +120ms +3.0s +- +- +2 +\d+d", row)


def test_k4_a_schedule_says_everything_that_it_can(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["CreateSchedule"] = schedule_service_pb2.CreateScheduleResponse(schedule=SCHEDULE)
    result = headrace_command(
        *(
            "schedule",
            "create",
            "command",
            "nightly",
            "--cron",
            "0 3 * * *",
            "--tz",
            "Europe/Berlin",
            "--catch-up",
            "all",
        ),
        *("--catch-up-window", "2h", "--catch-up-max", "5", "--overlap", "cancel-other", "--jitter", "30s"),
        *("--queue", "q", "--run-timeout", "1h", "--", "backup", "--all"),
    )
    assert result.exit_code == 0, result.output
    sent = answers.requests[0].schedule
    assert (sent.name, sent.cron, sent.time_zone) == ("nightly", "0 3 * * *", "Europe/Berlin")
    assert (sent.catch_up.policy, sent.catch_up.window.seconds) == (schedule_pb2.CATCH_UP_POLICY_ALL, 7200)
    assert (sent.catch_up.max_count, sent.overlap, sent.jitter.seconds) == (5, schedule_pb2.OVERLAP_CANCEL_OTHER, 30)
    assert (sent.spec.queue, sent.spec.timeouts.run_timeout.seconds) == ("q", 3600)
    assert (sent.spec.command.program, list(sent.spec.command.arguments)) == ("backup", ["--all"])


def test_schedule_update_names_exactly_what_was_given(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["UpdateSchedule"] = schedule_service_pb2.UpdateScheduleResponse(schedule=SCHEDULE)
    spec = '{"queue": "q", "handler": {"name": "h"}}'
    result = headrace_command("schedule", "update", "s", "--tz", "", "--spec", spec, "--etag", "7")
    assert result.exit_code == 0, result.output
    request = answers.requests[0]
    assert sorted(request.update_mask.paths) == ["spec", "time_zone"]
    assert (request.schedule.spec.handler.name, request.schedule.etag) == ("h", "7")


def test_k4_preview_shows_utc_and_local_time_with_its_offset(headrace_command: Any, answers: Any) -> None:
    answer = schedule_service_pb2.PreviewScheduleResponse()
    for seconds, local in ((1806195600, "2027-03-28T03:00:00+02:00"), (1806278400, "2027-03-29T02:00:00+02:00")):
        tick = answer.ticks.add(local_time=local)
        tick.nominal_time.seconds = tick.fire_time.seconds = seconds
    answers.by_rpc["PreviewSchedule"] = answer
    arguments = ("schedule", "preview", "--cron", "0 2 * * *", "--tz", "Europe/Berlin", "--count", "2")
    lines = headrace_command(*arguments, "--from", "2027-03-27T12:00+01:00").stdout.splitlines()
    assert re.fullmatch(r"UTC +LOCAL +IN", lines[0])
    assert lines[1].startswith("2027-03-28 01:00:00Z  2027-03-28 03:00:00+02:00  ")
    assert lines[2].startswith("2027-03-29 00:00:00Z  2027-03-29 02:00:00+02:00  ")
    request = answers.requests[0]
    assert (request.schedule.cron, request.count, request.start_time.seconds) == ("0 2 * * *", 2, 1806145200)
    answer.ticks[0].fire_time.seconds += 7
    lines = headrace_command("schedule", "preview", "s").stdout.splitlines()
    assert re.fullmatch(r"UTC +LOCAL +MADE AT +IN", lines[0])
    assert "  01:00:07Z  " in lines[1]
    assert answers.requests[1].name == "s"


def test_preview_of_a_time_that_has_passed_says_so_and_shows_whole_seconds(headrace_command: Any, answers: Any) -> None:
    answer = schedule_service_pb2.PreviewScheduleResponse()
    tick = answer.ticks.add(local_time="2001-09-09T03:46:40.250000+02:00")
    tick.nominal_time.seconds = tick.fire_time.seconds = 1_000_000_000
    answers.by_rpc["PreviewSchedule"] = answer
    lines = headrace_command("schedule", "preview", "s").stdout.splitlines()
    assert lines[1] == "2001-09-09 01:46:40Z  2001-09-09 03:46:40+02:00  past"


def test_show_says_what_became_of_the_latest_ticks(headrace_command: Any, answers: Any) -> None:
    one = schedule_pb2.Schedule(name="s", pause=schedule_pb2.SchedulePause(actor="ann", reason="night"))
    one.interval.seconds = 300
    one.firings.add(outcome=schedule_pb2.FIRING_OUTCOME_SUBMITTED, job_id="j", catch_up=True)
    one.firings.add(outcome=schedule_pb2.FIRING_OUTCOME_REFUSED, message="queue q is full")
    one.firings.add(outcome=schedule_pb2.FIRING_OUTCOME_REPLACED, message="too late", catch_up=True)
    answers.by_rpc["GetSchedule"] = schedule_service_pb2.GetScheduleResponse(schedule=one)
    text = headrace_command("schedule", "show", "s").stdout
    assert "timing     every 5 min  (UTC)" in text
    assert "paused     by ann (night)" in text
    assert re.search(r"submitted \(made up for\)  j\n", text)
    assert re.search(r"refused +queue q is full\n", text)
    assert re.search(r"replaced +too late\n", text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (1.5, "1.5 s"),
        (90, "1 min 30 s"),
        (900, "15 min"),
        (86_400, "1 d"),
        (129_605, "1 d 12 h 5 s"),
    ],
)
def test_a_length_of_time_that_somebody_chose_is_said_without_what_is_zero(seconds: float, text: str) -> None:
    assert amounts.chosen(seconds) == text


def test_workers_show_slots_with_their_bounds_and_who_drained_them(headrace_command: Any, answers: Any) -> None:
    worker = worker_pb2.Worker(state=worker_pb2.WORKER_STATE_DRAINING)
    worker.MergeFrom(WORKER)
    worker.drain.actor = "ann"
    worker.drain.exit = True
    worker.host_resources.memory_bytes = 8 << 30
    worker.host_resources.memory_available_bytes = 2 << 30
    answers.by_rpc["DrainWorker"] = worker_service_pb2.DrainWorkerResponse(worker=worker)
    answers.by_rpc["ListWorkers"] = worker_service_pb2.ListWorkersResponse(workers=[worker])
    text = headrace_command("worker", "drain", "w", "--grace", "5m", "--exit").stdout
    assert "slots      3 of 4 in use, scaled between 1 and 8" in text
    assert re.search(r"draining   by ann .* ago; it exits once it is empty", text)
    assert "3/4 (1-8)  2.0 GiB of 8.0 GiB" in headrace_command("worker", "list").stdout
    worker.ClearField("drain")
    answers.by_rpc["DrainWorker"] = worker_service_pb2.DrainWorkerResponse(worker=worker)
    undrained = headrace_command("worker", "undrain", "w").stdout
    assert undrained == "w is undrained: it takes work from its next renewal on, in some seconds\n"
    wanted = [one.wanted for one in answers.requests if isinstance(one, worker_service_pb2.DrainWorkerRequest)]
    assert wanted == [worker_service_pb2.WANTED_WORKER_EXIT, worker_service_pb2.WANTED_WORKER_RUN]
    assert answers.requests[0].grace.seconds == 300


def test_audit_shows_who_did_what_to_what(headrace_command: Any, answers: Any) -> None:
    entry = admin_service_pb2.AuditEntry(
        number=3, actor="ann", action="QueueService.PauseQueue", resource_type="queue", resource_name="q", detail="x\ny"
    )
    answers.by_rpc["ListAuditEntries"] = admin_service_pb2.ListAuditEntriesResponse(
        entries=[entry] * 3, next_page_token="more"
    )
    result = headrace_command("audit", "list", "--type", "queue", "--name", "q", "--limit", "2")
    assert len(result.stdout.splitlines()) == 3
    assert re.search(r"^3 +.* ann +QueueService.PauseQueue +queue q +x y$", result.stdout, re.MULTILINE)
    assert [(one.resource_type, one.resource_name, one.page_size) for one in answers.requests] == [("queue", "q", 2)]
