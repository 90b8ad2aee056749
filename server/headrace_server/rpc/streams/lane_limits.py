"""How much a worker may say in one message of a lane after the first, and how much is kept of it.

A message past these limits ends its lane: no sound worker sends one. What people wrote is cut instead.
"""

import re

from headrace.v1 import event_pb2, outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_server.core import limits
from headrace_server.core.job import Failure
from headrace_server.core.refusal import Refused
from headrace_server.rpc.checks.json_numbers import holds_no_json_number
from headrace_server.rpc.checks.nesting import is_nested_too_deep
from headrace_server.rpc.checks.validate_worker import HELD_COUNT_MAX, KEPT_SESSIONS_COUNT_MAX
from headrace_server.rpc.checks.violations import Violations
from headrace_server.store.codec import failure_of

BATCHES_COUNT_MAX = 10_000
_ARTIFACT_NAME = re.compile(rf"[A-Za-z0-9_.-]{{1,{limits.ARTIFACT_NAME_CHARACTERS_MAX}}}")


def check_word(request: pb.ConnectRequest) -> None:
    """Raises Refused (INVALID_FIELD) for a message of the control lane that is too much."""
    violations = Violations()
    if request.HasField("hello"):
        violations.add("hello", "is allowed in the first message only")
    for name, words in (
        ("starts", request.starts),
        ("releases", request.releases),
        ("reports", request.reports),
        ("finishes", request.finishes),
        ("command_acks", request.command_acks),
        ("renewal.held", request.renewal.held),
        ("renewal.sessions", request.renewal.sessions),
        ("background_turns", request.background_turns),
    ):
        if len(words) > HELD_COUNT_MAX:
            violations.add(name, f"has {len(words)} items; at most {HELD_COUNT_MAX} are allowed")
    if (kept := len(request.renewal.kept_session_ids)) > KEPT_SESSIONS_COUNT_MAX:
        what = f"has {kept} items; at most {KEPT_SESSIONS_COUNT_MAX} are allowed"
        violations.add("renewal.kept_session_ids", what)
    for index, report in enumerate(request.reports):
        _check_report(report, f"reports[{index}]", violations)
    _raise(violations)


def check_output(request: pb.StreamOutputRequest) -> None:
    """Raises Refused (INVALID_FIELD) for a message of the data lane that is too much."""
    violations = Violations()
    if request.HasField("open"):
        violations.add("open", "is allowed in the first message only")
    if len(request.batches) > BATCHES_COUNT_MAX:
        violations.add("batches", f"has {len(request.batches)} items; at most {BATCHES_COUNT_MAX} are allowed")
    if request.ByteSize() > limits.OUTPUT_ITEM_BYTES_MAX:
        for index, batch in enumerate(request.batches):
            if any(output.ByteSize() > limits.OUTPUT_ITEM_BYTES_MAX for output in batch.outputs):
                what = f"holds an output of more than {limits.OUTPUT_ITEM_BYTES_MAX} bytes"
                violations.add(f"batches[{index}].outputs", what)
    for index, batch in enumerate(request.batches):
        for output in batch.outputs:
            _check_kept(output, f"batches[{index}].outputs", violations)
    _raise(violations)


def bounded_delta(delta: event_pb2.Delta) -> event_pb2.Delta:
    """The delta, or the marker that one was dropped."""
    return delta if delta.ByteSize() <= limits.DELTA_BYTES_MAX else event_pb2.Delta(dropped=1)


def bounded_failure(message: outcome_pb2.Failure) -> Failure:
    """A failure as a worker tells it. What is too long is cut in the message too, what is too large left out."""
    if message.ByteSize() > limits.FAILURE_TEXT_BYTES_MAX:
        message.DiscardUnknownFields()
        message.message = cut_text(message.message, limits.FAILURE_TEXT_BYTES_MAX)
        message.sign = cut_text(message.sign, limits.FAILURE_TEXT_BYTES_MAX)
        message.detail = cut_text(message.detail, limits.FAILURE_DETAIL_BYTES_MAX)
        if message.partial_result.ByteSize() > limits.RESULT_BYTES_MAX or is_result_unreadable(message.partial_result):
            message.ClearField("partial_result")
    return failure_of(message)


def is_result_unreadable(result: outcome_pb2.Result) -> bool:
    """Whether nobody could read it inside an event, or as JSON."""
    return any(
        is_nested_too_deep(value) or holds_no_json_number(value)
        for value in (result.handler.value, result.claude.structured_output)
    )


def cut_text(text: str, size_bytes: int) -> str:
    """Text of at most so many bytes."""
    return text if len(text) * 4 <= size_bytes else text.encode()[:size_bytes].decode(errors="ignore")


def _check_kept(output: event_pb2.Output, path: str, violations: Violations) -> None:
    """What is kept beside the log."""
    kind = output.WhichOneof("kind")
    if kind == "checkpoint" and _is_checkpoint_too_much(output.checkpoint):
        what = f"holds a checkpoint of more than {limits.CHECKPOINT_BYTES_MAX} bytes, or one that is no JSON"
        violations.add(path, what)
    elif kind == "artifact_part":
        size = len(output.artifact_part.data)
        if size > limits.ARTIFACT_PART_BYTES_MAX:
            violations.add(path, f"holds a part of {size} bytes; at most {limits.ARTIFACT_PART_BYTES_MAX} are allowed")
        _check_artifact_name(output.artifact_part.name, path, violations)
    elif kind == "artifact":
        _check_artifact_name(output.artifact.name, path, violations)
        if len(output.artifact.media_type) > limits.KEY_CHARACTERS_MAX or len(output.artifact.sha256) > 64:
            violations.add(path, "holds an artifact whose media_type or sha256 is too long")
    elif kind == "snapshot" and output.snapshot.ByteSize() > limits.SNAPSHOT_NOTE_BYTES_MAX:
        violations.add(path, f"holds a note of more than {limits.SNAPSHOT_NOTE_BYTES_MAX} bytes on a snapshot")


def _check_artifact_name(name: str, path: str, violations: Violations) -> None:
    if not _ARTIFACT_NAME.fullmatch(name):
        violations.add(path, "names an artifact by what is not 1 to 128 characters of `[A-Za-z0-9_.-]`")


def _is_checkpoint_too_much(checkpoint: event_pb2.Checkpoint) -> bool:
    value = checkpoint.value
    return value.ByteSize() > limits.CHECKPOINT_BYTES_MAX or is_nested_too_deep(value) or holds_no_json_number(value)


def _check_report(report: pb.AttemptReport, path: str, violations: Violations) -> None:
    size = report.ByteSize()
    if size > limits.REPORT_BYTES_MAX:
        violations.add(path, f"has {size} bytes when serialised; at most {limits.REPORT_BYTES_MAX} are allowed")
    names = (report.input_requested.request_id, report.input_withdrawn.request_id)
    if any(len(name) > limits.KEY_CHARACTERS_MAX for name in names):
        violations.add(path, f"has a request_id of more than {limits.KEY_CHARACTERS_MAX} characters")


def _raise(violations: Violations) -> None:
    refusal = violations.refusal()
    if refusal is not None:
        raise Refused(refusal)
