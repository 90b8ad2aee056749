"""How the tasks of a lane end: without cancelling a write.

The gRPC core goes on with a write whose coroutine is cancelled and refuses a status meanwhile, and a client that gets
no status hangs until its deadline.
"""

import asyncio
from typing import Any

WRITE_SECONDS = 5.0
"""For a client to read what is being written; one that does not has to see for itself that nothing comes any more."""


async def end_lane(writing: "asyncio.Future[None]", *others: "asyncio.Future[Any]") -> None:
    """Cancels the other tasks, and waits for the one that writes, which was told to leave."""
    for task in others:
        task.cancel()
    await asyncio.wait((writing,), timeout=WRITE_SECONDS)
    writing.cancel()
    await asyncio.gather(writing, *others, return_exceptions=True)
