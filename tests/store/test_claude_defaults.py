"""What a task gets where it says nothing: its queue's word before the namespace's, field by field, and never over its
own."""

from headrace.v1 import session_pb2, settings_pb2, task_pb2
from headrace_server.store.jobs.claude_defaults import fill_session, fill_task

SETTINGS = settings_pb2.NamespaceSettings(
    claude=settings_pb2.ClaudeDefaults(
        model="sonnet",
        fallback_model="haiku",
        allowed_tools=["Read"],
        permission_mode=task_pb2.PERMISSION_MODE_PLAN,
        limits=task_pb2.ClaudeLimits(max_turns=9, max_cost_usd_micros=500),
    ),
    claude_by_queue={
        "fast": settings_pb2.ClaudeDefaults(model="haiku", limits=task_pb2.ClaudeLimits(max_turns=3)),
    },
)
SETTINGS.claude.idle_timeout.FromSeconds(60)


def filled(queue: str, task: task_pb2.ClaudeTask) -> task_pb2.ClaudeTask:
    fill_task(task, SETTINGS, queue)
    return task


def test_the_namespace_fills_in_what_is_left_out() -> None:
    task = filled("default", task_pb2.ClaudeTask(prompt="p"))
    assert (task.model, task.fallback_model, list(task.allowed_tools)) == ("sonnet", "haiku", ["Read"])
    assert (task.permission_mode, task.limits.max_turns) == (task_pb2.PERMISSION_MODE_PLAN, 9)


def test_the_queue_comes_before_the_namespace_field_by_field() -> None:
    task = filled("fast", task_pb2.ClaudeTask(prompt="p"))
    assert (task.model, task.fallback_model) == ("haiku", "haiku")
    assert (task.limits.max_turns, task.limits.max_cost_usd_micros) == (3, 500)


def test_the_own_word_comes_before_both() -> None:
    own = task_pb2.ClaudeTask(prompt="p", model="opus", allowed_tools=["Bash"])
    own.limits.max_turns = 1
    task = filled("fast", own)
    assert (task.model, list(task.allowed_tools), task.limits.max_turns) == ("opus", ["Bash"], 1)


def test_a_turn_has_its_settings_from_its_session() -> None:
    turn = task_pb2.ClaudeTask(prompt="p", session_id="s")
    assert filled("fast", turn) == task_pb2.ClaudeTask(prompt="p", session_id="s")


def test_a_session_gets_them_too_with_how_long_it_may_be_idle() -> None:
    spec = session_pb2.SessionSpec()
    fill_session(spec, SETTINGS, "fast")
    assert (spec.task.model, spec.idle_timeout.seconds) == ("haiku", 60)
    own = session_pb2.SessionSpec()
    own.idle_timeout.FromSeconds(0)
    own.idle_timeout.SetInParent()
    fill_session(own, SETTINGS, "fast")
    assert own.idle_timeout.seconds == 0


def test_without_settings_nothing_is_touched() -> None:
    spec = session_pb2.SessionSpec()
    fill_session(spec, settings_pb2.NamespaceSettings(), "default")
    assert not spec.HasField("task")
