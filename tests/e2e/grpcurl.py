"""grpcurl as a person calls it, with the address and reflection only, and its answers as JSON.

It judges nothing: tests do.
"""

import json
import shutil
import subprocess
from typing import Any

from e2e.control_plane import BIN, DEADLINE_SECONDS

Json = dict[str, Any]


class Grpcurl:
    """The program, pointed at a control plane."""

    def __init__(self, address: str, *options: str) -> None:
        program = shutil.which("grpcurl", path=str(BIN))
        assert program, "the development environment brings grpcurl"
        self._start = [program, "-plaintext", "-emit-defaults", *options]
        self._address = address

    def run(self, *words: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
        command = [*self._start, *options, self._address, *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_SECONDS, check=False)

    def command(self, method: str, request: Json) -> list[str]:
        """The words of a call, for who runs it himself."""
        return [*self._start, "-d", json.dumps(request), self._address, method]

    def lines(self, *words: str) -> list[str]:
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    def call(self, method: str, request: Json) -> list[Json]:
        """The answers of a call; one, unless it streams."""
        done = self.run(method, options=("-d", json.dumps(request)))
        assert done.returncode == 0, done.stderr
        return list(documents(done.stdout))

    def refused(self, method: str, request: Json) -> Json:
        """The error of a call that is refused, with its details by type."""
        done = self.run(method, options=("-format-error", "-d", json.dumps(request)))
        assert done.returncode != 0, done.stdout
        error: Json = json.loads(done.stderr)
        details = {detail["@type"].rpartition(".")[2]: detail for detail in error["details"]}
        return {**error, "details": details}


def documents(text: str) -> list[Json]:
    """JSON documents that stand one after the other."""
    found, decoder = [], json.JSONDecoder()
    text = text.strip()
    while text:
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:].strip()
    return found
