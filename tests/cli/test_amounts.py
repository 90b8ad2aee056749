"""Amounts that nobody can mean end as wrong usage, not as a traceback."""

import pytest
from typer.testing import CliRunner

from headrace.cli import amounts
from headrace.cli.app import app
from headrace.cli.exits import Exit


def test_sizes_are_read_up_to_what_a_field_holds() -> None:
    assert amounts.parse_size("1.5G") == 1.5 * 2**30
    with pytest.raises(ValueError, match="has to be less than 8388608TiB"):
        amounts.parse_size("8388608TiB")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--slots", "3000000000"),
        ("--cpu", "inf"),
        ("--cpu", "1e99"),
        ("--memory", "99999999999TiB"),
        ("--output-max", "99999999999TiB"),
        ("--run-timeout", "999999999999999999999h"),
        ("--in", "999999999999h"),
    ],
)
def test_an_absurd_amount_is_wrong_usage_of_its_option(option: str, value: str) -> None:
    result = CliRunner().invoke(app, ["job", "submit", "command", option, value, "--check", "--", "echo"])
    assert result.exit_code == Exit.USAGE
    assert option in result.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--max-queued", "9" * 30), ("--max-concurrency", "3000000000"), ("--burst", "3000000000")]
    + [(option, "3000000000/1m") for option in ("--rate", "--rate-per-key")],
)
def test_an_absurd_count_is_wrong_usage_of_its_option(option: str, value: str) -> None:
    result = CliRunner().invoke(app, ["queue", "create", "batch", option, value])
    assert result.exit_code == Exit.USAGE
    assert option in result.stderr
