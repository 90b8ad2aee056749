"""The settings of a worker: options of the command line over variables `HEADRACE_WORKER_*`, read once at start."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import ByteSize, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from headrace_worker.channel import DEFAULT_ADDRESS, read_address
from headrace_worker.host import host_name, worker_id_of
from headrace_worker.limits import (
    CLAUDE_MEMORY_HARD_BYTES,
    CLAUDE_MEMORY_SOFT_BYTES,
    DRAIN_SECONDS_DEFAULT,
    SESSIONS_COUNT_DEFAULT,
    SESSIONS_COUNT_MAX,
    SLOTS_COUNT_MAX,
    STALL_AFTER_TOOL_SECONDS,
    STALL_BACKGROUND_SECONDS,
    STALL_COMPACTING_SECONDS,
    STALL_FIRST_TOKEN_SECONDS,
    STALL_START_SECONDS,
    STALL_STREAMING_SECONDS,
    STALL_TOOL_SECONDS,
    WORKER_ID_CHARACTERS_MAX,
)

LOG_LEVELS = ("debug", "info", "warning", "error")
Names = Annotated[tuple[str, ...], NoDecode]
Folders = Annotated[tuple[Path, ...], NoDecode]
Silence = Annotated[float, Field(ge=0.1, le=7 * 86_400)]
Bytes = Annotated[ByteSize, Field(ge=0)]
Labels = Annotated[dict[str, str], NoDecode]
Profiles = Annotated[dict[str, Path], NoDecode]


class Settings(BaseSettings):
    """Everything that an operator can set. In variables, lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="HEADRACE_WORKER_", frozen=True, extra="ignore")

    server: str = DEFAULT_ADDRESS
    """The control plane: `host:port` or `unix:PATH`."""
    id: str = Field(
        default_factory=lambda: worker_id_of(host_name()),
        pattern=rf"^[A-Za-z0-9_.-]{{1,{WORKER_ID_CHARACTERS_MAX}}}$",
    )
    """The worker's name, which no other has; the default is the host's."""
    slots: int = Field(default=4, ge=1, le=SLOTS_COUNT_MAX)
    """Attempts that run at once."""
    label: Labels = Field(default_factory=dict)
    """What jobs may ask for in a worker: `key=value`."""
    allow_command: Names = ()
    """Programs that command jobs may run: names, or absolute paths."""
    allow_root: Folders = ()
    """Folders inside which a job's workspace may lie."""
    claude: str = ""
    """The Claude CLI: a path, `simulated`, `none`, or empty for `claude` on the PATH if it is there."""
    claude_config: Path | None = None
    """A config folder that all Claude jobs share; without it every job has its own."""
    sessions_max: int = Field(default=SESSIONS_COUNT_DEFAULT, ge=1, le=SESSIONS_COUNT_MAX)
    """Sessions whose process is kept at once; past it, the one that was idle for longest is ended."""
    run_as: str = ""
    """The user that programs of jobs run as; empty for the worker's own. The worker has to be root, or nearly so."""
    profile: Profiles = Field(default_factory=dict)
    """Environment profiles that Claude jobs may name: `NAME=FILE`; a file has a line `NAME=VALUE` for each variable."""
    handlers: Names = ()
    """Python modules whose `Worker` objects bring handlers: `module` or `module:name`."""
    data: Path | None = None
    """Folder of workspaces and spools; the default lies in the user's state folder."""
    drain_seconds: float = Field(default=DRAIN_SECONDS_DEFAULT, ge=0, le=86_400)
    """How long running work may go on after the first signal."""
    claude_memory_soft_bytes: Bytes = ByteSize(CLAUDE_MEMORY_SOFT_BYTES)
    """A Claude job whose process tree holds more says so in its log; 0 sets no limit. `6GiB` can be said too."""
    claude_memory_hard_bytes: Bytes = ByteSize(CLAUDE_MEMORY_HARD_BYTES)
    """A Claude job whose process tree holds more is killed and fails as RESOURCE; 0 sets no limit."""
    command_memory_soft_bytes: Bytes = ByteSize(0)
    """The same for command jobs."""
    command_memory_hard_bytes: Bytes = ByteSize(0)
    """The same for command jobs."""
    stall_start_seconds: Silence = STALL_START_SECONDS
    """How long the CLI may be silent before its first frame; then the attempt ends as STALL."""
    stall_first_token_seconds: Silence = STALL_FIRST_TOKEN_SECONDS
    """The same while the model has not begun to answer."""
    stall_streaming_seconds: Silence = STALL_STREAMING_SECONDS
    """The same within an answer."""
    stall_tool_seconds: Silence = STALL_TOOL_SECONDS
    """The same while a tool runs."""
    stall_after_tool_seconds: Silence = STALL_AFTER_TOOL_SECONDS
    """The same after a tool's result."""
    stall_compacting_seconds: Silence = STALL_COMPACTING_SECONDS
    """The same while the CLI shortens its context."""
    stall_background_seconds: Silence = STALL_BACKGROUND_SECONDS
    """The same while only background tasks run."""
    lock: Path | None = None
    """For the local worker of one control plane: a file that is locked for its life; it exits when its lease ends."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    @field_validator("allow_command", "allow_root", "handlers", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("label", "profile", mode="before")
    @classmethod
    def _pairs(cls, value: object, info: ValidationInfo) -> object:
        pairs = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not isinstance(pairs, list | tuple):
            return value
        labels = {}
        for pair in pairs:
            key, equals, text = str(pair).strip().partition("=")
            if not equals or not key:
                raise ValueError(f"{pair!r} is not {'NAME=FILE' if info.field_name == 'profile' else 'KEY=VALUE'}")
            labels[key] = text
        return labels

    @model_validator(mode="after")
    def _soft_below_hard(self) -> Self:
        for kind in ("claude", "command"):
            soft, hard = getattr(self, f"{kind}_memory_soft_bytes"), getattr(self, f"{kind}_memory_hard_bytes")
            if soft and hard and soft > hard:
                raise ValueError(
                    f"HEADRACE_WORKER_{kind.upper()}_MEMORY_SOFT_BYTES is {soft}, more than"
                    f" HEADRACE_WORKER_{kind.upper()}_MEMORY_HARD_BYTES, which is {hard}"
                )
        return self

    @field_validator("server")
    @classmethod
    def _address(cls, value: str) -> str:
        read_address(value)
        return value

    @field_validator("data", "claude_config", "lock")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        """Jobs run in folders of their own, and are told of places inside these."""
        return None if value is None else value.expanduser().absolute()

    @field_validator("allow_root")
    @classmethod
    def _folders(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        roots = tuple(root.expanduser().absolute() for root in value)
        for root in roots:
            if not root.is_dir():
                raise ValueError(f"{str(root)!r} is not a folder")
        return roots

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        if value not in LOG_LEVELS:
            raise ValueError(f"{value!r} is not one of {', '.join(LOG_LEVELS)}")
        return value
