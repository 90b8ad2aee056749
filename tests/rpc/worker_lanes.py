"""What the lanes of workers are served with, around a node of the runtime."""

import asyncio

from headrace_server.rpc.streams.control_lane import Lanes
from runtime.conftest import Node


def lanes_of(node: Node) -> Lanes:
    """Of a server that is not draining; each connection is called "c"."""
    return Lanes(
        store=node.store,
        registry=node.registry,
        scheduler=node.scheduler,
        clock=node.clock,
        draining=asyncio.Event(),
        renewal_seconds=5.0,
        server_version="1",
        new_id=lambda: "c",
    )
