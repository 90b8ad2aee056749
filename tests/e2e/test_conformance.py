"""What becomes of a turn, with the simulated CLI and with the real one: state, class, decision and events, by a table.

The real one talks to a scripted model server. What the driver makes of each CLI is held beside it, in
tests/worker/test_claude_conformance*, which has the frames, the processes and the transcripts.
"""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import headrace
from e2e.control_plane import ControlPlane
from e2e.story import Story, action_of, class_of, state_of
from headrace import blocking
from headrace.errors import InputResolved
from headrace.v1 import capacity_pb2, event_pb2, input_pb2
from model_server.server import ScriptedModelServer
from worker.conforming import BACK, Spoken

CLOSED_PORT = "http://127.0.0.1:9"
WORDS = "some words that never end at all"
GLOB = {"tools": [{"name": "Glob", "input": {"pattern": "*"}}], "usage": {"input_tokens": 100, "output_tokens": 10}}
TWICE = headrace.retry_policy(max_attempts=2, initial_backoff=0.05, max_backoff=0.1)
BEGUN = ["attempt_assigned", "attempt_started", "init"]
ENDED = ["turn_result", "succeeded"]
AGAIN = ["queued", *BEGUN, *ENDED]
UNTOLD = frozenset({"system", "assistant", "user", "usage", "control"})
"""Kinds of events of which one CLI may have more than the other."""


@dataclass(frozen=True)
class Conforming:
    """A control plane on one kind of CLI."""

    plane: ControlPlane
    client: blocking.Client
    spoken: Spoken

    def session(self, **settings: Any) -> blocking.Session:
        return self.client.sessions.create(**{"retry_policy": TWICE, **settings})

    def reopen(self) -> None:
        """What the service has refused keeps nobody waiting."""
        for domain in self.client.capacity.list():
            if domain.state != capacity_pb2.CAPACITY_STATE_OPEN or domain.max_concurrency:
                self.client.capacity.open(domain.name, reason="the test goes on")


@pytest.fixture(scope="module", params=["simulated", "real"])
def conforming(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conforming]:
    """Each kind of CLI, with a profile of a person's login and one whose service can't be reached."""
    root = tmp_path_factory.mktemp("conform")
    simulated = request.param == "simulated"
    cli = "simulated" if simulated else str(request.getfixturevalue("real_cli"))
    with ScriptedModelServer() as models:
        profiles = (
            profile(root, "login", ANTHROPIC_BASE_URL=models.url, CLAUDE_CODE_OAUTH_TOKEN="made-up"),
            profile(root, "unreachable", ANTHROPIC_BASE_URL=CLOSED_PORT, ANTHROPIC_API_KEY="made-up"),
        )
        environment = {"ANTHROPIC_BASE_URL": models.url, "ANTHROPIC_API_KEY": "made-up"}
        options = ("--claude", cli, "--allow-command", "sleep")
        with (
            ControlPlane(root, *options, HEADRACE_WORKER_PROFILE=",".join(profiles), **environment) as plane,
            plane.connect() as client,
        ):
            yield Conforming(plane, client, Spoken(simulated, (), {}))


def profile(root: Path, name: str, **variables: str) -> str:
    path = root / f"{name}.profile"
    path.touch(mode=0o600)
    path.write_text("".join(f"{variable}={value}\n" for variable, value in variables.items()))
    return f"{name}={path}"


def events(story: Story) -> list[str]:
    """The kinds of events that both have to tell, in order."""
    return [kind for kind in story.kinds if kind not in UNTOLD]


def decisions(story: Story) -> list[tuple[str, str, str, str]]:
    """Class and sign of each failed attempt, what followed, and by which rule."""
    return [
        (class_of(failed.failure), failed.failure.sign, action_of(failed.decision), failed.decision.rule)
        for failed in story.all("attempt_failed")
    ]


