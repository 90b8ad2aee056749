"""The blocking client, for scripts and threads: the words of the asyncio client, and the same pure parts underneath."""

from headrace.blocking.client import Client, Events, Job, Queues, Schedules, Watch, Workers, connect

__all__ = ["Client", "Events", "Job", "Queues", "Schedules", "Watch", "Workers", "connect"]
