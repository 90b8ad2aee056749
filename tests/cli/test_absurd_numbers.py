"""Numbers and sizes that nobody means: each ends as wrong usage that names it, and none rounds to "no limit"."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from headrace.cli.app import app


def numbers(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every option that takes a number: the words of its command, and its name."""
    for name, inner in getattr(command, "commands", {}).items():
        yield from numbers(inner, (*path, name))
    for parameter in command.params:
        if getattr(parameter, "min", None) is not None:
            yield path, next(option for option in parameter.opts if option.startswith("--"))


NUMBERS = list(numbers(typer.main.get_command(app)))


def test_the_options_that_take_numbers_are_found() -> None:
    assert {(("queue", "create"), "--burst"), (("run",), "--max-cost"), (("job", "logs"), "--last")} <= set(NUMBERS)


@pytest.mark.parametrize(("path", "option"), NUMBERS)
@pytest.mark.parametrize("value", ["1" + 30 * "0", "nan"])
def test_a_number_that_no_field_holds_is_wrong_usage(
    headrace_command: Any, answers: Any, path: tuple[str, ...], option: str, value: str
) -> None:
    # Two words, for the commands that need some: what is given is read before what is missing is told.
    result = headrace_command(*path, option, value, "x", "y", env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert option in result.stderr
    assert "Traceback" not in result.stderr
    assert answers.requests == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("job", "submit", "handler", "h", "--cpu", "0.0001"), "cpus is 0.0001"),
        (("job", "submit", "claude", "hi", "--max-cost", "0.0000001"), "max_cost_usd is 1e-07"),
        (("budget", "set", "--usd", "0.0000001"), "max_cost_usd is 1e-07"),
    ],
)
def test_an_amount_that_would_round_to_none_is_wrong_usage(
    headrace_command: Any, answers: Any, arguments: tuple[str, ...], named: str
) -> None:
    result = headrace_command(*arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert named in result.stderr
    assert answers.requests == []


def test_a_request_that_no_call_can_carry_is_wrong_usage_and_is_not_sent(headrace_command: Any, answers: Any) -> None:
    result = headrace_command("job", "submit", "claude", "-", input="x" * 5 * 1024 * 1024)
    assert result.exit_code == 2
    assert re.search(r"the request has 52\d{5} bytes; at most 4194304 fit into one call", result.stderr)
    assert answers.requests == []
