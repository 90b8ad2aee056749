"""JobService: check, call, convert, return."""

from dataclasses import dataclass

from headrace.v1 import job_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.ids import job_id_text, parse_job_id
from headrace_server.core.job import Job
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.errors import to_item_error
from headrace_server.rpc.filters import parse_filter
from headrace_server.rpc.follow import Following, follow
from headrace_server.rpc.job_message import job_message, state_count
from headrace_server.rpc.job_view import full_message, get_snapshot, reasons
from headrace_server.rpc.new_job import namespace_of, new_job
from headrace_server.rpc.page_token import LIST_BYTES_MAX, decode_page_token, encode_page_token, page_rows, row_of
from headrace_server.rpc.validation import check_item
from headrace_server.runtime.registry import Registry
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.store import reads
from headrace_server.store.cancel import cancel
from headrace_server.store.codec import number
from headrace_server.store.engine import Connection
from headrace_server.store.store import Store
from headrace_server.store.submit import Accepted, NewJob, check_each, submit_all, submit_each


@dataclass(frozen=True, slots=True)
class JobService:
    """The servicer of `headrace.v1.JobService`."""

    store: Store
    scheduler: Scheduler
    registry: Registry
    following: Following

    async def submit_job(self, request: pb.SubmitJobRequest, call: Call) -> pb.SubmitJobResponse:
        new = new_job(request.namespace, request.request_id, request.spec, call.principal, call.traceparent)
        if request.validate_only:
            refusal = (await self.store.write(lambda ledger: check_each(ledger, [new])))[0]
            if refusal is not None:
                raise Refused(refusal)
            return pb.SubmitJobResponse(job=job_pb2.Job(namespace=new.namespace, spec=request.spec))
        submitting = self.store.write_each(submit_each, new, crowd=True)
        # A cycle that is asked for now mostly commits together with the submit, instead of after its answer.
        self.scheduler.wake()
        accepted = _accepted(await submitting)
        return pb.SubmitJobResponse(
            job=job_message(accepted.job, new.spec, full=False), deduplicated=accepted.deduplicated
        )

    async def submit_jobs(self, request: pb.SubmitJobsRequest, call: Call) -> pb.SubmitJobsResponse:
        checked = [check_item(item) for item in request.items]
        actor, traceparent = call.principal, call.traceparent
        news = [
            new_job(request.namespace, item.request_id, item.spec, actor, traceparent)
            for item, refusal in zip(request.items, checked, strict=True)
            if refusal is None
        ]
        answers = iter(await self._submit(news, request))
        results = [next(answers) if refusal is None else refusal for refusal in checked]
        return pb.SubmitJobsResponse(results=[_result(result) for result in results])

    async def _submit(self, news: list[NewJob], request: pb.SubmitJobsRequest) -> list[Accepted | Refusal | None]:
        if request.validate_only:
            return [*await self.store.write(lambda ledger: check_each(ledger, news))]
        if not request.atomic:
            return [*await self.store.write(lambda ledger: submit_each(ledger, news))]
        answers = await self.store.write(lambda ledger: submit_all(ledger, news))
        for item, answer in enumerate(answers):
            if isinstance(answer, Refusal):
                answer.metadata["item"] = str(item)
                raise Refused(answer)
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

        def read(connection: Connection) -> tuple[list[Job], dict[int, bytes], list[tuple[int, int]]]:
            jobs = reads.list_jobs(connection, namespace, wanted, before, count + 1)
            counts = [] if before else reads.state_counts(connection, namespace, wanted.queues)
            return jobs, reads.get_specs(connection, jobs), counts

        jobs, specs, counts = await self.store.read(read)
        response = pb.ListJobsResponse(state_counts=[state_count(state, jobs) for state, jobs in counts])
        full = request.view == job_pb2.JOB_VIEW_FULL
        size = 0
        for job in jobs[:count]:
            message = job_message(job, specs[job.row], full=full)
            size += message.ByteSize()
            if response.jobs and size > LIST_BYTES_MAX:
                break
            response.jobs.append(message)
        taken = len(response.jobs)
        if taken < len(jobs):
            response.next_page_token = encode_page_token((jobs[taken - 1].row,), "ListJobs", namespace, request.filter)
        return response

    async def cancel_job(self, request: pb.CancelJobRequest, call: Call) -> pb.CancelJobResponse:
        namespace = namespace_of(request.namespace)
        job_id = parse_job_id(request.job_id)
        job = await self.store.write(lambda ledger: cancel(ledger, namespace, job_id, request.reason, call.principal))
        if isinstance(job, Refusal):
            raise Refused(job)
        specs = await self.store.read(reads.get_specs, [job])
        return pb.CancelJobResponse(job=job_message(job, specs[job.row], full=False))

    async def explain_job(self, request: pb.ExplainJobRequest, call: Call) -> pb.ExplainJobResponse:
        snapshot = await get_snapshot(
            self.store, namespace_of(request.namespace), parse_job_id(request.job_id), with_attempts=False
        )
        return pb.ExplainJobResponse(
            state=number(snapshot.job.state),
            wait_reasons=reasons(snapshot, self.registry),
            queue_position=snapshot.position,
        )

    async def watch_job(self, request: pb.WatchJobRequest, call: Call) -> None:
        await follow(self.following, request, call)


def _accepted(answer: Accepted | Refusal) -> Accepted:
    if isinstance(answer, Refusal):
        raise Refused(answer)
    return answer


def _result(answer: Accepted | Refusal | None) -> pb.SubmitJobsResult:
    if answer is None:
        return pb.SubmitJobsResult()
    if isinstance(answer, Refusal):
        return pb.SubmitJobsResult(error=to_item_error(answer))
    return pb.SubmitJobsResult(job_id=job_id_text(answer.job.id), deduplicated=answer.deduplicated)
