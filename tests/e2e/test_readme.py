"""What README.md shows is run as it stands there: the Python programs, the calls with grpcurl, commands in order."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from e2e.control_plane import BIN, ControlPlane
from headrace import tasks
from headrace.cli.app import app

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ADDRESS = "localhost:7410"
SECONDS = 60.0
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PROGRAMS = [code for language, code in BLOCKS if language == "python" and "connect(" in code]
HANDLERS = next(code for language, code in BLOCKS if language == "python" and "worker.run()" in code)
NOUNS = ("queue", "schedule", "budget", "capacity", "settings")
COMMANDS = [
    [line for line in code.splitlines() if line.startswith("headrace")]
    for language, code in BLOCKS
    if not language and code.startswith(tuple(f"headrace {noun} " for noun in NOUNS))
]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """As the README starts it."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), "--claude", "simulated", "--allow-command", "echo") as plane:
        yield plane


def environment(plane: ControlPlane) -> dict[str, str]:
    return {**os.environ, **plane.environment, "HEADRACE_SERVER": plane.address}


def run(plane: ControlPlane, *words: str) -> str:
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=SECONDS, check=False, env=environment(plane), cwd=plane.folder
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("code", PROGRAMS, ids=range(len(PROGRAMS)))
def test_a_program_runs(plane: ControlPlane, code: str) -> None:
    there = code.replace(ADDRESS, plane.address).replace("connect()", f"connect({plane.address!r})")
    assert run(plane, sys.executable, "-c", there)


def test_a_handler_is_called_by_the_command_beside_it(plane: ControlPlane) -> None:
    command = re.findall(r"^headrace (job submit handler add .* -f)$", README, re.MULTILINE)[0]
    program = [sys.executable, "-c", HANDLERS.replace(ADDRESS, plane.address)]
    with subprocess.Popen(program, env=environment(plane), cwd=plane.folder) as worker:
        try:
            said = run(plane, sys.executable, "-m", "headrace.cli", *shlex.split(command))
        finally:
            worker.terminate()
            worker.wait(SECONDS)
    assert said == '{"sum": 3.0}\n'
    assert f"`{said.strip()}`" in README


def test_each_call_with_grpcurl_is_answered(plane: ControlPlane) -> None:
    lines = re.findall(r"^grpcurl .*", README, re.MULTILINE)
    with plane.connect() as client:
        job = client.submit(tasks.command("echo", "hello"))
        job.result()
    assert len(lines) >= 5
    for line in lines:
        _, *words = shlex.split(line.replace(ADDRESS, plane.address).replace('"ID"', f'"{job.id}"'))
        assert run(plane, str(BIN / "grpcurl"), *words), line


@pytest.mark.parametrize("lines", COMMANDS, ids=lambda lines: " ".join(lines[0].split()[1:3]))
def test_commands_of_a_block_do_what_they_say_one_after_the_other(
    plane: ControlPlane, lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in lines:
        words, _, target = line.partition(" > ")
        done = CliRunner().invoke(app, shlex.split(words)[1:], env={"HEADRACE_SERVER": plane.address})
        assert done.exit_code == 0, f"{line}: {done.output}"
        if target:
            Path(target).write_text(done.stdout)


def test_there_is_something_to_run() -> None:
    assert len(PROGRAMS) >= 3
    assert len(COMMANDS) >= 4
