"""`event watch` and `event list`: what happens in a namespace, as it happens and afterwards."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from headrace import errors
from headrace.cli import following, narration, options
from headrace.cli.describe import feed_text
from headrace.cli.exits import Exit
from headrace.cli.filters import event_filter
from headrace.cli.submitting import way_to
from headrace.follow import Reconnecting
from headrace.streams import FeedWatch
from headrace.v1 import event_service_pb2, watch_pb2

events = typer.Typer(help="See what happens in the namespace.", no_args_is_help=True)

BEGINNING = "beginning"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; all of it has to hold."""

    type: Annotated[
        list[str] | None, typer.Option(help="A kind of event, e.g. attempt_failed; repeatable: any of them.")
    ] = None
    queue: Annotated[str, typer.Option(help="Of jobs of this queue.")] = ""
    job: Annotated[str, typer.Option(metavar="ID", help="Of this job.")] = ""
    label: Annotated[list[str] | None, typer.Option(help="Of jobs with KEY=VALUE; repeatable: all of them.")] = None
    filter: Annotated[
        str, typer.Option(help="More terms: type, queue, owner, job_id, session_id, worker_id, schedule, labels.KEY.")
    ] = ""
    mine: Annotated[bool, typer.Option("--mine", help="Of your own jobs only.")] = False

    def text(self) -> str:
        """The filter for the server."""
        return event_filter(self.type or [], self.queue, self.job, options.labels(self.label or []), self.filter)

    def arguments(self) -> list[str]:
        """The same as options."""
        given = {"--queue": self.queue, "--job": self.job, "--filter": self.filter}
        said = [part for option, value in given.items() if value for part in (option, value)]
        for option, values in (("--type", self.type), ("--label", self.label)):
            said += [part for value in values or () for part in (option, value)]
        return said + ["--mine"] * self.mine

    @property
    def scope(self) -> event_service_pb2.FeedScope:
        return event_service_pb2.FEED_SCOPE_OWN if self.mine else event_service_pb2.FEED_SCOPE_NAMESPACE


@events.command("watch")
@options.command
async def watch(
    wanted: Wanted,
    connection: options.Connection,
    begin: Annotated[
        str,
        typer.Option(
            "--from", metavar="TIME", help="A time, a length of time ago, or `beginning`.", show_default="from now on"
        ),
    ] = "",
    cursor: Annotated[str, typer.Option(help="Go on at this place, as an earlier watch told it.")] = "",
    follow: Annotated[bool, typer.Option(help="Go on with what happens; else end when all was told.")] = True,
    max_rate: Annotated[str, typer.Option(metavar="SIZE", help="At most so many bytes a second.")] = "",
) -> Exit:
    """Tell what happens, a line for each event, until it is interrupted.

    A server that goes away is waited for, and nothing is missed or told twice; what was removed is told as missing.
    """
    if cursor and begin:
        raise typer.BadParameter("give --from or --cursor, not both", param_hint="--from")
    if not follow and not cursor:
        begin = begin or BEGINNING
    async with connection.client() as server:
        stream = server.events.watch(
            wanted.text(),
            scope=wanted.scope,
            cursor=cursor,
            start=options.past(begin, "--from") if begin not in ("", BEGINNING) else None,
            from_beginning=begin == BEGINNING,
            no_follow=not follow,
            max_bytes_per_second=options.size(max_rate, "--max-rate") if max_rate else 0,
        )
        async with stream:
            return await _tell(stream, wanted, connection)


async def _tell(stream: FeedWatch, wanted: Wanted, connection: options.Connection) -> Exit:
    lost = False
    try:
        async for item in stream:
            if isinstance(item, Reconnecting):
                if not lost:
                    _note(f"{narration.interruption_line(item.cause)}; trying again")
                lost = True
                continue
            lost = False
            _print(item, connection)
            if isinstance(item, event_service_pb2.FeedEnd):
                return _exit(item)
    except asyncio.CancelledError:
        if stream.cursor:
            again = ["headrace", "event", "watch", *wanted.arguments(), "--cursor", stream.cursor]
            _note(f"go on with: {way_to(again, connection)}")
        raise
    raise errors.StreamBroken("the stream of events ended without its end")


def _print(item: object, connection: options.Connection) -> None:
    match item:
        case event_service_pb2.FeedEvent() | event_service_pb2.FeedGap() if connection.json:
            print(feed_text.json_line(item), flush=True)
        case event_service_pb2.FeedEvent():
            following.print_lines([feed_text.event_line(item)])
            sys.stdout.flush()
        case event_service_pb2.FeedGap():
            _note(feed_text.gap_line(item))


def _exit(end: event_service_pb2.FeedEnd) -> Exit:
    if end.reason == watch_pb2.END_REASON_PERMISSION_REVOKED:
        _note("the right to see these events was revoked")
        return Exit.FAILED
    return Exit.SUCCEEDED


def _note(text: str) -> None:
    print(f"headrace: {text}", file=sys.stderr, flush=True)


@events.command("list")
@options.command
async def list_events(
    wanted: Wanted,
    connection: options.Connection,
    begin: Annotated[str, typer.Option("--from", metavar="TIME", help="Not before this time, or so long ago.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Before this time, or so long ago.")] = "",
    oldest_first: Annotated[bool, typer.Option("--oldest-first", help="Instead of newest first.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=options.LISTED_COUNT_MAX, help="Events at most.")] = 50,
) -> Exit:
    """List what happened, newest first."""
    found: list[event_service_pb2.FeedEvent] = []
    async with connection.client() as server:
        listed = server.events.list(
            wanted.text(),
            scope=wanted.scope,
            start=options.past(begin, "--from") if begin else None,
            end=options.past(until, "--until") if until else None,
            oldest_first=oldest_first,
            page_size=min(limit, 500),
        )
        async for event in listed:
            found.append(event)
            if len(found) == limit:
                break
    if connection.json:
        following.print_json(event_service_pb2.ListEventsResponse(events=found))
    else:
        following.print_lines([feed_text.event_line(event) for event in found] or ["no events"])
    return Exit.SUCCEEDED
