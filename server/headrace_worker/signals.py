"""What SIGTERM and SIGINT mean to a worker: the first drains it, the second ends it at once."""

import asyncio
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from headrace_worker.agent import Agent

SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


@contextmanager
def ending_by_signal(agent: Agent) -> Iterator[None]:
    """While it is entered, signals end the agent. Only in the main thread."""
    loop = asyncio.get_running_loop()
    asked = False

    def end() -> None:
        nonlocal asked
        if asked:
            agent.abort()
            return
        asked = True
        logger.warning("draining: no new work is taken; a second signal ends everything at once")
        agent.drain()

    for number in SIGNALS:
        loop.add_signal_handler(number, end)
    try:
        yield
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
