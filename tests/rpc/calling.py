"""Calls of servicers on a real store: checked as the pipeline checks them, without its transport."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headrace_server.core.refusal import Refusal, Refused
from headrace_server.rpc.checks.validation import CHECKS
from headrace_server.store.sqlite import SqliteEngine
from store.driving import Bench

CALL: Any = SimpleNamespace(principal="ada", traceparent="")


class Calls:
    """A store; what stands in front of it is said with `serve`."""

    def __init__(self, folder: Path) -> None:
        self.bench = Bench(SqliteEngine(folder))
        self._servicers: tuple[object, ...] = ()

    def serve(self, *servicers: object) -> None:
        """Calls go to the first of them that has the method."""
        self._servicers = servicers

    def call(self, method: str, request: Any) -> Any:
        """A call that is answered."""
        refusal = CHECKS[request.DESCRIPTOR.full_name](request)
        if refusal is not None:
            raise Refused(refusal)
        servicer = next(one for one in self._servicers if hasattr(one, method))
        return self.bench.run(getattr(servicer, method)(request, CALL))

    def refusal(self, method: str, request: Any) -> Refusal:
        """Why a call is refused."""
        with pytest.raises(Refused) as caught:
            self.call(method, request)
        return caught.value.refusal
