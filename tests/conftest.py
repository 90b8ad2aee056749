"""What tests of every area may use: the scripted model server and the real Claude CLI."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from model_server.server import ScriptedModelServer


@pytest.fixture
def model_server() -> Iterator[ScriptedModelServer]:
    """A scripted Messages API on a free port of loopback."""
    with ScriptedModelServer() as server:
        yield server


@pytest.fixture(scope="session")
def real_cli() -> Path:
    """The Claude CLI inside the SDK's wheel; its absence is a failure, not a reason to skip."""
    import claude_agent_sdk

    program = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    assert program.is_file(), f"the SDK's wheel has no program at {program}"
    return program
