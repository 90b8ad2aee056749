"""The settings of a control plane: options of the command line over variables `HEADRACE_*`, read once at start."""

import os
from pathlib import Path

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from headrace_server.core.limits import DRAIN_SECONDS, HEARTBEAT_SECONDS, LEASE_SECONDS_DEFAULT, RENEWAL_SECONDS_DEFAULT

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class Settings(BaseSettings):
    """Everything that an operator can set."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_", frozen=True, extra="ignore")

    data: Path = Field(default_factory=lambda: _state_home() / "headrace")
    """Folder of the database, the lock and the local worker's files."""
    listen: str = "127.0.0.1:7410"
    """TCP address; port 0 picks a free one."""
    workers: int = Field(default=4, ge=0, le=10_000)
    """Slots of the local worker; 0 starts none."""
    allow_command: tuple[str, ...] = ()
    """Programs that the local worker may run."""
    allow_root: tuple[Path, ...] = ()
    """Folders inside which the local worker lets a workspace lie."""
    claude: str = ""
    """The local worker's CLI: a path, `simulated`, `none`, or empty for `claude` on the PATH."""
    handlers: tuple[str, ...] = ()
    """Python modules whose handlers the local worker registers."""
    lease_seconds: float = Field(default=LEASE_SECONDS_DEFAULT, ge=2, le=3600)
    """Without a renewal for this long a worker is taken for lost."""
    renewal_seconds: float = Field(default=RENEWAL_SECONDS_DEFAULT, ge=0.1, le=600)
    """How often workers renew their lease."""
    heartbeat_seconds: float = Field(default=HEARTBEAT_SECONDS, ge=0.1, le=600)
    """How often a follow stream says that it is alive."""
    drain_seconds: float = Field(default=DRAIN_SECONDS, ge=0, le=600)
    """How long a stop waits for calls in flight."""
    otlp_endpoint: str = Field(default="", validation_alias="OTEL_EXPORTER_OTLP_ENDPOINT")
    """Where spans and metrics go; empty sends none."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    @field_validator("listen")
    @classmethod
    def _loopback_only(cls, value: str) -> str:
        host, separator, port = value.rpartition(":")
        if not separator or not port.isdecimal() or int(port) > 65535:
            raise ValueError(f"{value!r} is not HOST:PORT")
        if host not in LOOPBACK_HOSTS:
            raise ValueError(
                f"{host!r} is not a loopback address ({', '.join(LOOPBACK_HOSTS)}). There is no authentication yet, so"
                " whoever could reach the port could run programs as you. Reach it from elsewhere through an SSH tunnel."
            )
        return value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value not in ("debug", "info", "warning", "error"):
            raise ValueError(f"{value!r} is not one of debug, info, warning, error")
        return value


def _state_home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
