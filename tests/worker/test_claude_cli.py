"""Which turn a frame of the CLI belongs to, when it begins turns by itself as messages come."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

from headrace_worker.executors.claude import control
from headrace_worker.executors.claude.cli import Cli
from headrace_worker.executors.claude.control import InputLane
from headrace_worker.executors.claude.hearing import Hearing

MESSAGE, OTHER = "m-1", "m-2"
INIT = {"type": "system", "subtype": "init", "session_id": "s", "model": "m"}
RESULT = {"type": "result", "subtype": "success", "is_error": False, "result": "fine", "session_id": "s"}


class ScriptedTree:
    """The pipes of a CLI whose output is the test's."""

    def __init__(self) -> None:
        self.said: list[dict[str, Any]] = []
        self._output: asyncio.Queue[bytes] = asyncio.Queue()
        self.stdout = self
        self.stderr = ScriptedTree.Silent()
        self.stdin = self

    class Silent:
        """Standard error without a word."""

        async def read(self) -> bytes:
            await asyncio.Event().wait()
            return b""

    async def read(self) -> bytes:
        return await self._output.get()

    async def write(self, data: bytes, timeout_seconds: float) -> None:
        self.said.append(json.loads(data))

    def close(self) -> None:
        """The end of input means nothing here."""

    async def speak(self, *frames: dict[str, Any]) -> None:
        """The CLI says these, and they are heard."""
        self._output.put_nowait(b"".join(json.dumps(frame).encode() + b"\n" for frame in frames))
        for _ in range(5):
            await asyncio.sleep(0)


def lifecycle(state: str, message: str = MESSAGE) -> dict[str, Any]:
    return {"type": "command_lifecycle", "command_uuid": message, "state": state}


def assistant(text: str, identity: str = "a") -> dict[str, Any]:
    content = [{"type": "text", "text": text}]
    usage = {"input_tokens": 7, "output_tokens": 1}
    return {"type": "assistant", "message": {"id": identity, "model": "m", "content": content, "usage": usage}}


Main = Callable[[Cli, Any, list[Hearing]], Any]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Main], None]:
    """Runs a test with a CLI, and the turns that it begins by itself."""

    def run_test(main: Main) -> None:
        async def body() -> None:
            tree: Any = ScriptedTree()
            own: list[Hearing] = []
            cli = Cli(tree, tmp_path, own.append)
            try:
                await main(cli, tree, own)
            finally:
                await cli.close()

        uvloop.run(body())

    return run_test


def test_a_message_has_its_turn(run: Callable[[Main], None]) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        hearing = cli.expect()
        cli.say(hearing, "hello", MESSAGE)
        await tree.speak(lifecycle("queued"), lifecycle("started"), INIT, assistant("x"), RESULT)
        assert (hearing.ended, hearing.turn.last_text, own) == (True, "x", [])
        assert [line["uuid"] for line in tree.said] == [MESSAGE]

    run(main)


def test_a_cli_that_tells_nothing_of_messages_is_understood(run: Callable[[Main], None]) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        for _ in range(2):
            hearing = cli.expect()
            cli.say(hearing, "hello", MESSAGE)
            await tree.speak(INIT, RESULT)
            assert (hearing.ended, own) == (True, [])
        await tree.speak(INIT, RESULT)
        assert [hearing.ended for hearing in own] == [True]

    run(main)


def test_a_turn_of_its_own_that_comes_first_is_told_apart(run: Callable[[Main], None]) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        hearing = cli.expect()
        cli.say(hearing, "hello", MESSAGE)
        await tree.speak(lifecycle("queued"), INIT, assistant("mine"), RESULT)
        assert (hearing.ended, own[0].ended, own[0].turn.last_text) == (False, True, "mine")
        await tree.speak(lifecycle("started"), INIT, assistant("yours"), RESULT)
        assert (hearing.ended, hearing.turn.last_text) == (True, "yours")

    run(main)


def test_what_stands_between_two_turns_is_told_with_the_turn_that_it_announces(run: Callable[[Main], None]) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        hearing = cli.expect()
        cli.say(hearing, "hello", MESSAGE)
        await tree.speak(lifecycle("started"), INIT, RESULT, lifecycle("completed"))
        note = {"type": "system", "subtype": "task_notification", "task_id": "t"}
        await tree.speak(note, INIT, RESULT)
        frames = [await own[0].lane.get() for _ in range(3)]
        assert [frame.subtype for frame in frames if frame is not None] == ["task_notification", "init", "success"]

    run(main)


