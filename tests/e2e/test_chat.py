"""`headrace chat` as a person has it: on a terminal, with a permission, an interrupt, and a return; and without one."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from e2e.control_plane import ControlPlane
from e2e.terminal import Terminal
from headrace import blocking
from headrace.v1 import job_pb2, session_pb2

SLEEP = {"name": "Bash", "input": {"command": "sleep 60"}}
TOUCH = {"name": "Bash", "input": {"command": "touch made"}}
DETACHED = re.compile(r"Return with: headrace chat ([0-9a-f-]{36})")


def script(*steps: dict[str, Any]) -> str:
    return f"SIMULATE<<{json.dumps(steps)}>>"


@pytest.fixture
def chat(shared_plane: ControlPlane) -> Iterator[Callable[..., Terminal]]:
    started: list[Terminal] = []

    def start(*words: str) -> Terminal:
        terminal = Terminal(["chat", *words], shared_plane.address)
        started.append(terminal)
        terminal.wait_for("/help")
        return terminal

    yield start
    for terminal in started:
        terminal.close()


def session_of(terminal: Terminal) -> str:
    """The id that the command named when it ended."""
    found = DETACHED.search(terminal.shown)
    assert found is not None, terminal.shown[-2000:]
    return found.group(1)


def test_x3_a_person_is_asked_at_the_terminal_and_comes_back_later(
    chat: Callable[..., Terminal], client: blocking.Client
) -> None:
    terminal = chat()
    terminal.press(script({"text": "I will make it", "tools": [TOUCH]}, {"text": "it is made"}) + "\r")
    terminal.wait_for("? Bash touch made")
    terminal.press("y\r")
    terminal.wait_for("it is made")
    terminal.wait_for("✓")
    terminal.press("\x04")
    assert terminal.ended() == 0
    session = client.sessions.get(session_of(terminal))
    assert (session.state, session.turn_count) == (session_pb2.SESSION_STATE_IDLE, 1)
    back = chat(session.id)
    back.wait_for("● Bash touch made")

    back.press("/close\r")
    assert back.ended() == 0
    assert client.sessions.get(session.id).state == session_pb2.SESSION_STATE_CLOSED


def test_x4_ctrl_c_ends_the_turn_and_not_the_session(chat: Callable[..., Terminal], client: blocking.Client) -> None:
    terminal = chat()
    terminal.press(script({"text": "I wait", "tools": [SLEEP]}) + "\r")
    terminal.wait_for("● Bash sleep 60")
    terminal.press("\x03")
    terminal.wait_for("interrupted")
    terminal.press(script({"text": "still here"}) + "\r")
    terminal.wait_for("✓")
    terminal.press("\x04")
    assert terminal.ended() == 0
    turns = list(client.session(session_of(terminal)).turns())
    assert [turn.state for turn in turns] == [job_pb2.JOB_STATE_SUCCEEDED, job_pb2.JOB_STATE_CANCELLED]


def typed(plane: ControlPlane, lines: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The command without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "headrace.cli", "chat", *words],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**plane.environment, "HEADRACE_SERVER": plane.address},
    )


def test_without_a_terminal_each_line_is_a_message_and_the_end_waits_for_the_answers(
    shared_plane: ControlPlane,
) -> None:
    lines = script({"text": "one"}) + "\n" + script({"text": "two"}) + "\n"
    ran = typed(shared_plane, lines, "--no-ask")
    assert (ran.returncode, ran.stdout) == (0, "one\ntwo\n"), ran.stderr
    assert DETACHED.search(ran.stderr)


def test_nobody_is_told_to_return_to_a_session_that_has_ended(
    shared_plane: ControlPlane, client: blocking.Client
) -> None:
    session = client.sessions.create()
    session.close("enough")
    ran = typed(shared_plane, "hello\n", session.id)
    assert (ran.returncode, DETACHED.search(ran.stderr)) == (1, None), ran.stderr
    assert "the session is closed: enough" in ran.stderr
