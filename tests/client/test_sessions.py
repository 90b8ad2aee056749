"""Conversations of both clients on a real wire: saying, answering and reading on one stream that survives cuts."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import grpc
import pytest

import headrace
from client.conversing import Side, batch, deltas, ended, inputs, job_of, opened, served
from headrace import blocking, errors
from headrace.v1 import event_pb2, input_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb

DEADLINE_SECONDS = 20


def sequences(items: list[Any]) -> list[int]:
    return [item.sequence for item in items if isinstance(item, event_pb2.Event)]


async def one_turn(side: Side) -> None:
    """Takes a message, asks for a permission, and closes the session when it was answered."""
    await side.say(opened())
    message = await side.hear("message")
    assert message.message.text == "hello"
    assert message.message.request_id
    await side.done(message, job_id=job_of(1))
    await side.say(batch(1, 1, 2), deltas(1, "so far"), inputs("q"))
    answer = await side.hear("answer")
    assert answer.answer == input_pb2.InputAnswer(request_id="q", allow=True)
    await side.say(batch(1, 3))
    await side.done(answer, resolution=input_pb2.INPUT_RESOLUTION_ALLOWED)
    await side.say(inputs(), batch(1, 4), ended())


@pytest.mark.parametrize(
    "face",
    [
        headrace.Job,
        headrace.Session,
        headrace.Conversation,
        blocking.Job,
        blocking.Session,
        blocking.Conversation,
    ],
)
def test_x3_nobody_allows_by_leaving_a_word_out(face: Any) -> None:
    allow = inspect.signature(face.answer).parameters["allow"]
    assert (allow.kind, allow.default) == (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.empty)


def test_x1_messages_and_answers_go_up_while_events_come_down(short_folder: Path) -> None:
    async def run() -> None:
        async with served(short_folder, one_turn) as (sessions, address), headrace.connect(address) as client:
            seen: list[Any] = []
            async with client.session("s").converse(deltas=True) as talk:
                turn = await talk.send("hello")
                assert turn.id == job_of(1)
                async for item in talk:
                    seen.append(item)
                    for asked in item.open if isinstance(item, pb.ConverseInputs) else ():
                        resolution = await talk.answer(asked.request.request_id, allow=True)
                        assert resolution == input_pb2.INPUT_RESOLUTION_ALLOWED
            assert sequences(seen) == [1, 2, 3, 4]
            assert [item.text for item in seen if isinstance(item, event_pb2.Delta)] == ["so far"]
            assert isinstance(seen[-1], pb.ConverseEnd)
            assert sessions.opened[0].deltas

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_x1_the_blocking_client_does_the_same(short_folder: Path) -> None:
    def talks(address: str) -> list[Any]:
        seen: list[Any] = []
        with blocking.connect(address) as client, client.session("s").converse() as talk:
            assert talk.send("hello").id == job_of(1)
            for item in talk:
                seen.append(item)
                for asked in item.open if isinstance(item, pb.ConverseInputs) else ():
                    talk.answer(asked.request.request_id, allow=True)
        return seen

    async def run() -> None:
        async with served(short_folder, one_turn) as (_, address):
            seen = await asyncio.to_thread(talks, address)
        assert sequences(seen) == [1, 2, 3, 4]
        assert isinstance(seen[-1], pb.ConverseEnd)

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


async def cut_after_the_message(side: Side) -> None:
    await side.say(opened(), batch(1, 1, 2))
    await side.hear("message")
    await side.breaks()


async def goes_on(side: Side) -> None:
    await side.say(opened())
    message = await side.hear("message")
    await side.done(message, job_id=job_of(2))
    await side.say(batch(1, 3), batch(2, 1), ended())


def repeats_once(sessions: Any) -> None:
    assert [opening.cursor for opening in sessions.opened] == ["", "1:2"]
    said = [one.message.request_id for side in sessions.sides for one in side.heard if one.HasField("message")]
    assert len(said) == 2
    assert len(set(said)) == 1


def test_e1_a_cut_loses_nothing_and_what_was_said_is_said_again_under_its_id(short_folder: Path) -> None:
    async def run() -> None:
        async with (
            served(short_folder, cut_after_the_message, goes_on) as (sessions, address),
            headrace.connect(address) as client,
            client.session("s").converse() as talk,
        ):
            assert (await talk.send("again")).id == job_of(2)
            seen = [item async for item in talk]
            assert sequences(seen) == [1, 2, 3, 1]
            assert sum(isinstance(item, headrace.Reconnecting) for item in seen) == 1
        repeats_once(sessions)

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_e1_a_cut_loses_nothing_for_threads_either(short_folder: Path) -> None:
    def talks(address: str) -> list[Any]:
        with blocking.connect(address) as client, client.session("s").converse() as talk:
            assert talk.send("again").id == job_of(2)
            return list(talk)

    async def run() -> None:
        async with served(short_folder, cut_after_the_message, goes_on) as (sessions, address):
            seen = await asyncio.to_thread(talks, address)
        assert sequences(seen) == [1, 2, 3, 1]
        repeats_once(sessions)

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_a_server_that_shuts_down_is_waited_for(short_folder: Path) -> None:
    async def drains(side: Side) -> None:
        await side.say(opened(), batch(1, 1), ended(watch_pb2.END_REASON_DRAINING))

    async def ends(side: Side) -> None:
        await side.say(opened(), batch(1, 2), ended())

    async def run() -> None:
        async with (
            served(short_folder, drains, ends) as (_, address),
            headrace.connect(address) as client,
            client.session("s").converse() as talk,
        ):
            assert sequences([item async for item in talk]) == [1, 2]

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_e9_a_reader_that_is_cancelled_cuts_nothing(short_folder: Path) -> None:
    go_on = asyncio.Event()

    async def script(side: Side) -> None:
        await side.say(opened())
        await go_on.wait()
        await side.say(batch(1, 1), ended())

    async def run() -> None:
        async with (
            served(short_folder, script) as (sessions, address),
            headrace.connect(address) as client,
            client.session("s").converse() as talk,
        ):
            assert isinstance(await anext(talk), pb.ConverseOpened)
            reading = asyncio.ensure_future(anext(talk))
            await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait((reading,))
            go_on.set()
            assert sequences([item async for item in talk]) == [1]
            assert len(sessions.opened) == 1

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_x3_a_paused_client_gets_what_is_asked_on_the_wire(short_folder: Path) -> None:
    async def script(side: Side) -> None:
        await side.say(opened(), batch(1, 1, 2), inputs("q"))
        await side.rest()

    async def run() -> None:
        async with (
            served(short_folder, script) as (sessions, address),
            headrace.connect(address) as client,
            client.session("s").converse(window=2) as talk,
        ):
            talk.pause()
            assert isinstance(await anext(talk), pb.ConverseInputs)
            assert [one.request.request_id for one in talk.inputs] == ["q"]
            assert talk.cursor == ""
            talk.resume()
            assert [type(await anext(talk)) for _ in range(3)] == [pb.ConverseOpened, event_pb2.Event, event_pb2.Event]
        await sessions.played.wait()
        granted = [one.credit.events for one in sessions.sides[0].heard if one.HasField("credit")]
        assert sessions.opened[0].credit + sum(granted) <= 4

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_whoever_waits_is_told_when_the_conversation_is_closed(short_folder: Path) -> None:
    async def script(side: Side) -> None:
        await side.say(opened())
        await side.rest()

    async def run() -> None:
        async with served(short_folder, script) as (_, address), headrace.connect(address) as client:
            talk = client.session("s").converse()
            saying = asyncio.ensure_future(talk.send("hello"))
            assert isinstance(await anext(talk), pb.ConverseOpened)
            await talk.close()
            with pytest.raises(errors.HeadraceError, match="closed"):
                await saying
            assert [item async for item in talk] == []

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_a_thread_that_closes_a_conversation_ends_its_reader(short_folder: Path) -> None:
    async def script(side: Side) -> None:
        await side.say(opened())
        await side.rest()

    def talks(address: str) -> int:
        with blocking.connect(address) as client, client.session("s").converse() as talk:
            count = 0
            for _ in talk:
                count += 1
                talk.close()
            return count

    async def run() -> None:
        async with served(short_folder, script) as (_, address):
            assert await asyncio.to_thread(talks, address) == 1

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_a_client_that_is_closed_fails_its_conversations(short_folder: Path) -> None:
    async def script(side: Side) -> None:
        await side.say(opened())
        await side.rest()

    async def run() -> None:
        async with served(short_folder, script) as (_, address):
            client = headrace.connect(address)
            async with client.session("s").converse() as talk:
                await anext(talk)
                reading = asyncio.ensure_future(anext(talk))
                await client.close()
                with pytest.raises(errors.HeadraceError, match="closed"):
                    await reading

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))


def test_a_refused_session_is_raised_to_who_reads_and_to_who_asks(short_folder: Path) -> None:
    async def script(side: Side) -> None:
        await side.refuses(grpc.StatusCode.NOT_FOUND, "no such session")

    async def run() -> None:
        async with served(short_folder, script) as (_, address), headrace.connect(address) as client:
            talk = client.session("s").converse()
            saying = asyncio.ensure_future(talk.send("hello"))
            for waiting in (anext(talk), saying):
                with pytest.raises(errors.NotFound):
                    await waiting
            await talk.close()

    asyncio.run(asyncio.wait_for(run(), DEADLINE_SECONDS))
