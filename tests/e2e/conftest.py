"""Control planes for the end-to-end tests: one to share, and as many of a test's own as it likes."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from e2e.control_plane import ControlPlane
from e2e.remote_worker import RemoteWorker
from headrace import blocking
from headrace.v1 import capacity_pb2
from model_server.server import ScriptedModelServer

StartControlPlane = Callable[..., ControlPlane]
COMMANDS = tuple(option for name in ("sh", "cat", "printf") for option in ("--allow-command", name))


@pytest.fixture(scope="session")
def shared_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """One control plane on the simulated CLI for all tests that do not disturb each other."""
    options = ("--claude", "simulated", *COMMANDS)
    with ControlPlane(tmp_path_factory.mktemp("plane"), *options, HEADRACE_HEARTBEAT_SECONDS="1") as plane:
        yield plane


def open_capacity(client: blocking.Client) -> None:
    """What a test before has closed, e.g. by a credential that is refused, keeps no job of this one waiting."""
    for domain in client.capacity.list():
        if domain.state != capacity_pb2.CAPACITY_STATE_OPEN or domain.max_concurrency:
            client.capacity.open(domain.name, reason="the next test")


@pytest.fixture
def client(shared_plane: ControlPlane) -> Iterator[blocking.Client]:
    with shared_plane.connect() as client:
        open_capacity(client)
        yield client


@pytest.fixture
def start_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartControlPlane]:
    """Starts control planes of the test's own: `start_plane(*options, **environment)`."""
    with ExitStack() as stack:

        def start(*options: str, **environment: str) -> ControlPlane:
            plane = ControlPlane(tmp_path_factory.mktemp("plane"), *COMMANDS, *options, **environment)
            return stack.enter_context(plane)

        yield start


@pytest.fixture(scope="session")
def models() -> Iterator[ScriptedModelServer]:
    """The scripted model server that the real CLI of `real_plane` asks."""
    with ScriptedModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def real_plane(
    real_cli: Path, models: ScriptedModelServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ControlPlane]:
    """A control plane on the real CLI, which knows no way out of this machine."""
    with ControlPlane(
        tmp_path_factory.mktemp("real"),
        *("--claude", str(real_cli)),
        ANTHROPIC_BASE_URL=models.url,
        ANTHROPIC_API_KEY="sk-made-up",
    ) as plane:
        yield plane


@pytest.fixture
def real_client(real_plane: ControlPlane) -> Iterator[blocking.Client]:
    with real_plane.connect() as client:
        open_capacity(client)
        yield client


@pytest.fixture
def start_worker() -> Iterator[Callable[..., RemoteWorker]]:
    """Starts remote workers: `start_worker(plane, name, *options)`."""
    with ExitStack() as stack:

        def start(plane: ControlPlane, name: str, *options: str) -> RemoteWorker:
            worker = RemoteWorker(plane, name, *options)
            stack.callback(worker.close)
            return worker

        yield start
