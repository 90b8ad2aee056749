"""What a handler learns about its job: who it is, what the attempts before left, and what its dependencies produced."""

from pathlib import Path
from typing import Any

from headrace.v1 import job_pb2, outcome_pb2, worker_pb2
from headrace.worker import BlockingHandlerContext, HandlerContext
from headrace_worker.executors.values import to_value
from worker.agent_running import handler_spec
from worker.handler_running import run_handler, value_of


def test_a_handler_knows_its_job(tmp_path: Path) -> None:
    async def who(values: dict[str, Any], context: HandlerContext) -> list[Any]:
        return [
            *(context.job_id, context.attempt_number, context.namespace, context.queue, context.owner),
            *(context.display_name, context.labels, context.traceparent, context.previous_failure is None),
        ]

    spec = handler_spec("f")
    spec.MergeFrom(job_pb2.JobSpec(queue="q", owner="ada", display_name="n", labels={"a": "b"}))
    attempt = run_handler(tmp_path, who, spec, traceparent="00-aa-bb-01")
    assert value_of(attempt) == ["job-1", 1, "default", "q", "ada", "n", {"a": "b"}, "00-aa-bb-01", True]


def test_a_handler_goes_on_from_the_checkpoint_of_the_attempts_before(tmp_path: Path) -> None:
    def resume(values: dict[str, Any], context: BlockingHandlerContext) -> list[Any]:
        context.checkpoint({"page": context.last_checkpoint["page"] + 1})
        assert context.previous_failure is not None
        return [context.last_checkpoint, context.previous_failure.message]

    attempt = run_handler(
        tmp_path,
        resume,
        checkpoint=to_value({"page": 7, "seen": ["a"]}),
        previous_failure=outcome_pb2.Failure(message="the host is gone"),
    )
    assert value_of(attempt) == [{"page": 7, "seen": ["a"]}, "the host is gone"]


def test_the_first_attempt_has_no_checkpoint_and_no_dependencies(tmp_path: Path) -> None:
    async def first(values: dict[str, Any], context: HandlerContext) -> list[Any]:
        return [context.last_checkpoint, list(context.dependencies)]

    assert value_of(run_handler(tmp_path, first)) == [None, []]


def dependency(job_id: str, state: str = "SUCCEEDED", cut: bool = False, **result: Any) -> worker_pb2.DependencyResult:
    made = outcome_pb2.Result(**result) if result else None
    return worker_pb2.DependencyResult(job_id=job_id, state=f"JOB_STATE_{state}", result=made, cut=cut)


def test_q6_a_child_sees_its_parents_results_in_order(tmp_path: Path) -> None:
    async def collect(values: dict[str, Any], context: HandlerContext) -> list[Any]:
        parents = context.dependencies
        assert all(parents[job_id].job_id == job_id for job_id in parents)
        return [[job_id, one.value, one.succeeded, one.cut] for job_id, one in parents.items()]

    structured = outcome_pb2.ClaudeResult(text="{}")
    structured.structured_output.update({"answer": 42})
    given = [
        dependency("h", handler=outcome_pb2.HandlerResult(value=to_value({"n": [1, 2.5, None]}))),
        dependency("c", claude=outcome_pb2.ClaudeResult(text="It is done.")),
        dependency("s", claude=structured),
        dependency("p", command=outcome_pb2.CommandResult(exit_code=3)),
        dependency("f", "FAILED"),
        dependency("l", cut=True),
    ]
    assert value_of(run_handler(tmp_path, collect, dependency_results=given)) == [
        ["h", {"n": [1, 2.5, None]}, True, False],
        ["c", "It is done.", True, False],
        ["s", {"answer": 42}, True, False],
        ["p", 3, True, False],
        ["f", None, False, False],
        ["l", None, True, True],
    ]
