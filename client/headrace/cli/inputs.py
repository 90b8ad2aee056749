"""What options name instead of saying: files, standard input, JSON, and messages written in it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message


def absolute(folder: str) -> str:
    """The folder's absolute path; empty stays empty."""
    return str(Path(folder).expanduser().absolute()) if folder else ""


def json_object(text: str, option: str) -> dict[str, Any]:
    """A JSON object given as text or as @FILE."""
    value = json_value(text, option)
    if not isinstance(value, dict):
        raise typer.BadParameter("a JSON object is needed, e.g. '{\"name\": 1}'", param_hint=option)
    return value


def json_value(text: str, option: str) -> Any:
    """Any JSON value given as text or as @FILE."""
    try:
        return json.loads(Path(text[1:]).read_text(encoding="utf-8") if text.startswith("@") else text)
    except ValueError as error:
        raise typer.BadParameter(f"this is not JSON: {error}", param_hint=option) from None
    except OSError as error:
        raise typer.BadParameter(f"can't read {text[1:]}: {error.strerror}", param_hint=option) from None


def parse_message(value: Any, into: Message, option: str) -> None:
    """Reads a JSON value in the contract's names into a message."""
    try:
        json_format.ParseDict(value, into)
    except json_format.ParseError as error:
        raise typer.BadParameter(str(error), param_hint=option) from None


def read_bytes(source: str, option: str) -> bytes:
    """The bytes of a file, or of standard input for `-`."""
    try:
        return b"" if not source else sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"can't read {source}: {error.strerror}", param_hint=option) from None
