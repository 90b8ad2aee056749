"""Between `google.protobuf.Struct` and plain Python values, both ways, exactly or not at all.

JSON numbers travel as doubles: whole ones come out as `int`, and what a double can't hold is refused, never rounded.
"""

import math
from typing import Any

from google.protobuf import struct_pb2

from headrace_worker.limits import INTEGER_EXACT_MAX, RESULT_DEPTH_MAX

NULL = struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)


class NotJson(ValueError):
    """The value can't be said in JSON; the text says where and why."""


def to_dict(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A struct as a dict of None, bool, int, float, str, list and dict."""
    return {name: to_python(value) for name, value in struct.fields.items()}


def to_value(value: object, place: str = "result") -> struct_pb2.Value:
    """A Python value as a protobuf Value. Raises NotJson, whose text calls the value by `place`."""
    if value is None:
        return NULL
    target = struct_pb2.Value()
    _fill(target, value, place, 0)
    return target


def to_python(value: struct_pb2.Value) -> Any:
    """A protobuf Value as None, bool, int, float, str, list or dict."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= INTEGER_EXACT_MAX else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return to_dict(value.struct_value)
    if kind == "list_value":
        return [to_python(item) for item in value.list_value.values]
    return None


def _fill(target: struct_pb2.Value, value: object, place: str, depth: int) -> None:
    if depth > RESULT_DEPTH_MAX:
        raise NotJson(f"{place} is nested more than {RESULT_DEPTH_MAX} deep")
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = _number(value, place)
    elif isinstance(value, str):
        target.string_value = _text(value, place)
    elif isinstance(value, dict):
        fields = target.struct_value.fields
        target.struct_value.SetInParent()
        for name, item in value.items():
            if not isinstance(name, str):
                raise NotJson(f"{place} has a key of type {type(name).__name__}; JSON keys are text")
            _fill(fields[_text(name, place)], item, f"{place}.{name}", depth + 1)
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        for index, item in enumerate(value):
            _fill(target.list_value.values.add(), item, f"{place}[{index}]", depth + 1)
    else:
        raise NotJson(f"{place} is of type {type(value).__name__}, which JSON does not have")


def _number(value: int | float, place: str) -> float:
    if isinstance(value, int):
        if abs(value) > INTEGER_EXACT_MAX:
            raise NotJson(f"{place} is an integer past 2**53, which a JSON number does not hold; make it text")
        return float(value)
    if not math.isfinite(value):
        raise NotJson(f"{place} is {value}, which JSON does not have")
    return value


def _text(value: str, place: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise NotJson(f"{place} holds a character that UTF-8 does not have") from error
    return value


def sendable(text: str) -> str:
    """A text for people without what UTF-8 does not have, such as the odd bytes of a file's name."""
    return text.encode("utf-8", "replace").decode()