@dataclass(frozen=True)
class Row:
    """A failure of the service, and what becomes of it."""

    failure_class: str
    sign: str
    is_retried_by_the_cli: bool
    is_retried: bool

    @property
    def decision(self) -> tuple[str, str, str, str]:
        action, rule = (
            ("RETRY", f"class {self.failure_class} is retried, attempt 1 of 2 failed")
            if self.is_retried
            else ("FAIL", f"class {self.failure_class} is never retried")
        )
        return self.failure_class, self.sign, action, rule

    @property
    def events(self) -> list[str]:
        retries = ["api_retry"] if self.is_retried_by_the_cli else []
        return [
            "submitted",
            *BEGUN,
            *retries,
            "turn_result",
            "attempt_failed",
            *(AGAIN if self.is_retried else ["failed"]),
        ]


ROWS = {
    401: Row("AUTH", "api_retry.error_status=401 error=authentication_failed", True, False),
    404: Row("INVALID", "result.api_error_status=404", False, False),
    413: Row("CONTEXT", "result.api_error_status=413", False, False),
    429: Row("RATE_LIMITED", "result.api_error_status=429", True, True),
    500: Row("OVERLOADED", "result.api_error_status=500", True, True),
    529: Row("OVERLOADED", "result.api_error_status=529", True, True),
}


@pytest.mark.parametrize("status", ROWS)
def test_r2_r3_a_failure_of_the_service_is_decided_by_its_class(conforming: Conforming, status: int) -> None:
    row, session = ROWS[status], conforming.session()
    conforming.reopen()
    story = Story(session.send(conforming.spoken.failing(status))).until_kind("attempt_failed")
    conforming.reopen()
    story.finish()
    assert decisions(story) == [row.decision]
    assert (story.state, events(story)) == ("SUCCEEDED" if row.is_retried else "FAILED", row.events)
    session.close()


def test_r1_a_stated_retry_after_puts_the_next_attempt_off(conforming: Conforming) -> None:
    session = conforming.session()
    conforming.reopen()
    story = Story(session.send(conforming.spoken.failing(429, retry_after=2))).until_kind("attempt_failed")
    conforming.reopen()
    story.finish()
    (failed,) = [event for event in story.events if event.HasField("attempt_failed")]
    assert failed.attempt_failed.decision.next_time.ToNanoseconds() - failed.time.ToNanoseconds() >= 2e9
    assert decisions(story) == [ROWS[429].decision]
    assert (story.state, events(story)) == ("SUCCEEDED", ROWS[429].events)
    session.close()


def test_r2_a_refused_connection_is_retried(conforming: Conforming) -> None:
    session = conforming.session(environment_profile="unreachable")
    fault = conforming.spoken.prompt({"fault": "api_error", "kind": "network"})
    job = session.send(fault if conforming.spoken.simulated else "hello")
    story = Story(job).until_kind("attempt_failed")
    job.cancel("seen enough")
    story.finish()
    rule = "class NETWORK is retried, attempt 1 of 2 failed"
    assert decisions(story)[0] == ("NETWORK", "result.api_error=connection_failed", "RETRY", rule)
    assert events(story)[:7] == ["submitted", *BEGUN, "api_retry", "turn_result", "attempt_failed"]
    assert story.state == "CANCELLED"
    session.close()


def test_x5_a_usage_limit_is_waited_for_and_burns_no_attempt(conforming: Conforming) -> None:
    session = conforming.session(environment_profile="login")
    resets_at = int(time.time()) + 4
    story = Story(session.send(conforming.spoken.limited("five_hour", resets_at))).until_kind("attempt_failed")
    (domain,) = [one for one in conforming.client.capacity.list() if one.name == "login/default"]
    assert domain.cause == capacity_pb2.CAPACITY_CAUSE_QUOTA
    story.finish()
    rule = ("QUOTA", "rate_limit_event.status=rejected", "WAIT_QUOTA", "class QUOTA waits for the reset")
    assert decisions(story) == [rule]
    limited = ["rate_limit", "turn_result", "attempt_failed"]
    again = ["queued", *BEGUN, "rate_limit", *ENDED]
    assert (story.state, events(story)) == ("SUCCEEDED", ["submitted", *BEGUN, *limited, *again])
    begun = [event.time.ToSeconds() for event in story.events if event.HasField("attempt_assigned")]
    assert (begun[1] >= resets_at, story.job.failure_count) == (True, 0)
    session.close()


