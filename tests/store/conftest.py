"""The engines that the conformance suite runs against, and the check of every store that a test leaves behind."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace_server.store.engine import Engine
from headrace_server.store.sqlite import SqliteEngine
from store.checkers import check_store
from store.driving import Bench, OpenStore

OpenEngine = Callable[[Path], Engine]

ENGINES: dict[str, OpenEngine] = {"sqlite": SqliteEngine}
"""Opens the data of a folder. A further engine is a further line."""


@pytest.fixture(params=sorted(ENGINES))
def open_engine(request: pytest.FixtureRequest) -> OpenEngine:
    """One engine after the other."""
    return ENGINES[request.param]


@pytest.fixture
def reopen(open_engine: OpenEngine, tmp_path: Path) -> Iterator[OpenStore]:
    """Opens the test's store anew, as after a restart: what it held in memory is gone. Checks all of it at the end."""
    opened: list[Bench] = []

    def reopen() -> Bench:
        clock = opened[-1].clock if opened else None
        for earlier in opened:
            earlier.close()
        engine = open_engine(tmp_path / "data")
        opened.append(Bench(engine, clock, seed=len(opened)))
        return opened[-1]

    yield reopen
    try:
        if opened:
            opened[-1].read(check_store)
    finally:
        for one in opened:
            one.close()


@pytest.fixture
def bench(reopen: OpenStore) -> Bench:
    """An open, empty store."""
    return reopen()
