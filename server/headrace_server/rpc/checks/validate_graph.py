"""The rules that span the items of a SubmitJobs call: refs that are unique and known, and no circle (S6, S7)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from headrace.v1 import job_pb2, job_service_pb2
from headrace_server.core.graph import circles
from headrace_server.rpc.checks.validate_job import DEPENDENCIES_COUNT_MAX
from headrace_server.rpc.checks.violations import Violations

ITEMS_NAMED_COUNT_MAX = 10


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with one item for the sake of others."""

    item: int
    path: str
    """From the item."""
    description: str


def graph_faults(items: Sequence[job_service_pb2.SubmitJobsItem]) -> list[Fault]:
    """Everything that is wrong with the graph of a call, in the order of the items."""
    if not any(item.ref or item.spec.dependencies for item in items):
        return []
    named: dict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        if item.ref:
            named[item.ref].append(number)
    edges = [_edges(item.spec) for item in items]
    faults = [
        Fault(number, "ref", f"is the ref of {_items(numbers)}; each needs one of its own")
        for numbers in named.values()
        if len(numbers) > 1
        for number in numbers
    ]
    faults += [
        Fault(number, f"spec.dependencies[{place}].ref", "names no item of this call")
        for number, refs in enumerate(edges)
        for place, ref in refs
        if ref not in named
    ]
    parents = [[named[ref][0] for _, ref in refs if ref in named] for refs in edges]
    faults += [Fault(number, "spec.dependencies", _circle(circle)) for circle in circles(parents) for number in circle]
    return sorted(faults, key=lambda fault: fault.item)


def no_refs(spec: job_pb2.JobSpec, path: str, violations: Violations) -> None:
    """Outside of a SubmitJobs call there are no items to depend on."""
    for place, _ in _edges(spec):
        violations.add(f"{path}.dependencies[{place}].ref", "names an item of a SubmitJobs call; use job_id here")


def _edges(spec: job_pb2.JobSpec) -> list[tuple[int, str]]:
    """Place and ref of each; none of a list that is refused for its length."""
    if len(spec.dependencies) > DEPENDENCIES_COUNT_MAX:
        return []
    return [(place, one.ref) for place, one in enumerate(spec.dependencies) if one.HasField("ref")]


def _circle(items: Sequence[int]) -> str:
    if len(items) == 1:
        return f"is a circle: item {items[0]} waits for itself"
    return f"is part of a circle: {_items(items)} wait for each other"


def _items(numbers: Sequence[int]) -> str:
    named = ", ".join(map(str, numbers[:ITEMS_NAMED_COUNT_MAX]))
    more = len(numbers) - ITEMS_NAMED_COUNT_MAX
    return f"items {named} and {more} more" if more > 0 else f"items {named}"
