"""The order of commands in help."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

from headrace.cli.ordered import VERBS

typer_main = pytest.importorskip("typer.main")


@pytest.mark.parametrize("noun", ["job", "queue", "schedule"])
def test_commands_of_a_noun_stand_in_the_order_of_their_use(noun: str) -> None:
    app: Any = importlib.import_module("headrace.cli.app").app
    group = typer_main.get_command(app).commands[noun]
    listed = group.list_commands(None)
    assert sorted(listed) == sorted(group.commands)
    assert listed == [verb for verb in VERBS if verb in listed], "each is a verb whose place is known"
