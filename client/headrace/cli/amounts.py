"""Amounts as a person reads and writes them: times, tokens, money, bytes. Pure; the present time comes in."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from headrace.v1 import outcome_pb2

DURATION_SECONDS_MAX = 1000 * 366 * 86_400
"""What a person may say; the server says which of it makes sense where."""
SIZE_BYTES_END = 2**63
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "": 1.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)i?b?")
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d|)")


def elapsed(seconds: float) -> str:
    """A length of time: `850 ms`, `12.3 s`, `2 min 05 s`, `3 h 10 min`, `2 d 4 h`."""
    seconds = max(0.0, seconds)
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 59.95 else elapsed_whole(round(seconds))


def chosen(seconds: float) -> str:
    """A length of time that somebody chose, whole, without parts that are zero: `15 min`, `1 h 30 min`, `1.5 s`."""
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        count, seconds = divmod(seconds, length)
        parts += [f"{count:.0f} {unit}"] if count else []
    if seconds or not parts:
        parts.append(f"{seconds:.3f}".rstrip("0").rstrip(".") + " s")
    return " ".join(parts)


def elapsed_whole(seconds: float) -> str:
    """A length of time that is still growing, without parts of a second: `0 s`, `59 s`, `2 min 05 s`."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def tokens(count: int) -> str:
    """A number of tokens: `950`, `1.2k`, `3.4M`."""
    if count < 1000:
        return str(count)
    return f"{count / 1000:.1f}k" if count < 999_950 else f"{count / 1_000_000:.1f}M"


def dollars(micros: int) -> str:
    """Millionths of a dollar: `$0.0123`, `$12.34`."""
    return f"${micros / 1_000_000:.4f}" if micros < 1_000_000 else f"${micros / 1_000_000:.2f}"


def size(count: int) -> str:
    """A number of bytes: `512 B`, `1.5 KiB`, `3.0 GiB`."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):  # noqa: B007  # the last unit is used after the loop
        if value < 1024:
            break
        value /= 1024
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def plural(count: int, noun: str) -> str:
    """`1 turn`, `2 turns`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def usage(used: outcome_pb2.Usage) -> list[str]:
    """What was used, as phrases; empty when nothing was."""
    phrases = []
    if used.turns:
        phrases.append(plural(used.turns, "turn"))
    if used.tool_calls:
        phrases.append(plural(used.tool_calls, "tool call"))
    read = used.input_tokens + used.cache_creation_tokens + used.cache_read_tokens
    if read or used.output_tokens:
        phrases.append(f"{tokens(read)} in / {tokens(used.output_tokens)} out tokens")
    if used.cost_usd_micros:
        phrases.append(dollars(used.cost_usd_micros))
    return phrases


def parse_duration(text: str) -> float:
    """Seconds of `90`, `90s`, `1m30s`, `2h`, `500ms`. Raises ValueError."""
    stripped = text.strip()
    parts = _PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped.replace(" ", ""):
        raise ValueError(f"{text!r} is not a length of time: write 90s, 5m, 1h30m")
    seconds = float(sum(float(number) * _UNITS[unit] for number, unit in parts))
    if seconds > DURATION_SECONDS_MAX:
        raise ValueError(f"{text!r} is longer than a thousand years")
    return seconds


def parse_size(text: str) -> int:
    """Bytes of `1024`, `512MiB`, `2GiB`, `1.5G`; a unit without `i` counts the same. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"{text!r} is not a size: write 512MiB, 2GiB")
    number, unit = found.groups()
    size = float(number) * 1024 ** "bkmgt".index(unit or "b")
    if size >= SIZE_BYTES_END:
        raise ValueError(f"{text!r} is too large: it has to be less than 8388608TiB")
    return int(size)


def moment(stamp: Timestamp) -> datetime:
    """A protobuf timestamp as a UTC datetime."""
    return stamp.ToDatetime(tzinfo=UTC)


def seconds_of(length: Duration) -> float:
    """A protobuf duration in seconds."""
    return length.seconds + length.nanos / 1e9


def clock(stamp: Timestamp) -> str:
    """A moment in local time: `2026-01-31 12:00:00`."""
    return moment(stamp).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def age(stamp: Timestamp, now: datetime) -> str:
    """How long ago a moment was, in one unit: `12s`, `5m`, `3h`, `2d`."""
    return short((now - moment(stamp)).total_seconds())


def short(seconds: float) -> str:
    """A length of time in one unit: `12s`, `5m`, `3h`, `2d`."""
    whole = max(0, int(seconds))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if whole >= length:
            return f"{whole // length}{unit}"
    return f"{whole}s"


def brief(seconds: float) -> str:
    """A length of time in five characters at most, for columns: `85ms`, `1.2s`, `59s`, `5m`, `3h`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 9.95 else short(seconds)


def rate(per_second: float) -> str:
    """Things for each second, in few characters: `0`, `0.02`, `1.5`, `240`, `1.2k`."""
    if per_second >= 100:
        return tokens(round(per_second))
    return f"{per_second:.1f}" if per_second >= 0.95 else f"{per_second:.2f}".rstrip("0").rstrip(".")
