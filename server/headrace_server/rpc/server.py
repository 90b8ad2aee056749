"""Builds the gRPC server: its options with their reasons, what it serves, and where it listens.

Workers and clients share one server, so the windows are those that its ingest needs. Which servicers there are is for
`app` to say.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from headrace_server.core import limits
from headrace_server.rpc import health
from headrace_server.rpc.admission import CallClass
from headrace_server.rpc.diagnostics import CHANNELZ, register_channelz, register_reflection
from headrace_server.rpc.pipeline import Pipeline, register

SOCKET_PATH_BYTES_MAX = 100
"""Of a Unix socket; longer ones fail in the kernel or in gRPC, with less to say."""
CONCURRENT_STREAMS_MAX = 1000
WINDOW_BYTES = 65_536
KEEPALIVE_MILLIS = 20_000
KEEPALIVE_TIMEOUT_MILLIS = 25_000
"""The answer to a ping comes behind everything that is on its way: on a slow network that takes a while."""
PING_INTERVAL_MILLIS_MIN = 10_000
HANDSHAKE_TIMEOUT_MILLIS = 10_000

OPTIONS: Sequence[tuple[str, int]] = (
    # Two processes on one port would share its connections in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", limits.MESSAGE_BYTES_MAX),
    ("grpc.max_concurrent_streams", CONCURRENT_STREAMS_MAX),
    # Only the receiver's options count: probing would let a worker run 4 MiB and more ahead on each stream.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", WINDOW_BYTES),
    ("grpc.keepalive_time_ms", KEEPALIVE_MILLIS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MILLIS),
    # What says how long an answer to a ping is waited for: without it that is a minute, whatever the line above says.
    ("grpc.http2.ping_timeout_ms", KEEPALIVE_TIMEOUT_MILLIS),
    ("grpc.keepalive_permit_without_calls", 1),
    # The default of five minutes ends clients that keep alive with too_many_pings.
    ("grpc.http2.min_ping_interval_without_data_ms", PING_INTERVAL_MILLIS_MIN),
    ("grpc.server_handshake_timeout_ms", HANDSHAKE_TIMEOUT_MILLIS),
)


@dataclass(frozen=True, slots=True)
class Service:
    """A service, and what serves it."""

    descriptor: ServiceDescriptor
    servicer: object
    streams: CallClass = CallClass.STREAM
    """What its streams are counted as."""


def build_server(
    pipeline: Pipeline, services: Sequence[Service], health_servicer: health.Health, *, with_channelz: bool = False
) -> grpc.aio.Server:
    """A server that is neither listening nor started yet."""
    server = grpc.aio.server(options=[*OPTIONS, ("grpc.enable_channelz", int(with_channelz))])
    for service in services:
        register(server, service.descriptor, service.servicer, pipeline, streams=service.streams)
    register(server, health.SERVICE, health_servicer, pipeline, unary=CallClass.EXEMPT, streams=CallClass.EXEMPT)
    names = [service.descriptor.full_name for service in services] + [health.SERVICE.full_name]
    if with_channelz:
        register_channelz(server, pipeline)
        names.append(CHANNELZ.full_name)
    register_reflection(server, pipeline, names)
    return server


def listen_tcp(server: grpc.aio.Server, address: str) -> int:
    """Listens on `host:port` without TLS, and returns the port; port 0 picks one. Raises OSError when it is taken."""
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise OSError(f"can't listen on {address}: {bind_failure(address) or error}") from error
    return port


def bind_failure(address: str) -> str:
    """Why a socket can't be bound to `host:port`, which the gRPC core tells its own log only; empty when it can."""
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def listen_unix(server: grpc.aio.Server, path: Path) -> None:
    """Listens on a Unix socket; the mode of its folder says who may connect.

    A socket that is there is replaced: whoever calls this holds the lock of the data directory. Raises OSError.
    """
    size = len(str(path).encode())
    if size > SOCKET_PATH_BYTES_MAX:
        raise OSError(f"the path of the socket has {size} bytes; at most {SOCKET_PATH_BYTES_MAX} are allowed: {path}")
    credentials = grpc.local_server_credentials(grpc.LocalConnectionType.UDS)
    try:
        server.add_secure_port(f"unix:{path}", credentials)
    except RuntimeError as error:
        raise OSError(f"can't listen on {path}: {error}") from error
