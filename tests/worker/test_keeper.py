"""The keeper alone, spoken to as the worker does: it ends its tree whatever becomes of the worker, and proves it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.control_plane import wait_for
from headrace_worker import keeper as keeper_module

SECONDS = 20.0


class Kept:
    """A keeper under test, and the channel to it."""

    def __init__(self, arguments: list[str], folder: Path, deadline: float | None = None) -> None:
        stdin, stdin_end = os.pipe()
        self.stdin_end = stdin_end
        out = os.open(folder / "out", os.O_CREAT | os.O_RDWR)
        spec = os.memfd_create("spec")
        body = {
            "argv": arguments,
            "cwd": str(folder),
            "env": {"PATH": os.environ["PATH"]},
            "stdin": stdin,
            "stdout": out,
            "stderr": out,
            "deadline": deadline,
            "orphan_grace_seconds": 0.2,
            "user": None,
        }
        os.write(spec, json.dumps(body).encode())
        self.control, end = socket.socketpair()
        self.control.settimeout(SECONDS)
        handles = [stdin, out, spec]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper_module.__file__, str(spec), str(end.fileno())],
            pass_fds=(*handles, end.fileno()),
            start_new_session=True,
        )
        end.close()
        for handle in handles:
            os.close(handle)
        self._lines = self.control.makefile("rb")

    def hear(self) -> dict[str, Any]:
        event: dict[str, Any] = json.loads(self._lines.readline())
        return event

    def say(self, **command: Any) -> None:
        self.control.sendall(json.dumps(command).encode() + b"\n")

    def hang_up(self) -> None:
        self._lines.close()
        self.control.close()

    def close(self) -> None:
        self.hang_up()
        os.close(self.stdin_end)
        self.process.wait(SECONDS)


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[list[Kept]]:
    made: list[Kept] = []
    yield made
    for one in made:
        one.close()


def keep(kept: list[Kept], folder: Path, script: str, deadline: float | None = None) -> Kept:
    one = Kept([sys.executable, "-c", script], folder, deadline)
    kept.append(one)
    return one


STUBBORN_GRANDCHILD = """
import os, signal, sys, time
for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        open("grandchild", "w").write(f"{os.getpid()}\\n")
        time.sleep(600)
    os._exit(0)
