"""`headrace chat`: what a line asks for, and what is shown of what was heard. Pure; the program itself is tried e2e."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headrace.cli.chat import words
from headrace.cli.chat.view import ChatView
from headrace.cli.describe import session_text
from headrace.cli.parts import Answer, Line
from headrace.v1 import event_pb2, input_pb2, job_pb2, outcome_pb2, session_pb2, watch_pb2
from headrace.v1 import session_service_pb2 as pb

NOW = datetime(2026, 1, 31, 8, tzinfo=UTC)
PERMISSION = session_pb2.OpenInput(
    job_id="job",
    request=input_pb2.InputRequest(
        request_id="r1", kind=input_pb2.INPUT_KIND_PERMISSION, tool_name="Bash", input_json='{"command": "rm -r x"}'
    ),
)
QUESTION = session_pb2.OpenInput(
    job_id="job", request=input_pb2.InputRequest(request_id="r2", kind=input_pb2.INPUT_KIND_QUESTION)
)


def plain(action: Any) -> Any:
    return type(action).__name__ if type(action) in (words.Interrupt, words.Close, words.Detach) else action


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("  ", None),
        ("hello  ", words.Say("hello  ")),
        ("/say /x", words.Say("/x")),
        ("/model opus", words.Change(model="opus")),
        ("/mode plan", words.Change(permission_mode="plan")),
        ("/fork other name", words.Fork("other name")),
        ("/interrupt", "Interrupt"),
        ("/close", "Close"),
        ("/quit", "Detach"),
        ("/help", words.Tell(words.HELP)),
        ("/model", words.Tell(("say which: /model NAME",))),
        ("/what", words.Tell(("there is no /what; /help lists what there is",))),
        ("/deny", words.Tell(("nothing is asked just now",))),
        ("y", words.Say("y")),
    ],
)
def test_what_a_line_asks_for(line: str, action: Any) -> None:
    assert plain(words.action_of(line, None)) == action


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("y", words.Reply(PERMISSION, True)),
        ("No", words.Reply(PERMISSION, False)),
        ("n not there", words.Reply(PERMISSION, False, "not there")),
        ("/allow", words.Reply(PERMISSION, True)),
        ("/deny not  there", words.Reply(PERMISSION, False, "not  there")),
        ("yes please", words.Tell(("answer y, or n [why]; /say TEXT says something all the same",))),
        ("/say later", words.Say("later")),
    ],
)
def test_x3_a_permission_is_answered_by_one_letter(line: str, action: Any) -> None:
    assert words.action_of(line, PERMISSION) == action


def test_x3_a_question_is_answered_by_what_is_typed() -> None:
    assert words.action_of(" the red one ", QUESTION) == words.Reply(QUESTION, True, "the red one")
    assert words.action_of("/deny", QUESTION) == words.Reply(QUESTION, False)


def event(job_id: str = "job", **kind: Any) -> event_pb2.Event:
    return event_pb2.Event(job_id=job_id, **kind)


def texts(view: ChatView, *items: Any) -> list[str]:
    parts = [part for item in items for part in view.feed(item)]
    return [part.text for part in parts if isinstance(part, Answer | Line) and part.text]


def said(text: str) -> event_pb2.Event:
    message = event_pb2.ClaudeMessage(message_id="m", blocks=[event_pb2.ContentBlock(text=text)])
    return event(output=event_pb2.Output(claude=event_pb2.ClaudeFrame(assistant=message)))


def test_a_turn_is_shown_by_what_was_said_and_how_it_ended() -> None:
    view = ChatView(lambda: NOW)
    view.feed(pb.ConverseOpened(session=session_pb2.Session(state=session_pb2.SESSION_STATE_RUNNING)))
    done = event(succeeded=event_pb2.JobSucceeded(usage=outcome_pb2.Usage(cost_usd_micros=20_000)))
    assert view.is_new_turn(said("x"))
    assert texts(view, event(submitted=event_pb2.JobSubmitted()), said("hello"), done) == ["hello", "✓ $0.0200"]
    assert (view.ended_turns, view.last_state) == ({"job"}, job_pb2.JOB_STATE_SUCCEEDED)
    assert view.is_new_turn(event("next"))
    assert not view.is_new_turn(event("job"))


def test_an_interrupt_and_a_failure_say_so() -> None:
    view = ChatView(lambda: NOW)
    cancellation = job_pb2.Cancellation(actor="me", cause=job_pb2.CANCEL_CAUSE_INTERRUPTED, reason="enough")
    assert texts(view, event(cancelled=event_pb2.JobCancelled(cancellation=cancellation))) == [
        "✗ interrupted by me: enough"
    ]
    failure = outcome_pb2.Failure(failure_class=outcome_pb2.FAILURE_CLASS_AUTH, message="not logged in")
    (text,) = texts(view, event("two", failed=event_pb2.JobFailed(failure=failure)))
    assert text.startswith("✗ failed: ")
    assert "not logged in" in text
    assert view.last_state == job_pb2.JOB_STATE_FAILED


def test_x3_what_is_asked_is_shown_once_and_known_until_it_is_resolved() -> None:
    view = ChatView(lambda: NOW)
    asked = session_pb2.OpenInput()
    asked.CopyFrom(PERMISSION)
    asked.expire_time.FromDatetime(NOW + timedelta(minutes=9))
    (text,) = texts(view, pb.ConverseInputs(open=[asked]), pb.ConverseInputs(open=[asked]))
    assert text == "? Bash rm -r x (request r1 of job job), denied in 9m"
    assert view.asked == asked
    assert texts(view, pb.ConverseInputs()) == []
    assert view.asked is None


def test_the_end_of_a_session_says_why() -> None:
    view = ChatView(lambda: NOW)
    lost = session_pb2.Session(state=session_pb2.SESSION_STATE_LOST, close_reason="its worker is gone")
    end = pb.ConverseEnd(reason=watch_pb2.END_REASON_SESSION_ENDED, session=lost)
    assert texts(view, end) == ["the session is lost: its worker is gone"]
    assert view.over


def test_a_session_in_full_and_as_a_line() -> None:
    session = session_pb2.Session(id="s1", state=session_pb2.SESSION_STATE_IDLE, turn_count=2, claude_session_id="c1")
    session.spec.display_name = "mine"
    session.create_time.FromDatetime(NOW - timedelta(hours=2))
    session.binding.worker_id = "w1"
    session.binding.process.process_id = 77
    session.open_inputs.append(PERMISSION)
    lines = "\n".join(session_text.session_lines(session, NOW))
    for part in ("s1  (mine)", "IDLE", "2 ended", "w1, binding 0", "77, idle", "c1"):
        assert part in lines
    assert "conversation c1\n" in lines
    assert "asks         Bash rm -r x" in lines
    assert session_text.session_table([session], NOW)[1].split()[:5] == ["s1", "IDLE", "2h", "2", "w1"]
