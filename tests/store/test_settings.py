"""Settings of a namespace: replaced as a whole, by who has seen the present ones, and told in the audit log."""

from headrace.v1 import job_pb2, session_pb2, settings_pb2, task_pb2
from headrace_server.core.job import Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.store.jobs.retries import retry
from headrace_server.store.jobs.submit import Accepted
from headrace_server.store.records import reads
from headrace_server.store.records.audit import list_audit
from headrace_server.store.records.settings import read_settings, replace_settings
from headrace_server.store.sessions.sessions import Made, create_session
from store.driving import NAMESPACE, Bench, new_job


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


def claude_job(bench: Bench, request_id: str = "", model: str = "") -> Job:
    spec = job_pb2.JobSpec(claude=task_pb2.ClaudeTask(prompt="p", model=model))
    return bench.submit(new_job(request_id, spec))[0]


def model_of(bench: Bench, job: Job) -> str:
    return job_pb2.JobSpec.FromString(bench.read(reads.get_specs, [job])[job.row]).claude.model


def test_a_claude_job_takes_them_over_when_it_is_submitted(bench: Bench) -> None:
    before = claude_job(bench)
    replace(bench)
    after, own = claude_job(bench), claude_job(bench, model="opus")
    replace(bench, model="haiku")
    assert [model_of(bench, job) for job in (before, after, own)] == ["", "sonnet", "opus"]


def test_s1_a_repeat_is_one_whatever_the_settings_are_by_now(bench: Bench) -> None:
    first = claude_job(bench, "r1")
    replace(bench)
    assert claude_job(bench, "r1").id == first.id


def test_r4_a_retry_is_what_was_retried(bench: Bench) -> None:
    first = claude_job(bench)
    bench.cancel(first.id)
    replace(bench)
    answer = bench.write(retry, NAMESPACE, first.id, "", "me", "")
    assert isinstance(answer, Accepted)
    assert model_of(bench, answer.job) == ""


def test_a_session_takes_them_over_when_it_is_created(bench: Bench) -> None:
    replace(bench, queue="default")
    answer = bench.write(create_session, NAMESPACE, "", session_pb2.SessionSpec(), "me")
    assert isinstance(answer, Made)
    assert session_pb2.SessionSpec.FromString(answer.session.spec).task.model == "haiku"


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
