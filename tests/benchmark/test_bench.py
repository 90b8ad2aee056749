"""`scripts/bench`: that it measures, tells machines what it found, and leaves nothing behind. Never how fast it was."""

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parents[2] / "scripts" / "bench"
SECONDS_MAX = 60


@pytest.fixture
def temporary() -> Iterator[Path]:
    """A folder with a short name: the server puts its socket elsewhere when a path is too long for one."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        yield Path(folder)


def run(*arguments: str, temporary: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(temporary)}
    return subprocess.run(
        [BENCH, *arguments], capture_output=True, text=True, timeout=SECONDS_MAX, check=False, env=environment
    )


def test_a_row_is_told_to_machines_beside_its_floor(temporary: Path) -> None:
    ended = run("--quick", "--rows", "submit", "--json", temporary=temporary)

    assert ended.returncode == 0, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    assert set(found) == {"size", "seconds", "environment", "floors", "figures"}
    assert found["size"] == "quick"
    assert set(found["environment"]) >= {"cpus", "python", "grpcio", "sqlite", "fdatasync_p50_millis"}
    assert [figure["unit"] for figure in found["figures"]] == ["calls/s", "ms", "ms"]
    rate = found["figures"][0]
    assert rate["row"] == "submit"
    assert rate["ours"] > 0
    assert rate["floor"]["value"] > 0
    assert rate["target"] == {"of": "ratio", "bound": "≥", "value": 0.85}
    assert rate["met"] is (rate["ratio"] >= 0.85)
    assert list(temporary.iterdir()) == []


def test_a_row_that_does_not_exist_is_refused_with_those_that_do(temporary: Path) -> None:
    ended = run("--rows", "submit,nonesuch", temporary=temporary)

    assert ended.returncode == 2
    assert "no such row: nonesuch" in ended.stderr
    assert "handlers" in ended.stderr
    assert list(temporary.iterdir()) == []
