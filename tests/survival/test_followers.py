"""Readers against a control plane that is killed again and again: no hole, no repeat, the same digest (E1, L7)."""

import asyncio
import hashlib
from collections.abc import Callable

import pytest

import headrace
from e2e.control_plane import ControlPlane, wait_for
from survival.hearing import Heard, read

StartControlPlane = Callable[..., ControlPlane]
FOLLOWERS = 5


def program(condition: str, pause: str = ":") -> str:
    """Says numbered lines, ten at a time, while a condition holds; then keeps in a file how many."""
    return f"i=0; while {condition}; do seq $((i+1)) $((i+10)); i=$((i+10)); {pause}; done; echo $i > said"


def told(lines: int) -> bytes:
    return b"".join(b"%d\n" % number for number in range(1, lines + 1))


def start(start_plane: StartControlPlane) -> ControlPlane:
    plane = start_plane("--claude", "none", "--allow-command", "sh")
    wait_for(lambda: plane.worker_pid, "the worker has connected")
    return plane


def follow_through_kills(plane: ControlPlane, kills: int, followers: int) -> None:
    """Kills the control plane again and again while followers read; checks what each of them got."""

    async def scenario() -> list[Heard]:
        async with headrace.connect(plane.address) as client:
            gate = plane.folder / "go"
            command = program(f"[ ! -e {gate} ]", "sleep 0.01")
            job = await client.submit(headrace.command("sh", "-c", command, folder=str(plane.folder)))
            heard = [Heard() for _ in range(followers)]
            readers = [asyncio.create_task(read(job, one)) for one in heard]
            for _ in range(kills):
                await _something_new(job)
                await asyncio.to_thread(plane.kill)
                await asyncio.to_thread(plane.start)
            gate.touch()
            await asyncio.gather(*readers)
            return heard

    heard = asyncio.run(asyncio.wait_for(scenario(), 30 + 20 * kills))
    lines = int((plane.folder / "said").read_text())
    expected = hashlib.sha256(told(lines)).hexdigest()
    assert [one.digest.hexdigest() for one in heard] == [expected] * followers
    assert all(one.ended and one.breaks for one in heard)


async def _something_new(job: headrace.Job) -> None:
    """Waits until the server has an event that it did not have before."""
    async with job.events(last=1) as events:
        await anext(events)
        await anext(events)


def test_l7_followers_resume_through_kills_without_hole_or_repeat(start_plane: StartControlPlane) -> None:
    follow_through_kills(start(start_plane), kills=3, followers=FOLLOWERS)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_l7_twenty_followers_resume_through_fifty_kills(start_plane: StartControlPlane) -> None:
    follow_through_kills(start(start_plane), kills=50, followers=20)
