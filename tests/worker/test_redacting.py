"""X8: what a worker's secrets are, and that none of them leaves it, wherever in a message it stands."""

import asyncio
from typing import Any

from google.protobuf import json_format

from headrace.v1 import event_pb2, input_pb2, outcome_pb2
from headrace_worker.executors.contract import Attempt, Failed, Outcome, Succeeded
from headrace_worker.executors.redacting import RedactingExecutor, redacted, secrets_of
from headrace_worker.redaction import Redaction

SECRET = 'sk-ant-"secret"-1'
ESCAPED = SECRET.replace('"', '\\"')
REDACTION = Redaction([SECRET])


class Told:
    """An attempt that keeps what it is told."""

    def __init__(self) -> None:
        self.assignment = "the assignment"
        self.heard: list[Any] = []

    async def emit(self, output: event_pb2.Output) -> int:
        self.heard.append(output)
        return 7

    def emit_delta(self, delta: event_pb2.Delta) -> None:
        self.heard.append(delta)

    async def ask(self, request: input_pb2.InputRequest) -> input_pb2.InputAnswer:
        self.heard.append(request)
        return input_pb2.InputAnswer(allow=True)


async def leak(attempt: Attempt) -> Outcome:
    frame = event_pb2.ClaudeFrame(raw_json=f'{{"text": "{ESCAPED}"}}')
    frame.assistant.blocks.add(text=f"it is {SECRET}")
    assert await attempt.emit(event_pb2.Output(claude=frame)) == 7
    await attempt.emit(event_pb2.Output(chunk=event_pb2.Chunk(data=b"x" + SECRET.encode() + b"\xff")))
    attempt.emit_delta(event_pb2.Delta(text=f"{SECRET}."))
    assert (await attempt.ask(input_pb2.InputRequest(input_json=ESCAPED))).allow
    assert attempt.assignment == "the assignment"
    result = outcome_pb2.Result()
    result.claude.text = SECRET
    json_format.ParseDict({"a": [{"b": SECRET}]}, result.claude.structured_output)
    return Succeeded(result)


async def fail(attempt: Attempt) -> Outcome:
    return Failed(outcome_pb2.Failure(message=SECRET, detail=f"a\n{SECRET}"))


def test_x8_no_secret_leaves_by_any_way() -> None:
    told = Told()
    done = asyncio.run(RedactingExecutor(leak, REDACTION).run(told))  # type: ignore[arg-type]  # a double
    failed = asyncio.run(RedactingExecutor(fail, REDACTION).run(told))  # type: ignore[arg-type]  # a double
    assert isinstance(done, Succeeded)
    assert isinstance(failed, Failed)
    for message in (*told.heard, done.result, failed.failure):
        data = message.SerializeToString()
        assert SECRET.encode() not in data
        assert ESCAPED.encode() not in data
        assert b"[redacted]" in data
    assert told.heard[1].chunk.data == b"x[redacted]\xff"


def test_a_message_without_a_secret_is_handed_on_as_it_is() -> None:
    output = event_pb2.Output(chunk=event_pb2.Chunk(data=b"nothing"))
    assert redacted(output, REDACTION) is output
    assert redacted(output, Redaction([])) is output


def test_x8_what_a_variable_is_called_says_whether_it_is_a_secret() -> None:
    environment = {"ANTHROPIC_API_KEY": "a", "ANTHROPIC_BASE_URL": "b", "MY_TOKEN": "c", "db_password": "d"}
    assert sorted(secrets_of(environment, {"OTHER_SECRET": "e"})) == ["a", "c", "d", "e"]
