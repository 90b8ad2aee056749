"""Jobs, queues and workers as text: tables and full descriptions. Pure; the present time comes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from google.protobuf import json_format

from headrace import outcomes
from headrace.cli import amounts, narration
from headrace.cli.parts import one_line, printable
from headrace.v1 import job_pb2, job_service_pb2, outcome_pb2, queue_pb2, worker_pb2

JOB_COLUMNS = ("ID", "STATE", "QUEUE", "OWNER", "AGE", "TRIES", "COST", "WHAT")
QUEUE_COLUMNS = ("NAME", "QUEUED", "RUNNING", "MAX QUEUED", "MAX RUNNING", "PAUSED")
WORKER_COLUMNS = ("ID", "STATE", "SLOTS", "RENEWED", "EXECUTORS", "CLAUDE", "HOST")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with aligned columns."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]


def job_table(jobs: Sequence[job_pb2.Job], now: datetime) -> list[str]:
    """Jobs, a line each."""
    return table(JOB_COLUMNS, [_job_row(job, now) for job in jobs])


def _job_row(job: job_pb2.Job, now: datetime) -> tuple[str, ...]:
    return (
        job.id,
        narration.state_word(job.state),
        job.spec.queue,
        one_line(job.spec.owner, 20),
        amounts.age(job.create_time, now),
        str(job.attempt_count),
        amounts.dollars(job.usage.cost_usd_micros) if job.usage.cost_usd_micros else "",
        one_line(job.spec.display_name or task_text(job.spec), 60),
    )


def task_text(spec: job_pb2.JobSpec) -> str:
    """What a job does, in a few words."""
    match spec.WhichOneof("task"):
        case "claude":
            return f"claude: {spec.claude.prompt}" if spec.claude.prompt else "claude"
        case "command":
            return f"command: {' '.join([spec.command.program, *spec.command.arguments])}"
        case "handler":
            return f"handler: {spec.handler.name}"
    return ""


def counts_line(counts: Iterable[job_pb2.StateCount]) -> str:
    """Counts by state: `3 RUNNING · 12 QUEUED`."""
    return " · ".join(f"{one.count} {narration.state_word(one.state)}" for one in counts if one.count)


def job_lines(job: job_pb2.Job, now: datetime) -> list[str]:
    """Everything that a person wants to know of a job."""
    lines = fields(
        {
            "job": job.id + (f"  ({one_line(job.spec.display_name, 256)})" if job.spec.display_name else ""),
            "state": narration.state_word(job.state) + ("  (simulated)" if job.simulated else ""),
            "task": one_line(task_text(job.spec), 300),
            "queue": job.spec.queue + (f", position {job.queue_position}" if job.queue_position else ""),
            "owner": job.spec.owner,
            "priority": str(job.spec.priority) if job.spec.priority else "",
            "labels": ", ".join(f"{key}={value}" for key, value in sorted(job.spec.labels.items())),
            "worker": job.worker_id,
            "session": job.claude_session_id,
            "retry of": job.retry_of_job_id,
            "submitted": _moment(job, "create_time", now),
            "due": _moment(job, "due_time", now) if job.state == job_pb2.JOB_STATE_SCHEDULED else "",
            "started": _moment(job, "start_time", now),
            "ended": _moment(job, "end_time", now),
            "cancelled": _cancellation(job),
            "progress": _progress(job),
            "used": ", ".join(amounts.usage(job.usage)),
            "output": amounts.size(job.output_bytes) + (", truncated" if job.output_truncated else ""),
        }
    )
    lines += [f"waits for  {narration.reason_line(reason)}" for reason in job.wait_reasons]
    for attempt in job.attempts:
        lines += attempt_lines(attempt)
    if job.HasField("failure"):
        lines += ["", *failure_lines(job.failure)]
    if job.HasField("result"):
        lines += ["", *result_lines(job.result)]
    return lines


def fields(values: Mapping[str, str]) -> list[str]:
    """Names and values, aligned; what is empty is left out."""
    return [f"{name:<10} {value}" for name, value in values.items() if value]


def attempt_lines(attempt: job_pb2.Attempt) -> list[str]:
    """One attempt: how it ended, where, and what was decided."""
    outcome = job_pb2.AttemptOutcome.Name(attempt.outcome).removeprefix("ATTEMPT_OUTCOME_")
    words = ["running" if attempt.outcome == job_pb2.ATTEMPT_OUTCOME_UNSPECIFIED else outcome.lower()]
    words.append(f"on {attempt.worker_id}")
    if attempt.HasField("start_time") and attempt.HasField("end_time"):
        spent = (amounts.moment(attempt.end_time) - amounts.moment(attempt.start_time)).total_seconds()
        words.append(f"for {amounts.elapsed(spent)}")
    words += [f"· {phrase}" for phrase in amounts.usage(attempt.usage)]
    if attempt.HasField("late_result"):
        words.append("· a result came too late and was kept aside")
    lines = [f"attempt {attempt.number}  {' '.join(words)}"]
    if attempt.HasField("failure"):
        lines.append(f"           {one_line(outcomes.failure_line(attempt.failure), 300)}")
    if attempt.HasField("decision"):
        action = job_pb2.RetryAction.Name(attempt.decision.action).removeprefix("RETRY_ACTION_").lower()
        lines.append(f"           then: {action} ({one_line(attempt.decision.rule)})")
    return lines


def failure_lines(failure: outcome_pb2.Failure) -> list[str]:
    """A failure with its class, its sign and the detail."""
    name = outcome_pb2.FailureClass.Name(failure.failure_class).removeprefix("FAILURE_CLASS_")
    lines = fields(
        {
            "failure": name,
            "message": printable(failure.message),
            "sign": failure.sign,
            "exit code": str(failure.exit_code) if failure.HasField("exit_code") else "",
            "asks for": amounts.elapsed(amounts.seconds_of(failure.retry_after)) + " of patience"
            if failure.HasField("retry_after")
            else "",
        }
    )
    return lines + [f"  {line}" for line in printable(failure.detail).splitlines()]


def result_lines(result: outcome_pb2.Result) -> list[str]:
    """A result in full."""
    match result.WhichOneof("kind"):
        case "claude":
            made = ["result", *(f"  {line}" for line in printable(result.claude.text).splitlines())]
            if result.claude.HasField("structured_output"):
                made += json_format.MessageToJson(result.claude.structured_output, ensure_ascii=False).splitlines()
            return made
        case "command":
            written = (
                f"{amounts.size(result.command.stdout_bytes)} out, {amounts.size(result.command.stderr_bytes)} err"
            )
            return [f"result     exit code {result.command.exit_code}, {written}"]
        case "handler":
            return ["result", *json_format.MessageToJson(result.handler.value, ensure_ascii=False).splitlines()]
    return []


def explain_lines(answer: job_service_pb2.ExplainJobResponse) -> list[str]:
    """What a job waits for, in order."""
    lines = [narration.state_word(answer.state)]
    lines += [f"{number}. {narration.reason_line(reason)}" for number, reason in enumerate(answer.wait_reasons, 1)]
    if not answer.wait_reasons:
        lines.append("It waits for nothing.")
    if answer.queue_position:
        lines.append(f"position {answer.queue_position} in its queue")
    if answer.HasField("estimated_start_time"):
        lines.append(f"likely to start at {amounts.clock(answer.estimated_start_time)}")
    return lines


def queue_table(queues: Sequence[queue_pb2.Queue]) -> list[str]:
    """Queues, a line each."""
    return table(QUEUE_COLUMNS, [_queue_row(queue) for queue in queues])


def _queue_row(queue: queue_pb2.Queue) -> tuple[str, ...]:
    counts = {one.state: one.count for one in queue.state_counts}
    running = (job_pb2.JOB_STATE_ASSIGNED, job_pb2.JOB_STATE_RUNNING, job_pb2.JOB_STATE_WAITING_INPUT)
    waiting = (job_pb2.JOB_STATE_QUEUED, job_pb2.JOB_STATE_SCHEDULED, job_pb2.JOB_STATE_BLOCKED)
    return (
        queue.name,
        str(sum(counts.get(state, 0) for state in waiting)),
        str(sum(counts.get(state, 0) for state in (*running, job_pb2.JOB_STATE_CANCELLING))),
        str(queue.max_queued),
        str(queue.max_concurrency or "-"),
        "yes" if queue.HasField("pause") else "no",
    )


def queue_lines(queue: queue_pb2.Queue) -> list[str]:
    """A queue with its policy and its counts."""
    limit = queue.max_concurrency_per_key
    head_start = amounts.elapsed(amounts.seconds_of(queue.priority_head_start))
    return fields(
        {
            "queue": queue.name,
            "jobs": counts_line(queue.state_counts) or "none",
            "paused": f"by {queue.pause.actor}: {queue.pause.reason}" if queue.HasField("pause") else "",
            "queued": f"{queue.max_queued} at most",
            "running": (f"{queue.max_concurrency} at most" if queue.max_concurrency else "no limit")
            + (f", {limit} for each key" if limit else ""),
            "rate": _rate(queue.rate_limit),
            "each key": _rate(queue.rate_limit_per_key),
            "fairness": _fairness(queue.fairness),
            "priority": f"{head_start} of head start a point" if queue.HasField("priority_head_start") else "",
            "executors": ", ".join(queue.executors),
            "attempts": f"{queue.retry_policy.max_attempts} at most" if queue.retry_policy.max_attempts else "",
            "etag": queue.etag,
        }
    )


def worker_table(workers: Sequence[worker_pb2.Worker], now: datetime) -> list[str]:
    """Workers, a line each."""
    return table(WORKER_COLUMNS, [_worker_row(worker, now) for worker in workers])


def _worker_row(worker: worker_pb2.Worker, now: datetime) -> tuple[str, ...]:
    can = worker.capabilities
    return (
        worker.id,
        worker_state(worker),
        f"{worker.slots_used}/{worker.slots}",
        amounts.age(worker.renew_time, now),
        ",".join(can.executors),
        f"{can.claude_version}{' (simulated)' if can.claude_simulated else ''}" or "-",
        worker.host,
    )


def worker_state(worker: worker_pb2.Worker) -> str:
    """`READY` of `WORKER_STATE_READY`."""
    return worker_pb2.WorkerState.Name(worker.state).removeprefix("WORKER_STATE_")


def worker_lines(worker: worker_pb2.Worker, now: datetime) -> list[str]:
    """A worker in full."""
    can, host = worker.capabilities, worker.host_resources
    memory = f"{amounts.size(host.memory_available_bytes)} of {amounts.size(host.memory_bytes)} free"
    return fields(
        {
            "worker": worker.id,
            "state": worker_state(worker),
            "slots": f"{worker.slots_used} of {worker.slots} in use",
            "renewed": f"{amounts.age(worker.renew_time, now)} ago" if worker.HasField("renew_time") else "",
            "connected": amounts.clock(worker.connect_time) if worker.HasField("connect_time") else "",
            "executors": ", ".join(can.executors),
            "labels": ", ".join(f"{key}={value}" for key, value in sorted(can.labels.items())),
            "programs": ", ".join(can.programs),
            "handlers": ", ".join(can.handlers),
            "folders": ", ".join(can.workspace_roots),
            "claude": f"{can.claude_version}{' (simulated)' if can.claude_simulated else ''}",
            "host": worker.host,
            "memory": memory if host.memory_bytes else "",
            "version": worker.version,
        }
    )


def _rate(limit: queue_pb2.RateLimit) -> str:
    burst = f", {limit.burst} at once" if limit.burst else ""
    return f"{limit.count} starts per {amounts.elapsed(amounts.seconds_of(limit.period))}{burst}" if limit.count else ""


def _fairness(fairness: queue_pb2.Fairness) -> str:
    if fairness.scope in (queue_pb2.FAIRNESS_SCOPE_UNSPECIFIED, queue_pb2.FAIRNESS_SCOPE_NONE):
        return ""
    scope = queue_pb2.FairnessScope.Name(fairness.scope).removeprefix("FAIRNESS_SCOPE_").lower()
    weights = ", ".join(f"{key}={weight:g}" for key, weight in sorted(fairness.weights.items()))
    return f"by {scope}" + (f" ({weights})" if weights else "")


def _moment(job: job_pb2.Job, field: str, now: datetime) -> str:
    if not job.HasField(field):
        return ""
    stamp = getattr(job, field)
    ago = "" if amounts.moment(stamp) > now else f"  ({amounts.age(stamp, now)} ago)"
    return amounts.clock(stamp) + ago


def _cancellation(job: job_pb2.Job) -> str:
    if not job.HasField("cancellation"):
        return ""
    return f"by {job.cancellation.actor or 'unknown'}: {one_line(job.cancellation.reason, 300) or 'no reason given'}"


def _progress(job: job_pb2.Job) -> str:
    share = f"{job.progress.done}/{job.progress.total}" if job.progress.total else ""
    return " ".join(filter(None, [share, one_line(job.progress.message, 200)]))
