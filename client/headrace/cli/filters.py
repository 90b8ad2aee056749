"""A list filter from options, in the language of ListJobs and of the feed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def job_filter(states: Sequence[str], queue: str, owner: str, labels: Mapping[str, str], more: str) -> str:
    """The terms joined by AND; `more` is taken as it is."""
    terms = []
    if states:
        words = [state.upper().removeprefix("JOB_STATE_") for state in states]
        terms.append(f"state = {words[0]}" if len(words) == 1 else f"state = ({' OR '.join(words)})")
    if queue:
        terms.append(f"queue = {quoted(queue)}")
    if owner:
        terms.append(f"owner = {quoted(owner)}")
    terms += [f"labels.{key} = {quoted(value)}" for key, value in labels.items()]
    if more.strip():
        terms.append(more.strip())
    return " AND ".join(terms)


def quoted(text: str) -> str:
    """The text as a quoted value."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def event_filter(types: Sequence[str], queue: str, job: str, labels: Mapping[str, str], more: str) -> str:
    """The same for the feed."""
    terms = []
    if types:
        words = [one.lower().replace("-", "_") for one in types]
        terms.append(f"type = {words[0]}" if len(words) == 1 else f"type = ({' OR '.join(words)})")
    if queue:
        terms.append(f"queue = {quoted(queue)}")
    if job:
        terms.append(f"job_id = {quoted(job)}")
    terms += [f"labels.{key} = {quoted(value)}" for key, value in labels.items()]
    if more.strip():
        terms.append(more.strip())
    return " AND ".join(terms)
