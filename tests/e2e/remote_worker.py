"""Workers as a user starts them beside a control plane, each in a data folder of its own."""

import shutil
import signal
import subprocess
import sys

from e2e.control_plane import DEADLINE_SECONDS, ControlPlane

SHORT_LEASE = {"HEADRACE_LEASE_SECONDS": "4", "HEADRACE_RENEWAL_SECONDS": "0.4"}


class RemoteWorker:
    """`headrace work` in a data folder of its own."""

    def __init__(self, plane: ControlPlane, name: str, *options: str) -> None:
        self.name = name
        self.data = plane.root / name
        self._log = (plane.root / f"{name}.err").open("a")
        folder = ("--data", str(self.data), "--allow-root", str(plane.folder))
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "headrace_worker", "--server", plane.address, "--id", name, *folder),
                *("--claude", "none", "--allow-command", "sh", "--slots", "1", *options),
            ],
            env=plane.environment,
            stderr=self._log,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def vanish(self) -> None:
        """kill -9, and its disk is gone."""
        self.signal(signal.SIGKILL)
        self._process.wait(DEADLINE_SECONDS)
        shutil.rmtree(self.data)
