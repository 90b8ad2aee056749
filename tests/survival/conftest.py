"""Control planes for the survival tests: one in this process to throw things at, and real ones to kill."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from e2e.control_plane import ControlPlane
from survival.served import Served

StartControlPlane = Callable[..., ControlPlane]


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One control plane for all garbage. It has to serve to the end, and its store is checked then."""
    with Served(tmp_path_factory.mktemp("served") / "data") as served:
        yield served


@pytest.fixture
def start_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartControlPlane]:
    """Starts real control planes of the test's own: `start_plane(*options, **environment)`."""
    with ExitStack() as stack:

        def start(*options: str, **environment: str) -> ControlPlane:
            return stack.enter_context(ControlPlane(tmp_path_factory.mktemp("plane"), *options, **environment))

        yield start
