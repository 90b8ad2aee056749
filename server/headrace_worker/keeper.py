"""Keeps one process tree: starts a program, adopts everything that it leaves behind, and ends all of it in time.

Run as `python -I -S keeper.py SPEC_FD CONTROL_FD` in a session of its own. It imports the standard library only and
nothing of the worker, so that it outlives any fault there. As a child subreaper it is the parent of every orphan of the
tree: that `waitpid` finds no child left (ECHILD) is the proof that the tree is gone, and it exits only then.
"""

import ctypes
import json
import os
import select
import signal
import socket
import stat
import sys
import time
from typing import Any, NamedTuple, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
CAPABILITY_VERSION = 0x20080522
USER_UMASK = 0o077
KILL_INTERVAL_SECONDS_MIN = 0.01
KILL_INTERVAL_SECONDS_MAX = 1.0
POLL_SECONDS_MAX = 1.0
"""`poll` does not count the time that the host sleeps, the deadline does: look at it at least this often."""
OUT_OF_MEMORY_SCORE = "500"
"""When memory runs out, the kernel takes the program rather than its keeper or the worker."""
PROGRAM_SIGNALS = (
    *(signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP),
    *(signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ),
)
"""What a program does not inherit: Python ignores some of them, and what a shell starts with `&` ignores others."""


class Process(NamedTuple):
    """A process that can't be mistaken for a later one with the same number."""

    pid: int
    start_ticks: int


def boot_seconds() -> float:
    """The clock of deadlines: it goes on while the host sleeps, and nobody can set it."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def prctl(option: int, value: int) -> None:
    """Calls prctl(2)."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def drop_capabilities() -> None:
    """Gives up every capability, ambient ones too."""
    library = ctypes.CDLL(None, use_errno=True)
    header, none = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0), (ctypes.c_uint32 * 6)()
    if library.capset(header, none) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def become(user: dict[str, Any]) -> None:
    """Becomes a user, with its groups and no more; there is no way back."""
    for handle in range(3):
        # A program that opens /dev/stdout anew needs to own it.
        if stat.S_ISFIFO(os.fstat(handle).st_mode):
            os.fchown(handle, user["uid"], user["gid"])
    os.setgroups(user["groups"])
    os.setresgid(user["gid"], user["gid"], user["gid"])
    os.setresuid(user["uid"], user["uid"], user["uid"])
    drop_capabilities()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    os.umask(USER_UMASK)


