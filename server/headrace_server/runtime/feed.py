"""Who is woken when the log of a job or the feed of the store grows, or when another job has a unique key. A wake-up is
a hint: it may be lost or come for nothing, and holds no data."""

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count

from headrace_server.core.ids import JobId
from headrace_server.store.jobs.unique_keys import KeyName

FEED = "feed"
"""The subject of those who follow the feed of the store."""


class Feed:
    """Followers that wait, by job or unique key, or for the feed."""

    def __init__(self) -> None:
        self._followers: defaultdict[Hashable, set[asyncio.Event]] = defaultdict(set)
        self._listeners: defaultdict[Hashable, set[asyncio.Event]] = defaultdict(set)
        """Of the followers, those that want deltas."""
        self._versions: dict[Hashable, int] = {}
        self._numbers = count(1)

    @contextmanager
    def follow(self, subject: JobId | KeyName | str, *, deltas: bool = False) -> Iterator[asyncio.Event]:
        """An event that is set whenever the job's log or the feed may have grown, or another job may have the key, and
        with `deltas` also when the job says more; the follower clears it before it reads."""
        event = asyncio.Event()
        with self.join(subject, event, deltas=deltas):
            yield event

    @contextmanager
    def join(self, subject: Hashable, event: asyncio.Event, *, deltas: bool = False) -> Iterator[None]:
        """As `follow`, with an event that may be joined to other subjects, too."""
        if subject not in self._versions:
            self._versions[subject] = next(self._numbers)
        self._followers[subject].add(event)
        if deltas:
            self._listeners[subject].add(event)
        try:
            yield
        finally:
            followers = self._followers[subject]
            followers.discard(event)
            if not followers:
                del self._followers[subject], self._versions[subject]
            if deltas:
                self._listeners[subject].discard(event)
                if not self._listeners[subject]:
                    del self._listeners[subject]

    def wake(self, subjects: Iterable[Hashable]) -> None:
        """Wakes the followers of these jobs or keys."""
        for subject in subjects:
            followers = self._followers.get(subject)
            if followers:
                self._versions[subject] = next(self._numbers)
                # A copy: a stream that nobody holds any more leaves whenever it is collected.
                for event in tuple(followers):
                    event.set()

    def wake_listeners(self, job_id: JobId) -> None:
        """Wakes the followers that want deltas of a job. Its log has not grown."""
        for event in tuple(self._listeners.get(job_id, ())):
            event.set()

    def wake_all(self) -> None:
        """Wakes every follower."""
        self.wake(list(self._followers))

    def version(self, subject: Hashable) -> int:
        """Of a subject that is followed: another number after each wake-up, and never one that it had before."""
        return self._versions[subject]

    def count(self, subject: Hashable) -> int:
        """Followers of one subject."""
        return len(self._followers.get(subject, ()))

    @property
    def followers_count(self) -> int:
        """Followers of all jobs, and of the feed."""
        return sum(len(followers) for followers in self._followers.values())
