"""Commands that change jobs, submit graphs, and show how jobs hang together: what they send, print and return."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from headrace import errors, words
from headrace.cli import choices, exits
from headrace.v1 import error_pb2, job_pb2, job_service_pb2, queue_pb2, schedule_pb2

JOB_ID = "0199b3a0-0000-7000-8000-000000000001"


@pytest.mark.parametrize(
    ("choice", "kind"),
    [
        (choices.Conflict, job_pb2.UniqueKeyConflict),
        (choices.Condition, job_pb2.DependencyCondition),
        (choices.OnFailure, job_pb2.DependencyFailureAction),
        (choices.OnCancel, job_pb2.DependencyCancelAction),
        (choices.Scope, queue_pb2.FairnessScope),
        (choices.CatchUp, schedule_pb2.CatchUpPolicy),
        (choices.Overlap, schedule_pb2.Overlap),
    ],
)
def test_options_offer_every_word_of_the_contract(choice: Any, kind: Any) -> None:
    assert [one.value for one in choice] == words.words(kind)


def test_a_submit_says_everything_that_a_spec_can(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["SubmitJob"] = job_service_pb2.SubmitJobResponse(job=job_pb2.Job(id=JOB_ID))
    result = headrace_command(
        *("job", "submit", "handler", "h", "--unique-key", "u", "--on-conflict", "return-existing"),
        *("--concurrency-key", "c", "--after", "a", "--after", "b", "--after-condition", "all-ended"),
        *("--on-dependency-failure", "fail", "--on-dependency-cancel", "cancel", "--at", "2030-01-01T01:00+01:00"),
        *("--queue-timeout", "1m", "--run-timeout", "0", "--total-timeout", "1h", "--silence-timeout", "30s"),
        *("--input-timeout", "5m", "--cancel-grace", "3s", "--memory", "1.5GiB", "--cpu", "0.5", "--slots", "2"),
        *("--require-label", "zone=a", "--prefer-label", "disk=ssd", "--max-attempts", "5", "--max-backoff", "2m"),
        *("--initial-backoff", "2s", "--backoff-multiplier", "3", "--max-snoozes", "0", "--output-max", "1MiB"),
    )
    assert result.exit_code == 0, result.output
    spec = answers.requests[0].spec
    assert spec.unique_key == job_pb2.UniqueKey(key="u", on_conflict=job_pb2.UNIQUE_KEY_CONFLICT_RETURN_EXISTING)
    assert [one.job_id for one in spec.dependencies] == ["a", "b"]
    assert spec.dependency_condition == job_pb2.DEPENDENCY_CONDITION_ALL_ENDED
    assert spec.dependency_failure_action == job_pb2.DEPENDENCY_FAILURE_ACTION_FAIL
    assert spec.dependency_cancel_action == job_pb2.DEPENDENCY_CANCEL_ACTION_CANCEL
    assert spec.schedule_time.ToDatetime(tzinfo=UTC) == datetime(2030, 1, 1, tzinfo=UTC)
    lengths = {field.name: value.seconds for field, value in spec.timeouts.ListFields()}
    assert lengths == {
        "queue_timeout": 60,
        "run_timeout": 0,
        "total_timeout": 3600,
        "silence_timeout": 30,
        "input_timeout": 300,
        "cancel_grace": 3,
    }
    resources = job_pb2.Resources(slots=2, memory_bytes=3 << 29, cpu_millis=500)
    labels = {"required_labels": {"zone": "a"}, "preferred_labels": {"disk": "ssd"}}
    assert spec.placement == job_pb2.Placement(resources=resources, **labels)
    assert (spec.retry_policy.max_attempts, spec.retry_policy.backoff_multiplier) == (5, 3.0)
    assert (spec.retry_policy.initial_backoff.seconds, spec.retry_policy.max_backoff.seconds) == (2, 120)
    assert spec.retry_policy.HasField("max_snoozes")
    assert (spec.output_bytes_max, spec.concurrency_key) == (1 << 20, "c")


def test_s8_a_check_stores_nothing_and_says_so(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["SubmitJob"] = job_service_pb2.SubmitJobResponse(job=job_pb2.Job())
    result = headrace_command("job", "submit", "handler", "h", "--check")
    assert result.stdout == "it would be accepted\n"
    assert answers.requests[0].validate_only


GRAPH = [
    {"ref": "a", "spec": {"handler": {"name": "h"}}},
    {"ref": "b", "requestId": "mine", "spec": {"handler": {"name": "h"}, "dependencies": [{"ref": "a"}]}},
]


@pytest.mark.parametrize("content", [GRAPH, {"items": GRAPH}])
def test_s7_a_file_is_a_graph_in_one_call(headrace_command: Any, answers: Any, tmp_path: Any, content: Any) -> None:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(content))
    results = [job_service_pb2.SubmitJobsResult(job_id="1"), job_service_pb2.SubmitJobsResult(job_id="2")]
    answers.by_rpc["SubmitJobs"] = job_service_pb2.SubmitJobsResponse(results=results)
    result = headrace_command("job", "submit", "file", str(path), "--atomic")
    assert (result.exit_code, result.stdout) == (0, "1  a\n2  b\n")
    request = answers.requests[0]
    assert request.atomic
    assert request.items[1].spec.dependencies[0].ref == "a"
    assert request.items[0].request_id
    assert request.items[1].request_id == "mine"


def test_s7_refused_items_are_named_and_fail_the_command(headrace_command: Any, answers: Any) -> None:
    refused = error_pb2.ItemError(code=9, reason=error_pb2.ERROR_REASON_DEPENDENCY_REFUSED, message="a was refused")
    answers.by_rpc["SubmitJobs"] = job_service_pb2.SubmitJobsResponse(
        results=[job_service_pb2.SubmitJobsResult(job_id="1"), job_service_pb2.SubmitJobsResult(error=refused)]
    )
    result = headrace_command("job", "submit", "file", "-", input=json.dumps(GRAPH))
    assert (result.exit_code, result.stdout) == (1, "1  a\n")
    assert result.stderr == "item 1  b: a was refused [DEPENDENCY_REFUSED]\n"


@pytest.mark.parametrize(
    ("violations", "line"),
    [
        ((), "headrace: item 1: the queue is full [QUEUE_FULL]"),
        (
            (errors.FieldViolation("items[1].spec.queue", "is long"),),
            "headrace: items[1].spec.queue is long [QUEUE_FULL]",
        ),
    ],
)
def test_s7_what_refuses_all_or_nothing_is_named_once(violations: tuple[errors.FieldViolation, ...], line: str) -> None:
    message = " ".join((violations[0].field, violations[0].description)) if violations else "the queue is full"
    status, metadata = grpc.StatusCode.RESOURCE_EXHAUSTED, {"item": "1"}
    refused = errors.Refused(status, message, "QUEUE_FULL", metadata, violations)
    assert exits.error_lines(errors.QueueFull(refused)) == [line]


def test_update_names_exactly_what_was_given(headrace_command: Any, answers: Any) -> None:
    job = job_pb2.Job(id=JOB_ID, state=job_pb2.JOB_STATE_SCHEDULED)
    answers.by_rpc["UpdateJob"] = job_service_pb2.UpdateJobResponse(job=job)
    result = headrace_command(
        *("job", "update", JOB_ID, "--priority", "0", "--at", "2030-01-01T00:00Z", "--no-labels", "--etag", "7")
    )
    assert (result.exit_code, result.stdout) == (0, "SCHEDULED\n")
    request = answers.requests[0]
    assert list(request.update_mask.paths) == ["priority", "schedule_time", "labels"]
    assert (request.etag, request.spec.schedule_time.seconds) == ("7", 1893456000)


def cancelled(*pairs: tuple[str, job_pb2.JobState]) -> job_service_pb2.CancelJobsResponse:
    return job_service_pb2.CancelJobsResponse(
        results=[job_service_pb2.CancelJobsResult(job_id=job_id, state=state) for job_id, state in pairs]
    )


def test_a_dry_run_says_what_would_be_cancelled(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["CancelJobs"] = cancelled(("1", job_pb2.JOB_STATE_QUEUED))
    result = headrace_command("job", "cancel", "--queue", "q", "--state", "QUEUED", "--dry-run")
    assert result.stdout == "1  QUEUED\n"
    assert result.stderr == "1 job would be cancelled\n"
    assert [(one.validate_only, one.filter) for one in answers.requests] == [(True, 'state = QUEUED AND queue = "q"')]


def test_a_cancel_by_filter_asks_first_and_a_no_changes_nothing(
    headrace_command: Any, answers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers.by_rpc["CancelJobs"] = cancelled(("1", job_pb2.JOB_STATE_QUEUED), ("2", job_pb2.JOB_STATE_RUNNING))
    monkeypatch.setattr("headrace.cli.options.is_asked", lambda: True)
    result = headrace_command("job", "cancel", "--queue", "q", input="n\n")
    assert result.exit_code == 1
    assert "Cancel 2 jobs?" in result.stderr
    assert [one.validate_only for one in answers.requests] == [True]


def test_a_cancel_by_filter_reads_every_page(headrace_command: Any, answers: Any) -> None:
    first = cancelled(("1", job_pb2.JOB_STATE_CANCELLED))
    first.next_page_token = "p2"
    second = cancelled(("2", job_pb2.JOB_STATE_CANCELLING))
    refused = error_pb2.ItemError(code=9, reason=error_pb2.ERROR_REASON_JOB_ENDED, message="it has ended")
    second.results.add(job_id="3", state=job_pb2.JOB_STATE_FAILED, error=refused)
    answers.by_rpc["CancelJobs"] = lambda request: second if request.page_token else first
    result = headrace_command("job", "cancel", "--owner", "ann", "--reason", "enough", "--yes")
    assert result.exit_code == 1
    assert result.stdout.splitlines() == ["1  CANCELLED", "2  CANCELLING", "3  FAILED  refused: it has ended"]
    assert result.stderr == "2 jobs cancelled or being cancelled\n"
    assert [(one.page_token, one.reason) for one in answers.requests] == [("", "enough"), ("p2", "enough")]


def test_where_nobody_can_be_asked_yes_is_needed(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["CancelJobs"] = cancelled(("1", job_pb2.JOB_STATE_QUEUED))
    result = headrace_command("job", "cancel", "--queue", "q")
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert all(one.validate_only for one in answers.requests)


def test_many_ids_are_each_done_and_a_refusal_stops_no_other(headrace_command: Any, answers: Any) -> None:
    def answer(request: Any) -> Any:
        state = job_pb2.JOB_STATE_CANCELLED if request.job_id == "a" else job_pb2.JOB_STATE_CANCELLING
        return job_service_pb2.CancelJobResponse(job=job_pb2.Job(id=request.job_id, state=state))

    answers.by_rpc["CancelJob"] = answer
    result = headrace_command("job", "cancel", "a", "b")
    assert (result.exit_code, result.stdout) == (0, "a  CANCELLED\nb  CANCELLING\n")
    answers.refuse("DeleteJob", grpc.StatusCode.FAILED_PRECONDITION, "JOB_NOT_ENDED", "it has not ended")
    result = headrace_command("job", "delete", "a", "b")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [f"{one}: it has not ended [JOB_NOT_ENDED]" for one in "ab"]
    alone = headrace_command("job", "delete", "a")
    assert (alone.exit_code, alone.stderr) == (1, "headrace: it has not ended [JOB_NOT_ENDED]\n")


def test_retry_prints_the_new_id(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["RetryJob"] = job_service_pb2.RetryJobResponse(job=job_pb2.Job(id="new"))
    assert headrace_command("job", "retry", JOB_ID, "--request-id", "r").stdout == "new\n"
    assert (answers.requests[0].job_id, answers.requests[0].request_id) == (JOB_ID, "r")
    assert headrace_command("job", "retry", "a", "b").stdout == "a  new\nb  new\n"


def test_delete_by_filter_takes_only_what_has_ended(headrace_command: Any, answers: Any) -> None:
    jobs = [
        job_pb2.Job(id="1", state=job_pb2.JOB_STATE_FAILED),
        job_pb2.Job(id="2", state=job_pb2.JOB_STATE_RUNNING),
        job_pb2.Job(id="3", state=job_pb2.JOB_STATE_SKIPPED),
    ]
    answers.by_rpc["ListJobs"] = job_service_pb2.ListJobsResponse(jobs=jobs)
    answers.by_rpc["DeleteJob"] = job_service_pb2.DeleteJobResponse()
    assert headrace_command("job", "delete", "--queue", "q", "--dry-run").stdout == "1\n3\n"
    assert answers.requests[0].filter == (
        'state = (SUCCEEDED OR FAILED OR CANCELLED OR EXPIRED OR SKIPPED) AND queue = "q"'
    )
    assert headrace_command("job", "delete", "--queue", "q").exit_code == 2
    result = headrace_command("job", "delete", "--queue", "q", "--yes")
    assert (result.exit_code, result.stdout) == (0, "1  deleted\n3  deleted\n")
    deleted = [one.job_id for one in answers.requests if isinstance(one, job_service_pb2.DeleteJobRequest)]
    assert sorted(deleted) == ["1", "3"]


def chain(length: int) -> dict[str, job_pb2.Job]:
    """j0 ← j1 ← … : each depends on the one before; j0 also on `gone`, which was deleted."""
    jobs = {}
    for number in range(length):
        job = job_pb2.Job(id=f"j{number}", state=job_pb2.JOB_STATE_BLOCKED, spec={"display_name": f"step {number}"})
        before = f"j{number - 1}" if number else "gone"
        job.dependency_states.add(job_id=before)
        if number + 1 < length:
            job.dependent_job_ids.append(f"j{number + 1}")
        jobs[job.id] = job
    return jobs


@pytest.fixture
def graph(answers: Any) -> Any:
    jobs = chain(9)

    def answer(request: Any) -> Any:
        if request.job_id == "gone":
            answers.refuse("gone", grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "no such job")
            return answers.by_rpc["gone"]
        return job_service_pb2.GetJobResponse(job=jobs[request.job_id])

    answers.by_rpc["GetJob"] = answer
    return answers


def test_tree_goes_up_and_down_as_far_as_it_may(headrace_command: Any, graph: Any) -> None:
    result = headrace_command("job", "tree", "j2", "--depth", "3")
    assert result.exit_code == 0, result.output
    lines = [re.sub(r"^[ │├└─]+", "", line) for line in result.stdout.splitlines()]
    assert lines == [
        "j2  BLOCKED  step 2",
        "depends on",
        "j1  BLOCKED  step 1",
        "j0  BLOCKED  step 0",
        "gone  deleted",
        "needed by",
        "j3  BLOCKED  step 3",
        "j4  BLOCKED  step 4",
        "j5  BLOCKED  step 5  … 1 more below",
    ]


def test_tree_reads_no_more_jobs_than_it_may(headrace_command: Any, graph: Any) -> None:
    document = json.loads(headrace_command("job", "tree", "j0", "--limit", "3", "-o", "json").stdout)
    assert document["up"] == [{"jobId": "gone", "note": "deleted", "jobs": []}]
    below = document["down"][0]
    assert (below["jobId"], below["jobs"][0]["jobId"], below["jobs"][0]["note"]) == ("j1", "j2", "… 1 more")
    assert len(graph.requests) == 4


def test_a_job_in_two_places_is_read_once(headrace_command: Any, answers: Any) -> None:
    jobs = {
        "top": job_pb2.Job(id="top", dependent_job_ids=["l", "r"]),
        "l": job_pb2.Job(id="l", dependent_job_ids=["end"]),
        "r": job_pb2.Job(id="r", dependent_job_ids=["end"]),
        "end": job_pb2.Job(id="end"),
    }
    answers.by_rpc["GetJob"] = lambda request: job_service_pb2.GetJobResponse(job=jobs[request.job_id])
    result = headrace_command("job", "tree", "top")
    assert result.stdout.count("end") == 2
    assert result.stdout.count("shown elsewhere") == 1
    assert sorted(one.job_id for one in answers.requests) == ["end", "l", "r", "top"]


def test_show_names_deadlines_dependencies_schedule_and_needs(headrace_command: Any, answers: Any) -> None:
    job = job_pb2.Job(id=JOB_ID, state=job_pb2.JOB_STATE_BLOCKED, schedule_name="nightly", catch_up=True)
    job.nominal_time.seconds = 1_700_000_000
    job.start_deadline_time.seconds = 4_000_000_000
    job.dependency_states.add(job_id="p", state=job_pb2.JOB_STATE_RUNNING)
    job.dependent_job_ids.append("c")
    job.spec.placement.resources.memory_bytes = 1 << 30
    job.spec.timeouts.run_timeout.seconds = 0
    job.spec.labels["evil"] = "\x1b[2Jx"
    answers.by_rpc["GetJob"] = job_service_pb2.GetJobResponse(job=job)
    text = headrace_command("job", "show", JOB_ID).stdout
    for line in ("after      p  RUNNING", "before     c", "needs      1.0 GiB", "timeouts   run none"):
        assert line in text
    assert re.search(r"schedule   nightly, tick of 2023-11-1\d .*, made up for", text)
    assert re.search(r"start by   2096-.* \(in \d+d\)", text)
    assert "\x1b" not in text
