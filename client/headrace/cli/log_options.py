"""What of a job's log a command prints: where it begins, which part of it, how fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from headrace import calls, words
from headrace.cli import options
from headrace.cli.transcript import Wanted
from headrace.v1 import job_service_pb2


@dataclass(frozen=True, slots=True)
class LogOptions:
    """All of it has to hold."""

    cursor: Annotated[str, typer.Option(help="Start after this place.")] = ""
    last: Annotated[int, typer.Option("--last", "-n", min=0, max=100_000, help="Only the last so many events.")] = 0
    since: Annotated[str, typer.Option(metavar="TIME", help="Only from a time on, or a length of time ago: 10m.")] = ""
    attempt: Annotated[int, typer.Option(min=0, max=1_000_000, help="Only this attempt; 0: all.")] = 0
    only: Annotated[
        str, typer.Option(metavar="KINDS", help="Only this output: stdout, stderr, messages, progress; with commas.")
    ] = ""
    max_rate: Annotated[str, typer.Option(metavar="SIZE", help="At most so many bytes a second.")] = ""

    @property
    def kinds(self) -> list[job_service_pb2.OutputKind]:
        """Of output; none means all."""
        return [_kind(word) for word in self.only.split(",")] if self.only else []

    def shown(self, *, lifecycle: bool) -> Wanted:
        """What a view shows of it."""
        kinds = self.kinds
        return Wanted(
            lifecycle=lifecycle,
            progress=job_service_pb2.OUTPUT_KIND_PROGRESS in kinds,
            answer=not kinds or job_service_pb2.OUTPUT_KIND_MESSAGES in kinds,
        )

    def following(self) -> calls.FollowOptions:
        """What the server is asked for."""
        if self.cursor and (self.last or self.since):
            raise typer.BadParameter("give --cursor, or --last and --since", param_hint="--cursor")
        wanted: calls.FollowOptions = {
            "cursor": self.cursor,
            "last": self.last,
            "attempt": self.attempt,
            "output": self.kinds or True,
            "max_bytes_per_second": options.size(self.max_rate, "--max-rate") if self.max_rate else 0,
        }
        if self.since:
            wanted["start"] = options.past(self.since, "--since")
        return wanted


def _kind(word: str) -> job_service_pb2.OutputKind:
    try:
        kind: job_service_pb2.OutputKind = words.value_of(job_service_pb2.OutputKind, word.strip())
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--only") from None
    return kind
