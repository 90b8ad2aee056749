"""The asyncio client: submits jobs, finds them, and leads to everything else. What requests mean is `calls`' to say."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc
import grpc.aio

from headrace import calls, channel, errors, follow, tasks
from headrace.capacity import Budgets, Capacity
from headrace.connection import Connection
from headrace.conversation import Conversation
from headrace.handles import Job
from headrace.health import HealthItem
from headrace.policies import Seconds
from headrace.resources import PAGE_SIZE, Feed, Queues, Schedules, Workers
from headrace.response_cache import ResponseCache
from headrace.sessions import Session, Sessions
from headrace.streams import Events, FeedEvents, FeedWatch, Watch
from headrace.v1 import admin_service_pb2, job_pb2, job_service_pb2, settings_pb2, watch_pb2

__all__ = [
    "AsyncClient",
    "Budgets",
    "Capacity",
    "Conversation",
    "Events",
    "Feed",
    "FeedEvents",
    "FeedWatch",
    "Job",
    "Queues",
    "ResponseCache",
    "Schedules",
    "Session",
    "Sessions",
    "Watch",
    "Workers",
    "connect",
]

Value = TypeVar("Value")


def connect(
    address: str = channel.DEFAULT_ADDRESS,
    *,
    namespace: str = "",
    deadline_seconds: float = channel.DEADLINE_SECONDS,
    patience_seconds: float = follow.PATIENCE_SECONDS,
    credentials: grpc.ChannelCredentials | None = None,
) -> AsyncClient:
    """A client of the server at `host:port` or `unix:PATH`; use it with `async with`.

    No connection is made before the first call. `deadline_seconds` holds for every unary call; `patience_seconds` is
    how long a follower tries to reach a server that went away. Raises ValueError for a bad address.
    """
    where = channel.parse_address(address)
    return AsyncClient(
        channel.open_aio(where, credentials),
        address=where.text,
        namespace=namespace,
        deadline_seconds=deadline_seconds,
        patience_seconds=patience_seconds,
    )


class AsyncClient:
    """Submits jobs and follows them. Every call may raise the exceptions of `headrace.errors`."""

    def __init__(
        self,
        connection: grpc.aio.Channel,
        *,
        address: str = "",
        namespace: str = "",
        deadline_seconds: float = channel.DEADLINE_SECONDS,
        patience_seconds: float = follow.PATIENCE_SECONDS,
    ) -> None:
        self._connection = Connection(
            connection,
            address=address,
            namespace=namespace,
            deadline_seconds=deadline_seconds,
            patience_seconds=patience_seconds,
        )

    @property
    def address(self) -> str:
        """The server's, as a person writes it."""
        return self._connection.address

    @property
    def namespace(self) -> str:
        """Of every call; empty means `default`."""
        return self._connection.namespace

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection and every stream on it; no job is cancelled by that."""
        await self._connection.close()

    async def submit(
        self,
        task: tasks.Task | job_pb2.JobSpec,
        *,
        request_id: str | None = None,
        validate_only: bool = False,
        **options: Unpack[tasks.SpecOptions],
    ) -> Job:
        """Submits one job; when it returns, the job is durable.

        The same `request_id` gives the same job. Absent, a fresh one is made, so that gRPC's own retries can't make a
        second job.
        """
        response = await self.run(calls.jobs.submit(self.namespace, task, request_id, validate_only, options))
        return Job(self._connection, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    async def submit_many(
        self, items: Sequence[calls.SubmitItem], *, atomic: bool = False, validate_only: bool = False
    ) -> Sequence[calls.Submitted]:
        """Submits up to 1,000 jobs in one call; a result for each, in order. Make items with `headrace.item`.

        Items may depend on each other by `ref`, so a graph is one call. With `atomic` all are accepted, or the first
        refusal is raised, whose `item` says which one it is.
        """
        return await self.run(calls.jobs.submit_many(self.namespace, items, atomic, validate_only))

    def job(self, job_id: str) -> Job:
        """A handle of a job; nothing is asked of the server."""
        return Job(self._connection, job_id)

    def session(self, session_id: str) -> Session:
        """A handle of a session; nothing is asked of the server."""
        return Session(self._connection, session_id)

    def list(self, filter: str = "", *, page_size: int = PAGE_SIZE) -> AsyncIterator[job_pb2.Job]:
        """All jobs that the filter matches, newest first; pages are read as they are needed."""
        return self._connection.pages(lambda token: calls.jobs.page(self.namespace, filter, page_size, token))

    async def list_page(
        self, filter: str = "", *, page_size: int = PAGE_SIZE, page_token: str = ""
    ) -> job_service_pb2.ListJobsResponse:
        """One page of jobs, the first one with counts by state."""
        return await self.run(calls.jobs.listed(self.namespace, filter, page_size, page_token))

    async def cancel_jobs(
        self, filter: str, *, reason: str = "", validate_only: bool = False, page_token: str = ""
    ) -> job_service_pb2.CancelJobsResponse:
        """Cancels what a filter matches, at most 1,000 jobs a call; `next_page_token` continues."""
        return await self.run(calls.jobs.cancel_page(self.namespace, filter, reason, validate_only, page_token))

    def cancel_all(
        self, filter: str, *, reason: str = "", validate_only: bool = False
    ) -> AsyncIterator[job_service_pb2.CancelJobsResult]:
        """Cancels everything that a filter matches, with a result for each job; stop reading to stop it.

        With `validate_only` it says what would be cancelled and changes nothing.
        """
        return self._connection.pages(
            lambda token: calls.jobs.cancelled_page(self.namespace, filter, reason, validate_only, token)
        )

    @property
    def queues(self) -> Queues:
        """The queues of the namespace."""
        return Queues(self._connection)

    @property
    def schedules(self) -> Schedules:
        """The schedules of the namespace."""
        return Schedules(self._connection)

    @property
    def sessions(self) -> Sessions:
        """The sessions of the namespace."""
        return Sessions(self._connection)

    @property
    def workers(self) -> Workers:
        """The workers that the server knows."""
        return Workers(self._connection)

    @property
    def capacity(self) -> Capacity:
        """Capacity domains of the server."""
        return Capacity(self._connection)

    @property
    def budgets(self) -> Budgets:
        """What Claude jobs of the namespace may spend."""
        return Budgets(self._connection)

    @property
    def response_cache(self) -> ResponseCache:
        """The answers that workers keep to give them again."""
        return ResponseCache(self._connection)

    @property
    def events(self) -> Feed:
        """What happens in the namespace."""
        return Feed(self._connection)

    def audit(
        self, *, resource_type: str = "", resource_name: str = "", page_size: int = PAGE_SIZE
    ) -> AsyncIterator[admin_service_pb2.AuditEntry]:
        """What people and services changed, newest first: of all, or of a kind of resource, or of one by name."""
        return self._connection.pages(
            lambda token: calls.admin.audit_page(self.namespace, resource_type, resource_name, page_size, token)
        )

    async def settings(self) -> settings_pb2.NamespaceSettings:
        """The settings of the namespace: what Claude jobs and sessions get where they say nothing themselves."""
        return await self.run(calls.admin.get_settings(self.namespace))

    async def update_settings(
        self, settings: settings_pb2.NamespaceSettings, *, validate_only: bool = False
    ) -> settings_pb2.NamespaceSettings:
        """Replaces the settings of the namespace as a whole; raises StaleEtag when they have changed since theirs."""
        return await self.run(calls.admin.update_settings(self.namespace, settings, validate_only))

    def watch_health(self, *, interval: Seconds | None = None) -> AsyncGenerator[HealthItem, None]:
        """How the server does: at once, then every `interval` (1 s to 60 s; 5 s), and when an alert begins or clears.

        A server that goes away is waited for, and that is among the items; the iteration never ends by itself.
        """
        return self._connection.watch_health(calls.admin.watch_health(interval))

    async def run(self, call: calls.Call[Value]) -> Value:
        """Sends a unary call and reads its answer."""
        return await self._connection.run(call)

    def watch(self, request: job_service_pb2.WatchJobRequest) -> Watch:
        """Follows what the request names, with everything that the stream says."""
        return self._connection.watch(request)

    def watch_unique_key(
        self,
        key: str,
        *,
        queue: str = "",
        wait: bool = False,
        **options: Unpack[calls.FollowOptions],
    ) -> Watch:
        """Follows the newest job with a unique key, ended or not; with `wait` also one that is still to come.

        `headrace.Events(watch)` is its log alone. Raises NotFound when there is none and `wait` is false.
        """
        return self.watch(calls.following.of_unique_key(self.namespace, key, queue, wait, options))

    async def find(self, unique_key: str, *, queue: str = "", wait: bool = False) -> Job:
        """A handle of the newest job with a unique key, ended or not; with `wait` also of one that is still to come."""
        async with self.watch_unique_key(unique_key, queue=queue, wait=wait, no_follow=True, output=False) as stream:
            async for item in stream:
                if isinstance(item, watch_pb2.WatchOpened):
                    return Job(self._connection, item.job.id, snapshot=item.job)
        raise errors.StreamBroken(f"the stream of unique key {unique_key!r} ended without a job")
