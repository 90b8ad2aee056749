"""What a conversation produced: the final text, and the structured output checked again against the task's schema."""

from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
from google.protobuf import json_format

from headrace.v1 import outcome_pb2, task_pb2
from headrace_worker.executors.claude.failure import is_success
from headrace_worker.executors.claude.launch import plain
from headrace_worker.executors.claude.turn import Turn
from headrace_worker.executors.claude.wire import clean, mappings, text
from headrace_worker.executors.failures import failure
from headrace_worker.executors.limits import RESULT_BYTES_MAX, RESULT_HEADROOM_BYTES, RESULT_TEXT_BYTES_MAX
from headrace_worker.limits import RESULT_DEPTH_MAX

REPAIR = (
    "Your answer can't be used: {problem}. Give the corrected answer now, by the StructuredOutput tool, with all that "
    "the request asked for."
)


class SchemaUnusable(Exception):
    """The task's output schema is no JSON Schema."""


def check_schema(task: task_pb2.ClaudeTask) -> None:
    """Raises SchemaUnusable for a task whose output schema is none."""
    if not task.HasField("output_schema"):
        return
    schema = plain(task.output_schema)
    try:
        jsonschema.validators.validator_for(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise SchemaUnusable(f"the output schema is not valid: {error.message}") from error


def result_of(task: task_pb2.ClaudeTask, turn: Turn, *, simulated: bool) -> outcome_pb2.Result | outcome_pb2.Failure:
    """The result of a turn that ended well, or why it is none after all."""
    result = _claude_result(turn, simulated)
    output = turn.result.get("structured_output") if turn.result is not None else None
    if task.HasField("output_schema"):
        problem = _schema_problem(plain(task.output_schema), output)
        if problem:
            return failure(outcome_pb2.FAILURE_CLASS_SCHEMA, problem, "structured_output")
        if _levels(output) > RESULT_DEPTH_MAX:
            words = f"the structured output is nested more than {RESULT_DEPTH_MAX} deep"
            return failure(outcome_pb2.FAILURE_CLASS_ERROR, words, "structured_output")
        json_format.ParseDict(_cleaned(output), result.structured_output)
    room = RESULT_BYTES_MAX - RESULT_HEADROOM_BYTES - result.structured_output.ByteSize()
    if room < 0:
        words = f"the structured output is larger than {RESULT_BYTES_MAX} bytes"
        return failure(outcome_pb2.FAILURE_CLASS_ERROR, words, "structured_output")
    result.text = _cut(result.text, room)
    return outcome_pb2.Result(claude=result)


def repair(task: task_pb2.ClaudeTask, turn: Turn) -> str:
    """What to say to a CLI whose structured output is missing or does not satisfy the schema; empty when it does."""
    if not task.HasField("output_schema") or turn.result is None or not is_success(turn.result):
        return ""
    problem = _schema_problem(plain(task.output_schema), turn.result.get("structured_output"))
    return REPAIR.format(problem=problem) if problem else ""


def _levels(value: Any) -> int:
    """How deep lists and objects stand inside each other."""
    levels, layer = 0, [value]
    while layer := [one for one in layer if isinstance(one, dict | list)]:
        levels += 1
        layer = [inner for one in layer for inner in (one.values() if isinstance(one, dict) else one)]
    return levels


def failure_with_partial(found: outcome_pb2.Failure, turn: Turn, *, simulated: bool) -> outcome_pb2.Failure:
    """Adds what there is all the same: the last text, and the id to go on with."""
    if turn.session_id:
        found.partial_result.claude.CopyFrom(_claude_result(turn, simulated))
        found.partial_result.claude.text = _cut(turn.last_text, RESULT_TEXT_BYTES_MAX)
    return found


def _claude_result(turn: Turn, simulated: bool) -> outcome_pb2.ClaudeResult:
    result = turn.result or {}
    answer = outcome_pb2.ClaudeResult(
        text=_cut(text(result, "result"), RESULT_TEXT_BYTES_MAX),
        claude_session_id=turn.session_id,
        model=turn.model,
        permission_denials=len(mappings(result, "permission_denials")),
        simulated=simulated,
    )
    if turn.first_token_seconds is not None:
        answer.time_to_first_token.FromMicroseconds(round(turn.first_token_seconds * 1e6))
    return answer


def _schema_problem(schema: dict[str, Any], output: Any) -> str:
    if not isinstance(output, dict):
        return "the answer has no structured output"
    validator = jsonschema.validators.validator_for(schema)(schema)
    error = jsonschema.exceptions.best_match(validator.iter_errors(output))
    return f"the structured output does not satisfy the schema at {error.json_path}: {error.message}" if error else ""


def _cut(value: str, bytes_max: int) -> str:
    return value.encode()[:bytes_max].decode("utf-8", "ignore")


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return {clean(name): _cleaned(item) for name, item in value.items()} if isinstance(value, dict) else value
