"""Who is woken when the log of a job grows. A wake-up is a hint: it may be lost or come for nothing, and holds no
data."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from headrace_server.core.ids import JobId


class Feed:
    """Followers that wait, by job."""

    def __init__(self) -> None:
        self._followers: defaultdict[JobId, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def follow(self, job_id: JobId) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job's log may have grown; the follower clears it before it reads."""
        event = asyncio.Event()
        self._followers[job_id].add(event)
        try:
            yield event
        finally:
            followers = self._followers[job_id]
            followers.discard(event)
            if not followers:
                del self._followers[job_id]

    def wake(self, job_ids: Iterable[JobId]) -> None:
        """Wakes the followers of these jobs."""
        for job_id in job_ids:
            for event in self._followers.get(job_id, ()):
                event.set()

    def wake_all(self) -> None:
        """Wakes every follower."""
        self.wake(list(self._followers))

    @property
    def followers_count(self) -> int:
        """Followers of all jobs."""
        return sum(len(followers) for followers in self._followers.values())