def read_stat(pid: int) -> tuple[str, int, int] | None:
    """State, parent and start time of a process, or None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0].decode(), int(fields[1]), int(fields[19])


def descendants(root: int) -> list[Process]:
    """Every living process below `root`, parents first, whatever session or group it is in."""
    children: dict[int, list[Process]] = {}
    ended: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        stat = read_stat(int(name))
        if stat is None:
            continue
        state, parent, start_ticks = stat
        children.setdefault(parent, []).append(Process(int(name), start_ticks))
        if state in "ZX":
            ended.add(int(name))
    found: list[Process] = []
    queue = list(children.get(root, ()))
    while queue:
        process = queue.pop()
        queue.extend(children.get(process.pid, ()))
        if process.pid not in ended:
            found.append(process)
    return found


def send_signal(process: Process, number: int) -> None:
    """Signals a process unless it is gone; never one that merely got its number."""
    try:
        handle = os.pidfd_open(process.pid)
    except (ProcessLookupError, OSError):
        return
    try:
        stat = read_stat(process.pid)
        if stat is not None and stat[2] == process.start_ticks:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        pass
    finally:
        os.close(handle)


def exec_program(spec: dict[str, Any], keeper_pid: int, failure: int) -> NoReturn:
    """Becomes the program, or writes why not to `failure`; runs in the forked child."""
    try:
        os.setsid()
        for target, name in enumerate(("stdin", "stdout", "stderr")):
            os.dup2(spec[name], target)
        for number in PROGRAM_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(OUT_OF_MEMORY_SCORE)
        if spec["user"]:
            become(spec["user"])
        # A change of the user would undo it.
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper_pid:
            os._exit(127)
        os.chdir(spec["cwd"])
        os.execve(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        whose = f", as the user {spec['user']['name']}" if spec["user"] else ""
        os.write(failure, json.dumps([error.errno, f"{error}{whose}"]).encode())
    except BaseException as error:
        os.write(failure, json.dumps([0, repr(error)]).encode())
    os._exit(127)


class Keeper:
    """One tree and the channel to the worker."""

    def __init__(self, spec: dict[str, Any], control: socket.socket) -> None:
        self._spec = spec
        self._control = control
        self._received = b""
        self._program = 0
        self._deadline: float | None = spec["deadline"]
        self._kill_at: float | None = None
        self._kill_interval_seconds = KILL_INTERVAL_SECONDS_MIN
        self._killed: set[Process] = set()
        self._wakeup, self._wakeup_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def run(self) -> None:
        """Starts the program and returns when nothing of its tree is left."""
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self._start()
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        while self._reap():
            for handle, _ in poll.poll(self._poll_millis()):
                if handle == self._wakeup:
                    os.read(self._wakeup, 4096)
                elif not self._listen():
                    poll.unregister(self._control)
            self._enforce(boot_seconds())
        self._report({"event": "gone", "survivors": 0})

    def _start(self) -> None:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        keeper_pid = os.getpid()
        self._program = os.fork()
        if self._program == 0:
            exec_program(self._spec, keeper_pid, writer)
        os.close(writer)
        for handle in {self._spec[name] for name in ("stdin", "stdout", "stderr")}:
            os.close(handle)
        failure = os.read(reader, 65536)
        os.close(reader)
        if failure:
            code, message = json.loads(failure)
            self._report({"event": "refused", "errno": code, "message": message})
        else:
            self._report({"event": "started", "pid": self._program})

    def _reap(self) -> bool:
        """Collects who has ended; False when no child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._program:
                code = os.waitstatus_to_exitcode(status)
                self._report({"event": "exited", "code": max(code, 0), "signal": max(-code, 0)})

    def _poll_millis(self) -> float | None:
        if self._kill_at is not None:
            return 1000 * min(max(self._kill_at - boot_seconds(), 0.001), POLL_SECONDS_MAX)
        if self._deadline is None:
            return None
        return 1000 * min(max(self._deadline - boot_seconds(), 0.0), POLL_SECONDS_MAX)

    def _listen(self) -> bool:
        """Obeys what the worker said; False when it will say nothing more."""
        try:
            data = self._control.recv(65536)
        except BlockingIOError:
            return True
        except ConnectionError:
            data = b""
        if not data:
            self._end(self._spec["orphan_grace_seconds"])
            return False
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return True

    def _obey(self, command: dict[str, Any]) -> None:
        if "deadline" in command:
            self._deadline = command["deadline"]
        elif command["to"] == "program":
            stat = read_stat(self._program)
            if stat is not None and stat[1] == os.getpid():
                send_signal(Process(self._program, stat[2]), command["signal"])
        elif command["signal"] == signal.SIGKILL:
            self._kill_at = boot_seconds()
        else:
            self._signal_tree(command["signal"])

    def _end(self, grace_seconds: float) -> None:
        """SIGTERM now, SIGKILL after the grace."""
        kill_at = boot_seconds() + grace_seconds
        if self._kill_at is None:
            self._signal_tree(signal.SIGTERM)
        self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)

    def _enforce(self, now: float) -> None:
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._end(self._spec["orphan_grace_seconds"])
        if self._kill_at is None or now < self._kill_at:
            return
        self._kill(now)

    def _kill(self, now: float) -> None:
        """Kills whoever is left, soon again when somebody new has come up, else ever more rarely."""
        left = set(self._signal_tree(signal.SIGKILL))
        if left <= self._killed:
            self._kill_interval_seconds = min(2 * self._kill_interval_seconds, KILL_INTERVAL_SECONDS_MAX)
        else:
            self._kill_interval_seconds = KILL_INTERVAL_SECONDS_MIN
        self._killed |= left
        self._kill_at = now + self._kill_interval_seconds
        if self._kill_interval_seconds == KILL_INTERVAL_SECONDS_MAX:
            self._report({"event": "left", "count": len(left)})

    def _signal_tree(self, number: int) -> list[Process]:
        processes = descendants(os.getpid())
        for process in processes:
            send_signal(process, number)
            if number != signal.SIGKILL:
                # A stopped process would not notice.
                send_signal(process, signal.SIGCONT)
        return processes

    def _report(self, event: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(event).encode() + b"\n")
        except OSError:
            # The worker is gone, or does not listen: the tree is ended all the same.
            return


def main() -> None:
    """Reads what to run from the first file descriptor and talks over the second."""
    spec_handle, control_handle = int(sys.argv[1]), int(sys.argv[2])
    with os.fdopen(spec_handle, "rb") as file:
        file.seek(0)
        spec = json.loads(file.read())
    control = socket.socket(fileno=control_handle)
    control.setblocking(False)
    for handle in (control_handle, spec["stdin"], spec["stdout"], spec["stderr"]):
        os.set_inheritable(handle, False)
    Keeper(spec, control).run()
    # The proof is given; the interpreter has nothing to put in order that would be worth the worker's waiting.
    os._exit(0)


if __name__ == "__main__":
    main()
