"""The settings of a control plane: options of the command line over variables `HEADRACE_*`, read once at start."""

import os
import shutil
from pathlib import Path
from pwd import getpwnam
from typing import Annotated

from pydantic import ByteSize, Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from headrace_server.core.limits import (
    DISK_RESERVE_BYTES,
    DRAIN_SECONDS,
    HEARTBEAT_SECONDS,
    HEARTBEAT_SECONDS_MAX,
    LEASE_SECONDS_DEFAULT,
    PRINCIPAL_STREAMS_COUNT_MAX,
    RENEWAL_SECONDS_DEFAULT,
    STREAMS_COUNT_MAX,
)

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
NO_PROGRAM = ("", "simulated", "none")
Names = Annotated[tuple[str, ...], NoDecode]
Folders = Annotated[tuple[Path, ...], NoDecode]


class Settings(BaseSettings):
    """Everything that an operator can set. In variables, lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", frozen=True, extra="ignore")

    data: Path = Field(default_factory=lambda: _state_home() / "headrace")
    """Folder of the database, the lock and the local worker's files."""
    listen: str = "127.0.0.1:7410"
    """TCP address; port 0 picks a free one."""
    workers: int = Field(default=4, ge=0, le=10_000)
    """Slots of the local worker, or the most of them; 0 starts none."""
    workers_min: int | None = Field(default=None, ge=1, le=10_000)
    """The fewest slots of the local worker: between both they follow the load. None does not scale them."""
    scale_up_seconds: float = Field(default=1.0, ge=0.1, le=3600)
    """Between two growths of the local worker's slots, each of which at most doubles them."""
    scale_down_seconds: float = Field(default=60.0, ge=1, le=86_400, validate_default=True)
    """They shrink, at most by half, when so many were not wanted for so long."""
    slot_memory_bytes: Annotated[ByteSize, Field(ge=0)] = ByteSize(256 * 1024 * 1024)
    """Memory that one more slot is taken to need at least; 0 leaves memory out. `1GiB` can be said too."""
    allow_command: Names = ()
    """Programs that the local worker may run."""
    allow_root: Folders = ()
    """Folders inside which the local worker lets a workspace lie."""
    claude: str = ""
    """The local worker's CLI: a path, `simulated`, `none`, or empty for `claude` on the PATH."""
    run_as: str = ""
    """The user that programs of the local worker run as; empty for the one that serves."""
    handlers: Names = ()
    """Python modules whose handlers the local worker registers."""
    lease_seconds: float = Field(default=LEASE_SECONDS_DEFAULT, ge=2, le=3600)
    """Without a renewal for this long a worker is taken for lost."""
    renewal_seconds: float = Field(default=RENEWAL_SECONDS_DEFAULT, ge=0.1, le=600)
    """How often workers renew their lease."""
    heartbeat_seconds: float = Field(default=HEARTBEAT_SECONDS, ge=0.1, le=HEARTBEAT_SECONDS_MAX)
    """How often a follow stream says that it is alive."""
    disk_reserve_bytes: Annotated[ByteSize, Field(ge=0)] = ByteSize(DISK_RESERVE_BYTES)
    """With less free on the disk of `data`, new jobs are refused, so that those that run can finish; 0 keeps none."""
    keep_jobs_days: float = Field(default=30.0, gt=0, le=36_500)
    """How long a job is kept after its end, with its log."""
    keep_output_days: float = Field(default=7.0, gt=0, le=36_500)
    """How long the output of a job is kept after its end."""
    keep_audit_days: float = Field(default=365.0, gt=0, le=36_500)
    """How long entries of the audit log are kept."""
    alert_after_seconds: float = Field(default=10.0, ge=0, le=3600)
    """How long something has to be bad before it is an alert; what is known for certain is one at once."""
    alert_clear_seconds: float = Field(default=15.0, ge=0, le=3600)
    """How long it has to be good before the alert clears."""
    alert_cool_down_seconds: float = Field(default=300.0, ge=0, le=86_400)
    """What comes back within this after it cleared is the same alert, which then clears only after so long."""
    alert_queue_saturation: float = Field(default=0.9, gt=0, le=1)
    """The share of `max_queued` that waits from which on a queue is an alert."""
    alert_commit_seconds: float = Field(default=0.5, gt=0, le=60)
    """When half of all commits take so long, it is an alert."""
    alert_lag_seconds: float = Field(default=0.5, gt=0, le=60)
    """When the event loop is so late, it is an alert."""
    streams_per_principal: int = Field(default=PRINCIPAL_STREAMS_COUNT_MAX, ge=1, le=STREAMS_COUNT_MAX)
    """Follow streams that one principal may have open."""
    drain_seconds: float = Field(default=DRAIN_SECONDS, ge=0, le=600)
    """How long a stop waits for calls in flight."""
    metrics_listen: str = ""
    """TCP address on which metrics are shown to Prometheus; port 0 picks a free one, empty shows none."""
    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where spans and metrics go; empty sends none."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    @field_validator("allow_command", "allow_root", "handlers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("workers_min")
    @classmethod
    def _not_above_workers(cls, value: int | None, info: ValidationInfo) -> int | None:
        workers = info.data.get("workers", 0)
        if value is not None and 0 < workers < value:
            raise ValueError(f"{value} is more than --workers or HEADRACE_WORKERS, which is {workers}")
        return value

    @field_validator("scale_down_seconds")
    @classmethod
    def _not_below_up(cls, value: float, info: ValidationInfo) -> float:
        up = info.data.get("scale_up_seconds", 0.0)
        if value < up:
            raise ValueError(f"{value:g} is less than HEADRACE_SCALE_UP_SECONDS, which is {up:g}")
        return value

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        """Jobs run in folders of their own, and are told of places inside it."""
        return value.expanduser().absolute()

    @field_validator("allow_root")
    @classmethod
    def _folders(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        roots = tuple(root.expanduser().absolute() for root in value)
        for root in roots:
            if not root.is_dir():
                raise ValueError(f"{str(root)!r} is not a folder")
        return roots

    @field_validator("allow_command")
    @classmethod
    def _programs(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for program in value:
            _check_program(program)
        return value

    @field_validator("claude")
    @classmethod
    def _cli(cls, value: str) -> str:
        if value not in NO_PROGRAM:
            _check_program(value)
        return value

    @field_validator("run_as")
    @classmethod
    def _known_user(cls, value: str) -> str:
        if value:
            try:
                getpwnam(value)
            except KeyError:
                raise ValueError(f"there is no user {value!r} on this host") from None
        return value

    @field_validator("listen")
    @classmethod
    def _loopback_only(cls, value: str) -> str:
        danger = "whoever could reach the port could run programs as you"
        return _check_loopback(value, danger)

    @field_validator("metrics_listen")
    @classmethod
    def _metrics_on_loopback_only(cls, value: str) -> str:
        return (
            _check_loopback(value, "whoever could reach the port could read the names of your queues") if value else ""
        )

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value not in ("debug", "info", "warning", "error"):
            raise ValueError(f"{value!r} is not one of debug, info, warning, error")
        return value


def _check_loopback(address: str, danger: str) -> str:
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{address!r} is not HOST:PORT")
    if host not in LOOPBACK_HOSTS:
        raise ValueError(
            f"{host!r} is not a loopback address ({', '.join(LOOPBACK_HOSTS)}). There is no authentication yet, so "
            f"{danger}. Reach it from elsewhere through an SSH tunnel."
        )
    return address


def _check_program(program: str) -> None:
    """The local worker has this process's PATH and folder, so what is not found here is not found there."""
    if shutil.which(program) is None:
        raise ValueError(f"{program!r} is not a program: no such file, or it can't be executed")


def _state_home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