def test_a_message_is_held_back_while_a_turn_of_its_own_runs(run: Callable[[Main], None]) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        await tree.speak(INIT)
        hearing = cli.expect()
        cli.say(hearing, "hello", MESSAGE)
        await tree.speak(assistant("mine"))
        assert (tree.said, hearing.turn.running, hearing.phase.value) == ([], False, "waiting_person")
        await tree.speak(RESULT)
        assert [line["uuid"] for line in tree.said] == [MESSAGE]
        assert (hearing.turn.running, hearing.phase.value) == (True, "first_token")
        await tree.speak(lifecycle("started"), INIT, RESULT)
        assert [hearing.ended for hearing in (hearing, *own)] == [True, True]

    run(main)


def test_a_message_that_was_left_is_not_said(run: Callable[[Main], None]) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        await tree.speak(INIT)
        hearing = cli.expect()
        cli.say(hearing, "hello", MESSAGE)
        cli.leave(hearing)
        await tree.speak(RESULT, INIT, RESULT)
        assert (tree.said, len(own)) == ([], 2)

    run(main)


def test_x6_a_message_that_is_taken_into_a_turn_of_its_own_has_its_result_and_its_bill(
    run: Callable[[Main], None],
) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        hearing = cli.expect()
        cli.say(hearing, "hello", MESSAGE)
        await tree.speak(lifecycle("queued"), INIT, assistant("mine", "a"), lifecycle("started"))
        assert (own[0].ended, own[0].turn.meter.total().input_tokens) == (True, 0)
        used = {"m": {"inputTokens": 14, "outputTokens": 2, "costUSD": 0.5}}
        result = {**RESULT, "model_usage_since_last_result": used, "total_cost_usd": 0.5}
        await tree.speak(assistant("yours", "b"), result)
        assert (hearing.ended, hearing.turn.last_text) == (True, "yours")
        assert hearing.turn.meter.total().cost_usd_micros == 500_000
        await tree.speak(INIT, RESULT)
        assert len(own) == 2

    run(main)


def test_frames_after_the_last_turn_are_kept_within_bounds(run: Callable[[Main], None]) -> None:
    async def main(cli: Cli, tree: Any, own: list[Hearing]) -> None:
        await tree.speak(*[{"type": "system", "subtype": "status", "n": number} for number in range(1000)])
        await tree.speak(INIT, RESULT)
        assert own[0].turn.frames < 100

    run(main)


class Stuck:
    """A standard input of which nobody reads, until somebody gives up."""

    def __init__(self) -> None:
        self.gives_up = asyncio.Event()

    async def write(self, data: bytes, timeout_seconds: float) -> None:
        await self.gives_up.wait()
        raise TimeoutError

    def close(self) -> None:
        """Nobody would see it."""


def test_what_waits_for_a_cli_that_takes_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "STDIN_LANE_BYTES_MAX", 1000)
    seen: list[str | int] = []

    async def main() -> None:
        stdin: Any = Stuck()
        lane = InputLane(stdin, 1.0, lambda: seen.append("full"))
        writing = asyncio.create_task(lane.run())
        for _ in range(12):
            lane.say({"x": "y" * 90})
            seen.append(lane.waiting_bytes)
            await asyncio.sleep(0)
        assert seen == [*range(100, 1001, 100), "full", 0, 0]
        assert lane.over
        writing.cancel()

    asyncio.run(main())


def test_one_long_message_is_said_whatever_its_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "STDIN_LANE_BYTES_MAX", 1000)

    async def main() -> None:
        tree: Any = ScriptedTree()
        lane = InputLane(tree, 1.0, lambda: pytest.fail("one message is not too much"))
        lane.say({"x": "y" * 5000})
        lane.close()
        await lane.run()
        assert len(tree.said[0]["x"]) == 5000

    asyncio.run(main())


def test_nothing_is_kept_for_a_cli_once_it_was_given_up() -> None:
    async def main() -> None:
        stdin: Any = Stuck()
        lane = InputLane(stdin, 1.0, lambda: pytest.fail("it was not full"))
        lane.say({"n": 1})
        lane.say({"n": 2})
        stdin.gives_up.set()
        await lane.run()
        lane.say({"n": 3})
        assert (lane.over, lane.waiting_bytes) == (True, 0)

    asyncio.run(main())
