"""`grpc.health.v1`: whether each service, and the server as a whole, takes calls.

Of our own because the stock aio servicer never ends a watch when the server drains and writes while it holds its lock,
so one stalled watcher stops all others. A watch here reads the latest status when it is able to write, and skips what
it missed.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from grpc_health.v1 import health_pb2

from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.rpc.admission import draining_refusal
from headrace_server.rpc.call import Call

SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"]
OVERALL = ""
"""The name that asks for the server as a whole."""

_Status = health_pb2.HealthCheckResponse


class Health:
    """The servicer, and the face that the server sets it by."""

    def __init__(self, services: Iterable[str]) -> None:
        """Every service, by full name, begins as NOT_SERVING."""
        self._serving = dict.fromkeys((OVERALL, *services), False)
        self._changed = asyncio.Event()
        self._draining = False
        self._watches = 0
        self._no_watch = asyncio.Event()
        self._no_watch.set()

    @property
    def serving(self) -> bool:
        """Whether the server as a whole takes calls."""
        return self._serving[OVERALL]

    def set_serving(self, service: str, serving: bool) -> None:
        """Says whether a service takes calls; `OVERALL` is the server as a whole."""
        self._serving[service] = serving
        self._wake()

    def set_all(self, serving: bool) -> None:
        """Says whether every service takes calls; after a drain none ever does."""
        self._serving = dict.fromkeys(self._serving, serving and not self._draining)
        self._wake()

    async def drain(self, seconds: float) -> bool:
        """Says NOT_SERVING for good and ends every watch; False when some had not ended in time."""
        self._serving = dict.fromkeys(self._serving, False)
        self._draining = True
        self._wake()
        try:
            async with asyncio.timeout(seconds):
                await self._no_watch.wait()
        except TimeoutError:
            return False
        return True

    async def check(self, request: health_pb2.HealthCheckRequest, call: Call) -> Any:
        """The status just now."""
        if request.service not in self._serving:
            message = f"no service {request.service[:128]}"
            raise Refused(Refusal(Reason.NOT_FOUND, message, "grpc.health.v1.Service", request.service[:128]))
        return _Status(status=self._status(request.service))

    async def list(self, request: health_pb2.HealthListRequest, call: Call) -> Any:
        """The status of everything just now."""
        return health_pb2.HealthListResponse(
            statuses={service: _Status(status=self._status(service)) for service in self._serving}
        )

    async def watch(self, request: health_pb2.HealthCheckRequest, call: Call) -> None:
        """The status now and at every change, until the client leaves or the server drains."""
        self._watches += 1
        self._no_watch.clear()
        try:
            await self._follow(request.service, call)
        finally:
            self._watches -= 1
            if not self._watches:
                self._no_watch.set()

    async def _follow(self, service: str, call: Call) -> None:
        sent: int | None = None
        while True:
            changed, draining, status = self._changed, self._draining, self._status(service)
            if status != sent:
                await call.write(_Status(status=status))
                sent = status
            if draining:
                raise Refused(draining_refusal())
            await changed.wait()

    def _status(self, service: str) -> Any:
        serving = self._serving.get(service)
        if serving is None:
            return _Status.SERVICE_UNKNOWN
        return _Status.SERVING if serving else _Status.NOT_SERVING

    def _wake(self) -> None:
        """Each change has an event of its own, so that a watch that is writing can't miss it."""
        self._changed.set()
        self._changed = asyncio.Event()
