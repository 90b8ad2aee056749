"""Sessions with the real CLI: turns of one conversation in one process, permissions and interrupts on the stream."""

import json
from typing import Any

import headrace
from e2e.control_plane import ControlPlane
from e2e.test_sessions import Reader, ends, holds_whole_logs, is_init, run
from headrace.v1 import event_pb2, session_pb2


def script(*answers: dict[str, Any]) -> str:
    return f"SCRIPT<<{json.dumps(answers)}>>"


def test_x1_x3_x4_a_conversation_with_the_real_cli(real_plane: ControlPlane) -> None:
    folder = real_plane.folder / "conversation"
    folder.mkdir()
    make = {"name": "Bash", "input": {"command": "echo hi > made", "description": "make a file"}}

    async def scenario() -> None:
        async with headrace.connect(real_plane.address) as client:
            session = await client.sessions.create(ask=True, folder=str(folder))
            async with session.converse(deltas=True) as talk:
                reader = Reader(talk)
                first = await talk.send(script({"text": "May I?", "tools": [make]}, {"text": "made it"}))
                asked = await reader.until_asked()
                await talk.answer(asked.request.request_id, allow=True)
                await reader.until(lambda item: ends(item, first.id))
                assert (folder / "made").read_text() == "hi\n"
                second = await talk.send(script({"text": "word " * 400, "delta_milliseconds": 30}))
                await reader.until(lambda item: isinstance(item, event_pb2.Delta))
                await talk.interrupt("enough")
                await reader.until_kind("cancelled")
                third = await talk.send(script({"text": "after"}))
                await reader.until(lambda item: ends(item, third.id))
                await holds_whole_logs(client, reader, first, second, third)
            now = await session.get()
            assert (now.state, now.turn_count, now.binding.epoch) == (session_pb2.SESSION_STATE_IDLE, 3, 1)
            ids = {event.output.claude.init.claude_session_id for event in reader.events if is_init(event)}
            assert ids == {now.claude_session_id}
            assert not any(event.output.claude.simulated for event in reader.events)
            costs = [(await turn.get()).usage.cost_usd_micros for turn in (first, second, third)]
            assert sum(costs) == now.usage.cost_usd_micros
            fork = await session.fork()
            fourth = await fork.send(script({"text": "elsewhere"}))
            assert (await fourth.result()).text == "elsewhere"
            assert (await fork.get()).claude_session_id != now.claude_session_id
            for one in (session, fork):
                await one.close()

    run(scenario())
