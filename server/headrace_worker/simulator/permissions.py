"""Whether a tool may run, must be asked about, or may not: a pure decision from rules and mode.

The rules are those of the real program as far as the simulated tools go; asking is the conversation's business.
"""

import fnmatch
from collections.abc import Sequence
from enum import Enum, auto

from headrace_worker.simulator.output import Json

_READS = frozenset({"Read", "Glob", "Grep"})
_EDITS = frozenset({"Write", "Edit"})
_ALWAYS_ASKED = frozenset({"AskUserQuestion", "ExitPlanMode"})
_NEVER_ASKED = frozenset({"StructuredOutput", "Task"})
_READING_COMMANDS = frozenset({"echo", "pwd", "ls", "sleep"})


class Verdict(Enum):
    """What becomes of a tool call."""

    ALLOW_BY_RULE = auto()
    ALLOW_BY_MODE = auto()
    ASK = auto()
    DENY = auto()


def decide(name: str, tool_input: Json, *, mode: str, allowed: Sequence[str], denied: Sequence[str]) -> Verdict:
    """Denials first, then what always needs a person, then rules, then the mode."""
    if any(_matches(rule, name, tool_input) for rule in denied):
        return Verdict.DENY
    if name in _ALWAYS_ASKED:
        return Verdict.ASK
    if any(_matches(rule, name, tool_input) for rule in allowed):
        return Verdict.ALLOW_BY_RULE
    if mode == "bypassPermissions" or name in _READS | _NEVER_ASKED or _only_reads(name, tool_input):
        return Verdict.ALLOW_BY_MODE
    if mode == "acceptEdits" and name in _EDITS:
        return Verdict.ALLOW_BY_MODE
    return Verdict.DENY if mode == "dontAsk" else Verdict.ASK


def refusal(name: str, tool_input: Json, mode: str) -> str:
    """What the model is told when nobody can be asked."""
    if mode == "dontAsk":
        return f"Permission to use {name} has been denied because Claude Code is running in don't ask mode."
    if name in _EDITS:
        path = tool_input.get("file_path", "")
        return f"Claude requested permissions to write to {path}, but you haven't granted it yet."
    return f"Claude requested permissions to use {name}, but you haven't granted it yet."


def _matches(rule: str, name: str, tool_input: Json) -> bool:
    """`Bash`, `Bash(sleep 5)`, `Bash(sleep:*)`, `Read(*.md)`."""
    tool, parenthesis, pattern = rule.partition("(")
    if tool != name:
        return False
    if not parenthesis:
        return True
    pattern = pattern.removesuffix(")")
    subject = str(tool_input.get("command") or tool_input.get("file_path") or "")
    if pattern.endswith(":*"):
        return subject.startswith(pattern.removesuffix(":*"))
    return fnmatch.fnmatchcase(subject, pattern)


def _only_reads(name: str, tool_input: Json) -> bool:
    command = str(tool_input.get("command", ""))
    if name != "Bash" or set(command) & set("|<>$`\n"):
        return False
    parts = [part.split() for part in command.replace("&&", ";").split(";")]
    return all(part and part[0] in _READING_COMMANDS for part in parts)
