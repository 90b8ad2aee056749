"""The kind of a piece of output, as readers choose it: written beside it, so that nobody who leaves it out has to look
into it."""

from headrace.v1 import event_pb2
from headrace_server.core.log_filter import OTHER_OUTPUT, OutputKind

_BY_STREAM: dict[int, int] = {
    event_pb2.OUTPUT_STREAM_STDERR: OutputKind.STDERR,
    event_pb2.OUTPUT_STREAM_FRAME: OutputKind.MESSAGES,
}
_BY_FIELD: dict[str | None, int] = {
    "claude": OutputKind.MESSAGES,
    "progress": OutputKind.PROGRESS,
    "usage": OutputKind.PROGRESS,
    "checkpoint": OutputKind.PROGRESS,
}


def kind_of(output: event_pb2.Output) -> int:
    """The kind of a piece of output."""
    field = output.WhichOneof("kind")
    if field == "chunk":
        return int(_BY_STREAM.get(output.chunk.stream, OutputKind.STDOUT))
    return int(_BY_FIELD.get(field, OTHER_OUTPUT))
