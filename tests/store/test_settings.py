"""Settings of a namespace: replaced as a whole, by who has seen the present ones, and told in the audit log."""

from headrace.v1 import settings_pb2
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.records.audit import list_audit
from headrace_server.store.records.settings import read_settings, replace_settings
from store.driving import NAMESPACE, Bench


def replace(bench: Bench, *, etag: str = "", queue: str = "", check: bool = False, model: str = "sonnet") -> object:
    wanted = settings_pb2.NamespaceSettings(etag=etag, claude=settings_pb2.ClaudeDefaults(model=model))
    if queue:
        wanted.claude_by_queue[queue].model = "haiku"

    return bench.write(replace_settings, NAMESPACE, wanted, "me", validate_only=check)


def present(bench: Bench) -> settings_pb2.NamespaceSettings:
    return bench.read(read_settings, NAMESPACE)


def test_a_namespace_begins_with_empty_ones(bench: Bench) -> None:
    assert (present(bench).etag, present(bench).claude.model) == ("0", "")


def test_what_is_replaced_is_what_is_read_and_the_audit_log_says_who(bench: Bench) -> None:
    made = replace(bench, queue="default", etag="0")
    assert isinstance(made, settings_pb2.NamespaceSettings)
    assert made == present(bench)
    assert (made.etag, made.actor, made.claude_by_queue["default"].model) == ("1", "me", "haiku")
    (entry,) = bench.read(list_audit, NAMESPACE, "settings", "", 0, 10)
    assert (entry.actor, entry.action) == ("me", "AdminService.UpdateSettings")
    assert "queue 'default'" in entry.detail


def test_who_has_not_seen_the_present_ones_is_refused(bench: Bench) -> None:
    replace(bench)
    refused = replace(bench, etag="0", model="opus")
    assert isinstance(refused, Refusal)
    assert (refused.reason, present(bench).claude.model) == (Reason.STALE_ETAG, "sonnet")


def test_the_same_again_changes_nothing(bench: Bench) -> None:
    replace(bench)
    replace(bench)
    assert present(bench).etag == "1"


def test_a_queue_that_is_not_there_is_refused_by_its_field(bench: Bench) -> None:
    refused = replace(bench, queue="missing")
    assert isinstance(refused, Refusal)
    assert refused.metadata["field"] == "settings.claude_by_queue['missing']"
    assert present(bench).etag == "0"


def test_s8_a_check_changes_nothing(bench: Bench) -> None:
    checked = replace(bench, check=True)
    assert isinstance(checked, settings_pb2.NamespaceSettings)
    assert (checked.claude.model, checked.etag, present(bench).etag) == ("sonnet", "0", "0")
