"""What a Claude task or a session gets where it says nothing: the queue's word first, then the namespace's. Pure."""

from collections.abc import Iterator

from headrace.v1 import session_pb2, settings_pb2, task_pb2

_TEXTS = ("model", "fallback_model", "append_system_prompt", "environment_profile")
_LISTS = ("allowed_tools", "disallowed_tools")
_CHOICES = ("permission_mode", "permission_prompts")
_LIMITS = ("max_turns", "max_cost_usd_micros")


def fill_task(task: task_pb2.ClaudeTask, settings: settings_pb2.NamespaceSettings, queue: str) -> None:
    """Fills in what a task leaves out. A turn of a session has all that from its session."""
    if task.session_id:
        return
    if task.HasField("response_cache") and not task.response_cache.epoch:
        task.response_cache.epoch = settings.response_cache_epoch
    for defaults in _in_order(settings, queue):
        for name in (*_TEXTS, *_CHOICES):
            if not getattr(task, name):
                setattr(task, name, getattr(defaults, name))
        for name in _LISTS:
            if not getattr(task, name):
                getattr(task, name).extend(getattr(defaults, name))
        for name in _LIMITS:
            if not getattr(task.limits, name) and getattr(defaults.limits, name):
                setattr(task.limits, name, getattr(defaults.limits, name))


def fill_session(spec: session_pb2.SessionSpec, settings: settings_pb2.NamespaceSettings, queue: str) -> None:
    """Fills in what a session leaves out."""
    if not any(defaults.ByteSize() for defaults in _in_order(settings, queue)):
        return
    fill_task(spec.task, settings, queue)
    for defaults in _in_order(settings, queue):
        if not spec.HasField("idle_timeout") and defaults.HasField("idle_timeout"):
            spec.idle_timeout.CopyFrom(defaults.idle_timeout)


def _in_order(settings: settings_pb2.NamespaceSettings, queue: str) -> Iterator[settings_pb2.ClaudeDefaults]:
    if queue in settings.claude_by_queue:
        yield settings.claude_by_queue[queue]
    yield settings.claude
