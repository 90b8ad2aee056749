"""Answers that fit a JSON schema: makes one example and checks one value.

Covers what schemas in tests and demos use (types, required, properties, items, enum, const, bounds); the real
program knows more.
"""

from collections.abc import Mapping
from typing import Any

_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}


def example(schema: Mapping[str, Any], words: str = "simulated") -> Any:
    """A value that the schema accepts; strings are `words`."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    match _kind(schema):
        case "object":
            return {name: example(part, words) for name, part in schema.get("properties", {}).items()}
        case "array":
            count = max(1, int(schema.get("minItems", 1)))
            return [example(schema.get("items", {}), words) for _ in range(count)]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean":
            return True
        case "null":
            return None
    return words.ljust(int(schema.get("minLength", 0)), ".")[: int(schema.get("maxLength", 10_000))]


def problem(value: Any, schema: Mapping[str, Any], place: str = "") -> str | None:
    """What is wrong with a value, or None."""
    if "enum" in schema and value not in schema["enum"]:
        return f"{place or 'root'}: must be equal to one of the allowed values"
    if "const" in schema and value != schema["const"]:
        return f"{place or 'root'}: must be equal to constant"
    kind = schema.get("type")
    if isinstance(kind, str) and not _is_of(value, kind):
        return f"{place or 'root'}: must be {kind}"
    if isinstance(value, dict):
        return _object_problem(value, schema, place)
    if isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        found = (problem(item, schema["items"], f"{place}/{index}") for index, item in enumerate(value))
        return next((text for text in found if text), None)
    return None


def _object_problem(value: dict[str, Any], schema: Mapping[str, Any], place: str) -> str | None:
    properties = schema.get("properties", {})
    for name in schema.get("required", []):
        if name not in value:
            return f"{place or 'root'}: must have required property '{name}'"
    for name, item in value.items():
        if name in properties:
            text = problem(item, properties[name], f"{place}/{name}")
            if text:
                return text
        elif schema.get("additionalProperties") is False:
            return f"{place or 'root'}: must NOT have additional properties"
    return None


def _kind(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    return str(kind[0] if isinstance(kind, list) else kind)


def _is_of(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _TYPES.get(kind, object))
