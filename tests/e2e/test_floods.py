"""Floods of output: every byte arrives, the worker's memory stays flat, and a program is slowed instead of buffered."""

import hashlib
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

import headrace
from e2e.control_plane import ControlPlane, wait_for
from headrace import blocking
from headrace.v1 import event_pb2, job_pb2

StartControlPlane = Callable[..., ControlPlane]
MIB = 1024 * 1024
LINE = b"a line of output that is not very long\n"
SPOOL_BYTES_MAX = 64 * MIB
"""What the worker keeps on disk of a command's output."""
WITHOUT_LIMIT = 4096 * MIB


def flood(size: int) -> headrace.tasks.Task:
    return headrace.command("sh", "-c", f"yes '{LINE.decode().strip()}' | head -c {size}")


def digest_of_flood(size: int) -> str:
    digest = hashlib.sha256()
    block = LINE * 10_000
    for _ in range(size // len(block)):
        digest.update(block)
    digest.update(block[: size % len(block)])
    return digest.hexdigest()


class Received:
    """What a follower got, without keeping it."""

    def __init__(self) -> None:
        self.stdout = hashlib.sha256()
        self.stdout_bytes = 0
        self.sequence = 0
        self.frames: list[str] = []
        """Types of the frames that were small enough for their event."""
        self.stored: list[tuple[event_pb2.StoredFrame, str]] = []
        """Larger frames, and the digest of the chunks before each."""
        self.kinds: set[str] = set()
        self._chunks = hashlib.sha256()

    def read(self, job: blocking.Job) -> "Received":
        for event in job.events():
            assert isinstance(event, event_pb2.Event)
            assert event.sequence == self.sequence + 1
            self.sequence = event.sequence
            self.kinds.add(event.WhichOneof("kind") or "")
            if event.output.HasField("chunk"):
                self._chunk(event.output.chunk)
            elif event.output.HasField("claude"):
                self._frame(event.output.claude)
        return self

    def _chunk(self, chunk: event_pb2.Chunk) -> None:
        if chunk.stream == event_pb2.OUTPUT_STREAM_FRAME:
            self._chunks.update(chunk.data)
        else:
            self.stdout.update(chunk.data)
            self.stdout_bytes += len(chunk.data)

    def _frame(self, frame: event_pb2.ClaudeFrame) -> None:
        if frame.HasField("stored"):
            self.stored.append((frame.stored, self._chunks.hexdigest()))
            self._chunks = hashlib.sha256()
        else:
            self.frames.append(json.loads(frame.raw_json)["type"])


@contextmanager
def growth_of(pid: int) -> Iterator[Callable[[], int]]:
    """How much more memory a process held at most than when it began, in bytes."""
    process = psutil.Process(pid)
    before = peak = process.memory_info().rss
    over = threading.Event()

    def look() -> None:
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, process.memory_info().rss)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: peak - before
    finally:
        over.set()
        thread.join()


def warmed_up(plane: ControlPlane, client: blocking.Client) -> int:
    """Process id of a worker that has run something before."""
    client.submit(flood(MIB)).result()
    return plane.worker_pid


def test_e5_a_flood_arrives_whole_and_a_program_waits_while_the_control_plane_is_frozen(
    start_plane: StartControlPlane,
) -> None:
    plane = start_plane("--claude", "none")
    size = 160 * MIB
    with plane.connect() as client:
        worker = warmed_up(plane, client)
        with growth_of(worker) as growth:
            job = client.submit(flood(size), output_bytes_max=WITHOUT_LIMIT)
            head = wait_for(lambda: the_pid(plane, f"head -c {size}"), "it runs")
            plane.signal(signal.SIGSTOP)
            wait_for(lambda: written(head) > SPOOL_BYTES_MAX // 2, "it fills the worker's disk")
            wait_for(lambda: stands_still(head), "the program waits")
            ahead = written(head)
            plane.signal(signal.SIGCONT)
            received = Received().read(job)
            assert growth() <= 32 * MIB
        final = job.get()
    assert ahead < size - MIB, "it was not read to its end while nobody took anything"
    assert received.stdout.hexdigest() == digest_of_flood(size)
    assert final.result.command.stdout_bytes == received.stdout_bytes == size
    assert (final.attempt_count, final.loss_count, final.output_truncated) == (1, 0, False)


def the_pid(plane: ControlPlane, line: str) -> int:
    return next((pid for pid, found in plane.processes().items() if found == line), 0)


def written(pid: int) -> int:
    """Bytes that a process has written."""
    (found,) = [line for line in Path(f"/proc/{pid}/io").read_text().splitlines() if line.startswith("wchar")]
    return int(found.split()[1])


def stands_still(pid: int) -> bool:
    """Whether a process has written nothing for half a second."""
    before, until = written(pid), time.monotonic() + 0.5
    while time.monotonic() < until:
        if written(pid) != before:
            return False
        time.sleep(0.02)
    return True


def test_x2_giant_lines_and_many_frames_of_the_cli_arrive_whole(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")
    steps = [
        {"fault": "frame", "count": 300, "frame": {"type": "flood", "payload": "y" * 100_000}},
        {"fault": "giant_line", "bytes": 50 * MIB},
        {"text": "done"},
    ]
    with plane.connect() as client:
        worker = warmed_up(plane, client)
        with growth_of(worker) as growth:
            task = headrace.claude(f"SIMULATE<<{json.dumps(steps)}>>")
            job = client.submit(task, output_bytes_max=WITHOUT_LIMIT)
            received = Received().read(job)
            assert growth() <= 4 * 50 * MIB, "a line is held with its parsed form, and not for long"
        assert job.result().text == "done"
    assert received.frames.count("flood") == 300
    ((stored, digest),) = received.stored
    assert 50 * MIB < stored.size_bytes < 50 * MIB + 4096
    assert (stored.sha256, stored.cut) == (digest, False)
    assert "output_truncated" not in received.kinds


def test_e6_a_session_past_its_cap_goes_on(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated")
    steps = [{"fault": "frame", "count": 50, "frame": {"type": "flood", "payload": "y" * 100_000}}, {"text": "done"}]
    with plane.connect() as client:
        job = client.submit(headrace.claude(f"SIMULATE<<{json.dumps(steps)}>>"), output_bytes_max=MIB)
        received = Received().read(job)
        final = job.get()
        assert job.result().text == "done"
    assert 1 < received.frames.count("flood") < 50
    assert "output_truncated" in received.kinds
    assert final.output_truncated
    assert job_pb2.JobState.Name(final.state) == "JOB_STATE_SUCCEEDED"
