"""The handle of a job in the blocking client: everything that can be asked of one job or done to it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import datetime
from typing import Any, Unpack

from headrace import calls, errors, outcomes, session_specs
from headrace.blocking.connection import Connection
from headrace.blocking.streams import Events, Watch
from headrace.v1 import input_pb2, job_pb2, job_service_pb2, watch_pb2


class Job:
    """A handle of a job on the server. Dropping it changes nothing."""

    def __init__(
        self, connection: Connection, job_id: str, *, snapshot: job_pb2.Job | None = None, deduplicated: bool = False
    ) -> None:
        self._connection = connection
        self.id = job_id
        self.snapshot = snapshot
        """The job as the submit returned it; None for a handle made by id."""
        self.deduplicated = deduplicated
        """True when the submit met a job that its request id or unique key had made before."""

    def get(self, *, view: str | job_pb2.JobView | None = None) -> job_pb2.Job:
        """The job as it is now; `basic` leaves out what may be large."""
        return self._connection.run(calls.jobs.get(self._connection.namespace, self.id, view))

    def events(self, **options: Unpack[calls.FollowOptions]) -> Events:
        """Everything in the job's log, then what happens, to the job's end; or what `FollowOptions` narrow it down to.

        Yields events once and in order; a `WatchGap` where events are gone for good; with `deltas` also pieces of
        messages as they are said. Reads no faster than the caller does.
        """
        return Events(self.watch(**options))

    def watch(self, **options: Unpack[calls.FollowOptions]) -> Watch:
        """As `events`, with what the stream says besides: snapshots, heartbeats, reconnects and the end."""
        return self._connection.watch(calls.following.of_job(self._connection.namespace, self.id, options))

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

    def artifact(self, name: str, *, offset: int = 0) -> Generator[bytes, None, None]:
        """The bytes of what the job produced beside its log, e.g. `changes.patch`; `get()` lists the names.

        Goes on where it was cut, and raises StreamBroken when the whole does not have the digest that it was stored
        with.
        """
        return self._connection.read_artifact(calls.jobs.artifact(self._connection.namespace, self.id, name, offset))

    def cancel(self, reason: str = "") -> job_pb2.Job:
        """Cancels the job; returns at once, CANCELLED or CANCELLING. Raises JobEnded when it ended otherwise."""
        return self._connection.run(calls.jobs.cancel(self._connection.namespace, self.id, reason))

    def answer(
        self,
        request_id: str,
        *,
        allow: bool,
        message: str = "",
        updated_input: Mapping[str, Any] | None = None,
        interrupt: bool = False,
    ) -> input_pb2.InputResolution:
        """Answers what the job asks. `message` is the reason of a denial, or the answer to a question.

        Raises InputResolved when somebody was first, or nobody answered in time.
        """
        said = session_specs.answer(request_id, allow, message, updated_input, interrupt)
        return self._connection.run(calls.sessions.answer_job(self._connection.namespace, self.id, said))

    def explain(self) -> job_service_pb2.ExplainJobResponse:
        """What the job waits for, in order."""
        return self._connection.run(calls.jobs.explain(self._connection.namespace, self.id))

    def update(
        self,
        *,
        priority: int | None = None,
        schedule_time: datetime | None = None,
        labels: Mapping[str, str] | None = None,
        etag: str = "",
    ) -> job_pb2.Job:
        """Changes what is given, of a job that has not started."""
        return self._connection.run(
            calls.jobs.update(self._connection.namespace, self.id, priority, schedule_time, labels, etag)
        )

    def retry(self, *, request_id: str | None = None) -> Job:
        """Makes a new job from this one, which has ended."""
        response = self._connection.run(calls.jobs.retry(self._connection.namespace, self.id, request_id))
        return Job(self._connection, response.job.id, snapshot=response.job, deduplicated=response.deduplicated)

    def delete(self, *, etag: str = "") -> None:
        """Deletes the job, which has ended, with its log."""
        self._connection.run(calls.jobs.delete(self._connection.namespace, self.id, etag))
