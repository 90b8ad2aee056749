"""The options that say what a job does, for each kind of task: shared by submits and schedules."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Annotated

import typer

from headrace import policies, tasks
from headrace.cli import inputs, options
from headrace.cli.parts import one_line

NAME_CHARACTERS = 60

Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="What to say; `-` reads it from standard input.")]
Program = Annotated[list[str], typer.Argument(metavar="PROGRAM [ARG]", help="The program and its arguments.")]
Handler = Annotated[str, typer.Argument(metavar="HANDLER", help="The handler's registered name.")]
Input = Annotated[str, typer.Option("--input", metavar="JSON", help="Its input: a JSON object, or @FILE.")]


@dataclass(frozen=True, slots=True)
class ConversationChoices:
    """What all turns of a conversation have in common."""

    folder: Annotated[str, typer.Option(help="An existing folder to work in.", show_default="a new empty one")] = ""
    share_folder: Annotated[bool, typer.Option("--share-folder", help="Let other jobs work in it as well.")] = False
    repository: Annotated[str, typer.Option(help="A git repository to make a worktree of.")] = ""
    ref: Annotated[str, typer.Option(help="What to check out in the worktree.", show_default="HEAD")] = ""
    branch: Annotated[str, typer.Option(help="A branch of the repository to make of the result.")] = ""
    model: Annotated[str, typer.Option(help="Model name or alias.")] = ""
    fallback_model: Annotated[str, typer.Option(help="The model when that one is overloaded.")] = ""
    allowed_tool: Annotated[list[str] | None, typer.Option(help="A tool that runs unasked; repeatable.")] = None
    disallowed_tool: Annotated[list[str] | None, typer.Option(help="A tool that is not offered; repeatable.")] = None
    permission_mode: Annotated[str, typer.Option(help="default, acceptEdits, plan, bypassPermissions or dontAsk.")] = ""
    ask: Annotated[bool, typer.Option("--ask", help="Wait for a person when the CLI asks.")] = False
    system_prompt: Annotated[str, typer.Option(help="Text added to the CLI's system prompt.")] = ""
    max_turns: Annotated[
        int, typer.Option(min=0, max=1_000_000, help="Model calls of a turn at most; 0: no limit.")
    ] = 0
    max_cost: Annotated[
        float, typer.Option(min=0, max=options.USD_MAX, help="US dollars that a turn may cost at most; 0: no limit.")
    ] = 0.0
    output_schema: Annotated[str, typer.Option(help="JSON Schema of the answer: JSON text, or @FILE.")] = ""
    profile: Annotated[str, typer.Option(help="Environment profile on the worker.")] = ""

    def chosen(self) -> tasks.ConversationOptions:
        """The choices; a relative folder is taken from here."""
        chosen = tasks.ConversationOptions(
            folder=inputs.absolute(self.folder),
            share_folder=self.share_folder,
            repository=inputs.absolute(self.repository),
            ref=self.ref,
            branch=self.branch,
            model=self.model,
            fallback_model=self.fallback_model,
            allowed_tools=self.allowed_tool or [],
            disallowed_tools=self.disallowed_tool or [],
            permission_mode=self.permission_mode,
            ask=self.ask,
            append_system_prompt=self.system_prompt,
            max_turns=self.max_turns,
            max_cost_usd=self.max_cost,
            environment_profile=self.profile,
        )
        if self.output_schema:
            chosen["output_schema"] = inputs.json_object(self.output_schema, "--output-schema")
        return chosen


@dataclass(frozen=True, slots=True)
class ClaudeChoices(ConversationChoices):
    """What a Claude turn may say."""

    session: Annotated[str, typer.Option(help="The session that this turn continues.")] = ""
    cache: Annotated[str, typer.Option(help="Take an answer that is no older, and leave one: 1h.")] = ""

    def task(self, prompt: str) -> tasks.Task:
        """The task; `-` reads the prompt from standard input."""
        said = sys.stdin.read() if prompt == "-" else prompt
        try:
            task = tasks.claude(said, session_id=self.session, **self.chosen())
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None
        if self.cache:
            task.response_cache.ttl.CopyFrom(policies.duration(options.duration(self.cache, "--cache")))
        return task


@dataclass(frozen=True, slots=True)
class CommandChoices:
    """What a program may say."""

    folder: Annotated[str, typer.Option(help="An existing folder to run in.", show_default="a new empty one")] = ""
    repository: Annotated[str, typer.Option(help="A git repository to make a worktree of.")] = ""
    ref: Annotated[str, typer.Option(help="What to check out in the worktree.", show_default="HEAD")] = ""
    branch: Annotated[str, typer.Option(help="A branch of the repository to make of the result.")] = ""
    env: Annotated[list[str] | None, typer.Option(help="NAME=VALUE for its environment; repeatable.")] = None
    stdin: Annotated[str, typer.Option(help="File for its standard input; `-` is this command's own.")] = ""

    def task(self, program: list[str]) -> tasks.Task:
        """The task; a relative folder is taken from here."""
        try:
            return tasks.command(
                program[0],
                *program[1:],
                folder=inputs.absolute(self.folder),
                repository=inputs.absolute(self.repository),
                ref=self.ref,
                branch=self.branch,
                environment=options.labels(self.env or [], "--env"),
                stdin=inputs.read_bytes(self.stdin, "--stdin"),
            )
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None


def handler_task(name: str, text: str) -> tasks.Task:
    """The task of a handler with its input as JSON."""
    return tasks.handler(name, inputs.json_object(text, "--input") if text else None)


def display_name(prompt: str) -> str:
    """What a Claude job is called by default: a list shows no prompts, and a beginning tells one from another."""
    return one_line(prompt, NAME_CHARACTERS)
