"""Networks that delay, throttle, stand still, swallow, half-close, cut and refuse: readers and workers lose nothing,
get nothing twice, and are whole again in bounded time (E1, E4, E5, L5).

What has to be found out first, a connection that swallows everything, is found by keepalive. Its times are short here;
those of real programs are compared with the time that a reader takes for silence.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from headrace import channel, follow
from headrace_server.rpc import server
from headrace_server.rpc.server import KEEPALIVE_MILLIS, KEEPALIVE_TIMEOUT_MILLIS
from survival.network import Heard, Network, network
from survival.wire import Wire

RECOVERY_SECONDS = 10.0
"""From when the network is whole again until everybody has everything. Ends try again after 0.1 to 5 s, sooner while
they have had success."""
DETECTION_SECONDS = 10.0
"""From when nothing gets through until the reader knows, with a keepalive of a second and a second's patience."""
Scenario = Callable[[Network], Awaitable[None]]
Play = Callable[[Scenario], None]
LINES = 300
JOBS = 20


class Fault(NamedTuple):
    """Something that a network does."""

    begin: Callable[[Wire], None]
    end: Callable[[Wire], None] = lambda wire: None
    breaks: bool = False
    """Connections do not outlive it."""
    lasts: bool = False
    """It ends only when it was noticed."""
    carries: bool = False
    """Everything still arrives meanwhile."""


def _delay(seconds: float) -> Callable[[Wire], None]:
    return lambda wire: setattr(wire, "delay_seconds", seconds)


def _throttle(bytes_per_second: int) -> Callable[[Wire], None]:
    return lambda wire: setattr(wire, "bytes_per_second", bytes_per_second)


FAULTS = {
    "cuts": Fault(Wire.cut, breaks=True),
    "half-closes towards the reader": Fault(lambda wire: wire.half_close(towards_client=True), breaks=True),
    "half-closes towards the server": Fault(lambda wire: wire.half_close(towards_client=False), breaks=True),
    "stands still": Fault(Wire.stand_still, Wire.go_on),
    "refuses": Fault(Wire.refuse, Wire.accept, breaks=True, lasts=True),
    "swallows": Fault(Wire.swallow, Wire.restore, breaks=True, lasts=True),
    "delays": Fault(_delay(0.3), _delay(0.0), carries=True),
    "throttles": Fault(_throttle(65_536), _throttle(0), carries=True),
}


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Play:
    """Plays a scenario on a network of its own, with short keepalives."""
    monkeypatch.setattr(channel, "KEEPALIVE_SECONDS", 1)
    monkeypatch.setattr(channel, "KEEPALIVE_TIMEOUT_SECONDS", 1)
    quick = {"grpc.http2.min_ping_interval_without_data_ms": 100}
    monkeypatch.setattr(server, "OPTIONS", [(name, quick.get(name, value)) for name, value in server.OPTIONS])

    def play(scenario: Scenario) -> None:
        async def main() -> None:
            async with asyncio.timeout(90), network(tmp_path) as made:
                await scenario(made)

        asyncio.run(main())

    return play


async def within(seconds: float, waiting: Awaitable[None]) -> None:
    async with asyncio.timeout(seconds):
        await waiting


@pytest.mark.parametrize("name", FAULTS)
def test_e1_a_reader_of_a_job_gets_all_of_it_through_a_network_that(name: str, play: Play) -> None:
    fault = FAULTS[name]

    async def scenario(net: Network) -> None:
        near, far = Heard(), Heard()
        reading = [
            asyncio.create_task(near.read(net.job.watch())),
            asyncio.create_task(far.read(net.far.job(net.job.id).watch())),
        ]
        net.speaker.say(LINES)
        await far.until(net.has_all_lines)
        fault.begin(net.wire)
        net.speaker.say(LINES)
        await within(RECOVERY_SECONDS, near.until(net.has_all_lines))
        await _last(fault, net, far, net.has_all_lines)
        net.speaker.say(LINES)
        await within(RECOVERY_SECONDS, far.until(net.has_all_lines))
        await net.finish()
        await asyncio.gather(*reading)
        assert (far.data, far.places) == (near.data, near.places)

    play(scenario)


