"""A session that says very much, with one line that is a giant: what a follower gets is what the CLI wrote, byte for
byte, and neither the worker nor the control plane holds it (X2, E4, E6)."""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.control_plane import ControlPlane, wait_for
from headrace import blocking
from headrace.v1 import event_pb2, job_pb2
from model_server.server import ScriptedModelServer
from survival.memory import MIB, Peak, resident
from survival.talking import REAL, SIMULATED
from worker.conforming import Spoken

StartControlPlane = Callable[..., ControlPlane]
Frame = tuple[str, int]
"""Digest and length."""
FRAME_BYTES = 100_000
UNDELIVERED = frozenset({"stream_event", "control_response", "keep_alive", "command_lifecycle"})
"""Pieces of messages that come whole as well, and what is no part of the conversation."""
RECORDING_CLI = """#!/bin/sh
{program} "$@" | tee -a "{record}"
"""
GROWTH_BYTES_MAX = 32 * MIB
LINES_HELD_COUNT = 3
"""How often the worker holds its longest line at most: as it was read, as it is sent, and as it was parsed."""


@dataclass(frozen=True)
class Much:
    """What a session says, and how long its longest line is at most."""

    spoken: Spoken
    program: str
    steps: tuple[dict[str, Any], ...]
    line_bytes: int

    def recording(self, folder: Path, record: Path) -> Path:
        """A program that is the CLI, and keeps what that writes."""
        path = folder / "claude"
        path.write_text(RECORDING_CLI.format(program=self.program, record=record))
        path.chmod(0o700)
        return path


def simulated(frames: int, line_bytes: int) -> Much:
    """Many frames, then a giant one."""
    flood = {"fault": "frame", "count": frames, "frame": {"type": "flood", "payload": "y" * FRAME_BYTES}}
    steps = (flood, {"fault": "giant_line", "bytes": line_bytes}, {"text": "that was much"})
    return Much(SIMULATED, f'"{sys.executable}" -m headrace_worker.simulator', steps, line_bytes)


def written(record: Path) -> Iterator[Frame]:
    """Each line that is to be delivered."""
    with record.open("rb") as file:
        for line in file:
            if line.startswith(b"{") and json.loads(line).get("type") not in UNDELIVERED:
                yield frame_of(line.removesuffix(b"\n"))


def frame_of(data: bytes) -> Frame:
    return hashlib.sha256(data).hexdigest(), len(data)


def delivered(job: blocking.Job) -> Iterator[Frame]:
    """Each frame that a follower gets, put together from its chunks where it came in some."""
    chunks, size, sequence = hashlib.sha256(), 0, 0
    for event in job.events():
        assert isinstance(event, event_pb2.Event)
        assert event.sequence == sequence + 1, "a hole or a repeat"
        sequence = event.sequence
        assert not event.HasField("output_truncated")
        if event.output.HasField("chunk"):
            chunks.update(event.output.chunk.data)
            size += len(event.output.chunk.data)
        elif event.output.claude.HasField("stored"):
            stored = event.output.claude.stored
            assert (stored.size_bytes, stored.sha256, stored.cut) == (size, chunks.hexdigest(), False)
            yield chunks.hexdigest(), size
            chunks, size = hashlib.sha256(), 0
        elif event.output.HasField("claude"):
            yield frame_of(event.output.claude.raw_json.encode())


def say_much(plane: ControlPlane, much: Much, record: Path) -> None:
    """Has a session say it, follows that, and says the figures."""
    wait_for(lambda: plane.worker_pid, "the worker has connected")
    with plane.connect() as client:
        session = client.sessions.create(output_bytes_max=1 << 36)
        frames = list(delivered(session.send(much.spoken.prompt({"text": "warm"}))))
        with Peak(plane.pid, plane.worker_pid) as peak:
            began = time.monotonic()
            job = session.send(much.spoken.prompt(*much.steps))
            frames += delivered(job)
            seconds = time.monotonic() - began
        ended = job.get()
        assert (ended.state, ended.attempt_count) == (job_pb2.JOB_STATE_SUCCEEDED, 1)
        frames += delivered(session.send(much.spoken.prompt({"text": "the session goes on"})))
        session.close()
    assert sum(size for _, size in frames) > 2 * much.line_bytes - MIB
    assert frames == list(written(record))
    control_plane, worker = peak.growth
    sizes = f"{sum(size for _, size in frames) / 1e6:.0f} MB, {record.stat().st_size / 1e6:.0f} MB with deltas"
    print(f"{sizes}, in {seconds:.1f} s: the control plane grew by {control_plane / MIB:.0f} MiB,", end=" ")
    print(f"the worker by {worker / MIB:.0f} MiB, and has {(resident(plane.worker_pid) - peak.idle[1]) / MIB:.0f} left")
    record.unlink()
    assert control_plane < GROWTH_BYTES_MAX
    assert worker < GROWTH_BYTES_MAX + LINES_HELD_COUNT * much.line_bytes


def test_x2_ten_megabytes_of_a_session_with_a_giant_line_arrive_byte_for_byte(
    start_plane: StartControlPlane, tmp_path: Path
) -> None:
    much, record = simulated(frames=50, line_bytes=5_000_000), tmp_path / "record"
    say_much(start_plane("--claude", str(much.recording(tmp_path, record))), much, record)


@pytest.mark.slow
def test_x2_a_hundred_megabytes_of_a_session_with_a_giant_line_arrive_byte_for_byte(
    start_plane: StartControlPlane, tmp_path: Path
) -> None:
    much, record = simulated(frames=500, line_bytes=50_000_000), tmp_path / "record"
    say_much(start_plane("--claude", str(much.recording(tmp_path, record))), much, record)


@pytest.mark.slow
def test_x2_a_giant_answer_of_the_real_cli_arrives_byte_for_byte(
    start_plane: StartControlPlane, tmp_path: Path, real_cli: Path, model_server: ScriptedModelServer
) -> None:
    """It says an answer twice: as a message and as the result."""
    much = Much(REAL, f'"{real_cli}"', ({"text_bytes": 50_000_000},), line_bytes=50_000_000)
    record, service = tmp_path / "record", {"ANTHROPIC_BASE_URL": model_server.url, "ANTHROPIC_API_KEY": "made-up"}
    say_much(start_plane("--claude", str(much.recording(tmp_path, record)), **service), much, record)
