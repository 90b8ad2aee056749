"""Numbers that JSON does not have: a message that holds one can't be shown as JSON any more, by nobody.

Only `Struct` and `Value` promise to be JSON, so only these are asked about.
"""

import math
import re

from google.protobuf.struct_pb2 import ListValue, Struct, Value

_LIKE_ONE = re.compile(rb"\x11.{6}[\xf0-\xff][\x7f\xff]", re.DOTALL)
"""The tag of `number_value`, and a double all of whose exponent is set. Text and other numbers can look like it."""


def holds_no_json_number(message: Struct | Value) -> bool:
    """Whether NaN or an infinity is anywhere in it. Each value is looked at only when its bytes let one be there."""
    return _LIKE_ONE.search(message.SerializeToString()) is not None and _in(message)


def _in(message: Struct | ListValue | Value) -> bool:
    if isinstance(message, Struct):
        return any(_in(value) for value in message.fields.values())
    if isinstance(message, ListValue):
        return any(_in(value) for value in message.values)
    match message.WhichOneof("kind"):
        case "number_value":
            return not math.isfinite(message.number_value)
        case "struct_value":
            return _in(message.struct_value)
        case "list_value":
            return _in(message.list_value)
        case _:
            return False
