"""Following one job at a terminal: the stream into a view, the end into an exit status, Ctrl-C into a way back."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console

from headrace import calls, client, errors, follow
from headrace.cli import exits, options
from headrace.cli.exits import Exit
from headrace.cli.parts import Part, printable
from headrace.cli.screens import LiveScreen, PlainScreen, Screen
from headrace.cli.standing import Standing
from headrace.cli.transcript import WAITING_STATES, Transcript, Wanted, raw_parts
from headrace.v1 import event_pb2, job_pb2, job_service_pb2, watch_pb2


@dataclass(frozen=True, slots=True)
class View:
    """What happens to each item, and where."""

    screen: AbstractContextManager[Any]
    feed: Callable[[follow.Item], None]
    waiting: Callable[[list[job_pb2.WaitReason]], None]
    deltas: bool


def text_view(wanted: Wanted, *, live: bool) -> View:
    """The view for people; `live` adds the status line."""
    standing, transcript = Standing(), Transcript(wanted)
    screen: Screen = PlainScreen(sys.stdout.buffer, sys.stderr.buffer)
    if live:
        screen = LiveScreen(Console(highlight=False), lambda: standing.line(options.now()))

    def show(parts: list[Part]) -> None:
        for part in parts:
            screen.show(part)

    def feed(item: follow.Item) -> None:
        standing.feed(item)
        show(transcript.feed(item))

    def waiting(reasons: list[job_pb2.WaitReason]) -> None:
        standing.told(reasons)
        show(transcript.waiting(reasons))

    return View(screen, feed, waiting, deltas=True)


def raw_view() -> View:
    """The view for machines that want the program's own bytes."""
    screen = PlainScreen(sys.stdout.buffer, sys.stderr.buffer)
    beside = Transcript(Wanted(lifecycle=False, tools=False))

    def feed(item: follow.Item) -> None:
        parts = raw_parts(item) if isinstance(item, event_pb2.Event) else beside.feed(item)
        for part in parts:
            screen.show(part)

    return View(screen, feed, lambda reasons: None, deltas=False)


def json_view() -> View:
    """A line for each event; anything else in the words of WatchJobResponse: `{"gap": …}`, `{"end": …}`."""

    def feed(item: follow.Item) -> None:
        match item:
            case event_pb2.Event():
                print_json(item, indent=None)
            case watch_pb2.WatchGap():
                print_json(job_service_pb2.WatchJobResponse(gap=item), indent=None)
            case watch_pb2.WatchEnd():
                print_json(job_service_pb2.WatchJobResponse(end=item), indent=None)

    return View(nullcontext(), feed, lambda reasons: None, deltas=False)


def print_json(message: Message, *, indent: int | None = 2) -> None:
    """Prints a message as protobuf JSON: a document, or a line when `indent` is None."""
    print(json_format.MessageToJson(message, indent=indent, ensure_ascii=False), flush=True)


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines for a person, without what could steer a terminal."""
    for line in lines:
        print(printable(line))


def view_for(connection: options.Connection, wanted: Wanted, *, status: bool = True) -> View:
    """The view that the options ask for; a status line only where standard output is a terminal."""
    if connection.json:
        return json_view()
    return text_view(wanted, live=status and sys.stdout.isatty())


async def present(
    job: client.Job,
    view: View,
    *,
    wanted: calls.FollowOptions | None = None,
    no_follow: bool = False,
    way_back: str = "",
) -> Exit:
    """Follows a job to its end. Ctrl-C detaches: the job goes on, and `way_back` says how to return."""
    try:
        with view.screen:
            asked: calls.FollowOptions = {
                **(wanted or {}),
                "deltas": view.deltas and not no_follow,
                "no_follow": no_follow,
            }
            async with job.watch(**asked) as stream:
                return await _read(job, stream, view)
    except asyncio.CancelledError:
        if way_back:
            print(f"detached; the job goes on. Return with: {way_back}", file=sys.stderr)
        raise


async def _read(job: client.Job, stream: client.Watch, view: View) -> Exit:
    waiting = False
    async for item in stream:
        view.feed(item)
        match item:
            case watch_pb2.WatchOpened():
                waiting = item.job.state in WAITING_STATES
            case event_pb2.Event():
                waiting = is_waiting_after(item, waiting)
            case watch_pb2.WatchHeartbeat() if waiting:
                await _explain(job, view)
            case watch_pb2.WatchEnd():
                return _exit(item)
    raise errors.StreamBroken(f"the stream of job {job.id} ended without its end")


def is_waiting_after(event: event_pb2.Event, before: bool) -> bool:
    """Whether the job waits to be started once the event has happened."""
    match event.WhichOneof("kind"):
        case "submitted" | "updated":
            return before
        case "queued" | "scheduled" | "attempt_failed" | "attempt_lost" | "attempt_released":
            return True
        case "attempt_handed_back" | "attempt_snoozed":
            return True
    return False


async def _explain(job: client.Job, view: View) -> None:
    """Says again why the job waits; what can't be learned now is learned at the next heartbeat."""
    try:
        answer = await job.explain()
    except errors.HeadraceError:
        return
    if answer.state in WAITING_STATES:
        view.waiting(list(answer.wait_reasons))


def _exit(end: watch_pb2.WatchEnd) -> Exit:
    if end.reason in (watch_pb2.END_REASON_JOB_DELETED, watch_pb2.END_REASON_PERMISSION_REVOKED):
        return Exit.FAILED
    return exits.BY_STATE.get(end.job.state, Exit.SUCCEEDED)
