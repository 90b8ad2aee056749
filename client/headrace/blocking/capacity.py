"""Capacity domains and budgets in the blocking client."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Unpack

from headrace import calls
from headrace.blocking.connection import Connection
from headrace.blocking.resources import PAGE_SIZE
from headrace.policies import BudgetLimits, Seconds
from headrace.v1 import capacity_pb2


class Capacity:
    """What credentials may ask of families of models; a domain's name is `<profile>/<family>`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, *, page_size: int = PAGE_SIZE) -> Iterator[capacity_pb2.CapacityDomain]:
        """Domains by name: those that have jobs, and those that are not simply open."""
        return self._connection.pages(lambda token: calls.capacity.domains_page(page_size, token))

    def open(self, name: str, *, reason: str = "") -> capacity_pb2.CapacityDomain:
        """Lets one job try; when the service answers it, the others follow. Raises NotFound when no job uses it and
        nobody closed it."""
        return self._connection.run(calls.capacity.open_domain(name, reason))

    def close(self, name: str, *, reason: str = "", duration: Seconds | None = None) -> capacity_pb2.CapacityDomain:
        """Has no job of the domain start, for `duration` or until `open`; what runs goes on. `unused` says that
        no job of it is known."""
        return self._connection.run(calls.capacity.close_domain(name, reason, duration))


class Budgets:
    """What Claude jobs of the client's namespace may spend; `period` is `day`, in UTC, or `total`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def list(self, owner: str = "", *, page_size: int = PAGE_SIZE) -> Iterator[capacity_pb2.Budget]:
        """Budgets by owner, that of the namespace first; or those of one owner."""
        namespace = self._connection.namespace
        return self._connection.pages(lambda token: calls.capacity.budgets_page(namespace, owner, page_size, token))

    def set(self, owner: str = "", *, period: str = "day", **limits: Unpack[BudgetLimits]) -> capacity_pb2.Budget:
        """Sets the limits of an owner, or of the namespace; what was spent stays."""
        return self._connection.run(calls.capacity.set_budget(self._connection.namespace, owner, period, limits))

    def delete(self, owner: str = "", *, period: str = "day") -> None:
        """Deletes a budget, with what it knew of spending."""
        self._connection.run(calls.capacity.delete_budget(self._connection.namespace, owner, period))
