"""ReadArtifact: the bytes of an artifact, a part at a time: a slow reader costs one part of memory."""

from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.ids import JobId, parse_job_id
from headrace_server.core.refusal import Reason, Refusal, Refused, Violation
from headrace_server.rpc.call import Call
from headrace_server.rpc.namespace import namespace_of
from headrace_server.store.attempts.artifacts import StoredArtifact, find_artifact, read_part
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.cancel import not_found
from headrace_server.store.records import reads
from headrace_server.store.store import Store


async def send_artifact(store: Store, request: pb.ReadArtifactRequest, call: Call) -> None:
    """Serves one ReadArtifact stream to its end. Raises Refused (NOT_FOUND, INVALID_FIELD)."""
    row, found = await store.read(_find, namespace_of(request.namespace), parse_job_id(request.job_id), request.name)
    size = found.message.size_bytes
    if request.offset > size:
        fault = Violation("offset", f"is past the end of artifact {request.name!r}, which has {size} bytes")
        raise Refused(Refusal(Reason.INVALID_FIELD, f"offset {fault.description}", violations=(fault,)))
    response = pb.ReadArtifactResponse(size_bytes=size, sha256=found.message.sha256)
    offset = request.offset
    while offset < size:
        response.data = await store.read(read_part, row, request.name, found.epoch, offset)
        if not response.data:
            # Replaced by a later attempt's, or deleted with its job, while it was read.
            raise Refused(_no_artifact(request.name))
        await call.write(response)
        offset += len(response.data)
        response = pb.ReadArtifactResponse()
    if offset == request.offset:
        await call.write(response)


def _find(connection: Connection, namespace: str, job_id: JobId, name: str) -> tuple[int, StoredArtifact]:
    job = reads.get_job(connection, namespace, job_id)
    if job is None:
        raise Refused(not_found(job_id))
    found = find_artifact(connection, job.row, name)
    if found is None:
        raise Refused(_no_artifact(name))
    return job.row, found


def _no_artifact(name: str) -> Refusal:
    message = f"the job has no artifact {name!r}"
    return Refusal(Reason.NOT_FOUND, message, "headrace.v1.Artifact", name)
