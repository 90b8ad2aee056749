"""What a person at a terminal meets: errors are one clear line each, answers go to standard output, exit codes tell."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import pytest

from e2e.control_plane import BIN, DEADLINE_SECONDS, ControlPlane, Gate, wait_for
from headrace import blocking, command
from headrace.v1 import job_pb2

HEADRACE = str(BIN / "headrace")


class Terminal:
    """Runs the command as a person would, with the address in a variable."""

    def __init__(self, folder: Path, address: str = "") -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
        if address:
            self.environment["HEADRACE_SERVER"] = address

    def run(self, *words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HEADRACE, *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=DEADLINE_SECONDS,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [HEADRACE, *words],
            env=self.environment,
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def says(self, *words: str, code: int = 0) -> str:
        done = self.run(*words)
        assert done.returncode == code, done.stderr
        return done.stdout


@pytest.fixture
def terminal(shared_plane: ControlPlane, client: blocking.Client, tmp_path: Path) -> Terminal:
    return Terminal(tmp_path, shared_plane.address)


def refused(folder: Path, words: Sequence[str], code: int, variables: Mapping[str, str] = MappingProxyType({})) -> str:
    """The one line that `headrace serve` says when it can't serve."""
    terminal = Terminal(folder)
    terminal.environment |= variables
    done = terminal.run("serve", "--data", str(folder / "d"), "--no-worker", *words)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("headrace serve: ")
    return line


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(tmp_path, ("--listen", f"127.0.0.1:{port}"), code=1)
    assert line == f"headrace serve: can't listen on 127.0.0.1:{port}: address already in use"


def test_a_data_folder_in_use_names_who_uses_it(shared_plane: ControlPlane, tmp_path: Path) -> None:
    line = refused(tmp_path, ("--data", str(shared_plane.data), "--listen", "127.0.0.1:0"), code=1)
    assert f"{shared_plane.data} is in use" in line
    assert f"process {shared_plane.pid}" in line


@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", "192.0.2.1", "example.org"])
def test_an_address_that_others_could_reach_is_refused_and_it_says_why(tmp_path: Path, host: str) -> None:
    line = refused(tmp_path, ("--listen", f"{host}:7410"), code=2)
    assert "--listen" in line
    assert "not a loopback address" in line
    assert "no authentication" in line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--listen", "7410"), "--listen: '7410' is not HOST:PORT"),
        (("--claude", "/no/such/claude"), "--claude: '/no/such/claude' is not a program"),
        (("--allow-command", "no-such-program"), "--allow-command: 'no-such-program' is not a program"),
        (("--allow-root", "/no/such/folder"), "--allow-root: '/no/such/folder' is not a folder"),
        (("--log-level", "loud"), "--log-level: 'loud' is not one of debug, info, warning, error"),
    ],
)
def test_a_wrong_option_of_serve_is_one_line(tmp_path: Path, words: tuple[str, str], expected: str) -> None:
    assert expected in refused(tmp_path, words, code=2)


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("HEADRACE_LEASE_SECONDS", "1", "HEADRACE_LEASE_SECONDS: Input should be greater than or equal to 2"),
        ("HEADRACE_LEASE_SECONDS", "1", "than or equal to 2, not 1"),
        ("HEADRACE_METRICS_LISTEN", "9464", "HEADRACE_METRICS_LISTEN: '9464' is not HOST:PORT"),
        ("HEADRACE_SLOT_MEMORY_BYTES", "much", "HEADRACE_SLOT_MEMORY_BYTES: 'much' is not a size: write 512MiB, 2GiB"),
        ("HEADRACE_DISK_RESERVE_BYTES", "1X", "HEADRACE_DISK_RESERVE_BYTES: '1X' is not a size: write 512MiB, 2GiB"),
        ("HEADRACE_SCALE_UP_SECONDS", "100", "60 is less than HEADRACE_SCALE_UP_SECONDS, which is 100"),
    ],
)
def test_a_wrong_variable_of_serve_is_named_as_it_was_set(
    tmp_path: Path, variable: str, value: str, expected: str
) -> None:
    assert expected in refused(tmp_path, (), code=2, variables={variable: value})


def test_a_data_folder_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "d").touch()
    why = f"the data folder {tmp_path}/d can't be used: {tmp_path}/d: File exists"
    assert refused(tmp_path, (), code=1) == f"headrace serve: {why}"


def test_no_server_is_one_line_that_says_how_to_start_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = Terminal(tmp_path, f"127.0.0.1:{port}").run("job", "list")
    assert (done.returncode, done.stdout) == (5, "")
    (line,) = done.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "headrace serve" in line


