"""What the tests of the examples share: control planes without a worker, and the examples' own workers beside them."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from e2e.control_plane import DEADLINE_SECONDS, ControlPlane, wait_for
from headrace import blocking
from headrace.v1 import worker_pb2
from model_server.server import ScriptedModelServer

EXAMPLES = Path(__file__).parents[2] / "examples"
StartWorker = Callable[..., subprocess.Popen[bytes]]

sys.path.append(str(EXAMPLES))


@contextmanager
def working(plane: ControlPlane, module: str, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """An example's worker, connected, as a user starts it. What a test has killed is not waited for."""
    worker = subprocess.Popen(
        [sys.executable, "-m", module, str(plane.root / module)],
        env={
            **plane.environment,
            "PYTHONPATH": str(EXAMPLES),
            "HEADRACE_SERVER": plane.address,
            **environment,
        },
        cwd=plane.root,
    )
    try:
        with plane.connect() as client:
            wait_for(lambda: is_connected(client, worker.pid), "the worker is connected")
        yield worker
    finally:
        if worker.poll() is None:
            worker.terminate()
            assert worker.wait(DEADLINE_SECONDS) == 0, "a drained worker ends well"


def is_connected(client: blocking.Client, pid: int) -> bool:
    """Whether the server knows a worker by that process id, which is in its name."""
    ready = worker_pb2.WORKER_STATE_READY
    return any(worker.id.endswith(f"-{pid}") and worker.state == ready for worker in client.workers.list())


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane without a worker of its own, which soon takes a worker for lost."""
    seconds = {"HEADRACE_LEASE_SECONDS": "2", "HEADRACE_RENEWAL_SECONDS": "0.2"}
    with ControlPlane(tmp_path_factory.mktemp("examples"), "--no-worker", **seconds) as plane:
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> Iterator[blocking.Client]:
    with plane.connect() as client:
        yield client


@pytest.fixture
def start_worker(plane: ControlPlane) -> Iterator[StartWorker]:
    """Starts workers: `start_worker(module, **environment)`."""
    with ExitStack() as stack:

        def start(module: str, **environment: str) -> subprocess.Popen[bytes]:
            return stack.enter_context(working(plane, module, **environment))

        yield start


@pytest.fixture(scope="module")
def models() -> Iterator[ScriptedModelServer]:
    """The scripted Messages API."""
    with ScriptedModelServer() as server:
        yield server


@pytest.fixture
def new_user(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody who has only cloned the repository, with places of its own."""
    (tmp_path / "t").mkdir()
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "TMPDIR": str(tmp_path / "t"),
        "HEADRACE_VENV": str(Path(sys.executable).parent.parent),
    }
