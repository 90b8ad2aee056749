"""The demonstration, as a new user runs it: it ends with the job's status and leaves nothing, on either CLI. The tests
leave nothing either when they are interrupted."""

import os
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from e2e.control_plane import BIN, live_processes, wait_for
from headrace import blocking
from model_server.server import ScriptedModelServer

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "scripts" / "demo"
SECONDS = 60.0


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The environment of a new user, who has no claude, with a folder for temporary files of its own."""
    (tmp_path / "t").mkdir()
    (tmp_path / "bin").mkdir()
    paths = [path for path in os.environ["PATH"].split(os.pathsep) if not Path(path, "claude").exists()]
    return {
        "PATH": os.pathsep.join([str(tmp_path / "bin"), *paths]),
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "TMPDIR": str(tmp_path / "t"),
        "HEADRACE_VENV": str(BIN.parent),
        "HEADRACE_SIMULATOR_PACE": "0",
    }


@pytest.fixture
def with_real_cli(
    environment: dict[str, str], tmp_path: Path, real_cli: Path, model_server: ScriptedModelServer
) -> dict[str, str]:
    """The same, of one who has the real CLI and a key."""
    (tmp_path / "bin" / "claude").symlink_to(real_cli)
    return {**environment, "ANTHROPIC_BASE_URL": model_server.url, "ANTHROPIC_API_KEY": "sk-made-up"}


def demo(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([DEMO, *words], env=environment, capture_output=True, text=True, timeout=SECONDS, check=False)


def assert_nothing_is_left(folder: Path) -> None:
    wait_for(lambda: not processes_in(folder), "its processes end", must=False)
    assert processes_in(folder) == []
    assert list((folder / "t").iterdir()) == []


def processes_in(folder: Path) -> list[str]:
    return [process.line for process in live_processes() if process.mentions(f"{folder}/".encode())]


def test_the_demonstration_on_the_simulated_cli_ends_well(environment: dict[str, str], tmp_path: Path) -> None:
    done = demo(environment)
    assert done.returncode == 0, done.stderr
    assert "using the simulated Claude: there is no claude on the PATH" in done.stdout
    assert "README.md has" in done.stdout, "what it says of the copied folder"
    assert re.search(r"^state +SUCCEEDED  \(simulated\)$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +1  submitted$", done.stdout, re.MULTILINE)
    assert re.search(r"^ +\d+  output: claude assistant$", done.stdout, re.MULTILINE)
    assert "succeeded" in done.stderr
    assert_nothing_is_left(tmp_path)


def test_the_demonstration_takes_the_real_cli_where_it_can(with_real_cli: dict[str, str], tmp_path: Path) -> None:
    done = demo(with_real_cli)
    assert done.returncode == 0, done.stderr
    assert f"using the real Claude: {tmp_path / 'bin' / 'claude'}" in done.stdout
    assert "(no script)" in done.stdout, "what the scripted model says"
    assert re.search(r"^state +SUCCEEDED$", done.stdout, re.MULTILINE)
    assert_nothing_is_left(tmp_path)


def test_the_exit_status_is_that_of_a_job_that_fails(with_real_cli: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "bin" / "claude").unlink()
    program = tmp_path / "bin" / "claude"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "9.9 (Claude Code)" && exit 0\nexit 1\n')
    program.chmod(0o755)
    done = demo(with_real_cli)
    assert done.returncode == 1
    assert re.search(r"^state +FAILED", done.stdout, re.MULTILINE)
    assert_nothing_is_left(tmp_path)


def test_keep_leaves_it_running_and_says_how_to_stop_it(environment: dict[str, str], tmp_path: Path) -> None:
    done = demo(environment, "--keep")
    try:
        assert done.returncode == 0, done.stderr
        *_, run, jobs, watch, _, stop = done.stdout.splitlines()
        assert all(line.startswith(f"  {BIN}/") for line in (run, jobs, watch))
        for line in (run, watch, jobs.replace(" --watch", "")):
            subprocess.run(line, shell=True, env=environment, check=True, capture_output=True, timeout=SECONDS)
        address = re.search(r"serves on (\S+)", done.stdout)
        assert address
        with blocking.connect(address[1]) as client:
            assert len(list(client.list())) == 2
        subprocess.run(stop, shell=True, env=environment, check=True, timeout=SECONDS)
        assert_nothing_is_left(tmp_path)
    finally:
        for process in live_processes():
            if process.mentions(f"{tmp_path}/".encode()):
                os.kill(process.pid, signal.SIGKILL)


def test_an_interrupt_stops_everything(with_real_cli: dict[str, str], tmp_path: Path) -> None:
    """Without a credential the real CLI is not used."""
    del with_real_cli["ANTHROPIC_API_KEY"]
    running = subprocess.Popen(
        [DEMO],
        env={**with_real_cli, "HEADRACE_SIMULATOR_PACE": "20"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stderr
    for line in running.stderr:
        if line.startswith("session "):
            break
    os.killpg(running.pid, signal.SIGINT)
    said, _ = running.communicate(timeout=SECONDS)
    assert running.returncode == 130
    assert "using the simulated Claude: claude has no credential" in said
    assert_nothing_is_left(tmp_path)


def test_an_unknown_word_is_a_usage_error(environment: dict[str, str]) -> None:
    done = demo(environment, "--kepp")
    assert (done.returncode, done.stderr) == (2, "usage: scripts/demo [--keep]\n")


ENDLESS_TEST = """
import subprocess
import pytest
@pytest.fixture
def child():
    with subprocess.Popen(["sleep", "600"], start_new_session=True) as child:
        yield child
        child.kill()
def test_endless(child):
    open(f"{__file__}.begun", "w").close()
    child.wait()
"""


def test_an_interrupt_ends_the_tests_and_those_that_run_beside_them(
    environment: dict[str, str], tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tests = [tree / "tests" / "test_rest.py", tree / "tests" / "e2e" / "test_beside.py"]
    tests[1].parent.mkdir(parents=True)
    for test in tests:
        test.write_text(ENDLESS_TEST)
    (tree / "scripts").mkdir()
    for name in ("test", "environment"):
        shutil.copy(ROOT / "scripts" / name, tree / "scripts")
    running = subprocess.Popen(
        [tree / "scripts" / "test", "-q"], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        wait_for(lambda: all(Path(f"{test}.begun").exists() for test in tests), "both run")
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(SECONDS) == 130
        assert_nothing_is_left(tmp_path)
    finally:
        for process in live_processes():
            if process.mentions(f"{tmp_path}/".encode()):
                os.kill(process.pid, signal.SIGKILL)
