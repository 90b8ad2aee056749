"""`headrace job answer`, `session answer`, and how what is asked is told: what is sent, printed and returned."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.cli import narration
from headrace.cli.describe import job_text
from headrace.v1 import event_pb2, input_pb2, job_pb2, job_service_pb2, session_pb2, session_service_pb2

JOB_ID = "0199b3a0-0000-7000-8000-000000000001"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
WRITE = job_pb2.OpenInputSummary(request_id="r1", tool_name="Write", expire_time=Timestamp(seconds=1_767_225_660))
QUESTION = job_pb2.OpenInputSummary(request_id="r2")


def asking(*asked: job_pb2.OpenInputSummary) -> job_service_pb2.GetJobResponse:
    job = job_pb2.Job(id=JOB_ID, state=job_pb2.JOB_STATE_WAITING_INPUT, open_inputs=asked)
    return job_service_pb2.GetJobResponse(job=job)


def resolved(how: input_pb2.InputResolution = input_pb2.INPUT_RESOLUTION_ALLOWED) -> Any:
    return session_service_pb2.AnswerRequestResponse(resolution=how)


def sent(answers: Any) -> Any:
    (request,) = [one for one in answers.requests if isinstance(one, session_service_pb2.AnswerRequestRequest)]
    assert request.job_id == JOB_ID
    return request.answer


def test_x3_the_only_open_request_is_allowed(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc |= {"GetJob": asking(WRITE), "AnswerRequest": resolved()}
    result = headrace_command("job", "answer", JOB_ID, "--allow", "--input", '{"a": 1}')
    assert (result.exit_code, result.stdout) == (0, "allowed\n")
    assert sent(answers) == input_pb2.InputAnswer(request_id="r1", allow=True, updated_input_json='{"a": 1}')


def test_x3_a_named_request_is_denied_without_a_look(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["AnswerRequest"] = resolved(input_pb2.INPUT_RESOLUTION_DENIED)
    result = headrace_command("job", "answer", JOB_ID, "r9", "--deny", "-m", "not here", "--interrupt")
    assert (result.exit_code, result.stdout) == (0, "denied\n")
    assert sent(answers) == input_pb2.InputAnswer(request_id="r9", message="not here", interrupt=True)
    assert len(answers.requests) == 1


def test_x3_a_question_is_answered_by_a_message_alone(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc |= {"GetJob": asking(WRITE, QUESTION), "AnswerRequest": resolved()}
    assert headrace_command("job", "answer", JOB_ID, "r2", "-m", "blue").exit_code == 0
    assert sent(answers) == input_pb2.InputAnswer(request_id="r2", allow=True, message="blue")


@pytest.mark.parametrize(
    ("arguments", "asked", "told"),
    [
        (("-m", "no, not that"), (WRITE,), "say --allow or --deny"),
        ((), (QUESTION,), "say --allow or --deny"),
        (("--allow",), (WRITE, QUESTION), "r1 (Write), r2 (a question)"),
        (("--allow", "--input", "[1]"), (WRITE,), "JSON object is needed"),
    ],
)
def test_x3_nobody_allows_what_was_not_meant(
    headrace_command: Any, answers: Any, arguments: tuple[str, ...], asked: tuple[Any, ...], told: str
) -> None:
    answers.by_rpc["GetJob"] = asking(*asked)
    result = headrace_command("job", "answer", JOB_ID, *arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert not any(isinstance(one, session_service_pb2.AnswerRequestRequest) for one in answers.requests)


def test_an_answer_to_nothing_fails_and_is_no_wrong_usage(headrace_command: Any, answers: Any) -> None:
    answers.by_rpc["GetJob"] = asking()
    result = headrace_command("job", "answer", JOB_ID, "--allow")
    assert (result.exit_code, result.stderr) == (1, "headrace: nothing is asked just now\n")


def session_asking(*requests: input_pb2.InputRequest) -> Any:
    open_inputs = [session_pb2.OpenInput(job_id=JOB_ID, request=one) for one in requests]
    return session_service_pb2.GetSessionResponse(session=session_pb2.Session(id=JOB_ID, open_inputs=open_inputs))


def test_x3_what_a_session_asks_is_answered_as_what_a_job_asks(headrace_command: Any, answers: Any) -> None:
    write = input_pb2.InputRequest(request_id="r1", tool_name="Write")
    answers.by_rpc |= {"GetSession": session_asking(write), "AnswerRequest": resolved()}
    result = headrace_command("session", "answer", JOB_ID, "--allow", "--input", '{"a": 1}')
    assert (result.exit_code, result.stdout) == (0, "allowed\n")
    (request,) = [one for one in answers.requests if isinstance(one, session_service_pb2.AnswerRequestRequest)]
    assert (request.session_id, request.job_id) == (JOB_ID, "")
    assert request.answer == input_pb2.InputAnswer(request_id="r1", allow=True, updated_input_json='{"a": 1}')


@pytest.mark.parametrize("arguments", [(), ("r1",), ("-m", "go on")])
def test_x3_a_session_is_allowed_nothing_that_was_not_said(
    headrace_command: Any, answers: Any, arguments: tuple[str, ...]
) -> None:
    answers.by_rpc["GetSession"] = session_asking(input_pb2.InputRequest(request_id="r1", tool_name="Write"))
    result = headrace_command("session", "answer", JOB_ID, *arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert "say --allow or --deny" in " ".join(result.output.split())
    assert not any(isinstance(one, session_service_pb2.AnswerRequestRequest) for one in answers.requests)


def test_x3_a_job_shows_what_it_asks_and_until_when() -> None:
    lines = job_text.job_lines(asking(WRITE, QUESTION).job, NOW)
    assert [line for line in lines if line.startswith("asks")] == [
        "asks       Write (request r1), denied in 1m",
        "asks       a question (request r2)",
    ]


def test_q8_the_explanation_of_a_job_that_waits_for_a_person_says_so() -> None:
    answer = job_service_pb2.ExplainJobResponse(state=job_pb2.JOB_STATE_WAITING_INPUT)
    assert job_text.explain_lines(answer, NOW)[1].startswith("It waits for a person")


@pytest.mark.parametrize(
    ("input_json", "told"),
    [
        ('{"questions": [{"question": "Which?", "options": [{"label": "a"}, {"label": "b"}]}]}', "Which? (a, b)"),
        ('{"questions": [{"question": "Why?"}, {"question": "How?"}]}', "Why?; How?"),
        ("not JSON", "a question: not JSON"),
        ('{"questions": 3}', 'a question: {"questions": 3}'),
    ],
)
def test_x3_a_question_is_told_with_what_may_be_answered(input_json: str, told: str) -> None:
    asked = input_pb2.InputRequest(kind=input_pb2.INPUT_KIND_QUESTION, input_json=input_json)
    assert narration.asked_text(asked) == told


def test_x3_who_follows_a_job_is_told_how_to_answer(headrace_command: Any, answers: Any, log: Any) -> None:
    request = input_pb2.InputRequest(request_id="r1", tool_name="Bash", input_json='{"command": "rm x"}')
    log.started().add(input_requested=event_pb2.InputRequested(request=request))
    answers.job_with_log(log, job_pb2.JOB_STATE_SUCCEEDED)
    result = headrace_command("job", "logs", "-f", JOB_ID)
    assert "waits for an answer: Bash rm x" in result.stderr
    assert "answer it: headrace job answer" in result.stderr
