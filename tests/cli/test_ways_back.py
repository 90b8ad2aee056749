"""The command that is printed for going on later: it leads to the same server."""

from __future__ import annotations

import pytest

from headrace.cli import options, submitting


@pytest.mark.parametrize(
    ("variable", "server", "words"),
    [
        ("", "localhost:7410", []),
        ("", "other:1", ["--server", "other:1"]),
        ("here:1", "here:1", []),
        ("here:1", "other:1", ["--server", "other:1"]),
        ("here:1", "localhost:7410", ["--server", "localhost:7410"]),
    ],
)
def test_the_way_back_leads_to_the_same_server(
    monkeypatch: pytest.MonkeyPatch, variable: str, server: str, words: list[str]
) -> None:
    monkeypatch.setenv("HEADRACE_SERVER", variable)
    assert submitting.way_to(["headrace"], options.Connection(server)).split() == ["headrace", *words]
