"""Graphs across the items of a call, and the requests that change jobs: what is refused before the store is asked."""

from typing import Any

import pytest

from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.job_filter import JobFilter
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks.validation import CHECKS, check_items
from headrace_server.rpc.filters import live_only

HANDLER = {"name": "echo"}
JOB_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


def item(*dependencies: str, ref: str = "", **fields: Any) -> pb.SubmitJobsItem:
    spec = {"handler": HANDLER, "dependencies": [{"ref": one} for one in dependencies], **fields}
    return pb.SubmitJobsItem(ref=ref, spec=spec)


def named(refusal: Refusal | None) -> dict[str, str]:
    return {} if refusal is None else {one.field: one.description for one in refusal.violations}


def check(request: Any) -> Refusal | None:
    return CHECKS[request.DESCRIPTOR.full_name](request)


def test_s7_a_sound_graph_passes_whatever_the_order() -> None:
    assert check_items([item("b", "c", ref="a"), item("c", ref="b"), item(ref="c"), item()]) == [None] * 4


def test_s6_a_circle_is_refused_for_each_item_on_it_and_for_no_other() -> None:
    found = check_items([item("b", ref="a"), item("a", ref="b"), item("a", ref="behind"), item("self", ref="self")])
    text = "is part of a circle: items 0, 1 wait for each other"
    assert [named(one) for one in found] == [
        {"spec.dependencies": text},
        {"spec.dependencies": text},
        {},
        {"spec.dependencies": "is a circle: item 3 waits for itself"},
    ]


def test_s6_refs_that_are_unknown_or_used_twice_are_named() -> None:
    found = check_items([item(ref="a"), item(ref="a"), item("b"), item("a")])
    text = "is the ref of items 0, 1; each needs one of its own"
    assert [named(one) for one in found] == [
        {"ref": text},
        {"ref": text},
        {"spec.dependencies[0].ref": "names no item of this call"},
        {},
    ]


def test_s6_an_atomic_call_is_refused_with_every_fault_of_its_graph() -> None:
    request = pb.SubmitJobsRequest(atomic=True, items=[item(), item("b", ref="b"), item("x", priority=1000)])
    refusal = check(request)
    assert refusal is not None
    assert set(named(refusal)) == {
        "items[1].spec.dependencies",
        "items[2].spec.dependencies[0].ref",
        "items[2].spec.priority",
    }
    assert refusal.metadata["item"] == "1"
    assert check(pb.SubmitJobsRequest(items=request.items)) is None, "without atomic, items fail alone"


def test_a_single_submit_depends_on_jobs_only() -> None:
    spec = {"handler": HANDLER, "dependencies": [{"job_id": JOB_ID}, {"ref": "a"}]}
    assert set(named(check(pb.SubmitJobRequest(spec=spec)))) == {"spec.dependencies[1].ref"}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.UpdateJobRequest(job_id=JOB_ID), "update_mask"),
        (pb.UpdateJobRequest(update_mask={"paths": ["priority"]}), "job_id"),
        (pb.UpdateJobRequest(job_id=JOB_ID, update_mask={"paths": ["queue"]}), "update_mask"),
        (pb.UpdateJobRequest(job_id=JOB_ID, update_mask={"paths": ["labels", "labels"]}), "update_mask"),
        (
            pb.UpdateJobRequest(job_id=JOB_ID, update_mask={"paths": ["priority"]}, spec={"priority": 101}),
            "spec.priority",
        ),
        (
            pb.UpdateJobRequest(job_id=JOB_ID, update_mask={"paths": ["labels"]}, spec={"labels": {"A": ""}}),
            'spec.labels["A"]',
        ),
        (pb.CancelJobsRequest(), "filter"),
        (pb.CancelJobsRequest(filter="  "), "filter"),
        (pb.CancelJobsRequest(filter="nonsense"), "filter"),
        (pb.CancelJobsRequest(filter="owner = a", reason="x" * 1025), "reason"),
        (pb.RetryJobRequest(), "job_id"),
        (pb.RetryJobRequest(job_id=JOB_ID, request_id="x" * 129), "request_id"),
        (pb.DeleteJobRequest(job_id="x"), "job_id"),
        (pb.WatchJobRequest(unique_key={"queue": "default"}), "unique_key.key"),
    ],
)
def test_a_bad_request_names_its_field(request_: Any, field: str) -> None:
    assert set(named(check(request_))) == {field}


def test_values_outside_of_the_mask_are_not_looked_at() -> None:
    request = pb.UpdateJobRequest(job_id=JOB_ID, update_mask={"paths": ["labels"]}, spec={"priority": 1000})
    assert check(request) is None


@pytest.mark.parametrize("filter_text", ["owner = a", "state = QUEUED", "labels.a = b", "queue = q", "worker_id = w"])
def test_any_term_makes_a_filter_to_cancel_by(filter_text: str) -> None:
    assert check(pb.CancelJobsRequest(filter=filter_text)) is None


def test_c2_ended_jobs_are_never_asked_for() -> None:
    assert live_only(JobFilter(states=frozenset({"FAILED"}))) is None
    assert live_only(JobFilter(states=frozenset({"FAILED", "QUEUED"}))) == JobFilter(states=frozenset({"QUEUED"}))
    everything = live_only(JobFilter(owners=("a",)))
    assert everything is not None
    assert len(everything.states) == 7
