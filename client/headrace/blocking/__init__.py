"""The blocking client, for scripts and threads: the words of the asyncio client, and the same pure parts underneath."""

from headrace.blocking.client import (
    Client,
    Events,
    Feed,
    FeedEvents,
    FeedWatch,
    Job,
    Queues,
    Schedules,
    Watch,
    Workers,
    connect,
)

__all__ = [
    "Client",
    "Events",
    "Feed",
    "FeedEvents",
    "FeedWatch",
    "Job",
    "Queues",
    "Schedules",
    "Watch",
    "Workers",
    "connect",
]
