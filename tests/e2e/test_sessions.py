"""Sessions with the real programs: turns, permissions and interrupts on one stream, whatever is killed meanwhile."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane, Gate
from e2e.grpcurl import Grpcurl
from headrace import errors
from headrace.v1 import event_pb2, input_pb2, job_pb2, session_pb2
from headrace.v1 import session_service_pb2 as pb

StartControlPlane = Callable[..., ControlPlane]
DEADLINE_SECONDS = 60
WAIT = {"name": "Grep", "input": {"pattern": "x"}}
LONG_TEXT = {"text": "and so on " * 2000, "delta_characters": 5, "delta_milliseconds": 20}
TOUCH = {"name": "Bash", "input": {"command": "touch made"}}


def script(*steps: dict[str, Any]) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, DEADLINE_SECONDS))


class Reader:
    """A conversation, and everything that was read of it."""

    def __init__(self, talk: headrace.Conversation) -> None:
        self.talk = talk
        self.items: list[Any] = []

    async def until(self, wanted: Callable[[Any], Any]) -> Any:
        """Reads up to the first item that is wanted."""
        async for item in self.talk:
            self.items.append(item)
            if wanted(item):
                return item
        raise AssertionError("the conversation ended without it")

    async def until_kind(self, kind: str) -> event_pb2.Event:
        event: event_pb2.Event = await self.until(
            lambda item: isinstance(item, event_pb2.Event) and item.HasField(kind)
        )
        return event

    async def until_asked(self) -> session_pb2.OpenInput:
        inputs: pb.ConverseInputs = await self.until(lambda item: isinstance(item, pb.ConverseInputs) and item.open)
        return inputs.open[0]

    @property
    def events(self) -> list[event_pb2.Event]:
        return [item for item in self.items if isinstance(item, event_pb2.Event)]

    def logs(self) -> list[tuple[str, list[int]]]:
        """The sequences of each turn, in the order in which they came."""
        logs: list[tuple[str, list[int]]] = []
        for event in self.events:
            if not logs or logs[-1][0] != event.job_id:
                logs.append((event.job_id, []))
            logs[-1][1].append(event.sequence)
        return logs

    def texts(self) -> list[str]:
        blocks = (block for event in self.events for block in event.output.claude.assistant.blocks)
        return [block.text for block in blocks if block.text]


async def holds_whole_logs(client: headrace.AsyncClient, reader: Reader, *turns: headrace.Job) -> None:
    """What was read is the logs of the turns, one after the other, without a hole or a repeat."""
    expected = []
    for turn in turns:
        job = await turn.get()
        expected.append((turn.id, list(range(1, job.last_sequence + 1))))
    assert reader.logs() == expected


def test_x1_two_turns_of_one_conversation_with_a_permission_on_the_stream(shared_plane: ControlPlane) -> None:
    async def scenario() -> None:
        async with headrace.connect(shared_plane.address) as client:
            session = await client.sessions.create(ask=True)
            async with session.converse() as talk:
                reader = Reader(talk)
                first = await talk.send(script({"text": "I need a file", "tools": [TOUCH]}, {"text": "made it"}))
                asked = await reader.until_asked()
                assert (asked.job_id, asked.request.tool_name) == (first.id, "Bash")
                assert await talk.answer(asked.request.request_id, allow=True) == input_pb2.INPUT_RESOLUTION_ALLOWED
                await reader.until_kind("succeeded")
                second = await talk.send(script({"text": "again", "tools": [TOUCH]}, {"text": "then not"}))
                denied = await reader.until_asked()
                await talk.answer(denied.request.request_id, allow=False, message="once is enough")
                await reader.until_kind("succeeded")
                await holds_whole_logs(client, reader, first, second)
            assert reader.texts() == ["I need a file", "made it", "again", "then not"]
            now = await session.get()
            assert (now.state, now.turn_count) == (session_pb2.SESSION_STATE_IDLE, 2)
            conversations = {(await turn.get()).claude_session_id for turn in (first, second)}
            assert conversations == {now.claude_session_id}
            assert [turn.id async for turn in session.turns()] == [second.id, first.id]
            assert (await session.close()).state == session_pb2.SESSION_STATE_CLOSED

    run(scenario())


def test_x4_an_interrupt_ends_the_turn_and_the_session_goes_on(shared_plane: ControlPlane) -> None:
    async def scenario() -> None:
        async with headrace.connect(shared_plane.address) as client:
            session = await client.sessions.create()
            async with session.converse(deltas=True) as talk:
                reader = Reader(talk)
                with pytest.raises(errors.NoActiveTurn):
                    await talk.interrupt()
                first = await talk.send(script(LONG_TEXT))
                await reader.until(lambda item: isinstance(item, event_pb2.Delta))
                assert (await talk.interrupt("enough")).id == first.id
                await reader.until_kind("cancelled")
                second = await talk.send(script({"text": "after"}))
                await reader.until_kind("succeeded")
                await holds_whole_logs(client, reader, first, second)
            job = await first.get()
            assert job.cancellation.cause == job_pb2.CANCEL_CAUSE_INTERRUPTED
            assert reader.texts()[-1] == "after"
            steps = [event.cancel_stepped.step for event in reader.events if event.HasField("cancel_stepped")]
            assert steps == [event_pb2.CANCEL_STEP_INTERRUPT], "the process goes on"
            await session.close()

    run(scenario())


def test_x1_the_blocking_client_converses(shared_plane: ControlPlane) -> None:
    with shared_plane.connect() as client, client.sessions.create(ask=True).converse() as talk:
        turn = talk.send(script({"text": "asking", "tools": [TOUCH]}, {"text": "done"}))
        for item in talk:
            for one in item.open if isinstance(item, pb.ConverseInputs) else ():
                talk.answer(one.request.request_id, allow=True)
            if ends(item, turn.id):
                break
        assert turn.result().text == "done"
        assert talk.session is not None
        client.session(talk.session.id).close()
        assert isinstance([*talk][-1], pb.ConverseEnd)


def test_x3_a_paused_client_is_asked_at_once_and_an_answer_by_grpcurl_lets_the_turn_go_on(
    shared_plane: ControlPlane,
) -> None:
    async def scenario() -> None:
        async with headrace.connect(shared_plane.address) as client:
            session = await client.sessions.create(ask=True)
            async with session.converse(window=1) as talk:
                reader = Reader(talk)
                talk.pause()
                turn = await talk.send(script({"text": "asking", "tools": [TOUCH]}, {"text": "went on"}))
                asked = await reader.until_asked()
                assert reader.events == []
                grpcurl = Grpcurl(shared_plane.address)
                answer = {"requestId": asked.request.request_id, "allow": True}
                request = {"sessionId": session.id, "answer": answer}
                (said,) = await asyncio.to_thread(grpcurl.call, "headrace.v1.SessionService/AnswerRequest", request)
                assert said == {"resolution": "INPUT_RESOLUTION_ALLOWED"}
                await reader.until(lambda item: isinstance(item, pb.ConverseInputs) and not item.open)
                assert (await turn.result()).text == "went on"
                assert reader.events == []
                talk.resume()
                await reader.until_kind("succeeded")
                await holds_whole_logs(client, reader, turn)
            await session.close()

    run(scenario())


def test_e1_a_conversation_goes_on_over_a_killed_control_plane_without_a_hole(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")

    async def scenario() -> None:
        async with headrace.connect(plane.address) as client:
            session = await client.sessions.create(ask=True, folder=str(plane.folder))
            async with session.converse() as talk:
                reader = Reader(talk)
                gate = Gate(plane.folder / "gate")
                first = await talk.send(script({"text": "before", "tools": [WAIT]}, {"text": "after"}))
                await reader.until_kind("attempt_started")
                await asyncio.to_thread(gate.hold)
                await asyncio.to_thread(plane.kill)
                saying = asyncio.ensure_future(talk.send(script({"text": "asking", "tools": [TOUCH]}, {"text": "end"})))
                await reader.until(lambda item: isinstance(item, headrace.Reconnecting))
                await asyncio.to_thread(gate.open)
                await asyncio.to_thread(plane.start)
                asked = await reader.until_asked()
                second = await saying
                assert asked.job_id == second.id
                await asyncio.to_thread(plane.kill)
                await asyncio.to_thread(plane.start)
                await talk.answer(asked.request.request_id, allow=True)
                await reader.until(lambda item: ends(item, second.id))
                await holds_whole_logs(client, reader, first, second)
            assert reader.texts() == ["before", "after", "asking", "end"]
            now = await session.get()
            assert (now.turn_count, now.binding.epoch) == (2, 1)
            later = Reader(session.converse())
            await later.until(lambda item: ends(item, second.id))
            await later.talk.close()
            assert later.logs() == reader.logs()
            await session.close()

    run(scenario())


def test_x4_a_conversation_goes_on_over_an_orderly_restart_in_another_process(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")

    async def scenario() -> None:
        async with headrace.connect(plane.address) as client:
            session = await client.sessions.create()
            async with session.converse(last_turns=0) as talk:
                reader = Reader(talk)
                first = await talk.send(script({"text": "before"}))
                await reader.until_kind("succeeded")
                await asyncio.to_thread(plane.stop)
                await asyncio.to_thread(plane.start)
                second = await talk.send(script({"text": "after"}))
                await reader.until(lambda item: ends(item, second.id))
                await holds_whole_logs(client, reader, first, second)
            assert reader.texts() == ["before", "after"]
            ids = [event.output.claude.init.claude_session_id for event in reader.events if is_init(event)]
            assert len(set(ids)) == 1, "one conversation"
            assert (await session.get()).binding.epoch == 2
            await session.close()

    run(scenario())


def is_init(event: event_pb2.Event) -> bool:
    return event.output.claude.HasField("init")


def ends(item: Any, job_id: str) -> bool:
    return isinstance(item, event_pb2.Event) and item.job_id == job_id and item.HasField("succeeded")
