"""The rungs that end a process tree: SIGTERM, then SIGKILL, each with its deadline and its event.

The rungs before them, which ask politely, belong to the executor that knows how to ask.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from headrace.v1 import event_pb2
from headrace_worker.executors.contract import Attempt
from headrace_worker.process import ProcessTree


async def first_of(*waits: Coroutine[Any, Any, object], timeout_seconds: float | None = None) -> None:
    """Returns when one of the waits is over, or the time; the others are given up."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, timeout=timeout_seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def killed(attempt: Attempt) -> bool:
    """Whether nobody waits for a result any more, so that the polite rungs are left out."""
    stop = attempt.stop_requested()
    return stop is not None and stop.kill


def report_step(attempt: Attempt, step: event_pb2.CancelStep, message: str = "") -> None:
    """Puts a rung into the job's log, if the attempt ends by a request; else the rungs are nobody's business."""
    if attempt.stop_requested() is not None:
        attempt.report_step(event_pb2.CancelStepped(step=step, message=message))


async def end_tree(tree: ProcessTree, attempt: Attempt, terminate_seconds: float) -> None:
    """SIGTERM to the tree, SIGKILL when the time is over or a kill is requested; returns when nothing is left."""
    if not tree.gone and not killed(attempt):
        report_step(attempt, event_pb2.CANCEL_STEP_TERMINATE)
        tree.signal_tree(signal.SIGTERM)
        await first_of(tree.wait_gone(), attempt.wait_kill(), timeout_seconds=terminate_seconds)
    if not tree.gone:
        report_step(attempt, event_pb2.CANCEL_STEP_KILL)
        tree.signal_tree(signal.SIGKILL)
        await tree.wait_gone()
    if attempt.stop_requested() is not None:
        attempt.report_step(event_pb2.CancelStepped(step=event_pb2.CANCEL_STEP_TREE_GONE, survivors=tree.survivors))


async def kill_tree(tree: ProcessTree) -> None:
    """SIGKILL to the tree, without a word; returns when nothing is left."""
    if not tree.gone:
        tree.signal_tree(signal.SIGKILL)
    await tree.wait_gone()


async def kill_and_close(tree: ProcessTree) -> None:
    """Ends the tree without a word and gives back what it held, even when the caller is cancelled meanwhile."""
    ending = asyncio.create_task(_kill_and_close(tree))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await ending
        raise


async def _kill_and_close(tree: ProcessTree) -> None:
    await kill_tree(tree)
    tree.close()
