"""A job as one follower saw it, message by message, and questions about it."""

import json
from collections.abc import Callable
from typing import Any

from headrace import blocking, follow
from headrace.v1 import event_pb2, job_pb2, outcome_pb2, watch_pb2

OUT, ERR = event_pb2.OUTPUT_STREAM_STDOUT, event_pb2.OUTPUT_STREAM_STDERR


class Story:
    """Reads a job's follow stream, with deltas, as far as a test wants."""

    def __init__(self, job: blocking.Job, cursor: str = "") -> None:
        self.items: list[follow.Item] = []
        self._watch = job.watch(deltas=True, cursor=cursor)

    def until(self, wanted: Callable[[follow.Item], Any]) -> "Story":
        """Reads up to the first item that is wanted, which is the last."""
        for item in self._watch:
            self.items.append(item)
            if wanted(item):
                return self
        raise AssertionError(f"the stream ended without it: {self.kinds}")

    def until_kind(self, *kinds: str) -> "Story":
        """Reads up to the first event of one of the kinds."""
        return self.until(lambda item: isinstance(item, event_pb2.Event) and kind_of(item) in kinds)

    def finish(self) -> "Story":
        """Reads to the end of the stream, and holds what every whole story has to be."""
        self.items += self._watch
        assert [event.sequence for event in self.events] == list(range(1, len(self.events) + 1))
        assert self.end.reason == watch_pb2.END_REASON_JOB_ENDED
        assert self.job.last_sequence == len(self.events)
        terminal = [kind for kind in self.kinds if kind in ("succeeded", "failed", "cancelled", "expired", "skipped")]
        assert self.kinds[-1:] == terminal, "the terminal event is the last, and the only one"
        return self

    def close(self) -> None:
        self._watch.close()

    @property
    def cursor(self) -> str:
        return self._watch.cursor

    @property
    def events(self) -> list[event_pb2.Event]:
        return [item for item in self.items if isinstance(item, event_pb2.Event)]

    @property
    def deltas(self) -> list[event_pb2.Delta]:
        return [item for item in self.items if isinstance(item, event_pb2.Delta)]

    @property
    def reconnects(self) -> list[follow.Reconnecting]:
        return [item for item in self.items if isinstance(item, follow.Reconnecting)]

    @property
    def end(self) -> watch_pb2.WatchEnd:
        last = self.items[-1]
        assert isinstance(last, watch_pb2.WatchEnd), f"the last item is {last}"
        return last

    @property
    def job(self) -> job_pb2.Job:
        return self.end.job

    @property
    def state(self) -> str:
        return state_of(self.job)

    @property
    def kinds(self) -> list[str]:
        return [kind_of(event) for event in self.events]

    def all(self, kind: str) -> list[Any]:
        """The events of a kind, without their envelope; of output, what is in it."""
        events = [event for event in self.events if kind_of(event) == kind]
        return [payload_of(event) for event in events]

    @property
    def frames(self) -> list[event_pb2.ClaudeFrame]:
        return [event.output.claude for event in self.events if event.output.HasField("claude")]

    @property
    def blocks(self) -> list[event_pb2.ContentBlock]:
        """What the model said and called, in order."""
        return [block for frame in self.frames for block in frame.assistant.blocks]

    @property
    def steps(self) -> list[str]:
        """The rungs of the cancel ladder."""
        return [
            event_pb2.CancelStep.Name(event.cancel_stepped.step).removeprefix("CANCEL_STEP_")
            for event in self.events
            if event.HasField("cancel_stepped")
        ]

    def result_frame(self) -> dict[str, Any]:
        """The CLI's own last frame, as JSON."""
        (frame,) = [frame for frame in self.frames if frame.HasField("turn_result")]
        parsed: dict[str, Any] = json.loads(frame.raw_json)
        return parsed

    def bytes_of(self, stream: event_pb2.OutputStream) -> bytes:
        chunks = (event.output.chunk for event in self.events if event.output.HasField("chunk"))
        return b"".join(chunk.data for chunk in chunks if chunk.stream == stream)

    def producer_sequences(self, attempt: int) -> list[int]:
        outputs = (event for event in self.events if event.HasField("output") and event.attempt == attempt)
        return [event.output.producer_sequence for event in outputs]


def kind_of(event: event_pb2.Event) -> str:
    """The event's kind; of output, the kind of output, and of a frame, the kind of frame."""
    kind = event.WhichOneof("kind") or ""
    if kind != "output":
        return kind
    inner = event.output.WhichOneof("kind") or ""
    return inner if inner != "claude" else event.output.claude.WhichOneof("kind") or ""


def payload_of(event: event_pb2.Event) -> Any:
    kind = kind_of(event)
    if not event.HasField("output"):
        return getattr(event, kind)
    return getattr(event.output.claude, kind) if event.output.HasField("claude") else getattr(event.output, kind)


def state_of(job: job_pb2.Job) -> str:
    return job_pb2.JobState.Name(job.state).removeprefix("JOB_STATE_")


def class_of(failure: outcome_pb2.Failure) -> str:
    return outcome_pb2.FailureClass.Name(failure.failure_class).removeprefix("FAILURE_CLASS_")


def action_of(decision: job_pb2.RetryDecision) -> str:
    return job_pb2.RetryAction.Name(decision.action).removeprefix("RETRY_ACTION_")
