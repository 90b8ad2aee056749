"""What the settings of a namespace have to be like: every fault of all queues at once."""

from headrace.v1 import admin_service_pb2
from headrace_server.core import limits
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks.validate_task import CLAUDE
from headrace_server.rpc.checks.violations import (
    Rules,
    Violations,
    anything,
    between,
    bytes_within,
    check_fields,
    duration,
    each_entry,
    message_of,
    namespace,
    queue_name,
    text,
)

DEFAULTS: Rules = {
    **{
        name: CLAUDE[name]
        for name in (
            "model",
            "fallback_model",
            "allowed_tools",
            "disallowed_tools",
            "permission_mode",
            "permission_prompts",
            "append_system_prompt",
            "limits",
            "environment_profile",
        )
    },
    "idle_timeout": duration,
}
SESSIONS: Rules = {
    "open_max": between(0, limits.SESSIONS_OPEN_COUNT_MAX),
    "open_per_owner_max": between(0, limits.SESSIONS_OPEN_COUNT_MAX),
    "pending_turns_max": between(0, limits.SESSION_PENDING_TURNS_COUNT_MAX),
}
SETTINGS: Rules = {
    "namespace": namespace,
    "etag": bytes_within(limits.KEY_CHARACTERS_MAX),
    "claude": message_of(DEFAULTS),
    "claude_by_queue": each_entry(queue_name, message_of(DEFAULTS), limits.SETTINGS_QUEUES_COUNT_MAX),
    "sessions": message_of(SESSIONS),
    "response_cache_epoch": text(limits.KEY_CHARACTERS_MAX),
    # What GetSettings said may be sent back as it is.
    "update_time": anything,
    "actor": text(limits.KEY_CHARACTERS_MAX),
}
UPDATE: Rules = {"namespace": namespace, "settings": message_of(SETTINGS), "validate_only": anything}


def check_update_settings(request: admin_service_pb2.UpdateSettingsRequest) -> Refusal | None:
    """Settings that are all right, and those of the namespace that is meant."""
    violations = Violations()
    if not request.HasField("settings"):
        violations.add("settings", "is required")
    check_fields(request, UPDATE, "", violations)
    named = request.settings.namespace
    if named and named != (request.namespace or "default"):
        violations.add(
            "settings.namespace", f"is {named!r}, but the request is about {request.namespace or 'default'!r}"
        )
    of_owner, of_all = request.settings.sessions.open_per_owner_max, request.settings.sessions.open_max
    if of_owner > (of_all or limits.SESSIONS_PER_NAMESPACE_COUNT_DEFAULT):
        most = of_all or f"{limits.SESSIONS_PER_NAMESPACE_COUNT_DEFAULT} when it is left out"
        violations.add("settings.sessions.open_per_owner_max", f"is {of_owner}, more than open_max, {most}")
    return violations.refusal()
