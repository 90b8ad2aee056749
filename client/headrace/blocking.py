"""The blocking client, for scripts and threads: the words of the asyncio client, and the same pure parts underneath."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from headrace import calls, channel, errors, follow, outcomes, silence, statuses, tasks
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
) -> Client:
    """A client of the server at `host:port` or `unix:PATH`; use it with `with`. See `headrace.connect`."""
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
        self._channel = connection
        self._stubs = calls.stubs(connection)
        self.address = address
        self.namespace = namespace
        self._deadline_seconds = deadline_seconds
        self._patience_seconds = patience_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and every stream on it; no job is cancelled by that."""
        self._channel.close()

    def submit(
        self,
        task: tasks.Task | job_pb2.JobSpec,
        *,
        request_id: str | None = None,
        validate_only: bool = False,
        **options: Unpack[tasks.SpecOptions],
    ) -> Job:
        """Submits one job; when it returns, the job is durable."""
        response = self.run(calls.submit(self.namespace, task, request_id, validate_only, options))
        return Job(self, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    def submit_many(
        self, items: Sequence[calls.SubmitItem], *, atomic: bool = False, validate_only: bool = False
    ) -> list[calls.Submitted]:
        """Submits up to 1,000 jobs in one call; a result for each, in order."""
        return self.run(calls.submit_many(self.namespace, items, atomic, validate_only))

    def job(self, job_id: str) -> Job:
        """A handle of a job; nothing is asked of the server."""
        return Job(self, job_id)

    def list(self, filter: str = "", *, page_size: int = PAGE_SIZE) -> Iterator[job_pb2.Job]:
        """All jobs that the filter matches, newest first; pages are read as they are needed."""
        return self._pages(lambda token: calls.list_jobs_page(self.namespace, filter, page_size, token))

    def cancel_jobs(
        self, filter: str, *, reason: str = "", validate_only: bool = False, page_token: str = ""
    ) -> job_service_pb2.CancelJobsResponse:
        """Cancels what a filter matches, at most 1,000 jobs a call; `next_page_token` continues."""
        return self.run(calls.cancel_jobs(self.namespace, filter, reason, validate_only, page_token))

    @property
    def queues(self) -> Queues:
        return Queues(self)

    @property
    def workers(self) -> Workers:
        return Workers(self)

    def run(self, call: calls.Call[Value]) -> Value:
        """Sends a unary call and reads its answer."""
        try:
            response = call.method(self._stubs)(call.request, timeout=self._deadline_seconds)
        except grpc.RpcError as error:
            raise statuses.from_rpc(error, self.address) from None
        return call.read(response)

    def watch(self, request: job_service_pb2.WatchJobRequest) -> Watch:
        """Follows what the request names, with everything that the stream says."""
        return Watch(
            self._stubs.jobs.WatchJob,
            follow.Follower(request, random.random, self._patience_seconds),
            self.address,
        )

    def _pages(self, page_at: Callable[[str], calls.Call[calls.Page[Value]]]) -> Iterator[Value]:
        token = ""
        while True:
            page = self.run(page_at(token))
            yield from page.items
            token = page.next_page_token
            if not token:
                return


class Job:
    """A handle of a job on the server; dropping it changes nothing. See `headrace.Job` for what the methods promise."""

    def __init__(
        self, client: Client, job_id: str, *, snapshot: job_pb2.Job | None = None, deduplicated: bool = False
    ) -> None:
        self._client = client
        self.id = job_id
        self.snapshot = snapshot
        self.deduplicated = deduplicated

    def get(self) -> job_pb2.Job:
        """The job as it is now."""
        return self._client.run(calls.get_job(self._client.namespace, self.id))

    def events(self, *, cursor: str = "", deltas: bool = False, no_follow: bool = False, output: bool = True) -> Events:
        """Everything in the job's log after the cursor, then what happens, to the job's end."""
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

    def result(self) -> outcomes.Outcome:
        """Waits for the end. Raises JobFailed, JobCancelled, JobExpired, JobSkipped or JobDeleted."""
        job = self.get()
        if job.state in outcomes.TERMINAL_STATES:
            return outcomes.outcome_of(job)
        with self.watch(output=False) as stream:
            for item in stream:
                if isinstance(item, watch_pb2.WatchEnd):
                    return outcomes.outcome_of_end(item)
        raise errors.StreamBroken(f"the stream of job {self.id} ended without its end")

    def cancel(self, reason: str = "") -> job_pb2.Job:
        """Cancels the job; returns at once, CANCELLED or CANCELLING."""
        return self._client.run(calls.cancel_job(self._client.namespace, self.id, reason))

    def explain(self) -> job_service_pb2.ExplainJobResponse:
        """What the job waits for, in order."""
        return self._client.run(calls.explain_job(self._client.namespace, self.id))

    def update(
        self,
        *,
        priority: int | None = None,
        schedule_time: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        etag: str = "",
    ) -> job_pb2.Job:
        """Changes what is given, of a job that has not started."""
        return self._client.run(
            calls.update_job(self._client.namespace, self.id, priority, schedule_time, labels, etag)
        )

    def retry(self, *, request_id: str | None = None) -> Job:
        """Makes a new job from this one, which has ended."""
        response = self._client.run(calls.retry_job(self._client.namespace, self.id, request_id))
        return Job(self._client, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    def delete(self, *, etag: str = "") -> None:
        """Deletes the job, which has ended, with its log."""
        self._client.run(calls.delete_job(self._client.namespace, self.id, etag))


class Watch:
    """A follow stream that survives cuts. Reads from the server only when the caller asks for more."""

    def __init__(self, open_stream: Callable[..., Any], follower: follow.Follower, address: str) -> None:
        self._open_stream = open_stream
        self._follower = follower
        self._address = address
        self._call: Any = None
        self._silence = silence.Silence(follow.SILENCE_SECONDS)
        self._delay = 0.0
        self._closed = threading.Event()
        self._ready: deque[follow.Placed] = deque()
        self.cursor = follower.request().cursor
        """Everything before it was handed on: keep it in order to continue later."""

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> follow.Item:
        while not self._ready:
            if self._follower.ended or self._closed.is_set():
                self._silence.stop()
                raise StopIteration
            self._read()
        placed = self._ready.popleft()
        self.cursor = placed.cursor
        return placed.item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Closes the stream, from any thread; the job goes on."""
        self._closed.set()
        self._silence.stop()
        self._drop_call()

    def _read(self) -> None:
        if self._delay:
            delay, self._delay = self._delay, 0.0
            if self._closed.wait(delay):
                return
        if self._call is None:
            self._call = self._open_stream(self._follower.request())
        call = self._call
        self._silence.watch(call.cancel)
        try:
            message = next(call)
        except StopIteration:
            return self._resume(follow.cut(self._address))
        except grpc.RpcError as error:
            silent = self._silence.fired
            return self._resume(follow.silent(self._address) if silent else statuses.from_rpc(error, self._address))
        finally:
            self._silence.rest()
        self._ready.extend(self._follower.accept(message))
        if self._follower.draining:
            self._resume(follow.drained(self._address))

    def _resume(self, cause: errors.HeadraceError) -> None:
        self._drop_call()
        if self._closed.is_set():
            return
        step = self._follower.broken(cause, time.monotonic())
        self._delay = step.delay
        self._ready.append(follow.Placed(step, self.cursor))

    def _drop_call(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None


class Events:
    """The log of a job: the part of a `Watch` that a program reads. See `headrace.Events`."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @property
    def cursor(self) -> str:
        """Everything before it was handed on: keep it in order to continue later."""
        return self._watch.cursor

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> follow.LogItem:
        while True:
            item = next(self._watch)
            if isinstance(item, event_pb2.Event | event_pb2.Delta | watch_pb2.WatchGap):
                return item

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the stream; the job goes on."""
        self._watch.close()


class Queues:
    """The queues of the client's namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, queue: queue_pb2.Queue) -> queue_pb2.Queue:
        """Makes a queue. Raises NameTaken."""
        return self._client.run(calls.create_queue(self._client.namespace, queue))

    def get(self, name: str = "") -> queue_pb2.Queue:
        """A queue with its counts; an empty name means `default`."""
        return self._client.run(calls.get_queue(self._client.namespace, name))

    def list(self, *, page_size: int = PAGE_SIZE) -> Iterator[queue_pb2.Queue]:
        """All queues by name."""
        return self._client._pages(lambda token: calls.list_queues(self._client.namespace, page_size, token))

    def update(self, queue: queue_pb2.Queue, paths: Sequence[str]) -> queue_pb2.Queue:
        """Sets the named fields; `queue.etag` is compared when it isn't empty. Raises StaleEtag."""
        return self._client.run(calls.update_queue(self._client.namespace, queue, paths))


class Workers:
    """The workers that the server knows."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get(self, worker_id: str) -> worker_pb2.Worker:
        return self._client.run(calls.get_worker(worker_id))

    def list(self, *, page_size: int = PAGE_SIZE) -> Iterator[worker_pb2.Worker]:
        """All workers by id."""
        return self._client._pages(lambda token: calls.list_workers(page_size, token))

    def drain(self, worker_id: str, *, exit: bool = False, grace: tasks.Seconds | None = None) -> worker_pb2.Worker:
        """Gives the worker no more work; with `exit` it ends when it is empty. After `grace` what runs goes back."""
        return self._client.run(calls.drain_worker(worker_id, exit, grace))
