"""JobService: check, call, convert, return."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from headrace.v1 import job_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.ids import JobId, job_id_text, parse_job_id
from headrace_server.core.job import Job
from headrace_server.core.limits import CANCEL_ITEMS_COUNT_MAX
from headrace_server.core.refusal import Reason, Refusal, Refused
from headrace_server.core.states import JobState
from headrace_server.rpc.call import Call
from headrace_server.rpc.checks.validation import check_items
from headrace_server.rpc.errors import to_item_error
from headrace_server.rpc.filters import live_only, parse_filter
from headrace_server.rpc.messages.job_message import job_message, state_count
from headrace_server.rpc.messages.job_view import full_message, get_snapshot, reasons
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.page_token import LIST_BYTES_MAX, decode_page_token, encode_page_token, page_rows, row_of
from headrace_server.rpc.streams.artifact_stream import send_artifact
from headrace_server.rpc.streams.follow import Following, follow
from headrace_server.runtime.explain import estimated_start
from headrace_server.runtime.registry import Registry
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.store.codec import number, set_time
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.cancel import cancel_by_caller, cancel_each
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.listing import Listed, list_jobs
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.retries import retry
from headrace_server.store.jobs.submit import Accepted, NewJob, check_each, submit_all, submit_each
from headrace_server.store.jobs.updates import Change, update
from headrace_server.store.records import reads
from headrace_server.store.store import Store

T = TypeVar("T")


def _no_rate(namespace: str, queue: str) -> float:
    return 0.0


@dataclass(frozen=True, slots=True)
class JobService:
    """The servicer of `headrace.v1.JobService`."""

    store: Store
    scheduler: Scheduler
    registry: Registry
    following: Following
    start_rate: Callable[[str, str], float] = _no_rate
    """Jobs of a queue (namespace and name) that started of late, for each second; zero while that is not known."""

    async def submit_job(self, request: pb.SubmitJobRequest, call: Call) -> pb.SubmitJobResponse:
        new = new_job(request.namespace, request.request_id, request.spec, call.principal, call.traceparent)
        if request.validate_only:
            refusal = (await self.store.write(lambda ledger: check_each(ledger, [new])))[0]
            if refusal is not None:
                raise Refused(refusal)
            return pb.SubmitJobResponse(job=job_pb2.Job(namespace=new.namespace, spec=request.spec))
        submitting = self.store.write_each(submit_each, new, crowd=True)
        # A cycle that is asked for now mostly commits together with the submit, instead of after its answer.
        self.scheduler.queued()
        accepted = _done(await submitting)
        if accepted.deduplicated or new.needs.executor == "claude":
            # The spec of a Claude job is completed from its session, or from the settings of its namespace.
            job = await self._message(accepted.job, new.spec)
            return pb.SubmitJobResponse(job=job, deduplicated=accepted.deduplicated)
        return pb.SubmitJobResponse(job=job_message(accepted.job, new.spec, full=False))

    async def submit_jobs(self, request: pb.SubmitJobsRequest, call: Call) -> pb.SubmitJobsResponse:
        checked = check_items(request.items)
        actor, traceparent = call.principal, call.traceparent
        news = [
            new_job(request.namespace, item.request_id, item.spec, actor, traceparent, item.ref)
            for item, refusal in zip(request.items, checked, strict=True)
            if refusal is None
        ]
        answers = iter(await self._submit(news, request))
        response = pb.SubmitJobsResponse()
        for refusal in checked:
            _set_result(response.results.add(), next(answers) if refusal is None else refusal)
        return response

    async def _submit(self, news: list[NewJob], request: pb.SubmitJobsRequest) -> list[Accepted | Refusal | None]:
        if request.validate_only:
            return [*await self.store.write(lambda ledger: check_each(ledger, news))]
        if not request.atomic:
            return [*await self.store.write(lambda ledger: submit_each(ledger, news))]
        answers = await self.store.write(lambda ledger: submit_all(ledger, news))
        refused = [(item, answer) for item, answer in enumerate(answers) if isinstance(answer, Refusal)]
        if refused:
            # One that only depends on a refused one would not say what to correct.
            own = (one for one in refused if one[1].reason is not Reason.DEPENDENCY_REFUSED)
            item, refusal = next(own, refused[0])
            refusal.metadata["item"] = str(item)
            raise Refused(refusal)
        return [*answers]

    async def get_job(self, request: pb.GetJobRequest, call: Call) -> pb.GetJobResponse:
        full = request.view != job_pb2.JOB_VIEW_BASIC
        snapshot = await get_snapshot(
            self.store, namespace_of(request.namespace), parse_job_id(request.job_id), with_attempts=full
        )
        if full:
            return pb.GetJobResponse(job=full_message(snapshot, self.registry))
        return pb.GetJobResponse(job=job_message(snapshot.job, snapshot.spec, full=False))

    async def list_jobs(self, request: pb.ListJobsRequest, call: Call) -> pb.ListJobsResponse:
        namespace = namespace_of(request.namespace)
        wanted = parse_filter(request.filter)
        count = page_rows(request.page_size)
        before = row_of(decode_page_token(request.page_token, "ListJobs", namespace, request.filter))

        def read(connection: Connection) -> tuple[Listed, dict[int, bytes], list[tuple[int, int]]]:
            listed = list_jobs(connection, namespace, wanted, before, count)
            counts = [] if before else reads.state_counts(connection, namespace, wanted.queues)
            return listed, reads.get_specs(connection, listed.jobs), counts

        listed, specs, counts = await self.store.read(read)
        response = pb.ListJobsResponse(state_counts=[state_count(state, jobs) for state, jobs in counts])
        full = request.view == job_pb2.JOB_VIEW_FULL
        next_before, size = listed.before, 0
        for job in listed.jobs:
            message = job_message(job, specs[job.row], full=full)
            size += message.ByteSize()
            if response.jobs and size > LIST_BYTES_MAX:
                break
            response.jobs.append(message)
            next_before = job.row if len(response.jobs) < len(listed.jobs) else listed.before
        if next_before is not None:
            response.next_page_token = encode_page_token((next_before,), "ListJobs", namespace, request.filter)
        return response

    async def update_job(self, request: pb.UpdateJobRequest, call: Call) -> pb.UpdateJobResponse:
        namespace = namespace_of(request.namespace)
        job_id = parse_job_id(request.job_id)
        change = Change(tuple(request.update_mask.paths), request.spec, request.etag, call.principal)
        job = _done(await self.store.write(lambda ledger: update(ledger, namespace, job_id, change)))
        return pb.UpdateJobResponse(job=await self._message(job))

    async def cancel_job(self, request: pb.CancelJobRequest, call: Call) -> pb.CancelJobResponse:
        namespace = namespace_of(request.namespace)
        job_id = parse_job_id(request.job_id)
        job = _done(
            await self.store.write(
                lambda ledger: cancel_by_caller(ledger, namespace, job_id, request.reason, call.principal)
            )
        )
        return pb.CancelJobResponse(job=await self._message(job))

    async def cancel_jobs(self, request: pb.CancelJobsRequest, call: Call) -> pb.CancelJobsResponse:
        namespace = namespace_of(request.namespace)
        wanted = live_only(parse_filter(request.filter))
        before = row_of(decode_page_token(request.page_token, "CancelJobs", namespace, request.filter))
        if wanted is None:
            return pb.CancelJobsResponse()
        listed = await self.store.read(list_jobs, namespace, wanted, before, CANCEL_ITEMS_COUNT_MAX)
        answers: list[tuple[JobId, Job | Refusal]] = [(job.id, job) for job in listed.jobs]
        if not request.validate_only:
            ids = [job.id for job in listed.jobs]
            answers = await self.store.write(
                lambda ledger: cancel_each(ledger, namespace, ids, request.reason, call.principal)
            )
        response = pb.CancelJobsResponse(results=[_cancel_result(job_id, answer) for job_id, answer in answers])
        if listed.before is not None:
            response.next_page_token = encode_page_token((listed.before,), "CancelJobs", namespace, request.filter)
        return response

    async def retry_job(self, request: pb.RetryJobRequest, call: Call) -> pb.RetryJobResponse:
        namespace = namespace_of(request.namespace)
        job_id = parse_job_id(request.job_id)
        answer = _done(
            await self.store.write(
                lambda ledger: retry(ledger, namespace, job_id, request.request_id, call.principal, call.traceparent)
            )
        )
        return pb.RetryJobResponse(job=await self._message(answer.job), deduplicated=answer.deduplicated)

    async def delete_job(self, request: pb.DeleteJobRequest, call: Call) -> pb.DeleteJobResponse:
        namespace = namespace_of(request.namespace)
        job_id = parse_job_id(request.job_id)
        refusal = await self.store.write(lambda ledger: delete(ledger, namespace, job_id, request.etag, call.principal))
        if refusal is not None:
            raise Refused(refusal)
        return pb.DeleteJobResponse()

    async def explain_job(self, request: pb.ExplainJobRequest, call: Call) -> pb.ExplainJobResponse:
        snapshot = await get_snapshot(
            self.store, namespace_of(request.namespace), parse_job_id(request.job_id), with_attempts=False
        )
        job, why = snapshot.job, reasons(snapshot, self.registry)
        response = pb.ExplainJobResponse(state=number(job.state), wait_reasons=why, queue_position=snapshot.position)
        rate = self.start_rate(job.namespace, job.queue)
        estimated = estimated_start(job, why, snapshot.position, rate, self.store.now())
        if estimated is not None:
            set_time(response.estimated_start_time, estimated)
        return response

    async def _message(self, job: Job, spec: bytes = b"") -> job_pb2.Job:
        """A job that a verb has answered, in JOB_VIEW_BASIC; `spec` stands in for that of one that was deleted."""
        specs = await self.store.read(reads.get_specs, [job])
        return job_message(job, specs.get(job.row, spec), full=False)

    async def read_artifact(self, request: pb.ReadArtifactRequest, call: Call) -> None:
        await send_artifact(self.store, request, call)

    async def watch_job(self, request: pb.WatchJobRequest, call: Call) -> None:
        await follow(self.following, request, call)


def _done(answer: T | Refusal) -> T:
    if isinstance(answer, Refusal):
        raise Refused(answer)
    return answer


def _cancel_result(job_id: JobId, answer: Job | Refusal) -> pb.CancelJobsResult:
    result = pb.CancelJobsResult(job_id=job_id_text(job_id))
    if isinstance(answer, Job):
        result.state = number(answer.state)
    else:
        result.error.CopyFrom(to_item_error(answer))
        if "state" in answer.metadata:
            result.state = number(JobState[answer.metadata["state"]])
    return result


def _set_result(result: pb.SubmitJobsResult, answer: Accepted | Refusal | None) -> None:
    """In place: a message that is made apart is copied into the one that holds it."""
    if isinstance(answer, Accepted):
        result.job_id = job_id_text(answer.job.id)
        result.deduplicated = answer.deduplicated
    elif answer is not None:
        result.error.CopyFrom(to_item_error(answer))
