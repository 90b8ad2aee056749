"""The blocking client: submits jobs, finds them, leads to everything else. What requests mean is `calls`' to say."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar, Unpack

import grpc

from headrace import calls, channel, errors, follow, tasks
from headrace.blocking.capacity import Budgets, Capacity
from headrace.blocking.connection import Connection
from headrace.blocking.conversation import Conversation
from headrace.blocking.handles import Job
from headrace.blocking.resources import PAGE_SIZE, Feed, Queues, Schedules, Workers
from headrace.blocking.response_cache import ResponseCache
from headrace.blocking.sessions import Session, Sessions
from headrace.blocking.streams import Events, FeedEvents, FeedWatch, Watch
from headrace.health import HealthItem
from headrace.policies import Seconds
from headrace.v1 import admin_service_pb2, job_pb2, job_service_pb2, settings_pb2, watch_pb2

__all__ = [
    "Budgets",
    "Capacity",
    "Client",
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
) -> Client:
    """A client of the server at `host:port` or `unix:PATH`; use it with `with`.

    No connection is made before the first call. `deadline_seconds` holds for every unary call; `patience_seconds` is
    how long a follower tries to reach a server that went away. Raises ValueError for a bad address.
    """
    where = channel.parse_address(address)
    return Client(
        channel.open_blocking(where, credentials),
        address=where.text,
        namespace=namespace,
        deadline_seconds=deadline_seconds,
        patience_seconds=patience_seconds,
    )


class Client:
    """As `headrace.AsyncClient`, for threads. Safe to share among them; a stream belongs to one."""

    def __init__(
        self,
        connection: grpc.Channel,
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and every stream on it; no job is cancelled by that."""
        self._connection.close()

    def submit(
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
        response = self.run(calls.jobs.submit(self.namespace, task, request_id, validate_only, options))
        return Job(self._connection, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    def submit_many(
        self, items: Sequence[calls.SubmitItem], *, atomic: bool = False, validate_only: bool = False
    ) -> Sequence[calls.Submitted]:
        """Submits up to 1,000 jobs in one call; a result for each, in order. Make items with `headrace.item`.

        Items may depend on each other by `ref`, so a graph is one call. With `atomic` all are accepted, or the first
        refusal is raised, whose `item` says which one it is.
        """
        return self.run(calls.jobs.submit_many(self.namespace, items, atomic, validate_only))

    def job(self, job_id: str) -> Job:
        """A handle of a job; nothing is asked of the server."""
        return Job(self._connection, job_id)

    def session(self, session_id: str) -> Session:
        """A handle of a session; nothing is asked of the server."""
        return Session(self._connection, session_id)

    def list(self, filter: str = "", *, page_size: int = PAGE_SIZE) -> Iterator[job_pb2.Job]:
        """All jobs that the filter matches, newest first; pages are read as they are needed."""
        return self._connection.pages(lambda token: calls.jobs.page(self.namespace, filter, page_size, token))

    def list_page(
        self, filter: str = "", *, page_size: int = PAGE_SIZE, page_token: str = ""
    ) -> job_service_pb2.ListJobsResponse:
        """One page of jobs, the first one with counts by state."""
        return self.run(calls.jobs.listed(self.namespace, filter, page_size, page_token))

    def cancel_jobs(
        self, filter: str, *, reason: str = "", validate_only: bool = False, page_token: str = ""
    ) -> job_service_pb2.CancelJobsResponse:
        """Cancels what a filter matches, at most 1,000 jobs a call; `next_page_token` continues."""
        return self.run(calls.jobs.cancel_page(self.namespace, filter, reason, validate_only, page_token))

    def cancel_all(
        self, filter: str, *, reason: str = "", validate_only: bool = False
    ) -> Iterator[job_service_pb2.CancelJobsResult]:
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
    ) -> Iterator[admin_service_pb2.AuditEntry]:
        """What people and services changed, newest first: of all, or of a kind of resource, or of one by name."""
        return self._connection.pages(
            lambda token: calls.admin.audit_page(self.namespace, resource_type, resource_name, page_size, token)
        )

    def settings(self) -> settings_pb2.NamespaceSettings:
        """The settings of the namespace: what Claude jobs and sessions get where they say nothing themselves."""
        return self.run(calls.admin.get_settings(self.namespace))

    def update_settings(
        self, settings: settings_pb2.NamespaceSettings, *, validate_only: bool = False
    ) -> settings_pb2.NamespaceSettings:
        """Replaces the settings of the namespace as a whole; raises StaleEtag when they have changed since theirs."""
        return self.run(calls.admin.update_settings(self.namespace, settings, validate_only))

    def watch_health(self, *, interval: Seconds | None = None) -> Generator[HealthItem, None, None]:
        """How the server does: at once, then every `interval` (1 s to 60 s; 5 s), and when an alert begins or clears.

        A server that goes away is waited for, and that is among the items; the iteration never ends by itself.
        """
        return self._connection.watch_health(calls.admin.watch_health(interval))

    def run(self, call: calls.Call[Value]) -> Value:
        """Sends a unary call and reads its answer."""
        return self._connection.run(call)

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

    def find(self, unique_key: str, *, queue: str = "", wait: bool = False) -> Job:
        """A handle of the newest job with a unique key, ended or not; with `wait` also of one that is still to come."""
        with self.watch_unique_key(unique_key, queue=queue, wait=wait, no_follow=True, output=False) as stream:
            for item in stream:
                if isinstance(item, watch_pb2.WatchOpened):
                    return Job(self._connection, item.job.id, snapshot=item.job)
        raise errors.StreamBroken(f"the stream of unique key {unique_key!r} ended without a job")
