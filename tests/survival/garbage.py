"""Messages that no sound client sends, made from a seed: wild values among plausible ones, so that some pass checks.

Owns how values are drawn. It knows fields by name and type only, and nothing of what a server does with them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

M = TypeVar("M", bound=Message)
DEPTH_MAX = 12
INTEGERS_32 = (0, 1, -1, 2, 7, 100, 2**31 - 1, -(2**31))
INTEGERS_64 = (0, 1, -1, 2, 500, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 253_402_300_800)
FLOATS = (0.0, -0.0, 1.0, 1e300, -1e300, math.inf, -math.inf, math.nan, 5e-324)
TEXTS = (
    *(
        "",
        "a",
        "\0",
        "a\0b",
        "\x1b[31m",
        "\ud7ff\uffff",
        "\U0010ffff" * 3,
        "'; DROP TABLE jobs; --",
        "..",
        "-x",
        "%s{}",
    ),
    *("é" * 200, "x" * 5000, "٣:٣", "1:9999999999999999999999", "AAAA", "{", "null", "2" * 4000, "🧨" * 64),
    *("00000000-0000-0000-0000-000000000000", "{01890a5d-ac96-774b-bcce-b302099a8057}", "urn:uuid:x", "a.b.c", "*"),
)
WILD = (0.0, 0.01, 0.05, 0.3)
"""How likely a single value is a wild one, drawn for each message: only some garbage is to fail at the first look."""


class Garbage:
    """Draws messages. `known` are plausible values by name of the field; none at all leaves it out, but wild ones."""

    def __init__(self, seed: int, known: Mapping[str, Sequence[Any]] | None = None) -> None:
        self.random = Random(seed)
        self._known = dict(known or {})
        self._wild = 0.0

    def message(self, kind: type[M], **given: Any) -> M:
        """A message of a kind; `given` fields are as they are."""
        message = kind()
        self._wild = self.random.choice(WILD)
        self._fill(message, 0)
        for name, value in given.items():
            message.ClearField(name)
            target = getattr(message, name)
            if isinstance(value, Message):
                target.CopyFrom(value)
            elif isinstance(value, (list, tuple)):
                target.extend(value)
            else:
                setattr(message, name, value)
        return message

    def noise(self) -> bytes:
        """Bytes that may be anything."""
        return self.random.randbytes(self.random.choice((0, 1, 2, 17, 300)))

    def damaged(self, message: Message) -> bytes:
        """A message with some of its bytes changed, cut off or doubled."""
        body = bytearray(message.SerializeToString())
        for _ in range(self.random.randint(1, 4)):
            place = self.random.randrange(len(body) + 1)
            match self.random.randrange(3):
                case 0:
                    body[place : place + 1] = self.random.randbytes(1)
                case 1:
                    del body[place:]
                case _:
                    body += body[place : place + 64]
        return bytes(body)

    def _fill(self, message: Message, depth: int) -> None:
        for field in message.DESCRIPTOR.fields:
            if depth <= DEPTH_MAX and self.random.random() < self._share(field, depth):
                self._set(message, field, depth)

    def _share(self, field: Any, depth: int) -> float:
        """How likely a field is set: half of them near the root, few further down, one that is known nearly always."""
        known = self._known.get(field.name)
        if known is None:
            return 0.6 if depth < 2 else 0.3
        return 0.99 - self._wild / 2 if known else self._wild

    def _set(self, message: Message, field: Any, depth: int) -> None:
        target = getattr(message, field.name)
        if is_map(field):
            self._set_map(target, field, depth)
        elif field.is_repeated:
            for _ in range(self.random.choice((0, 1, 1, 2, 5))):
                if field.message_type is not None:
                    self._fill(target.add(), depth + 1)
                else:
                    target.append(self._value(field))
        elif field.message_type is not None:
            target.SetInParent()
            known = [one for one in self._known.get(field.name, ()) if isinstance(one, type(target))]
            if known and not self._is_wild():
                target.CopyFrom(self.random.choice(known))
            else:
                self._fill(target, depth + 1)
        else:
            setattr(message, field.name, self._value(field))

    def _set_map(self, target: Any, field: Any, depth: int) -> None:
        key, value = field.message_type.fields
        for _ in range(self.random.choice((0, 1, 3))):
            if value.message_type is not None:
                self._fill(target[self._value(key)], depth + 1)
            else:
                target[self._value(key)] = self._value(value)

    def _value(self, field: Any) -> Any:
        known = self._known.get(field.name)
        if known and not self._is_wild():
            return self.random.choice(known)
        return self._of_type(field)

    def _of_type(self, field: Any) -> Any:
        draw: Callable[[], Any] = {
            FieldDescriptor.CPPTYPE_STRING: lambda: self._text(field),
            FieldDescriptor.CPPTYPE_BOOL: lambda: self.random.random() < 0.5,
            FieldDescriptor.CPPTYPE_INT32: lambda: self.random.choice(INTEGERS_32) if self._is_wild() else 1,
            FieldDescriptor.CPPTYPE_INT64: lambda: self.random.choice(INTEGERS_64) if self._is_wild() else 1,
            FieldDescriptor.CPPTYPE_UINT32: lambda: self.random.choice((0, 1, 2**32 - 1)),
            FieldDescriptor.CPPTYPE_UINT64: lambda: self.random.choice((0, 1, 2**64 - 1)),
            FieldDescriptor.CPPTYPE_DOUBLE: lambda: self.random.choice(FLOATS),
            FieldDescriptor.CPPTYPE_FLOAT: lambda: self.random.choice(FLOATS),
            FieldDescriptor.CPPTYPE_ENUM: lambda: self._enum(field),
        }[field.cpp_type]
        return draw()

    def _text(self, field: Any) -> str | bytes:
        if field.type == FieldDescriptor.TYPE_BYTES:
            return self.noise()
        if not self._is_wild():
            return "plain"
        return self.random.choice(TEXTS).encode("utf-8", "replace").decode()

    def _is_wild(self) -> bool:
        return self.random.random() < self._wild

    def _enum(self, field: Any) -> int:
        if self._is_wild():
            return self.random.choice((-1, 99, 2**31 - 1, -(2**31)))
        number: int = self.random.choice(field.enum_type.values).number
        return number


def is_map(field: Any) -> bool:
    """Whether a field is a map."""
    map_entry: bool = field.message_type is not None and field.message_type.GetOptions().map_entry
    return map_entry
