"""A frame of `top`: what a person chose to see, and the lines of it for a width and a height. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from rich.text import Text

from headrace.cli import amounts
from headrace.cli.describe import health_text, job_text, queue_text
from headrace.cli.parts import one_line
from headrace.cli.top import columns, panels
from headrace.cli.top.panels import Panel
from headrace.cli.top.reading import Snapshot
from headrace.v1 import admin_service_pb2, worker_pb2

HEAD_LINES = 2
FOOT_LINES = 1
PANEL_LINES = 2
CONNECTED = (worker_pb2.WORKER_STATE_READY, worker_pb2.WORKER_STATE_DRAINING)
ROWS_MAX = 200
KEYS = "q quit · p pause · tab panel · ←→ sort · r reverse · ↑↓ scroll"


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person chose: the panel that keys act on, the order and the first row of each, and whether it stands."""

    focus: Panel = Panel.JOBS
    sort: Mapping[Panel, tuple[str, bool]] = field(default_factory=lambda: dict(panels.DEFAULT_SORT))
    first: Mapping[Panel, int] = field(default_factory=lambda: dict.fromkeys(Panel, 0))
    paused: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """The server can't be reached, or refuses."""

    since: datetime
    why: str
    next_try: datetime


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a frame shows. `snapshot` is the last one that could be read."""

    address: str
    namespace: str
    snapshot: Snapshot | None
    trouble: Trouble | None
    choices: Choices


def frame(scene: Scene, width: int, height: int | None, now: datetime) -> Text:
    """The lines of a frame, none wider than `width`, no more than `height` of them; None is no bound."""
    lines = [_title(scene, now), _totals(scene)]
    if scene.snapshot is not None:
        alerts = _alerts(scene.snapshot)
        left = None if height is None else height - len(alerts)
        lines += [*alerts, *_panels(scene, scene.snapshot, width, left, now)]
    if height is not None:
        lines = lines[: height - FOOT_LINES]
        lines += [Text()] * (height - FOOT_LINES - len(lines))
        lines.append(Text(KEYS, style="dim"))
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n", no_wrap=True, overflow="crop").join(lines)


def _title(scene: Scene, now: datetime) -> Text:
    line = Text("headrace top", style="bold")
    if scene.choices.paused:
        line.append(" · PAUSED", style="bold yellow")
    trouble = scene.trouble
    if trouble is not None:
        wait = max(0.0, (trouble.next_try - now).total_seconds())
        since = f"{trouble.since.astimezone():%H:%M:%S} ({amounts.short((now - trouble.since).total_seconds())})"
        line.append(f" · disconnected since {since}, next try in {wait:.0f} s", style="bold red")
        line.append(f" · {one_line(trouble.why, 200)}", style="red")
    return line.append(f" · {scene.address} · {scene.namespace or 'default'} · {now.astimezone():%H:%M:%S}")


def _totals(scene: Scene) -> Text:
    snapshot = scene.snapshot
    if snapshot is None:
        return Text("reading …" if scene.trouble is None else "", style="dim")
    ready = [one for one in snapshot.workers if one.state == worker_pb2.WORKER_STATE_READY]
    there = [one for one in snapshot.workers if one.state in CONNECTED]
    slots = f"{sum(one.slots_used for one in there)}/{sum(one.slots for one in there)} slots"
    parts = [job_text.counts_line(snapshot.counts) or "no jobs"]
    parts.append(f"{slots} of {amounts.plural(len(there), 'worker')}, {len(ready)} ready")
    found = snapshot.statistics.values()
    if found:
        rates = {"in": "submit_rate", "started": "start_rate", "ended": "end_rate"}
        texts = [f"{amounts.rate(sum(getattr(one, name) for one in found))}/s {word}" for word, name in rates.items()]
        parts.append(", ".join(texts))
    return Text("  |  ".join(parts))


def _alerts(snapshot: Snapshot) -> list[Text]:
    """A line with the gravest alert, and how many more stand; none without alerts."""
    ordered = sorted(snapshot.alerts, key=lambda alert: (-alert.severity, alert.start_time.ToMicroseconds()))
    if not ordered:
        return []
    first, more = ordered[0], [alert.name for alert in ordered[1:]]
    critical = first.severity == admin_service_pb2.ALERT_SEVERITY_CRITICAL
    text = f"{health_text.severity(first)} {first.name}: {one_line(first.message, 200)}"
    if more:
        text += f"  |  also {', '.join(more)}"
    return [Text(text, style="bold red" if critical else "yellow")]


def _panels(scene: Scene, snapshot: Snapshot, width: int, height: int | None, now: datetime) -> list[Text]:
    listed = {panel: panels.rows(snapshot, panel) for panel in Panel}
    room = shares({panel: len(rows) for panel, rows in listed.items()}, height, scene.choices.focus)
    lines: list[Text] = []
    for panel, count in room.items():
        total = len(listed[panel])
        if panel is Panel.JOBS:
            total = max(total, queue_text.count(snapshot.counts, queue_text.RUNNING))
        lines += _panel(panel, listed[panel], total, count, scene.choices, width, now)
    return lines


def shares(wanted: Mapping[Panel, int], height: int | None, focus: Panel) -> dict[Panel, int]:
    """How many rows each panel gets: what it wants, else in turn; a very low terminal has the focused one alone."""
    if height is None:
        return {panel: min(count, ROWS_MAX) for panel, count in wanted.items()}
    left = height - HEAD_LINES - FOOT_LINES - PANEL_LINES * len(Panel)
    if left < len(Panel):
        return {focus: max(0, left + PANEL_LINES * (len(Panel) - 1))}
    got = dict.fromkeys(wanted, 0)
    while left > 0 and (hungry := [panel for panel in got if got[panel] < wanted[panel]]):
        for panel in hungry[:left]:
            got[panel] += 1
        left -= len(hungry[:left])
    return got


def _panel(
    panel: Panel, rows: Sequence[Any], total: int, count: int, choices: Choices, width: int, now: datetime
) -> list[Text]:
    title, reverse = choices.sort[panel]
    every = panels.columns(panel, now)
    first = min(choices.first[panel], max(0, len(rows) - count))
    shown = columns.ordered(every, rows, title, reverse)[first : first + count]
    fitted = columns.fit(every, shown, width)
    focused = panel is choices.focus
    beyond = f"  {first + 1}-{first + len(shown)}" if len(shown) < total else ""
    name = Text(f"{panel.value.upper()}  {total}{beyond}", style="reverse" if focused else "bold blue")
    body = [columns.line(fitted, row) for row in shown]
    return [name, columns.header(fitted, title, reverse, focused), *body]


def titles(scene: Scene, width: int, now: datetime) -> list[str]:
    """The columns of the focused panel that a width has room for: those that it can be sorted by with the keys."""
    panel = scene.choices.focus
    rows = panels.rows(scene.snapshot, panel) if scene.snapshot is not None else ()
    return [one.title for one in columns.fit(panels.columns(panel, now), rows, width).columns]


def pressed(choices: Choices, key: str, shown: Sequence[str]) -> Choices:
    """What a key changes; `shown` are the columns of the focused panel."""
    panel = choices.focus
    title, reverse = choices.sort[panel]
    match key:
        case "p" | " ":
            return replace(choices, paused=not choices.paused)
        case "tab" | "backtab":
            order = list(Panel)
            step = 1 if key == "tab" else -1
            return replace(choices, focus=order[(order.index(panel) + step) % len(order)])
        case "left" | "right":
            step = 1 if key == "right" else -1
            place = shown.index(title) + step if title in shown else 0
            return _sorted(choices, shown[place % len(shown)], reverse)
        case "r":
            return _sorted(choices, title, not reverse)
        case "up" | "down" | "page up" | "page down":
            step = {"up": -1, "down": 1, "page up": -10, "page down": 10}[key]
            return replace(choices, first={**choices.first, panel: min(ROWS_MAX, max(0, choices.first[panel] + step))})
    return choices


def _sorted(choices: Choices, title: str, reverse: bool) -> Choices:
    return replace(choices, sort={**choices.sort, choices.focus: (title, reverse)})
