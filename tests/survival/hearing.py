"""A reader of one job through whatever happens: what it was handed over any number of streams, checked as it comes."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import headrace
from headrace.v1 import event_pb2, watch_pb2


@dataclass
class Heard:
    """What a reader was handed."""

    digest: Any = field(default_factory=hashlib.sha256)
    """Of the bytes of output."""
    size: int = 0
    sequence: int = 0
    ended: bool = False
    breaks: int = 0
    """How often the connection was cut."""

    def take(self, item: object) -> None:
        match item:
            case event_pb2.Event():
                assert item.sequence == self.sequence + 1, "a hole or a repeat"
                self.sequence = item.sequence
                self.digest.update(item.output.chunk.data)
                self.size += len(item.output.chunk.data)
            case watch_pb2.WatchEnd():
                self.ended = item.reason == watch_pb2.END_REASON_JOB_ENDED
            case watch_pb2.WatchGap():
                raise AssertionError("nothing was removed")
            case headrace.follow.Reconnecting():
                self.breaks += 1


async def read(job: headrace.Job, heard: Heard) -> None:
    """Reads to the end."""
    async with job.watch() as stream:
        async for item in stream:
            heard.take(item)
