"""AdminService: check, call, convert, return."""

from dataclasses import dataclass

from headrace.v1 import admin_service_pb2 as pb
from headrace_server.core.budgets import BudgetPeriod
from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.call import Call
from headrace_server.rpc.messages.capacity_message import budget_message, budget_of, domain_message
from headrace_server.rpc.messages.response_cache_message import invalidation_message, response_cache_message
from headrace_server.rpc.namespace import namespace_of
from headrace_server.rpc.page_token import (
    decode_page_token,
    encode_page_token,
    name_and_number_of,
    name_of,
    page_rows,
    row_of,
)
from headrace_server.rpc.streams.health_stream import HealthWatching, watch_health
from headrace_server.runtime.registry import Registry
from headrace_server.store.capacity.budgets import list_budgets
from headrace_server.store.capacity.control import close_domain, delete_budget, open_domain, set_budget
from headrace_server.store.capacity.domains import DomainRow, list_domains
from headrace_server.store.codec import micros_of, set_time
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import AuditEntry, list_audit
from headrace_server.store.records.response_cache import invalidate_answers, read_invalidation
from headrace_server.store.records.settings import read_settings, replace_settings
from headrace_server.store.store import Store


@dataclass(frozen=True, slots=True)
class AdminService:
    """The servicer of `headrace.v1.AdminService`."""

    store: Store
    watching: HealthWatching
    registry: Registry

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

    async def get_response_cache(self, request: pb.GetResponseCacheRequest, call: Call) -> pb.GetResponseCacheResponse:
        invalidation = await self.store.read(read_invalidation, namespace_of(request.namespace))
        return response_cache_message(self.registry.response_caches(), invalidation)

    async def invalidate_response_cache(
        self, request: pb.InvalidateResponseCacheRequest, call: Call
    ) -> pb.InvalidateResponseCacheResponse:
        scope = (namespace_of(request.namespace), request.reason, call.principal)
        message = invalidation_message(await self.store.write(lambda ledger: invalidate_answers(ledger, *scope)))
        self.registry.invalidate_answers(message)
        return pb.InvalidateResponseCacheResponse(invalidate_time=message.time)

    async def list_capacity_domains(
        self, request: pb.ListCapacityDomainsRequest, call: Call
    ) -> pb.ListCapacityDomainsResponse:
        count = page_rows(request.page_size)
        after = name_of(decode_page_token(request.page_token, "ListCapacityDomains"))
        rows = await self.store.read(list_domains, after, count + 1, self.store.now())
        response = pb.ListCapacityDomainsResponse(domains=[domain_message(row) for row in rows[:count]])
        if len(rows) > count:
            response.next_page_token = encode_page_token((rows[count - 1].name,), "ListCapacityDomains")
        return response

    async def update_capacity_domain(
        self, request: pb.UpdateCapacityDomainRequest, call: Call
    ) -> pb.UpdateCapacityDomainResponse:
        length = micros_of(request.duration) if request.HasField("duration") else None

        def change(ledger: Ledger) -> DomainRow | Refusal:
            if request.order == pb.CAPACITY_ORDER_OPEN:
                return open_domain(ledger, request.name, request.reason, call.principal)
            return close_domain(ledger, request.name, request.reason, length, call.principal)

        answer = await self.store.write(change)
        if isinstance(answer, Refusal):
            raise Refused(answer)
        return pb.UpdateCapacityDomainResponse(domain=domain_message(answer))

    async def set_budget(self, request: pb.SetBudgetRequest, call: Call) -> pb.SetBudgetResponse:
        budget = budget_of(request.budget)
        answer = await self.store.write(lambda ledger: set_budget(ledger, budget, call.principal))
        if isinstance(answer, Refusal):
            raise Refused(answer)
        return pb.SetBudgetResponse(budget=budget_message(answer, self.store.now()))

    async def list_budgets(self, request: pb.ListBudgetsRequest, call: Call) -> pb.ListBudgetsResponse:
        namespace, now, count = namespace_of(request.namespace), self.store.now(), page_rows(request.page_size)
        scope = ("ListBudgets", namespace, request.owner)
        after = name_and_number_of(decode_page_token(request.page_token, *scope))
        rows = await self.store.read(list_budgets, namespace, request.owner, after, count + 1, now)
        response = pb.ListBudgetsResponse(budgets=[budget_message(row, now) for row in rows[:count]])
        if len(rows) > count:
            last = rows[count - 1].budget
            response.next_page_token = encode_page_token((last.owner, int(last.period)), *scope)
        return response

    async def delete_budget(self, request: pb.DeleteBudgetRequest, call: Call) -> pb.DeleteBudgetResponse:
        scope = (namespace_of(request.namespace), request.owner, BudgetPeriod(request.period))
        refusal = await self.store.write(lambda ledger: delete_budget(ledger, *scope, call.principal))
        if refusal is not None:
            raise Refused(refusal)
        return pb.DeleteBudgetResponse()

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
