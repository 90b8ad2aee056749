"""Exporting ends in time, whoever listens, and refuses a port that is taken."""

import socket
import time

import pytest
from pydantic import ValidationError

from headrace_server.core.ids import Micros
from headrace_server.rpc.telemetry_export import SHUTDOWN_SECONDS_MAX, start_exporting
from headrace_server.settings import Settings

SLACK_SECONDS = 3.0


def now() -> Micros:
    return Micros(1_700_000_000_000_000)


def test_a_collector_that_is_down_does_not_hold_up_the_end() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        exporting = start_exporting(f"http://127.0.0.1:{taken.getsockname()[1]}", "", "1", "me", now)
        assert exporting.tracer is not None
        exporting.tracer.start_span("lost").end()
        begun = time.monotonic()
        exporting.close()
        assert time.monotonic() - begun < SHUTDOWN_SECONDS_MAX + SLACK_SECONDS


def test_a_port_that_is_taken_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(OSError, match=f"can't show metrics on {address}: address already in use"):
            start_exporting("", address, "1", "me", now)


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "example.com:9464", "127.0.0.1", "127.0.0.1:99999"])
def test_metrics_are_shown_on_loopback_only(address: str) -> None:
    with pytest.raises(ValidationError, match="metrics_listen"):
        Settings(metrics_listen=address)


def test_metrics_are_shown_nowhere_unless_it_is_said_where() -> None:
    assert Settings().metrics_listen == ""
    assert Settings(metrics_listen="localhost:0").metrics_listen == "localhost:0"
    with pytest.raises(ValidationError, match="listen"):
        Settings(listen="")
