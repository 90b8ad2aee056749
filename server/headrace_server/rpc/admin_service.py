"""AdminService: check, call, convert, return."""

from dataclasses import dataclass

from headrace.v1 import admin_service_pb2 as pb
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.health_stream import HealthWatching, watch_health
from headrace_server.rpc.new_job import namespace_of
from headrace_server.rpc.page_token import decode_page_token, encode_page_token, page_rows, row_of
from headrace_server.store.codec import set_time
from headrace_server.store.records.audit import AuditEntry, list_audit
from headrace_server.store.records.settings import read_settings, replace_settings
from headrace_server.store.store import Store


@dataclass(frozen=True, slots=True)
class AdminService:
    """The servicer of `headrace.v1.AdminService`."""

    store: Store
    watching: HealthWatching

    async def list_audit_entries(self, request: pb.ListAuditEntriesRequest, call: Call) -> pb.ListAuditEntriesResponse:
        namespace = namespace_of(request.namespace)
        scope = ("ListAuditEntries", namespace, request.resource_type, request.resource_name)
        count = page_rows(request.page_size)
        before = row_of(decode_page_token(request.page_token, *scope))
        entries = await self.store.read(
            list_audit, namespace, request.resource_type, request.resource_name, before, count + 1
        )
        response = pb.ListAuditEntriesResponse(entries=[_message(entry) for entry in entries[:count]])
        if len(entries) > count:
            response.next_page_token = encode_page_token((entries[count - 1].number,), *scope)
        return response

    async def get_settings(self, request: pb.GetSettingsRequest, call: Call) -> pb.GetSettingsResponse:
        namespace = namespace_of(request.namespace)
        return pb.GetSettingsResponse(settings=await self.store.read(read_settings, namespace))

    async def update_settings(self, request: pb.UpdateSettingsRequest, call: Call) -> pb.UpdateSettingsResponse:
        namespace, check = namespace_of(request.namespace), request.validate_only
        answer = await self.store.write(
            lambda ledger: replace_settings(ledger, namespace, request.settings, call.principal, validate_only=check)
        )
        if isinstance(answer, Refusal):
            raise Refused(answer)
        return pb.UpdateSettingsResponse(settings=answer)

    async def watch_health(self, request: pb.WatchHealthRequest, call: Call) -> None:
        await watch_health(self.watching, request, call)


def _message(entry: AuditEntry) -> pb.AuditEntry:
    message = pb.AuditEntry(
        number=entry.number,
        actor=entry.actor,
        action=entry.action,
        namespace=entry.namespace,
        resource_type=entry.resource_type,
        resource_name=entry.resource_name,
        detail=entry.detail,
    )
    set_time(message.time, entry.time)
    return message
