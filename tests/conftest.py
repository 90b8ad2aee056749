"""What tests of every area may use: the scripted model server and the real Claude CLI."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from model_server.process import STREAM_FLAGS, ClaudeProcess
from model_server.server import ScriptedModelServer

# A shell that runs the tests in the background has them ignore it, and what they start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

StartSimulator = Callable[..., ClaudeProcess]


@pytest.fixture
def model_server() -> Iterator[ScriptedModelServer]:
    """A scripted Messages API on a free port of loopback."""
    with ScriptedModelServer() as server:
        yield server


@pytest.fixture
def simulator_environment(tmp_path: Path) -> dict[str, str]:
    """What a simulated CLI may see: no delays, and a config folder of the test's own."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "CLAUDE_CONFIG_DIR": str(tmp_path / "config"),
        "HEADRACE_SIMULATOR_PACE": "0",
    }


@pytest.fixture
def simulator(tmp_path: Path, simulator_environment: dict[str, str]) -> Iterator[StartSimulator]:
    """Starts simulated CLIs in `tmp_path/work`: `simulator(*flags, stream=True, **environment)`."""
    folder = tmp_path / "work"
    folder.mkdir()
    program = [sys.executable, "-m", "headrace_worker.simulator"]
    with ExitStack() as stack:

        def start(*flags: str, stream: bool = True, **environment: str) -> ClaudeProcess:
            arguments = [*program, *(STREAM_FLAGS if stream else ()), *flags]
            process = ClaudeProcess(arguments, folder=folder, environment={**simulator_environment, **environment})
            return stack.enter_context(process)

        yield start


@pytest.fixture(scope="session")
def real_cli() -> Path:
    """The Claude CLI inside the SDK's wheel; its absence is a failure, not a reason to skip."""
    import claude_agent_sdk

    program = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    assert program.is_file(), f"the SDK's wheel has no program at {program}"
    return program