def test_a_stream_that_is_cut_is_mended_by_the_cli(conforming: Conforming) -> None:
    session = conforming.session()
    story = Story(session.send(conforming.spoken.prompt({"text": "some words, then", "cut": True}, BACK))).finish()
    assert (story.state, events(story)) == ("SUCCEEDED", ["submitted", *BEGUN, "api_retry", *ENDED])
    session.close()


@pytest.mark.parametrize(
    ("limit", "failure_class", "subtype"),
    [({"max_turns": 1}, "TURN_LIMIT", "error_max_turns"), ({"max_cost_usd": 0.0005}, "BUDGET", "error_max_budget_usd")],
)
def test_r2_a_limit_of_the_turn_fails_it(
    conforming: Conforming, limit: dict[str, Any], failure_class: str, subtype: str
) -> None:
    session = conforming.session(**limit)
    story = Story(session.send(conforming.spoken.prompt(GLOB, GLOB, {"text": "never said"}))).finish()
    rule = f"class {failure_class} is never retried"
    assert decisions(story) == [(failure_class, f"result.subtype={subtype}", "FAIL", rule)]
    assert (story.state, events(story)) == ("FAILED", ["submitted", *BEGUN, "turn_result", "attempt_failed", "failed"])
    cheap = {"text": "next", "usage": {"input_tokens": 10, "output_tokens": 1}}
    assert session.send(conforming.spoken.prompt(cheap)).result().text == "next"
    session.close()


@pytest.mark.parametrize(
    ("number", "results"),
    [
        (signal.SIGTERM, {"exit_code=143": []}),
        (signal.SIGKILL, {"signal=9": []}),
        # After SIGINT the CLI ends with 0, mostly after a last result.
        (signal.SIGINT, {"result.terminal_reason=aborted_streaming": ["turn_result"], "exit_code=0": []}),
    ],
)
def test_r6_a_killed_cli_is_a_crash_and_the_turn_goes_on(
    conforming: Conforming, number: signal.Signals, results: dict[str, list[str]]
) -> None:
    """`results`: by the sign of the failure."""
    session = conforming.session()
    # A conversation that was killed before its first message was kept begins anew, and its script with it.
    session.send(conforming.spoken.prompt({"text": "first"})).result()
    story = Story(session.send(conforming.spoken.prompt({"text": WORDS, "hang": True}, BACK)))
    story.until(lambda item: isinstance(item, event_pb2.Delta) and item.text)
    os.kill(cli_of(conforming.plane, story), number)
    story.finish()
    rule = "class CRASH is retried, attempt 1 of 2 failed"
    ((failure_class, sign, action, said_rule),) = decisions(story)
    assert (failure_class, action, said_rule) == ("CRASH", "RETRY", rule)
    assert (story.state, story.job.result.claude.text) == ("SUCCEEDED", BACK["text"])
    assert events(story) == ["submitted", *BEGUN, *results[sign], "attempt_failed", *AGAIN]
    session.close()


def cli_of(plane: ControlPlane, story: Story) -> int:
    """The process id of the CLI."""
    begun = f"--session-id={story.all('init')[-1].claude_session_id}"
    (pid,) = [pid for pid, line in plane.processes().items() if begun in line]
    return pid


