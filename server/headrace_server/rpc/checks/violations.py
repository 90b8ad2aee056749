"""Collects what is wrong with a request, all of it at once, and the checks that fields of many messages share.

A check takes a value that is set, its path from the request, and the collector. It never raises and never stops at the
first fault. Which field has which check is said in the `validate_*` files.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from headrace_server.core import limits
from headrace_server.core.refusal import Reason, Refusal, Violation
from headrace_server.rpc.checks.json_numbers import holds_no_json_number
from headrace_server.rpc.checks.nesting import is_nested_too_deep

VIOLATIONS_COUNT_MAX = 100
"""Kept of one request; the others are counted."""
TIMESTAMP_SECONDS_MIN = 0
TIMESTAMP_SECONDS_MAX = 253_402_300_799
"""The last second of the year 9999."""
DURATION_SECONDS_MAX = 10 * 366 * 86_400
"""Ten years: whatever is longer means to have no limit, which is said by zero or by leaving the field out."""
NANOS_MAX = 999_999_999

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NAME = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
LABEL_KEY = re.compile(r"[a-z0-9]([a-z0-9_.-]{0,61}[a-z0-9])?")
TOKEN = re.compile(r"[A-Za-z0-9_.-]{1,128}")
UUID_TEXT = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Violations:
    """What was found so far."""

    __slots__ = ("found", "omitted")

    def __init__(self) -> None:
        self.found: list[Violation] = []
        self.omitted = 0

    def add(self, path: str, description: str) -> None:
        """Adds one fault."""
        if len(self.found) < VIOLATIONS_COUNT_MAX:
            self.found.append(Violation(path, description))
        else:
            self.omitted += 1

    def refusal(self) -> Refusal | None:
        """The refusal that names every fault; None when there is none."""
        if not self.found:
            return None
        first = self.found[0]
        others = len(self.found) + self.omitted - 1
        more = f" (and {others} more)" if others else ""
        metadata = {"violations_omitted": str(self.omitted)} if self.omitted else {}
        message = f"{first.field} {first.description}{more}"
        return Refusal(Reason.INVALID_FIELD, message, violations=tuple(self.found), metadata=metadata)


Check = Callable[[Any], Refusal | None]
"""Why a request can't be accepted as it is."""
FieldCheck = Callable[[Any, str, Violations], None]
Rules = dict[str, FieldCheck]
"""The check of each field of a message, by its name. Complete: a test compares it with the message."""


def check_fields(message: Any, rules: Rules, prefix: str, violations: Violations) -> None:
    """Checks the fields that are set; what is not set costs nothing."""
    for field, value in message.ListFields():
        name = field.name
        rules[name](value, prefix + name, violations)


def request_of(rules: Rules, *required: str) -> Check:
    """A request whose fields have these rules, some of which have to be set, and none that spans fields."""

    def check(request: Any) -> Refusal | None:
        violations = Violations()
        for name in required:
            if not getattr(request, name):
                violations.add(name, "is required")
        check_fields(request, rules, "", violations)
        return violations.refusal()

    return check


def anything(value: Any, path: str, violations: Violations) -> None:
    """Every value of the type will do."""


def message_of(rules: Rules) -> FieldCheck:
    """A message whose fields have these rules."""

    def check(value: Any, path: str, violations: Violations) -> None:
        check_fields(value, rules, path + ".", violations)

    return check


def text(characters_max: int) -> FieldCheck:
    """A line for people: bounded, without control characters."""

    def check(value: str, path: str, violations: Violations) -> None:
        if len(value) > characters_max:
            violations.add(path, f"has {len(value)} characters; at most {characters_max} are allowed")
        elif CONTROL_CHARACTERS.search(value):
            violations.add(path, "holds a control character")

    return check


def pattern(expression: re.Pattern[str], description: str) -> FieldCheck:
    """Text that matches as a whole."""

    def check(value: str, path: str, violations: Violations) -> None:
        if not expression.fullmatch(value):
            violations.add(path, f"has to be {description}")

    return check


def bytes_within(size_max: int) -> FieldCheck:
    """Text or bytes, bounded by their length in bytes, without NUL in text."""

    def check(value: str | bytes, path: str, violations: Violations) -> None:
        size = len(value.encode()) if isinstance(value, str) else len(value)
        if size > size_max:
            violations.add(path, f"has {size} bytes; at most {size_max} are allowed")
        elif isinstance(value, str) and "\0" in value:
            violations.add(path, "holds a NUL character")

    return check


