"""A worker process with the handlers that rows need: `python -m benchmark.worker_program ADDRESS SLOTS DATA TELL_AT`.

`empty` does nothing and tells the time of its first call and of its call number TELL_AT; `stamped` returns when it
started; `timed` takes a while; `written` produces output; `held` runs until it is ended.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")

from benchmark.stamps import stamp
from headrace.worker import HandlerContext, Worker

WORKER_ID = "bench"


def tell(word: str, when: float) -> None:
    """Says when something happened, by the clock that all processes of a host share."""
    print(json.dumps({"word": word, "time": when}), flush=True)


def register(worker: Worker, tell_at: int) -> None:
    """Registers every handler."""
    calls = 0

    @worker.handler("empty")
    async def empty(input: dict[str, Any]) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            tell("first", time.monotonic())
        if calls == tell_at:
            tell("reached", time.monotonic())

    @worker.handler("timed")
    async def timed(input: dict[str, Any]) -> dict[str, Any]:
        """Takes so many `seconds`, and says when it began."""
        started = time.monotonic()
        await asyncio.sleep(float(input["seconds"]))
        return {"started": started}

    @worker.handler("stamped")
    async def stamped(input: dict[str, Any]) -> dict[str, Any]:
        return {"started": time.monotonic()}

    @worker.handler("written")
    async def written(input: dict[str, Any], context: HandlerContext) -> dict[str, Any]:
        """Writes `events` of `bytes`, one every `gap` seconds; with no gap, as fast as they are taken."""
        started = due = time.monotonic()
        for _ in range(int(input["events"])):
            await context.write(stamp(time.monotonic(), int(input["bytes"])))
            if input["gap"]:
                due += input["gap"]
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        return {"started": started}

    @worker.handler("held")
    async def held(input: dict[str, Any]) -> None:
        await asyncio.Event().wait()


def main(address: str, slots: int, data: Path, tell_at: int) -> None:
    """Works until it is ended; running handlers are handed back at once."""
    worker = Worker(address, slots=slots, id=WORKER_ID, data=data, drain_seconds=0.0)
    register(worker, tell_at)
    worker.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