@pytest.mark.parametrize("in_a_tool", [False, True])
def test_x4_c1_an_interrupt_cancels_the_turn_and_the_session_goes_on(conforming: Conforming, in_a_tool: bool) -> None:
    sleep = "sleep 60" if conforming.spoken.simulated else "python3 -c 'import time; time.sleep(60)'"
    bash = {"tools": [{"name": "Bash", "input": {"command": sleep, "description": "wait"}}]}
    session = conforming.session(allowed_tools=["Bash"])
    story = Story(session.send(conforming.spoken.prompt(bash if in_a_tool else {"text": WORDS, "hang": True})))
    if in_a_tool:
        story.until_kind("assistant")
    else:
        story.until(lambda item: isinstance(item, event_pb2.Delta) and item.text)
    session.interrupt("enough")
    story.finish()
    ladder = ["cancel_requested", "cancel_stepped", "turn_result", "cancelled"]
    assert (story.state, events(story), story.steps) == ("CANCELLED", ["submitted", *BEGUN, *ladder], ["INTERRUPT"])
    assert session.send(conforming.spoken.prompt({"text": "next"})).result().text == "next"
    session.close()


ASKED = ["submitted", *BEGUN, "input_requested", "input_resolved", *ENDED]


def asking(conforming: Conforming, **settings: Any) -> tuple[blocking.Session, Story, Path]:
    """A turn that asks whether it may write a file; the file."""
    folder = conforming.plane.folder / f"{time.monotonic_ns()}"
    folder.mkdir()
    session = conforming.session(ask=True, folder=str(folder), **settings)
    write = {"name": "Write", "input": {"file_path": str(folder / "made"), "content": "x"}}
    story = Story(session.send(conforming.spoken.prompt({"tools": [write]}, BACK))).until_kind("input_requested")
    return session, story, folder / "made"


def request_of(story: Story) -> str:
    request_id: str = story.all("input_requested")[0].request.request_id
    return request_id


@pytest.mark.parametrize("allow", [True, False])
def test_x3_a_permission_is_given_or_not(conforming: Conforming, allow: bool) -> None:
    session, story, made = asking(conforming)
    session.answer(request_of(story), allow=allow, message="" if allow else "not today")
    story.finish()
    assert (story.state, events(story), made.exists()) == ("SUCCEEDED", ASKED, allow)
    resolution = input_pb2.INPUT_RESOLUTION_ALLOWED if allow else input_pb2.INPUT_RESOLUTION_DENIED
    assert [one.resolution for one in story.all("input_resolved")] == [resolution]
    assert story.job.result.claude.permission_denials == (0 if allow else 1)
    session.close()


def test_x3_a_permission_that_is_given_late_is_waited_for(conforming: Conforming) -> None:
    session, story, made = asking(conforming)
    conforming.client.submit(headrace.command("sleep", "2")).result()
    active = session.get().active_job_id
    assert (state_of(conforming.client.job(active).get()), made.exists()) == ("WAITING_INPUT", False)
    session.answer(request_of(story), allow=True)
    story.finish()
    assert (story.state, events(story), made.exists()) == ("SUCCEEDED", ASKED, True)
    session.close()


def test_c3_a_permission_that_expires_is_denied_and_an_answer_after_that_is_refused(conforming: Conforming) -> None:
    session, story, made = asking(conforming, timeouts=headrace.timeouts(input=0.5))
    story.finish()
    assert (story.state, events(story), made.exists()) == ("SUCCEEDED", ASKED, False)
    assert [one.resolution for one in story.all("input_resolved")] == [input_pb2.INPUT_RESOLUTION_EXPIRED]
    told = [block.tool_result.text for message in story.all("user") for block in message.blocks]
    assert "Nobody answered in time" in told[0]
    with pytest.raises(InputResolved):
        conforming.client.job(story.job.id).answer(request_of(story), allow=True)
    session.close()


def test_x4_turns_in_other_processes_and_forks_tell_the_same(conforming: Conforming) -> None:
    session = conforming.session(idle_timeout=0)
    stories = [Story(session.send(conforming.spoken.prompt({"text": text}))).finish() for text in ("one", "two")]
    fork = session.fork()
    stories.append(Story(fork.send(conforming.spoken.prompt({"text": "three"}))).finish())
    assert [(story.state, events(story)) for story in stories] == [("SUCCEEDED", ["submitted", *BEGUN, *ENDED])] * 3
    first, second, third = (story.job.claude_session_id for story in stories)
    assert (first == second, first == third) == (True, False)
    for one in (session, fork):
        one.close()