@pytest.mark.parametrize("name", FAULTS)
def test_e1_a_reader_of_the_feed_gets_all_of_it_through_a_network_that(name: str, play: Play) -> None:
    fault = FAULTS[name]

    async def scenario(net: Network) -> None:
        far, expected = Heard(), 0
        reading = asyncio.create_task(far.read(net.far.events.watch(scope="namespace", from_beginning=True)))

        async def add() -> None:
            nonlocal expected
            await net.submit(JOBS)
            told = Heard()
            await told.read(net.near.events.watch(scope="namespace", from_beginning=True, no_follow=True))
            expected = told.places[-1]

        def has_all(heard: Heard) -> bool:
            return len(heard.places) == expected and heard.places[-1] == expected

        await add()
        await far.until(has_all)
        fault.begin(net.wire)
        await add()
        await _last(fault, net, far, has_all)
        await add()
        await within(RECOVERY_SECONDS, far.until(has_all))
        await net.finish()
        reading.cancel()

    play(scenario)


async def _last(fault: Fault, net: Network, far: Heard, has_all: Callable[[Heard], bool]) -> None:
    """Lets a fault last until the reader has noticed, or has everything nevertheless; then it has all in time."""
    if fault.breaks:
        await within(DETECTION_SECONDS, far.until(lambda heard: heard.breaks > 0))
    if fault.carries:
        await within(RECOVERY_SECONDS, far.until(has_all))
    fault.end(net.wire)
    await within(RECOVERY_SECONDS, far.until(has_all))


@pytest.mark.parametrize("name", FAULTS)
def test_e5_a_worker_loses_nothing_and_ends_its_job_once_behind_a_network_that(name: str, play: Play) -> None:
    fault = FAULTS[name]

    async def scenario(net: Network) -> None:
        near = Heard()
        reading = asyncio.create_task(near.read(net.job.watch()))
        net.speaker.say(LINES)
        await near.until(net.has_all_lines)
        for _ in range(2):
            # In the middle of what is being sent, whatever of it has arrived.
            net.speaker.say(5 * LINES)
            fault.begin(net.worker_wire)
            net.speaker.say(LINES)
            if fault.carries:
                await within(RECOVERY_SECONDS, near.until(net.has_all_lines))
            if fault.lasts:
                await within(DETECTION_SECONDS, net.worker_wire.wait_reconnect())
            fault.end(net.worker_wire)
            await within(RECOVERY_SECONDS, near.until(net.has_all_lines))
        outcome = await net.finish()
        await reading
        assert near.data == net.speaker.said
        assert (outcome.value, net.speaker.runs) == (net.speaker.lines, 1)
        assert [near.kinds.count(kind) for kind in ("attempt_assigned", "attempt_started", "succeeded")] == [1, 1, 1]

    play(scenario)


def test_a_client_reaches_a_server_behind_a_slow_network(play: Play) -> None:
    async def scenario(net: Network) -> None:
        net.wire.delay_seconds = 0.6
        told = Heard()
        net.speaker.say(1)
        await within(RECOVERY_SECONDS, told.read(net.far.job(net.job.id).watch(no_follow=True)))
        assert told.breaks == 0
        await net.finish()

    play(scenario)


def test_real_keepalives_find_a_dead_connection_before_a_reader_takes_it_for_silent() -> None:
    assert channel.KEEPALIVE_SECONDS + channel.KEEPALIVE_TIMEOUT_SECONDS <= follow.SILENCE_SECONDS
    assert (KEEPALIVE_MILLIS + KEEPALIVE_TIMEOUT_MILLIS) / 1000 <= follow.SILENCE_SECONDS
