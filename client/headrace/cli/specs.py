"""The options that say what kind of job is wanted, whatever its task: shared by submits and schedules."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Annotated, Any

import typer

from headrace import policies, tasks
from headrace.cli import options
from headrace.cli.choices import Condition, Conflict, OnCancel, OnFailure
from headrace.v1 import job_pb2

OTHERS = "Other jobs"
TIME = "Time limits (90s, 5m, 1h30m; 90 is 90s; 0: none; default: the queue's)"
RETRY = "Retries"
PLACE = "Worker"


@dataclass(frozen=True, slots=True)
class RetryChoices:
    """When a failed attempt is followed by another."""

    max_attempts: Annotated[
        int | None, typer.Option(min=1, max=100, help="Attempts in all.", show_default="3", rich_help_panel=RETRY)
    ] = None
    initial_backoff: Annotated[
        str, typer.Option(help="Cap of the first delay: 500ms, 2s.", show_default="1s", rich_help_panel=RETRY)
    ] = ""
    max_backoff: Annotated[str, typer.Option(help="Cap of every delay.", show_default="5m", rich_help_panel=RETRY)] = ""
    backoff_multiplier: Annotated[
        float | None,
        typer.Option(min=1, max=10, help="From one cap to the next.", show_default="2", rich_help_panel=RETRY),
    ] = None
    max_snoozes: Annotated[
        int | None,
        typer.Option(
            min=0, max=10_000, help="Times that it may put itself off.", show_default="100", rich_help_panel=RETRY
        ),
    ] = None

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return self != RetryChoices()

    def policy(self) -> job_pb2.RetryPolicy:
        """What was said, as a policy."""
        return policies.retry_policy(
            self.max_attempts or 0,
            initial_backoff=options.optional_duration(self.initial_backoff, "--initial-backoff"),
            max_backoff=options.optional_duration(self.max_backoff, "--max-backoff"),
            backoff_multiplier=self.backoff_multiplier or 0.0,
            max_snoozes=self.max_snoozes,
        )


@dataclass(frozen=True, slots=True)
class TimeoutChoices:
    """How long each phase may take."""

    queue_timeout: Annotated[
        str, typer.Option(help="From submit to the first start; past it EXPIRED.", rich_help_panel=TIME)
    ] = ""
    run_timeout: Annotated[str, typer.Option(help="For one attempt.", rich_help_panel=TIME)] = ""
    total_timeout: Annotated[str, typer.Option(help="From submit to the end, all attempts.", rich_help_panel=TIME)] = ""
    silence_timeout: Annotated[str, typer.Option(help="Without output or progress.", rich_help_panel=TIME)] = ""
    input_timeout: Annotated[
        str, typer.Option(help="Waiting for a person.", show_default="the queue's, else 10m", rich_help_panel=TIME)
    ] = ""
    cancel_grace: Annotated[
        str, typer.Option(help="From a cancel to SIGTERM.", show_default="the queue's, else 10s", rich_help_panel=TIME)
    ] = ""

    @property
    def given(self) -> bool:
        """Whether anything was said."""
        return self != TimeoutChoices()

    def timeouts(self) -> job_pb2.Timeouts:
        """What was said, as timeouts."""
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        lengths = {
            name: tasks.duration(options.duration(text, f"--{name.replace('_', '-')}"))
            for name, text in said.items()
            if text
        }
        return job_pb2.Timeouts(**lengths)


@dataclass(frozen=True, slots=True)
class PlacementChoices:
    """What a worker needs in order to get the job."""

    require_label: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE that the worker must have; repeatable.", rich_help_panel=PLACE)
    ] = None
    prefer_label: Annotated[
        list[str] | None, typer.Option(help="KEY=VALUE that makes it the better one.", rich_help_panel=PLACE)
    ] = None
    slots: Annotated[
        int, typer.Option(min=0, max=100_000, help="Slots that it takes; 0: one.", rich_help_panel=PLACE)
    ] = 0
    memory: Annotated[str, typer.Option(help="Memory that it takes: 512MiB, 2GiB.", rich_help_panel=PLACE)] = ""
    cpu: Annotated[
        float, typer.Option(min=0, max=100_000, help="CPUs that it takes: 0.5, 2.", rich_help_panel=PLACE)
    ] = 0.0

    def placement(self) -> job_pb2.Placement | None:
        """What was said; None when nothing was."""
        if self == PlacementChoices():
            return None
        required = options.labels(self.require_label or [], "--require-label")
        preferred = options.labels(self.prefer_label or [], "--prefer-label")
        memory = options.size(self.memory, "--memory") if self.memory else 0
        try:
            return policies.placement(
                required_labels=required,
                preferred_labels=preferred,
                slots=self.slots,
                memory_bytes=memory,
                cpus=self.cpu,
            )
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--cpu") from None


@dataclass(frozen=True, slots=True)
class SpecChoices:
    """What every kind of job may say."""

    queue: Annotated[str, typer.Option(help="The queue.", show_default="`default`")] = ""
    display_name: Annotated[str, typer.Option("--name", help="A line for people.")] = ""
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; repeatable.")] = None
    priority: Annotated[int, typer.Option(min=-100, max=100, help="Head start over arrival time.")] = 0
    owner: Annotated[str, typer.Option(help="Whom the work is for.", show_default="you")] = ""
    concurrency_key: Annotated[str, typer.Option(help="Jobs with this key share the queue's limits per key.")] = ""
    output_max: Annotated[str, typer.Option(help="Output kept at most: 1GiB.", show_default="64MiB")] = ""
    unique_key: Annotated[
        str, typer.Option(help="At most one job with this key is active.", rich_help_panel=OTHERS)
    ] = ""
    on_conflict: Annotated[
        Conflict | None, typer.Option(help="While the key is taken.", show_default="refuse", rich_help_panel=OTHERS)
    ] = None
    after: Annotated[
        list[str] | None, typer.Option(help="Id of a job that has to end first; repeatable.", rich_help_panel=OTHERS)
    ] = None
    after_condition: Annotated[
        Condition | None,
        typer.Option(help="Which ends let it run.", show_default="all-succeeded", rich_help_panel=OTHERS),
    ] = None
    on_dependency_failure: Annotated[
        OnFailure | None,
        typer.Option(help="Else it ends as SKIPPED or FAILED.", show_default="skip", rich_help_panel=OTHERS),
    ] = None
    on_dependency_cancel: Annotated[
        OnCancel | None,
        typer.Option(
            help="When one of them is cancelled.", show_default="evaluate the condition", rich_help_panel=OTHERS
        ),
    ] = None
    retry: RetryChoices = field(default_factory=RetryChoices)
    limits: TimeoutChoices = field(default_factory=TimeoutChoices)
    place: PlacementChoices = field(default_factory=PlacementChoices)

    def options(self) -> tasks.SpecOptions:
        """The options of the spec."""
        made = tasks.SpecOptions(
            queue=self.queue,
            display_name=self.display_name,
            labels=options.labels(self.label or []),
            priority=self.priority,
            owner=self.owner,
            concurrency_key=self.concurrency_key,
            after=self.after or [],
        )
        if self.unique_key:
            made["unique_key"] = policies.unique_key(self.unique_key, self.on_conflict)
        elif self.on_conflict:
            raise typer.BadParameter("needs --unique-key", param_hint="--on-conflict")
        if self.output_max:
            made["output_bytes_max"] = options.size(self.output_max, "--output-max")
        self._add_dependencies(made)
        self._add_policies(made)
        return made

    def _add_dependencies(self, made: tasks.SpecOptions) -> None:
        chosen: dict[str, Any] = {
            "dependency_condition": self.after_condition,
            "dependency_failure_action": self.on_dependency_failure,
            "dependency_cancel_action": self.on_dependency_cancel,
        }
        given = {name: word.value for name, word in chosen.items() if word}
        if given and not self.after:
            raise typer.BadParameter("there is no job to wait for: give --after", param_hint="--after-condition")
        made.update(given)  # type: ignore[typeddict-item]  # names of the three options above

    def _add_policies(self, made: tasks.SpecOptions) -> None:
        if self.retry.given:
            made["retry_policy"] = self.retry.policy()
        if self.limits.given:
            made["timeouts"] = self.limits.timeouts()
        placement = self.place.placement()
        if placement is not None:
            made["placement"] = placement


@dataclass(frozen=True, slots=True)
class SubmitChoices:
    """What only a submit may say."""

    request_id: Annotated[str | None, typer.Option(help="Makes the submit idempotent.", show_default="a fresh id")] = (
        None
    )
    at: Annotated[
        str, typer.Option("--at", help="Not started before this time: 2026-01-31T08:00, local or +02:00.")
    ] = ""
    delay: Annotated[str, typer.Option("--in", "--delay", help="Not started before this time has passed: 10m.")] = ""
    check: Annotated[bool, typer.Option("--check", help="Check everything, store nothing.")] = False

    def start(self, now: datetime) -> datetime | None:
        """The time that it is not started before; None when nothing was said."""
        return options.start_time(self.at, self.delay, now)
