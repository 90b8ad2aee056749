"""How deep a message may be nested: what can just be read on its own can't be read any more inside an answer that
carries it.

Only `Struct` and `Value` hold themselves, so only these are asked about.
"""

from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from headrace_server.core.limits import NESTED_LEVELS_MAX
from headrace_server.store.wire import varint

READ_LEVELS_MAX = 100
"""Messages inside each other that protobuf reads."""
_LEVEL_BYTES_MIN = 2
_VALUES = varint(ListValue.DESCRIPTOR.fields_by_name["values"].number << 3 | 2)
_LIST = varint(Value.DESCRIPTOR.fields_by_name["list_value"].number << 3 | 2)
_STRUCT = varint(Value.DESCRIPTOR.fields_by_name["struct_value"].number << 3 | 2)


def is_nested_too_deep(message: Struct | Value) -> bool:
    """Whether it has more than `NESTED_LEVELS_MAX` levels.

    Asked of the parser, with lists wrapped around it, because looking at each value in Python takes a thousand times
    longer.
    """
    if message.ByteSize() < NESTED_LEVELS_MAX * _LEVEL_BYTES_MIN:
        return False
    try:
        Value.FromString(_wrapped(message))
    except DecodeError:
        return True
    return False


def _wrapped(message: Message) -> bytes:
    body = message.SerializeToString()
    tags = [_STRUCT] if isinstance(message, Struct) else []
    while len(tags) < READ_LEVELS_MAX - NESTED_LEVELS_MAX:
        tags += (_VALUES, _LIST)
    headers: list[bytes] = []
    size = len(body)
    for tag in tags:
        headers.append(tag + varint(size))
        size += len(headers[-1])
    return b"".join((*reversed(headers), body))
