"""A worker as a user writes one, for handler jobs: `python handler_programs.py ADDRESS DATA`."""

import asyncio
import sys
from pathlib import Path
from typing import Any

from headrace.worker import BlockingHandlerContext, HandlerContext, Worker

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


if __name__ == "__main__":
    worker.run()
