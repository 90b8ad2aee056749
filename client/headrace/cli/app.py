"""Puts the commands together. Commands that replace this process are `launch`, and never reach typer's parser."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from headrace.cli import (
    audit,
    cache,
    capacity,
    events,
    health,
    jobs,
    launch,
    queues,
    schedules,
    sessions,
    settings,
    submitting,
    workers,
)
from headrace.cli.chat.command import chat
from headrace.cli.top.command import top

app = typer.Typer(
    help="Headrace: a control plane for fleets of Claude Code sessions and other long jobs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command("run")(submitting.run)
app.add_typer(jobs.jobs, name="job")
app.add_typer(queues.queues, name="queue")
app.add_typer(schedules.schedules, name="schedule")
app.add_typer(sessions.sessions, name="session")
app.command("chat")(chat)
app.add_typer(workers.workers, name="worker")
app.add_typer(settings.settings, name="settings")
app.add_typer(events.events, name="event")
app.add_typer(audit.audit, name="audit")
app.add_typer(capacity.capacity, name="capacity")
app.add_typer(capacity.budget, name="budget")
app.add_typer(cache.cache, name="cache")
app.command("top")(top)
app.command("health")(health.health)

UNTOUCHED = {"ignore_unknown_options": True, "allow_extra_args": True}


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"headrace {importlib.metadata.version('headrace')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """What every command shares: nothing but the version."""


@app.command("serve", context_settings=UNTOUCHED, add_help_option=False)
def serve(context: typer.Context) -> None:
    """Start the control plane, with a local worker. See `headrace serve --help`."""
    launch.launch("serve", context.args)


@app.command("work", context_settings=UNTOUCHED, add_help_option=False)
def work(context: typer.Context) -> None:
    """Start a worker. See `headrace work --help`."""
    launch.launch("work", context.args)