def test_a_run_prints_the_answer_alone_and_the_rest_beside_it(terminal: Terminal) -> None:
    done = terminal.run("run", 'Hi. SIMULATE<<[{"text": "hello there"}]>>')
    assert (done.returncode, done.stdout) == (0, "hello there\n")
    assert "simulated" in done.stderr
    assert "succeeded" in done.stderr
    assert "$" in done.stderr


def test_a_prompt_comes_from_standard_input(terminal: Terminal) -> None:
    assert terminal.run("run", "-", stdin='SIMULATE<<[{"text": "from stdin"}]>>').stdout == "from stdin\n"


def test_the_exit_status_of_a_run_is_the_jobs(terminal: Terminal) -> None:
    failing = 'SIMULATE<<[{"fault": "api_error", "status": 401, "retries": 0}]>>'
    done = terminal.run("run", failing)
    assert done.returncode == 1
    assert "AUTH" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_is_submitted_followed_shown_and_listed(terminal: Terminal) -> None:
    job_id = terminal.says("job", "submit", "command", "--", "sh", "-c", "echo out; echo err >&2").strip()
    followed = terminal.run("job", "logs", "-f", job_id)
    assert (followed.returncode, followed.stdout, followed.stderr) == (0, "out\n", "err\n")
    assert f"job        {job_id}\nstate      SUCCEEDED" in terminal.says("job", "show", job_id)
    shown = json.loads(terminal.says("job", "show", job_id, "-o", "json"))
    assert (shown["id"], shown["state"]) == (job_id, "JOB_STATE_SUCCEEDED")
    assert job_id in terminal.says("job", "list", "--state", "succeeded")
    events = [json.loads(line) for line in terminal.says("job", "logs", job_id, "-o", "json").splitlines()]
    sequences = [int(event["sequence"]) for event in events if "sequence" in event]
    assert sequences == list(range(1, len(sequences) + 1))


def test_a_waiting_job_is_explained_and_cancelled(terminal: Terminal) -> None:
    job_id = terminal.says("job", "submit", "handler", "nobody-has-it", "--input", '{"a": 1}').strip()
    assert "handler tasks are not run" in terminal.says("job", "explain", job_id)
    assert terminal.says("job", "cancel", job_id).strip() == "CANCELLED"
    assert terminal.run("job", "logs", "-f", job_id).returncode == 3


def test_an_interrupt_detaches_and_says_how_to_return(terminal: Terminal, shared_plane: ControlPlane) -> None:
    folder = shared_plane.folder / "detach"
    folder.mkdir()
    gate = Gate(folder / "gate")
    following = terminal.start("job", "submit", "command", "-f", "--folder", str(folder), "--", "cat", "gate")
    gate.hold()
    following.send_signal(signal.SIGINT)
    _, said = following.communicate(timeout=DEADLINE_SECONDS)
    assert following.returncode == 130
    back = said.splitlines()[-1].partition("Return with: ")[2].split()
    assert back[:4] == ["headrace", "job", "logs", "-f"]
    gate.open()
    assert terminal.run(*back[1:]).returncode == 0


@pytest.mark.parametrize("words", [("job", "show", "not-an-id"), ("job", "list", "--filter", "nonsense"), ("run", "")])
def test_what_the_server_refuses_is_said_without_a_traceback(terminal: Terminal, words: tuple[str, ...]) -> None:
    done = terminal.run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("headrace: ")
    assert "Traceback" not in done.stderr


def test_a_worker_of_another_terminal_joins_and_drains(shared_plane: ControlPlane, terminal: Terminal) -> None:
    working = terminal.start(
        *("work", "--server", shared_plane.address, "--id", "other", "--claude", "none"),
        *("--label", "place=elsewhere", "--allow-command", "printf", "--data", str(terminal.folder / "w")),
    )
    wait_for(lambda: "other" in terminal.says("worker", "list"), "it is listed")
    with shared_plane.connect() as client:
        elsewhere = job_pb2.Placement(required_labels={"place": "elsewhere"})
        job = client.submit(command("printf", "hi"), placement=elsewhere)
        job.result()
        assert [attempt.worker_id for attempt in job.get().attempts] == ["other"]
    working.terminate()
    _, said = working.communicate(timeout=DEADLINE_SECONDS)
    assert working.returncode == 0, said
    assert "drained" in said


@pytest.mark.parametrize("command", ["serve", "work", "run", "job submit command"])
def test_every_help_names_the_command_as_it_is_typed(tmp_path: Path, command: str) -> None:
    said = Terminal(tmp_path).says(*command.split(), "--help")
    assert f"Usage: headrace {command} " in said
