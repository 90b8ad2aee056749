"""The command that reads what a job produced beside its log: `job artifact`."""

from __future__ import annotations

import os
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from headrace import client
from headrace.cli import following, options
from headrace.cli.describe import job_text
from headrace.cli.exits import Exit

JobId = Annotated[str, typer.Argument(metavar="ID", help="The job's id.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The artifact's name.", show_default="a list of them")]
Save = Annotated[str, typer.Option(metavar="FILE", help="Write it there, and not to standard output.")]


@options.command
async def artifact(job_id: JobId, connection: options.Connection, name: Name = "", save: Save = "") -> Exit:
    """List what a job produced beside its log, or print one of these, e.g. the patch of its worktree."""
    async with connection.client() as server:
        job = server.job(job_id)
        if not name:
            return await _list(job, connection)
        if save:
            await _save(job, name, Path(save))
        else:
            await _copy(job, name, sys.stdout.buffer)
    return Exit.SUCCEEDED


async def _list(job: client.Job, connection: options.Connection) -> Exit:
    found = (await job.get()).artifacts
    if connection.json:
        for one in found:
            following.print_json(one, indent=None)
    else:
        following.print_lines([job_text.artifact_line(one) for one in found] or ["no artifacts"])
    return Exit.SUCCEEDED


async def _save(job: client.Job, name: str, target: Path) -> None:
    """Writes the whole, or leaves what was there."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with partial.open("wb") as file:
            await _copy(job, name, file)
        partial.replace(target)
    except OSError as error:
        raise typer.BadParameter(f"{target}: {error.strerror}", param_hint="--save") from None
    finally:
        partial.unlink(missing_ok=True)


async def _copy(job: client.Job, name: str, target: BinaryIO) -> None:
    async with aclosing(job.artifact(name)) as parts:
        async for data in parts:
            target.write(data)
    target.flush()
