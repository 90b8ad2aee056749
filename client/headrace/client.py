"""The asyncio client: connection, job handles, follow streams. What requests and answers mean is decided elsewhere."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc
import grpc.aio

from headrace import calls, channel, errors, follow, outcomes, statuses, tasks
from headrace.v1 import event_pb2, job_pb2, job_service_pb2, queue_pb2, watch_pb2, worker_pb2

Value = TypeVar("Value")

PAGE_SIZE = 100


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
        self._channel = connection
        self._stubs = calls.stubs(connection)
        self.address = address
        self.namespace = namespace
        self._deadline_seconds = deadline_seconds
        self._patience_seconds = patience_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection and every stream on it; no job is cancelled by that."""
        await self._channel.close(None)

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
        response = await self.run(calls.submit(self.namespace, task, request_id, validate_only, options))
        return Job(self, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    async def submit_many(
        self, items: Sequence[calls.SubmitItem], *, atomic: bool = False, validate_only: bool = False
    ) -> list[calls.Submitted]:
        """Submits up to 1,000 jobs in one call; a result for each, in order. Make items with `headrace.item`."""
        return await self.run(calls.submit_many(self.namespace, items, atomic, validate_only))

    def job(self, job_id: str) -> Job:
        """A handle of a job; nothing is asked of the server."""
        return Job(self, job_id)

    def list(self, filter: str = "", *, page_size: int = PAGE_SIZE) -> AsyncIterator[job_pb2.Job]:
        """All jobs that the filter matches, newest first; pages are read as they are needed."""
        return self._pages(lambda token: calls.list_jobs_page(self.namespace, filter, page_size, token))

    async def list_page(
        self, filter: str = "", *, page_size: int = PAGE_SIZE, page_token: str = ""
    ) -> job_service_pb2.ListJobsResponse:
        """One page of jobs, the first one with counts by state."""
        return await self.run(calls.list_jobs(self.namespace, filter, page_size, page_token))

    async def cancel_jobs(
        self, filter: str, *, reason: str = "", validate_only: bool = False, page_token: str = ""
    ) -> job_service_pb2.CancelJobsResponse:
        """Cancels what a filter matches, at most 1,000 jobs a call; `next_page_token` continues."""
        return await self.run(calls.cancel_jobs(self.namespace, filter, reason, validate_only, page_token))

    @property
    def queues(self) -> Queues:
        return Queues(self)

    @property
    def workers(self) -> Workers:
        return Workers(self)

    async def run(self, call: calls.Call[Value]) -> Value:
        """Sends a unary call and reads its answer."""
        try:
            response = await call.method(self._stubs)(call.request, timeout=self._deadline_seconds)
        except grpc.aio.AioRpcError as error:
            raise statuses.from_rpc(error, self.address) from None
        return call.read(response)

    def watch(self, request: job_service_pb2.WatchJobRequest) -> Watch:
        """Follows what the request names, with everything that the stream says."""
        return Watch(
            self._stubs.jobs.WatchJob,
            follow.Follower(request, random.random, self._patience_seconds),
            self.address,
        )

    async def _pages(self, page_at: Callable[[str], calls.Call[calls.Page[Value]]]) -> AsyncIterator[Value]:
        token = ""
        while True:
            page = await self.run(page_at(token))
            for item in page.items:
                yield item
            token = page.next_page_token
            if not token:
                return


class Job:
    """A handle of a job on the server. Dropping it changes nothing."""

    def __init__(
        self, client: AsyncClient, job_id: str, *, snapshot: job_pb2.Job | None = None, deduplicated: bool = False
    ) -> None:
        self._client = client
        self.id = job_id
        self.snapshot = snapshot
        """The job as the submit returned it; None for a handle made by id."""
        self.deduplicated = deduplicated
        """True when the submit met a job that its request id or unique key had made before."""

    async def get(self) -> job_pb2.Job:
        """The job as it is now."""
        return await self._client.run(calls.get_job(self._client.namespace, self.id))

    def events(self, *, cursor: str = "", deltas: bool = False, no_follow: bool = False, output: bool = True) -> Events:
        """Everything in the job's log after the cursor, then what happens, to the job's end.

        Yields events once and in order; a `WatchGap` where events are gone for good; with `deltas` also pieces of
        messages as they are said, which may be lost and are always followed by the whole message as an event. Without
        `output` only the events of the job's life.
        """
        return Events(self.watch(cursor=cursor, deltas=deltas, no_follow=no_follow, output=output))

    def watch(self, *, cursor: str = "", deltas: bool = False, no_follow: bool = False, output: bool = True) -> Watch:
        """As `events`, with what the stream says besides: snapshots, heartbeats, reconnects and the end."""
        return self._client.watch(
            job_service_pb2.WatchJobRequest(
                namespace=self._client.namespace,
                job_id=self.id,
                cursor=cursor,
                deltas=deltas,
                no_follow=no_follow,
                without_output=not output,
            )
        )

    async def result(self) -> outcomes.Outcome:
        """Waits for the end. Raises JobFailed, JobCancelled, JobExpired, JobSkipped or JobDeleted."""
        job = await self.get()
        if job.state in outcomes.TERMINAL_STATES:
            return outcomes.outcome_of(job)
        async with self.watch(output=False) as stream:
            async for item in stream:
                if isinstance(item, watch_pb2.WatchEnd):
                    return outcomes.outcome_of_end(item)
        raise errors.StreamBroken(f"the stream of job {self.id} ended without its end")

    async def cancel(self, reason: str = "") -> job_pb2.Job:
        """Cancels the job; returns at once, CANCELLED or CANCELLING. Raises JobEnded when it ended otherwise."""
        return await self._client.run(calls.cancel_job(self._client.namespace, self.id, reason))

    async def explain(self) -> job_service_pb2.ExplainJobResponse:
        """What the job waits for, in order."""
        return await self._client.run(calls.explain_job(self._client.namespace, self.id))

    async def update(
        self,
        *,
        priority: int | None = None,
        schedule_time: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        etag: str = "",
    ) -> job_pb2.Job:
        """Changes what is given, of a job that has not started."""
        return await self._client.run(
            calls.update_job(self._client.namespace, self.id, priority, schedule_time, labels, etag)
        )

    async def retry(self, *, request_id: str | None = None) -> Job:
        """Makes a new job from this one, which has ended."""
        response = await self._client.run(calls.retry_job(self._client.namespace, self.id, request_id))
        return Job(self._client, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    async def delete(self, *, etag: str = "") -> None:
        """Deletes the job, which has ended, with its log."""
        await self._client.run(calls.delete_job(self._client.namespace, self.id, etag))


class Watch:
    """A follow stream that survives cuts. Reads from the server only when the caller asks for more."""

    def __init__(self, open_stream: Callable[..., Any], follower: follow.Follower, address: str) -> None:
        self._open_stream = open_stream
        self._follower = follower
        self._address = address
        self._call: Any = None
        self._delay = 0.0
        self._ready: deque[follow.Placed] = deque()
        self.cursor = follower.request().cursor
        """Everything before it was handed on: keep it in order to continue later."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> follow.Item:
        while not self._ready:
            if self._follower.ended:
                raise StopAsyncIteration
            await self._read()
        placed = self._ready.popleft()
        self.cursor = placed.cursor
        return placed.item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the stream; the job goes on."""
        self._drop_call()

    async def _read(self) -> None:
        if self._delay:
            delay, self._delay = self._delay, 0.0
            await asyncio.sleep(delay)
        if self._call is None:
            self._call = self._open_stream(self._follower.request())
        try:
            async with asyncio.timeout(follow.SILENCE_SECONDS):
                message = await self._call.read()
        except TimeoutError:
            return self._resume(follow.silent(self._address))
        except grpc.aio.AioRpcError as error:
            return self._resume(statuses.from_rpc(error, self._address))
        except asyncio.CancelledError:
            self._drop_call()
            if _is_cancelled():
                raise
            raise errors.HeadraceError("the client was closed while a stream was being read") from None
        if not isinstance(message, job_service_pb2.WatchJobResponse):
            return self._resume(follow.cut(self._address))
        self._ready.extend(self._follower.accept(message))
        if self._follower.draining:
            self._resume(follow.drained(self._address))

    def _resume(self, cause: errors.HeadraceError) -> None:
        self._drop_call()
        step = self._follower.broken(cause, asyncio.get_running_loop().time())
        self._delay = step.delay
        self._ready.append(follow.Placed(step, self.cursor))

    def _drop_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


def _is_cancelled() -> bool:
    """Whether it is the caller who is cancelled, and not a call whose channel was closed."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class Events:
    """The log of a job: the part of a `Watch` that a program reads."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def cursor(self) -> str:
        """Everything before it was handed on: keep it in order to continue later.

        It moves when the last event of a batch is handed on; recognise a repeat by its `sequence`.
        """
        return self._watch.cursor

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> follow.LogItem:
        while True:
            item = await self._watch.__anext__()
            if isinstance(item, event_pb2.Event | event_pb2.Delta | watch_pb2.WatchGap):
                return item

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Closes the stream; the job goes on."""
        await self._watch.aclose()


class Queues:
    """The queues of the client's namespace."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def create(self, queue: queue_pb2.Queue) -> queue_pb2.Queue:
        """Makes a queue. Raises NameTaken."""
        return await self._client.run(calls.create_queue(self._client.namespace, queue))

    async def get(self, name: str = "") -> queue_pb2.Queue:
        """A queue with its counts; an empty name means `default`."""
        return await self._client.run(calls.get_queue(self._client.namespace, name))

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[queue_pb2.Queue]:
        """All queues by name."""
        return self._client._pages(lambda token: calls.list_queues(self._client.namespace, page_size, token))

    async def update(self, queue: queue_pb2.Queue, paths: Sequence[str]) -> queue_pb2.Queue:
        """Sets the named fields; `queue.etag` is compared when it isn't empty. Raises StaleEtag."""
        return await self._client.run(calls.update_queue(self._client.namespace, queue, paths))


class Workers:
    """The workers that the server knows."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def get(self, worker_id: str) -> worker_pb2.Worker:
        return await self._client.run(calls.get_worker(worker_id))

    def list(self, *, page_size: int = PAGE_SIZE) -> AsyncIterator[worker_pb2.Worker]:
        """All workers by id."""
        return self._client._pages(lambda token: calls.list_workers(page_size, token))

    async def drain(
        self, worker_id: str, *, exit: bool = False, grace: tasks.Seconds | None = None
    ) -> worker_pb2.Worker:
        """Gives the worker no more work; with `exit` it ends when it is empty. After `grace` what runs goes back."""
        return await self._client.run(calls.drain_worker(worker_id, exit, grace))
