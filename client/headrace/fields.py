"""Messages of the contract from plain values: a value that its field can't hold is named, with what the field takes.

Pure. What of the values that fit is valid is the server's to judge.
"""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

Made = TypeVar("Made", bound=Message)

_SCALARS = {
    FieldDescriptor.CPPTYPE_INT32: "a whole number from -2147483648 to 2147483647",
    FieldDescriptor.CPPTYPE_INT64: "a whole number from -9223372036854775808 to 9223372036854775807",
    FieldDescriptor.CPPTYPE_UINT32: "a whole number from 0 to 4294967295",
    FieldDescriptor.CPPTYPE_UINT64: "a whole number from 0 to 18446744073709551615",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "True or False",
}
VALUE_CHARACTERS_MAX = 100


def message(kind: type[Made], **values: Any) -> Made:
    """A message with these fields. Raises TypeError, or ValueError for a number out of range, that names the field."""
    try:
        return kind(**values)
    except (TypeError, ValueError):
        for name, value in values.items():
            _check(kind, name, value)
        raise


def _check(kind: type[Message], name: str, value: Any) -> None:
    try:
        kind(**{name: value})
    except (TypeError, ValueError) as error:
        said = repr(value)
        shown = said if len(said) <= VALUE_CHARACTERS_MAX else said[:VALUE_CHARACTERS_MAX] + "…"
        what = f"{name} is {shown}; it has to be {_wanted(kind.DESCRIPTOR.fields_by_name[name])}"
        raise (ValueError if isinstance(error, ValueError) else TypeError)(what) from None


def _wanted(field: Any) -> str:
    """In words; the descriptor is of either implementation."""
    of_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    if of_map:
        key, value = (field.message_type.fields_by_name[part] for part in ("key", "value"))
        return f"a mapping from {_one(key)} to {_one(value)}"
    return f"a list, each of it {_one(field)}" if field.is_repeated else _one(field)


def _one(field: Any) -> str:
    if field.message_type is not None:
        return f"a {field.message_type.name}"
    if field.enum_type is not None:
        return f"a value of {field.enum_type.name}"
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "bytes" if field.type == FieldDescriptor.TYPE_BYTES else "text"
    return _SCALARS[field.cpp_type]
