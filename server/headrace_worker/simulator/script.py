"""The script language: what a prompt or a file asks the simulated program to do.

Owns finding, parsing and checking scripts. A step is data; the conversation and the faults give it meaning.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headrace_worker.simulator.output import Json

_OPEN = "SIMULATE<<"
_CLOSE = ">>"
_CUT_OFF = "was cut off before"


class ScriptError(Exception):
    """A script that cannot be followed; the text says where."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the simulated model wants to use."""

    name: str
    input: Json


@dataclass(frozen=True, slots=True)
class Answer:
    """One model call: its blocks, in this order, and how they arrive."""

    thinking: str = ""
    text: str = ""
    tools: tuple[ToolCall, ...] = ()
    structured: Any = None
    usage: Json | None = None
    first_token_seconds: float | None = None
    delta_seconds: float | None = None
    delta_characters: int | None = None
    hang_after_deltas: int | None = None
    interruptible: bool = False
    """Whether an interrupt ends that."""
    cut: bool = False
    """The connection drops before the end of its first block."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong on purpose."""

    name: str
    arguments: Json


@dataclass(frozen=True, slots=True)
class Replay:
    """A recording whose frames are said again."""

    path: Path


Step = Answer | Fault | Replay


@dataclass(frozen=True, slots=True)
class ScriptFile:
    """A script for a whole process."""

    start: tuple[Step, ...] = ()
    turns: tuple[tuple[Step, ...], ...] = ()

    def turn(self, index: int) -> tuple[Step, ...] | None:
        """The steps of a turn, or None when the file says nothing of it."""
        return self.turns[index] if index < len(self.turns) else None


def has_script(prompt: str) -> bool:
    """Whether a prompt brings its own script."""
    return _OPEN in prompt


def says_to_go_on(prompt: str) -> bool:
    """Whether a host takes a conversation up again that was cut off."""
    return _CUT_OFF in prompt


def rest(steps: tuple[Step, ...], answers: int) -> tuple[Step, ...]:
    """What is left of a script after so many answers, or the last one again.

    What goes wrong in it was for the process that was to have it.
    """
    sound = [replace(step, hang_after_deltas=None, cut=False) for step in steps if isinstance(step, Answer)]
    last = next((step for step in reversed(sound) if step.text), Answer(text="(end of script)"))
    return tuple(sound[answers:]) or (replace(last, thinking="", tools=()),)


def in_prompt(prompt: str) -> tuple[Step, ...] | None:
    """The script inside a prompt, or None when there is none."""
    start = prompt.find(_OPEN)
    if start < 0:
        return None
    try:
        steps, end = json.JSONDecoder().raw_decode(prompt, start + len(_OPEN))
    except ValueError as problem:
        raise ScriptError(f"the script in the prompt is not JSON: {problem}") from problem
    if not prompt[end:].lstrip().startswith(_CLOSE):
        raise ScriptError(f"the script in the prompt does not end with {_CLOSE}")
    return parse_steps(steps)


def from_file(path: Path) -> ScriptFile:
    """A file holds a list of steps (every turn the same) or an object with `start` and `turns`."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise ScriptError(f"cannot read the script {path}: {problem}") from problem
    base = path.parent
    if isinstance(content, list):
        return ScriptFile(turns=(parse_steps(content, base),) * 1000)
    if not isinstance(content, dict):
        raise ScriptError("a script file holds a list or an object")
    turns = tuple(parse_steps(turn, base) for turn in content.get("turns", []))
    return ScriptFile(parse_steps(content.get("start", []), base), turns)


def parse_steps(steps: object, base: Path | None = None) -> tuple[Step, ...]:
    """`base` is the folder of recordings; a prompt has none, so that it cannot name files."""
    if not isinstance(steps, Sequence) or isinstance(steps, str):
        raise ScriptError("a script is a list of steps")
    return tuple(_step(step, base) for step in steps)


def _step(step: object, base: Path | None) -> Step:
    if not isinstance(step, Mapping):
        raise ScriptError(f"a step is an object, not {step!r}")
    arguments = dict(step)
    if "fault" in arguments:
        return Fault(str(arguments.pop("fault")), arguments)
    if "replay" in arguments:
        if base is None:
            raise ScriptError("only a script file may name a recording")
        return Replay(base / str(arguments["replay"]))
    return _answer(arguments)


def _answer(step: Json) -> Answer:
    known = {"thinking", "text", "tools", "structured", "usage"}
    timings = {
        "first_token_milliseconds",
        "delta_milliseconds",
        "delta_characters",
        "hang_after_deltas",
        "interruptible",
        "cut",
    }
    unknown = set(step) - known - timings
    if unknown or not (set(step) & {"thinking", "text", "tools", "structured"}):
        raise ScriptError(f"not a step: {step!r}")
    return Answer(
        thinking=str(step.get("thinking", "")),
        text=str(step.get("text", "")),
        tools=tuple(_tool(tool) for tool in step.get("tools", [])),
        structured=step.get("structured"),
        usage=step.get("usage"),
        first_token_seconds=_seconds(step.get("first_token_milliseconds")),
        delta_seconds=_seconds(step.get("delta_milliseconds")),
        delta_characters=step.get("delta_characters"),
        hang_after_deltas=step.get("hang_after_deltas"),
        interruptible=bool(step.get("interruptible")),
        cut=bool(step.get("cut")),
    )


def _tool(tool: object) -> ToolCall:
    if not isinstance(tool, Mapping) or "name" not in tool:
        raise ScriptError(f"a tool has a name and an input, not {tool!r}")
    return ToolCall(str(tool["name"]), dict(tool.get("input") or {}))


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else float(milliseconds) / 1000
