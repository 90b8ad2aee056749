"""How a channel to a Headrace server is made: address forms, options, retry policy. No environment is read here.

The reasons for the numbers: keepalive finds a dead connection in 45 s; only UNAVAILABLE is retried, with throttling,
and only where a repeated call is harmless; follow streams resume by cursor and are never retried by gRPC.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import grpc
import grpc.aio

DEFAULT_ADDRESS = "localhost:7410"
DEFAULT_PORT = 7410
DEADLINE_SECONDS = 30.0
"""Of every unary call, unless `connect` was told otherwise."""
MESSAGE_BYTES_MAX = 4 * 1024 * 1024
KEEPALIVE_SECONDS = 20
KEEPALIVE_TIMEOUT_SECONDS = 25
"""The answer to a ping comes behind everything that is on its way: on a slow network that takes a while."""
CONNECT_MILLIS_MIN = 2_500
WINDOW_BYTES = 128 * 1024
"""What a server may send ahead of a reader, or a whole message. Enough for more than 1 MB/s over 100 ms."""

RETRIED_METHODS = {
    "headrace.v1.JobService": (
        "SubmitJob",
        "SubmitJobs",
        "GetJob",
        "ListJobs",
        "CancelJob",
        "CancelJobs",
        "RetryJob",
        "ExplainJob",
    ),
    "headrace.v1.QueueService": (
        "GetQueue",
        "ListQueues",
        "PauseQueue",
        "ResumeQueue",
        "DrainQueue",
        "GetQueueStatistics",
    ),
    "headrace.v1.ScheduleService": (
        "GetSchedule",
        "ListSchedules",
        "PauseSchedule",
        "ResumeSchedule",
        "TriggerSchedule",
        "PreviewSchedule",
    ),
    "headrace.v1.WorkerService": ("GetWorker", "ListWorkers", "DrainWorker"),
    "headrace.v1.AdminService": ("ListAuditEntries",),
}
"""Calls that are idempotent, by nature or by their request id."""

Option = tuple[str, str | int]


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server listens: as a person writes it, and as gRPC wants it."""

    text: str
    target: str
    unix: bool


def parse_address(text: str) -> Address:
    """Reads `host:port`, `host` or `unix:PATH`. Raises ValueError with what is wrong."""
    if text.startswith("unix:"):
        if not text.removeprefix("unix:").removeprefix("//"):
            raise ValueError("an address `unix:PATH` needs a path")
        return Address(text, text, unix=True)
    if "://" in text or "/" in text:
        raise ValueError(f"{text!r} is not an address: write host:port or unix:PATH")
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(DEFAULT_PORT)
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not an address: write host:port or unix:PATH")
    return Address(f"{host}:{port}", f"dns:///{host}:{port}", unix=False)


def service_config() -> str:
    """Retries as gRPC does them: UNAVAILABLE only, throttled so that a server in trouble isn't flooded."""
    names = [
        {"service": service, "method": method} for service, methods in RETRIED_METHODS.items() for method in methods
    ]
    policy = {
        "maxAttempts": 5,
        "initialBackoff": "0.1s",
        "maxBackoff": "1s",
        "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"],
    }
    return json.dumps(
        {
            "methodConfig": [{"name": names, "retryPolicy": policy}],
            "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
        }
    )


def options(address: Address) -> list[Option]:
    """The channel options for an address."""
    chosen: list[Option] = [
        ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000),
        ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        # What says how long an answer to a ping is waited for; without it that is a minute, whatever stands above.
        ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_SECONDS * 1000),
        # Probing would have the server send megabytes ahead, and on a slow network answers to pings come behind them.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.service_config", service_config()),
        ("grpc.enable_retries", 1),
        ("grpc.service_config_disable_resolution", 1),
        ("grpc.initial_reconnect_backoff_ms", 200),
        # How long a connection may take at least, not how long is waited between two: a slow network has to do, too.
        ("grpc.min_reconnect_backoff_ms", CONNECT_MILLIS_MIN),
        ("grpc.max_reconnect_backoff_ms", 5_000),
    ]
    if address.unix:
        chosen.append(("grpc.default_authority", "localhost"))
    if address.unix or address.text.startswith(("localhost:", "127.", "[::1]:")):
        chosen.append(("grpc.enable_http_proxy", 0))
    return chosen


def open_aio(address: Address, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
    """A channel for asyncio; with credentials it is secure."""
    if credentials is None:
        return grpc.aio.insecure_channel(address.target, options=options(address))
    return grpc.aio.secure_channel(address.target, credentials, options=options(address))


def open_blocking(address: Address, credentials: grpc.ChannelCredentials | None) -> grpc.Channel:
    """A channel for threads; with credentials it is secure."""
    if credentials is None:
        return grpc.insecure_channel(address.target, options=options(address))
    return grpc.secure_channel(address.target, credentials, options=options(address))
