"""A worker as a user writes one, for handler jobs: `python handler_programs.py ADDRESS DATA`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from headrace.worker import BlockingHandlerContext, HandlerContext, Snooze, Worker

worker = Worker(sys.argv[1], id="handlers", slots=64, labels={"kind": "handlers"}, data=Path(sys.argv[2]))


@worker.handler("square")
def square(input: dict[str, Any], context: BlockingHandlerContext) -> dict[str, Any]:
    context.progress(1, 2, "half of it")
    context.progress(2, 2, "done")
    return {"square": input["number"] ** 2}


@worker.handler("raises")
def raises(input: dict[str, Any]) -> None:
    raise ValueError(f"nothing to do for {input['name']}")


@worker.handler("polite")
def polite(input: dict[str, Any], context: BlockingHandlerContext) -> None:
    context.write("waiting\n")
    while not context.wait_cancelled(60):
        context.progress(1)
    context.raise_if_cancelled()


@worker.handler("deaf")
def deaf(input: dict[str, Any], context: BlockingHandlerContext) -> str:
    context.write("blocking\n")
    with open(input["gate"]) as gate:
        return gate.read()


@worker.handler("asynchronous")
async def asynchronous(input: dict[str, Any], context: HandlerContext) -> None:
    await context.write("waiting\n")
    try:
        await asyncio.Event().wait()
    finally:
        await context.write("cleaned up\n")


@worker.handler("in_two_steps")
def in_two_steps(input: dict[str, Any], context: BlockingHandlerContext) -> dict[str, Any]:
    if context.last_checkpoint is None:
        context.checkpoint({"step": 1})
        raise Snooze(input["delay"], "one step at a time")
    return {"went on from": context.last_checkpoint}


@worker.handler("sum_of_parents")
def sum_of_parents(input: dict[str, Any], context: BlockingHandlerContext) -> int:
    return int(sum(parent.value["square"] for parent in context.dependencies.values()))


@worker.handler("busy_until_told")
def busy_until_told(input: dict[str, Any], context: BlockingHandlerContext) -> None:
    context.checkpoint("told")
    while not context.wait_cancelled(60):
        pass
    context.raise_if_cancelled()


if __name__ == "__main__":
    worker.run()
