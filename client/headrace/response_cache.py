"""The answers that workers keep, in the asyncio client."""

from __future__ import annotations

from datetime import datetime

from headrace import calls
from headrace.connection import Connection
from headrace.v1 import admin_service_pb2


class ResponseCache:
    """Answers of Claude jobs that may be given again; what each worker keeps is in `workers`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def get(self) -> admin_service_pb2.GetResponseCacheResponse:
        """What connected workers keep together, and since when answers of the namespace count."""
        return await self._connection.run(calls.admin.get_response_cache(self._connection.namespace))

    async def invalidate(self, *, reason: str = "") -> datetime:
        """Has no answer given again that a job of the namespace asked for until now, on any worker, also one that is
        away. Returns the time after which answers count."""
        return await self._connection.run(calls.admin.invalidate_response_cache(self._connection.namespace, reason))