os.wait()
"""


def test_exit_status_then_gone_then_no_keeper(kept: list[Kept], tmp_path: Path) -> None:
    one = keep(kept, tmp_path, "raise SystemExit(7)")
    assert one.hear()["event"] == "started"
    assert one.hear() == {"event": "exited", "code": 7, "signal": 0}
    assert one.hear() == {"event": "gone", "survivors": 0}
    assert one.process.wait(SECONDS) == 0


def test_signal_is_reported_as_such(kept: list[Kept], tmp_path: Path) -> None:
    one = keep(kept, tmp_path, "import os; os.kill(os.getpid(), 11)")
    one.hear()
    assert one.hear() == {"event": "exited", "code": 0, "signal": 11}


def test_program_that_can_not_start_is_refused(kept: list[Kept], tmp_path: Path) -> None:
    one = Kept(["/no/such/program"], tmp_path)
    kept.append(one)
    assert one.hear()["event"] == "refused"


def test_l7_orphan_in_another_session_ends_when_the_worker_is_gone(
    kept: list[Kept], tmp_path: Path, processes: Any
) -> None:
    one = keep(kept, tmp_path, STUBBORN_GRANDCHILD + "time.sleep(600)")
    program = one.hear()["pid"]
    grandchild = int(processes.wait_file(tmp_path / "grandchild"))
    one.hang_up()
    assert one.process.wait(SECONDS) == 0
    assert not processes.is_alive(program)
    assert not processes.is_alive(grandchild)


def test_gone_waits_for_an_adopted_orphan(kept: list[Kept], tmp_path: Path, processes: Any) -> None:
    one = keep(kept, tmp_path, STUBBORN_GRANDCHILD)
    one.hear()
    assert one.hear() == {"event": "exited", "code": 0, "signal": 0}
    grandchild = int(processes.wait_file(tmp_path / "grandchild"))
    assert processes.children_of(one.process.pid) == [grandchild]
    one.say(signal=signal.SIGKILL, to="tree")
    assert one.hear() == {"event": "gone", "survivors": 0}
    assert not processes.is_alive(grandchild)


def test_l7_deadline_ends_the_tree_without_the_worker(kept: list[Kept], tmp_path: Path) -> None:
    begin = time.monotonic()
    one = keep(kept, tmp_path, "import time; time.sleep(600)", keeper_module.boot_seconds() + 1.0)
    one.hear()
    assert one.hear() == {"event": "exited", "code": 0, "signal": signal.SIGTERM}
    assert one.hear()["event"] == "gone"
    assert time.monotonic() - begin >= 0.9


def test_a_renewed_deadline_lets_the_program_go_on(kept: list[Kept], tmp_path: Path) -> None:
    one = keep(kept, tmp_path, "import time; time.sleep(1.5)", keeper_module.boot_seconds() + 1.0)
    one.hear()
    one.say(deadline=keeper_module.boot_seconds() + 600)
    assert one.hear() == {"event": "exited", "code": 0, "signal": 0}


def test_keeper_survives_signals_meant_for_others(kept: list[Kept], tmp_path: Path) -> None:
    one = keep(kept, tmp_path, "import sys; sys.stdin.read(); raise SystemExit(3)")
    one.hear()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(one.process.pid, number)
    os.close(one.stdin_end)
    one.stdin_end = os.open(os.devnull, os.O_RDONLY)
    assert one.hear() == {"event": "exited", "code": 3, "signal": 0}


def test_program_starts_with_default_signals_and_only_its_streams(kept: list[Kept], tmp_path: Path) -> None:
    script = (
        "import os, signal, sys\n"
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()\n"
        "assert sorted(map(int, os.listdir('/proc/self/fd')))[:3] == [0, 1, 2]\n"
        "assert len(os.listdir('/proc/self/fd')) == 4, os.listdir('/proc/self/fd')\n"
        "assert os.getsid(0) == os.getpid()\n"
    )
    one = keep(kept, tmp_path, script)
    one.hear()
    assert one.hear() == {"event": "exited", "code": 0, "signal": 0}, (tmp_path / "out").read_text()


def test_program_heeds_what_a_worker_in_the_background_ignores(kept: list[Kept], tmp_path: Path) -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    try:
        one = keep(kept, tmp_path, "print([line for line in open('/proc/self/status') if 'SigIgn' in line][0][-9:-1])")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert one.hear()["event"] == "started"
    assert one.hear()["event"] == "exited"
    # Python itself ignores SIGPIPE and SIGXFSZ.
    assert int((tmp_path / "out").read_text(), 16) == 1 << (signal.SIGPIPE - 1) | 1 << (signal.SIGXFSZ - 1)


def test_stopped_process_ends_on_term(kept: list[Kept], tmp_path: Path) -> None:
    one = keep(kept, tmp_path, "import os, signal, time; os.kill(os.getpid(), signal.SIGSTOP); time.sleep(600)")
    program = one.hear()["pid"]
    wait_for(lambda: (keeper_module.read_stat(program) or ("",))[0] == "T", "it has stopped")
    one.say(signal=signal.SIGTERM, to="tree")
    assert one.hear() == {"event": "exited", "code": 0, "signal": signal.SIGTERM}


def test_signal_to_the_program_alone_spares_its_children(kept: list[Kept], tmp_path: Path, processes: Any) -> None:
    one = keep(kept, tmp_path, STUBBORN_GRANDCHILD + "time.sleep(600)")
    one.hear()
    grandchild = int(processes.wait_file(tmp_path / "grandchild"))
    one.say(signal=signal.SIGUSR1, to="program")
    assert one.hear()["signal"] == signal.SIGUSR1
    assert processes.is_alive(grandchild)
    one.say(signal=signal.SIGKILL, to="tree")
    assert one.hear() == {"event": "gone", "survivors": 0}


def test_program_dies_with_a_killed_keeper(kept: list[Kept], tmp_path: Path, processes: Any) -> None:
    one = keep(kept, tmp_path, "import time; time.sleep(600)")
    program = one.hear()["pid"]
    one.process.kill()
    processes.wait_dead(program)
