"""What the simulated model does with a prompt that carries no script: looks around, and says honestly what it saw.

Pure planning over the workspace's file names and texts; the conversation performs it.
"""

from pathlib import Path

from headrace_worker.simulator.script import Answer, Step, ToolCall
from headrace_worker.simulator.timing import Ids
from headrace_worker.simulator.tools import Workspace

_READ_FILES_MAX = 2
_NAMED_FILES_MAX = 6
_OPENINGS = (
    "I am the simulated Claude CLI, so no model read your prompt.",
    "This answer comes from the simulated Claude CLI; no model was asked.",
    "No model is behind this: you are talking to the simulated Claude CLI.",
)


def plan(prompt: str, workspace: Workspace, ids: Ids) -> tuple[Step, ...]:
    """The steps of a turn."""
    names = workspace.files()
    chosen = _worth_reading(names)
    steps: list[Step] = [
        Answer(text="Let me look at the folder first.", tools=(ToolCall("Glob", {"pattern": "**/*"}),)),
    ]
    if chosen:
        reads = tuple(ToolCall("Read", {"file_path": str(workspace.root / name)}) for name in chosen)
        steps.append(Answer(tools=reads))
    steps.append(Answer(text=summary(prompt, names, chosen, workspace, ids)))
    return tuple(steps)


def summary(prompt: str, names: list[str], read: list[str], workspace: Workspace, ids: Ids) -> str:
    """A few sentences about the folder."""
    sentences = [ids.pick(_OPENINGS), f"You wrote {len(prompt.split())} words."]
    if not names:
        return " ".join([*sentences, f"The folder {workspace.root.name} is empty, so there is nothing to report."])
    kinds: dict[str, int] = {}
    for name in names:
        kind = Path(name).suffix or "no suffix"
        kinds[kind] = kinds.get(kind, 0) + 1
    counted = ", ".join(f"{count} with {kind}" for kind, count in sorted(kinds.items(), key=lambda item: -item[1])[:4])
    shown = ", ".join(names[:_NAMED_FILES_MAX]) + (" and more" if len(names) > _NAMED_FILES_MAX else "")
    sentences.append(f"The folder {workspace.root.name} holds {_count(len(names), 'file')} ({counted}): {shown}.")
    sentences.extend(_about(workspace.root / name, name) for name in read)
    return " ".join(sentences)


def _worth_reading(names: list[str]) -> list[str]:
    """Markdown first, then other text, shallow before deep."""
    texts = [name for name in names if Path(name).suffix in (".md", ".txt", ".py", ".toml", ".json", "")]
    return sorted(texts, key=lambda name: (Path(name).suffix != ".md", name.count("/"), name))[:_READ_FILES_MAX]


def _about(path: Path, name: str) -> str:
    try:
        lines = path.read_bytes()[:100_000].decode("utf-8", "replace").removesuffix("\n").split("\n")
    except OSError as problem:
        return f"{name} could not be read ({problem.strerror})."
    headings = [line.lstrip("#").strip() for line in lines if line.startswith("#")] if path.suffix == ".md" else []
    if headings:
        return f"{name} has {_count(len(lines), 'line')}; its headings are: {'; '.join(headings[:5])}."
    return f"{name} has {_count(len(lines), 'line')}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
