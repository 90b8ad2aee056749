"""The blocking client, for scripts and threads: the words of the asyncio client, and the same pure parts underneath."""

from headrace.blocking.client import (
    Budgets,
    Capacity,
    Client,
    Conversation,
    Events,
    Feed,
    FeedEvents,
    FeedWatch,
    Job,
    Queues,
    Schedules,
    Session,
    Sessions,
    Watch,
    Workers,
    connect,
)

__all__ = [
    "Budgets",
    "Capacity",
    "Client",
    "Conversation",
    "Events",
    "Feed",
    "FeedEvents",
    "FeedWatch",
    "Job",
    "Queues",
    "Schedules",
    "Session",
    "Sessions",
    "Watch",
    "Workers",
    "connect",
]