def serialised_within(size_max: int) -> FieldCheck:
    """A message, bounded by its length when serialised."""

    def check(value: Any, path: str, violations: Violations) -> None:
        size = value.ByteSize()
        if size > size_max:
            violations.add(path, f"has {size} bytes when serialised; at most {size_max} are allowed")

    return check


def structured_within(size_max: int) -> FieldCheck:
    """A `Struct`, bounded by its length when serialised and by how deep it is nested; all of it is JSON."""
    sized = serialised_within(size_max)

    def check(value: Any, path: str, violations: Violations) -> None:
        sized(value, path, violations)
        if is_nested_too_deep(value):
            violations.add(path, "is nested too deeply; 25 levels are allowed")
        elif holds_no_json_number(value):
            violations.add(path, "holds NaN or an infinite number, which JSON does not have")

    return check


def between(lowest: float, highest: float) -> FieldCheck:
    """A number in a range, both ends included; never NaN."""

    def check(value: float, path: str, violations: Violations) -> None:
        if not lowest <= value <= highest:
            violations.add(path, f"is {value}; it has to be from {lowest} to {highest}")

    return check


def at_least_zero(value: int, path: str, violations: Violations) -> None:
    """A count or an amount."""
    if value < 0:
        violations.add(path, f"is {value}; it must not be negative")


def enum(wrapper: EnumTypeWrapper) -> FieldCheck:
    """A value that this server knows; enums of proto3 let any number through."""
    numbers = frozenset(wrapper.values())

    def check(value: int, path: str, violations: Violations) -> None:
        if value not in numbers:
            violations.add(path, f"is {value}, which this server does not know")

    return check


def timestamp(value: Any, path: str, violations: Violations) -> None:
    """A point in time from 1970 to 9999."""
    if not (TIMESTAMP_SECONDS_MIN <= value.seconds <= TIMESTAMP_SECONDS_MAX and 0 <= value.nanos <= NANOS_MAX):
        violations.add(path, "is not a time from 1970-01-01 to 9999-12-31")


def duration(value: Any, path: str, violations: Violations) -> None:
    """A time span, never a negative one."""
    if not (0 <= value.seconds <= DURATION_SECONDS_MAX and 0 <= value.nanos <= NANOS_MAX):
        violations.add(path, f"has to be from 0 to {DURATION_SECONDS_MAX} seconds")


def duration_above_zero(value: Any, path: str, violations: Violations) -> None:
    """A time span of more than nothing."""
    duration(value, path, violations)
    if not value.seconds and not value.nanos:
        violations.add(path, "has to be more than zero")


def each(item_check: FieldCheck, count_max: int) -> FieldCheck:
    """A list, bounded, each of its items checked. One that is too long is not looked at any further."""

    def check(values: Iterable[Any], path: str, violations: Violations) -> None:
        items = list(values)
        if len(items) > count_max:
            violations.add(path, f"has {len(items)} items; at most {count_max} are allowed")
            return
        for index, item in enumerate(items):
            item_check(item, f"{path}[{index}]", violations)

    return check


def each_entry(key_check: FieldCheck, value_check: FieldCheck, count_max: int) -> FieldCheck:
    """A map, bounded, its keys and values checked."""

    def check(values: Mapping[str, Any], path: str, violations: Violations) -> None:
        if len(values) > count_max:
            violations.add(path, f"has {len(values)} entries; at most {count_max} are allowed")
            return
        for key, value in values.items():
            entry = f'{path}["{key}"]'
            key_check(key, entry, violations)
            value_check(value, entry, violations)

    return check


namespace = pattern(NAME, "1 to 63 characters of a-z, 0-9, _ and -, beginning and ending with a letter or digit")
queue_name = namespace
job_id = pattern(UUID_TEXT, "a UUID in its lower-case text form, e.g. 01890a5d-ac96-774b-bcce-b302099a8057")
request_id = text(limits.REQUEST_ID_CHARACTERS_MAX)
worker_id = pattern(TOKEN, f"1 to {limits.WORKER_ID_CHARACTERS_MAX} characters of A-Z, a-z, 0-9, _, . and -")
label_key = pattern(
    LABEL_KEY, "a key of 1 to 63 characters of a-z, 0-9, _, . and -, beginning and ending with a letter or digit"
)
labels = each_entry(label_key, text(limits.LABEL_VALUE_CHARACTERS_MAX), limits.LABELS_COUNT_MAX)
