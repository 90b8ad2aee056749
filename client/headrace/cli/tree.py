"""`job tree`: the jobs that a job depends on and those that depend on it, level after level, bounded both ways."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from headrace import client, errors
from headrace.cli import options
from headrace.cli.describe import job_text
from headrace.cli.exits import Exit
from headrace.cli.parts import one_line
from headrace.v1 import job_pb2

AT_ONCE = 8

STATE_STYLES = {
    job_pb2.JOB_STATE_RUNNING: "cyan",
    job_pb2.JOB_STATE_SUCCEEDED: "green",
    job_pb2.JOB_STATE_FAILED: "red",
    job_pb2.JOB_STATE_CANCELLED: "yellow",
    job_pb2.JOB_STATE_EXPIRED: "yellow",
    job_pb2.JOB_STATE_SKIPPED: "yellow",
}


class Way(Enum):
    """Which neighbours are followed."""

    UP = "depends on"
    DOWN = "needed by"


@dataclass(slots=True)
class Node:
    """A job in the tree; `job` is None when it is gone, `note` says why nothing follows below it."""

    job_id: str
    job: job_pb2.Job | None = None
    note: str = ""
    below: list[Node] = field(default_factory=list)


class Reading:
    """Reads jobs, each once, up to a number of them."""

    def __init__(self, server: client.AsyncClient, jobs_max: int) -> None:
        self._server = server
        self._left = jobs_max
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def tree(self, root: Node, way: Way, depth: int) -> None:
        """Adds the neighbours of a job, theirs, and so on, `depth` levels at most, nearest first."""
        level, seen = [root], {root.job_id}
        for _ in range(depth):
            level = [node for parent in level for node in self._add_below(parent, way, seen)]
            await asyncio.gather(*(self._read(node) for node in level))
        for node in level:
            more = len(neighbours(node.job, way)) if node.job and node is not root else 0
            node.note = node.note or (f"… {more} more below" if more else "")

    async def root(self, job_id: str) -> Node:
        """The job that the tree is about. Raises NotFound."""
        return Node(job_id, await self._server.job(job_id).get())

    def _add_below(self, parent: Node, way: Way, seen: set[str]) -> list[Node]:
        fresh = []
        for number, job_id in enumerate(ids := neighbours(parent.job, way) if parent.job else []):
            if job_id in seen:
                parent.below.append(Node(job_id, note="shown elsewhere"))
                continue
            if not self._left:
                parent.note = f"… {len(ids) - number} more"
                break
            self._left -= 1
            seen.add(job_id)
            fresh.append(Node(job_id))
        parent.below += fresh
        return fresh

    async def _read(self, node: Node) -> None:
        async with self._turns:
            try:
                node.job = await self._server.job(node.job_id).get(view="basic")
            except errors.NotFound:
                node.note = "deleted"


def neighbours(job: job_pb2.Job, way: Way) -> Sequence[str]:
    """The jobs next to a job, in the order that the server gives."""
    if way is Way.DOWN:
        return list(job.dependent_job_ids)
    return [one.job_id for one in job.dependency_states] or [one.job_id for one in job.spec.dependencies]


def label(node: Node) -> Text:
    """A job in one line: id, state, what it does."""
    text = Text(node.job_id)
    if node.job is not None:
        state = job_text.state_or_gone(node.job.state)
        text.append(f"  {state}", style=STATE_STYLES.get(node.job.state, ""))
        what = node.job.spec.display_name or job_text.task_text(node.job.spec)
        text.append(f"  {one_line(what, 60)}", style="dim")
    return text.append(f"  {node.note}", style="dim italic") if node.note else text


def drawn(root: Node, ways: dict[Way, Node]) -> Tree:
    """The tree for a terminal."""
    tree = Tree(label(Node(root.job_id, root.job)))
    for way, top in ways.items():
        if top.below or top.note:
            branch = tree.add(Text(way.value, style="bold"))
            _grow(branch, top)
            if top.note:
                branch.add(Text(top.note, style="dim italic"))
    return tree


def _grow(branch: Tree, node: Node) -> None:
    for one in node.below:
        _grow(branch.add(label(one)), one)


def as_json(node: Node) -> dict[str, Any]:
    """A node and what is below it, for machines."""
    made: dict[str, Any] = {"jobId": node.job_id}
    if node.job is not None:
        made |= {"state": job_pb2.JobState.Name(node.job.state), "displayName": node.job.spec.display_name}
    if node.note:
        made["note"] = node.note
    return made | {"jobs": [as_json(one) for one in node.below]}


@options.command
async def show_tree(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    connection: options.Connection,
    depth: Annotated[int, typer.Option(min=1, max=20, help="Levels each way, at most.")] = 4,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Jobs at most.")] = 100,
) -> Exit:
    """Show the jobs that a job depends on, and those that depend on it, with their states."""
    async with connection.client() as server:
        reading = Reading(server, limit)
        root = await reading.root(job_id)
        ways = {way: Node(job_id, root.job) for way in Way}
        for way, top in ways.items():
            await reading.tree(top, way, depth)
    if connection.json:
        document = as_json(root) | {way.name.lower(): as_json(top)["jobs"] for way, top in ways.items()}
        del document["jobs"]
        print(json.dumps(document, indent=2, ensure_ascii=False))
    else:
        console = Console(highlight=False)
        console.print(drawn(root, ways), soft_wrap=not console.is_terminal)
    return Exit.SUCCEEDED
