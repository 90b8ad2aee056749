"""How attempts and jobs ended, as text: the table of attempts, failures, results. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import json_format

from headrace import outcomes, words
from headrace.cli import amounts
from headrace.cli.describe import tables
from headrace.cli.parts import one_line, printable
from headrace.v1 import job_pb2, outcome_pb2

ATTEMPT_COLUMNS = ("TRY", "WORKER", "GRANTED", "STARTED", "RAN", "OUTCOME", "CLASS", "THEN", "USED", "REASON")


def attempt_table(attempts: Sequence[job_pb2.Attempt]) -> list[str]:
    """Attempts, newest first, a line each; columns that say nothing are left out."""
    return tables.dense_table(ATTEMPT_COLUMNS, [_attempt_row(attempt) for attempt in attempts])


def _attempt_row(attempt: job_pb2.Attempt) -> tuple[str, ...]:
    return (
        str(attempt.number),
        attempt.worker_id,
        amounts.clock(attempt.assign_time) if attempt.HasField("assign_time") else "",
        amounts.clock(attempt.start_time)[11:] if attempt.HasField("start_time") else "",
        _ran(attempt),
        words.word_of(job_pb2.AttemptOutcome, attempt.outcome) or "running",
        outcomes.class_name(attempt.failure) if attempt.HasField("failure") else "",
        _decision(attempt),
        ", ".join(amounts.usage(attempt.usage)),
        _reason(attempt),
    )


def _ran(attempt: job_pb2.Attempt) -> str:
    if not attempt.HasField("start_time") or not attempt.HasField("end_time"):
        return ""
    spent = amounts.moment(attempt.end_time) - amounts.moment(attempt.start_time)
    return amounts.elapsed(spent.total_seconds())


def _decision(attempt: job_pb2.Attempt) -> str:
    if not attempt.HasField("decision"):
        return ""
    action = words.word_of(job_pb2.RetryAction, attempt.decision.action)
    at = f" at {amounts.clock(attempt.decision.next_time)[11:]}" if attempt.decision.HasField("next_time") else ""
    rule = f" ({one_line(attempt.decision.rule, 60)})" if attempt.decision.rule else ""
    return action + at + rule


def _reason(attempt: job_pb2.Attempt) -> str:
    late = "a result came too late and was kept aside" if attempt.HasField("late_result") else ""
    return "; ".join(filter(None, [one_line(outcomes.failure_reason(attempt.failure), 200), late]))


def failure_lines(failure: outcome_pb2.Failure) -> list[str]:
    """A failure with its class, its sign and the detail."""
    lines = tables.fields(
        {
            "failure": outcomes.class_name(failure) + _timeout(failure),
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


def _timeout(failure: outcome_pb2.Failure) -> str:
    return f" of {words.word_of(outcome_pb2.TimeoutKind, failure.timeout)}" if failure.timeout else ""
