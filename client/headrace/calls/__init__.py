"""Every unary call as data: which method, which request, how its answer is read. Both clients run these; no I/O."""

from headrace.calls import admin, capacity, events, following, jobs, queues, schedules, sessions, workers
from headrace.calls.call import Call, Page, Stubs, new_request_id, stubs
from headrace.calls.following import FollowOptions
from headrace.calls.jobs import SubmitItem, Submitted, item, ref
from headrace.calls.sessions import ConverseOptions

__all__ = [
    "Call",
    "ConverseOptions",
    "FollowOptions",
    "Page",
    "Stubs",
    "SubmitItem",
    "Submitted",
    "admin",
    "capacity",
    "events",
    "following",
    "item",
    "jobs",
    "new_request_id",
    "queues",
    "ref",
    "schedules",
    "sessions",
    "stubs",
    "workers",
]
