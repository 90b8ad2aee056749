"""Jobs as text: a table, the full description, why one waits. Pure; the present time comes in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from headrace import outcomes, words
from headrace.cli import amounts, narration
from headrace.cli.describe import outcome_text, tables
from headrace.cli.parts import one_line
from headrace.v1 import job_pb2, job_service_pb2, outcome_pb2

JOB_COLUMNS = ("ID", "STATE", "QUEUE", "OWNER", "AGE", "TRIES", "COST", "WHAT")

UNSTARTED = (job_pb2.JOB_STATE_SCHEDULED, job_pb2.JOB_STATE_BLOCKED, job_pb2.JOB_STATE_QUEUED)


def job_table(jobs: Sequence[job_pb2.Job], now: datetime) -> list[str]:
    """Jobs, a line each."""
    return tables.table(JOB_COLUMNS, [_job_row(job, now) for job in jobs])


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
    lines = tables.fields(
        {**_what(job), **_times(job, now), **_course(job)},
        *(("because", narration.reason_line(reason)) for reason in job.wait_reasons),
        *(("asks", _input_line(one, now)) for one in job.open_inputs),
    )
    lines += _dependency_lines(job)
    if job.attempts:
        lines += ["", *outcome_text.attempt_table(job.attempts)]
    lines += [f"artifact   {artifact_line(one)}" for one in job.artifacts]
    if job.HasField("failure"):
        lines += ["", *outcome_text.failure_lines(job.failure)]
    if job.HasField("result"):
        lines += ["", *outcome_text.result_lines(job.result)]
    return lines


def _what(job: job_pb2.Job) -> dict[str, str]:
    spec = job.spec
    return {
        "job": job.id + (f"  ({one_line(spec.display_name, 256)})" if spec.display_name else ""),
        "state": narration.state_word(job.state) + ("  (simulated)" if job.simulated else ""),
        "task": one_line(task_text(spec), 300),
        "queue": spec.queue + (f", position {job.queue_position}" if job.queue_position else ""),
        "owner": spec.owner,
        "priority": str(spec.priority) if spec.priority else "",
        "labels": pairs(spec.labels),
        "unique key": spec.unique_key.key,
        "key": spec.concurrency_key,
        "needs": placement_text(spec.placement),
        "worker": job.worker_id,
        "session": f"{job.session_id}, turn {job.turn}" if job.session_id else "",
        "conversation": job.claude_session_id,
        "retry of": job.retry_of_job_id,
        "schedule": _schedule(job),
    }


def _times(job: job_pb2.Job, now: datetime) -> dict[str, str]:
    waits = job.state == job_pb2.JOB_STATE_SCHEDULED
    unstarted = not job.HasField("start_time") and not job.HasField("end_time")
    return {
        "submitted": moment(job, "create_time", now),
        "due": moment(job, "due_time", now) if waits else "",
        "start by": moment(job, "start_deadline_time", now) if unstarted else "",
        "started": moment(job, "start_time", now),
        "end by": "" if job.HasField("end_time") else moment(job, "end_deadline_time", now),
        "ended": moment(job, "end_time", now),
        "timeouts": timeouts_text(job.spec.timeouts),
    }


def _course(job: job_pb2.Job) -> dict[str, str]:
    counts = (("failed", job.failure_count), ("lost", job.loss_count), ("put off", job.snooze_count))
    return {
        "cancelled": _cancellation(job),
        "attempts": ", ".join([str(job.attempt_count), *(f"{count} {word}" for word, count in counts if count)])
        if any(count for _, count in counts)
        else "",
        "progress": progress_text(job.progress),
        "checkpoint": one_line(str(job.checkpoint).strip(), 200) if job.HasField("checkpoint") else "",
        "used": ", ".join(amounts.usage(job.usage)),
        "output": amounts.size(job.output_bytes) + (", truncated" if job.output_truncated else ""),
    }


def _input_line(one: job_pb2.OpenInputSummary, now: datetime) -> str:
    """`Bash (request req-1), denied in 9 min`."""
    expiry = ""
    if one.HasField("expire_time"):
        left = (amounts.moment(one.expire_time) - now).total_seconds()
        expiry = f", denied in {amounts.short(left)}" if left > 0 else ", about to be denied"
    return f"{one_line(one.tool_name, 60) or 'a question'} (request {one.request_id}){expiry}"


def _dependency_lines(job: job_pb2.Job) -> list[str]:
    lines = [f"after      {one.job_id}  {state_or_gone(one.state)}" for one in job.dependency_states]
    if lines and job.spec.dependency_condition:
        lines.append(f"           when {words.word_of(job_pb2.DependencyCondition, job.spec.dependency_condition)}")
    return lines + [f"before     {one}" for one in job.dependent_job_ids]


def artifact_line(artifact: outcome_pb2.Artifact) -> str:
    """An artifact: `changes.patch  1.2 KiB  text/x-patch`."""
    cut = "cut" if artifact.cut else ""
    return "  ".join(filter(None, [artifact.name, amounts.size(artifact.size_bytes), artifact.media_type, cut]))


def state_or_gone(state: job_pb2.JobState) -> str:
    """The state of a job that another depends on."""
    return narration.state_word(state) if state else "deleted"


def pairs(labels: Mapping[str, str]) -> str:
    """Labels as `a=b, c=d`."""
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))


def placement_text(placement: job_pb2.Placement) -> str:
    """What a worker needs: `zone=a, 2 slots, 512.0 MiB, 1.5 CPUs; prefers disk=ssd`."""
    preferred = f"; prefers {pairs(placement.preferred_labels)}" if placement.preferred_labels else ""
    needed = [pairs(placement.required_labels), resources_text(placement.resources)]
    return (", ".join(filter(None, needed)) + preferred).removeprefix("; ")


def resources_text(resources: job_pb2.Resources) -> str:
    """An amount: `2 slots, 512.0 MiB, 1.5 CPUs`."""
    parts = [
        amounts.plural(resources.slots, "slot") if resources.slots else "",
        amounts.size(resources.memory_bytes) if resources.memory_bytes else "",
        f"{resources.cpu_millis / 1000:g} CPUs" if resources.cpu_millis else "",
    ]
    return ", ".join(filter(None, parts))


def timeouts_text(timeouts: job_pb2.Timeouts) -> str:
    """The timeouts that are set: `run 5 min, silence none`."""
    said = [
        (field.name.removesuffix("_timeout").replace("_", " "), amounts.seconds_of(value))
        for field, value in timeouts.ListFields()
    ]
    return ", ".join(f"{name} {amounts.chosen(seconds) if seconds else 'none'}" for name, seconds in said)


def retry_text(policy: job_pb2.RetryPolicy) -> str:
    """The retry policy as far as it is set: `5 attempts, backoff from 2 s to 5 min`."""
    parts = [amounts.plural(policy.max_attempts, "attempt") if policy.max_attempts else ""]
    first = (
        f"from {amounts.chosen(amounts.seconds_of(policy.initial_backoff))}"
        if policy.HasField("initial_backoff")
        else ""
    )
    last = f"to {amounts.chosen(amounts.seconds_of(policy.max_backoff))}" if policy.HasField("max_backoff") else ""
    factor = f"×{policy.backoff_multiplier:g}" if policy.backoff_multiplier else ""
    if first or last or factor:
        parts.append(" ".join(filter(None, ["backoff", first, last, factor])))
    if policy.HasField("max_snoozes"):
        parts.append(amounts.plural(policy.max_snoozes, "snooze"))
    return ", ".join(filter(None, parts))


def _schedule(job: job_pb2.Job) -> str:
    if not job.schedule_name:
        return ""
    tick = f", tick of {amounts.clock(job.nominal_time)}" if job.HasField("nominal_time") else ", triggered"
    return job.schedule_name + tick + (", made up for" if job.catch_up else "")


def explain_lines(
    answer: job_service_pb2.ExplainJobResponse, now: datetime, held: job_pb2.Job | None = None
) -> list[str]:
    """What a job waits for, in order; of one that a worker holds, what happens with it there."""
    lines = [narration.state_word(answer.state)]
    lines += [f"{number}. {narration.reason_line(reason)}" for number, reason in enumerate(answer.wait_reasons, 1)]
    if answer.state == job_pb2.JOB_STATE_WAITING_INPUT:
        lines.append("It waits for a person: `headrace job answer` answers what it asks.")
    elif not answer.wait_reasons:
        waits = answer.state in UNSTARTED
        lines.append("The server names no reason; ask again." if waits else _waits_for_nothing(answer.state, held, now))
    if answer.queue_position:
        lines.append(f"position {answer.queue_position} in its queue")
    if answer.HasField("estimated_start_time"):
        ahead = (amounts.moment(answer.estimated_start_time) - now).total_seconds()
        away = f"in {amounts.short(ahead)}" if ahead > 0 else "any time now"
        lines.append(f"likely to start at {amounts.clock(answer.estimated_start_time)}  ({away})")
    return lines


def _waits_for_nothing(state: job_pb2.JobState, held: job_pb2.Job | None, now: datetime) -> str:
    if state in outcomes.TERMINAL_STATES:
        return "It has ended, and waits for nothing."
    if held is None or held.state != state:
        return "It waits for nothing."
    where = f" on {held.worker_id}" if held.worker_id else ""
    if state == job_pb2.JOB_STATE_CANCELLING:
        since = f" since {amounts.age(held.cancellation.time, now)}" if held.cancellation.HasField("time") else ""
        return f"It is being cancelled{where}{since}. {_next_rung(held.spec)}"
    if state == job_pb2.JOB_STATE_RUNNING and held.attempts:
        attempt = held.attempts[-1]
        since = f" since {amounts.age(attempt.start_time, now)}" if attempt.HasField("start_time") else ""
        return f"It waits for nothing: attempt {attempt.number} runs{where}{since}."
    return "It waits for nothing."


def _next_rung(spec: job_pb2.JobSpec) -> str:
    given = spec.timeouts.HasField("cancel_grace")
    grace = f"its grace of {amounts.chosen(amounts.seconds_of(spec.timeouts.cancel_grace))}" if given else "its grace"
    if spec.HasField("handler"):
        return (
            f"Its function was told to stop, and is told again after {grace}. A function that goes on can't be ended"
            " from outside: the job ends when it returns, or with its worker."
        )
    return f"It was asked to stop; past {grace} all its processes get SIGTERM, some seconds later SIGKILL."


def moment(job: job_pb2.Job, field: str, now: datetime) -> str:
    """A time of a job and how long ago or ahead it is; empty when it isn't set."""
    if not job.HasField(field):
        return ""
    stamp = getattr(job, field)
    ahead = (amounts.moment(stamp) - now).total_seconds()
    away = f"in {amounts.short(ahead)}" if ahead > 0 else f"{amounts.age(stamp, now)} ago"
    return f"{amounts.clock(stamp)}  ({away})"


def _cancellation(job: job_pb2.Job) -> str:
    if not job.HasField("cancellation"):
        return ""
    return f"by {job.cancellation.actor or 'unknown'}: {one_line(job.cancellation.reason, 300) or 'no reason given'}"


def progress_text(progress: job_pb2.Progress) -> str:
    """How far a job is: `3/10 (30 %) building`."""
    share = f"{progress.done}/{progress.total} ({100 * progress.done // progress.total} %)" if progress.total else ""
    done = share or (str(progress.done) if progress.done else "")
    return " ".join(filter(None, [done, one_line(progress.message, 200)]))
