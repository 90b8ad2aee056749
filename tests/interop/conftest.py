"""One control plane for all clients in other languages, and the Node that some of them need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.control_plane import ControlPlane
from interop import npm


@pytest.fixture(scope="session")
def interop_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """No test of this folder disturbs another on it: each has queues, jobs and schedules of its own."""
    options = ("--claude", "simulated", "--allow-command", "sh")
    with ControlPlane(tmp_path_factory.mktemp("plane"), *options) as plane:
        yield plane


@pytest.fixture
def socket(interop_plane: ControlPlane) -> Path:
    """The Unix socket of the control plane, whose callers have the principal `local`."""
    socket: Path = interop_plane.data / "headrace.sock"
    assert socket.is_socket()
    return socket


@pytest.fixture
def folder(interop_plane: ControlPlane, tmp_path: Path) -> Path:
    """A folder of the test's own in which its jobs may run."""
    folder: Path = interop_plane.folder / tmp_path.name
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def node() -> str:
    """The Node program, with the packages of its client in place."""
    try:
        return npm.node_with_packages()
    except npm.Unavailable as reason:
        pytest.skip(str(reason))
