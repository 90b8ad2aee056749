"""What the mask of an update may name. Values of other fields are not looked at, and how what changes fits with what
stays is not judged here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.field_mask_pb2 import FieldMask

from headrace_server.rpc.checks.violations import Rules, Violations, check_fields, queue_name


@dataclass(frozen=True, slots=True)
class NamedFields:
    """The fields of a resource with a name of its own, by who sets them and when."""

    updatable: frozenset[str]
    fixed: frozenset[str]
    output_only: frozenset[str]

    def check_created(self, value: Any, path: str, rules: Rules, violations: Violations) -> None:
        """One to be made: it has a name, and nothing that only the server sets."""
        if not value.name:
            violations.add(path + ".name", "is required")
        for field, _ in value.ListFields():
            if field.name in self.output_only:
                violations.add(f"{path}.{field.name}", "is set by the server only")
        check_fields(value, rules, path + ".", violations)

    def check_updated(self, value: Any, path: str, rules: Rules, mask: FieldMask, violations: Violations) -> None:
        """One to be changed: the mask names fields that can change; only these are looked at."""
        if not value.name:
            violations.add(path + ".name", "is required")
        else:
            queue_name(value.name, path + ".name", violations)
        self._check_mask(frozenset(mask.paths), violations)
        for field, inner in value.ListFields():
            if field.name in self.updatable and field.name in mask.paths:
                rules[field.name](inner, f"{path}.{field.name}", violations)

    def _check_mask(self, names: frozenset[str], violations: Violations) -> None:
        allowed = ", ".join(sorted(self.updatable))
        if not names:
            violations.add("update_mask", f"is required: any of {allowed}")
        for name in sorted(names - self.updatable):
            violations.add("update_mask", f"names '{name[:64]}', which {self._reason(name)}; allowed: {allowed}")

    def _reason(self, name: str) -> str:
        if name in self.fixed:
            return "is fixed"
        return "is set by the server only" if name in self.output_only else "is unknown"


@dataclass(frozen=True, slots=True)
class SpecFields:
    """The fields of a spec that can be changed once it was accepted. A dot leads into a message of the spec."""

    updatable: Sequence[str]

    def check_mask(self, value: FieldMask, path: str, violations: Violations) -> None:
        """Names fields that can be changed, each once."""
        for name in value.paths:
            if name not in self.updatable:
                violations.add(path, f"names {name[:64]!r}; only {', '.join(self.updatable)} can be changed")
        if len(set(value.paths)) < len(value.paths):
            violations.add(path, "names a field twice")

    def check_named(self, spec: Any, rules: Rules, mask: FieldMask, violations: Violations, prefix: str = "") -> None:
        """The values of the fields that are named, of the spec or of the message of it that the prefix leads to."""
        for field, value in spec.ListFields():
            name = prefix + field.name
            if name in mask.paths and name in self.updatable:
                rules[field.name](value, f"spec.{name}", violations)

    def check_not_empty(self, mask: FieldMask, violations: Violations) -> None:
        """Something is to be changed."""
        if not mask.paths:
            violations.add("update_mask", f"has to name at least one of {', '.join(self.updatable)}")
