"""SessionService's unary rpcs: the servicer on a real store, with its checks, and the status of each refusal."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from grpc import StatusCode

from headrace.v1 import input_pb2, job_pb2, job_service_pb2, session_pb2, task_pb2, worker_service_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.ids import job_id_text, parse_job_id
from headrace_server.core.refusal import Refusal
from headrace_server.rpc.checks import validate_session
from headrace_server.rpc.errors import refused_status
from headrace_server.rpc.job_service import JobService
from headrace_server.rpc.session_service import SessionService
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.runtime.scheduler import Scheduler
from headrace_server.store.attempts.leases import Lease
from rpc.calling import Calls
from store.checkers import check_store
from store.conversing import limit_sessions
from store.driving import HOME, capabilities, frame
from store.snapshotting import NAME, WHOLE, snapshot

NOBODY: Any = None
UNKNOWN = "01890a5d-ac96-774b-bcce-b302099a8057"


class Edge(Calls):
    """A store with the servicers in front of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.registry = Registry(30.0)
        scheduler = Scheduler(self.bench.store, self.registry, self.bench.clock)
        self.serve(
            SessionService(self.bench.store, scheduler, self.registry, NOBODY),
            JobService(self.bench.store, scheduler, self.registry, NOBODY),
        )

    def refused(self, method: str, request: Message) -> tuple[StatusCode, str, Refusal]:
        """A call that is refused: its code and reason."""
        refusal = self.refusal(method, request)
        return refused_status(refusal).code, refusal.reason.value, refusal

    def faults(self, method: str, request: Message) -> list[str]:
        """The fields that a call is refused for."""
        code, reason, refusal = self.refused(method, request)
        assert (code, reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_FIELD")
        return [violation.field for violation in refusal.violations]

    def create(self, request_id: str = "", **spec: Any) -> session_pb2.Session:
        request = pb.CreateSessionRequest(request_id=request_id, spec=session_pb2.SessionSpec(**spec))
        made: session_pb2.Session = self.call("create_session", request).session
        return made

    def get(self, session_id: str) -> session_pb2.Session:
        found: session_pb2.Session = self.call("get_session", pb.GetSessionRequest(session_id=session_id)).session
        return found

    def send(self, session_id: str, text: str = "hi", request_id: str = "") -> job_pb2.Job:
        request = pb.SendMessageRequest(session_id=session_id, text=text, request_id=request_id)
        job: job_pb2.Job = self.call("send_message", request).job
        return job

    def start(self, job: job_pb2.Job) -> Lease:
        """The turn that is next starts, and its conversation begins or goes on."""
        lease = self.bench.assign(parse_job_id(job.id))
        self.bench.hear(starts=[lease])
        self.bench.append(lease, frame(1))
        return lease

    def turn(self, session_id: str) -> job_pb2.Job:
        """A turn from its message to its end."""
        job = self.send(session_id)
        self.bench.finish(self.start(job), outputs=1)
        return job


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path / "data")
    yield edge
    edge.bench.read(check_store)
    edge.bench.close()


def test_a_session_is_told_as_it_is(edge: Edge) -> None:
    made = edge.create(display_name="chat", labels={"a": "b"}, task={"model": "opus"})
    assert (made.state, made.spec.queue, made.spec.owner) == (session_pb2.SESSION_STATE_CREATED, "default", "ada")
    assert not made.HasField("binding")
    job = edge.send(made.id)
    behind = edge.send(made.id)
    assert (job.session_id, job.turn, job.spec.claude.prompt) == (made.id, 1, "")
    assert (job.spec.claude.model, job.spec.labels["a"], job.spec.display_name) == ("opus", "b", "chat")
    lease = edge.start(job)
    found = edge.get(made.id)
    assert found.state == session_pb2.SESSION_STATE_RUNNING
    assert (found.active_job_id, found.last_job_id) == (job.id, behind.id)
    assert (found.turn_count, found.pending_turn_count) == (0, 2)
    assert (found.binding.worker_id, found.binding.epoch, found.claude_session_id) == ("w1", 1, "s1")
    edge.bench.clock.advance(2.5)
    edge.bench.finish(lease, outputs=1)
    found = edge.get(made.id)
    assert (found.turn_count, found.run_duration.ToMilliseconds()) == (1, 2500)
    assert (found.state, found.etag) == (session_pb2.SESSION_STATE_QUEUED, "1")


def test_s1_a_repeat_is_answered_with_what_was_made(edge: Edge) -> None:
    made = edge.create("r1")
    request = pb.CreateSessionRequest(request_id="r1", spec=session_pb2.SessionSpec())
    again = edge.call("create_session", request)
    assert (again.session.id, again.deduplicated) == (made.id, True)
    job = edge.send(made.id, "hi", "r2")
    said = edge.call("send_message", pb.SendMessageRequest(session_id=made.id, text="hi", request_id="r2"))
    assert (said.job.id, said.deduplicated) == (job.id, True)
    edge.bench.finish(edge.start(job), outputs=1)
    fork = pb.ForkSessionRequest(session_id=made.id, request_id="r3")
    first, second = edge.call("fork_session", fork), edge.call("fork_session", fork)
    assert (second.session.id, second.deduplicated) == (first.session.id, True)
    code, reason, refusal = edge.refused("create_session", pb.CreateSessionRequest(request_id="r2"))
    assert (code, reason) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert refusal.resource_name == job.id


def test_a_turn_can_be_submitted_as_a_job(edge: Edge) -> None:
    made = edge.create(task={"model": "opus"}, labels={"a": "b"})
    spec = job_pb2.JobSpec(claude=task_pb2.ClaudeTask(prompt="hi", session_id=made.id))
    answer = edge.call("submit_job", job_service_pb2.SubmitJobRequest(spec=spec))
    assert (answer.job.session_id, answer.job.spec.claude.model, answer.job.spec.owner) == (made.id, "opus", "ada")
    listed = edge.call("list_jobs", job_service_pb2.ListJobsRequest(filter=f"session_id = {made.id}"))
    assert [job.id for job in listed.jobs] == [answer.job.id]
    spec.claude.environment_profile = "p"
    spec.claude.workspace.folder = "/srv"
    fields = ["spec.claude.workspace", "spec.claude.environment_profile"]
    assert edge.faults("submit_job", job_service_pb2.SubmitJobRequest(spec=spec)) == fields


@pytest.mark.parametrize(
    ("method", "request_of"),
    [
        ("get_session", lambda: pb.GetSessionRequest(session_id=UNKNOWN)),
        ("update_session", lambda: pb.UpdateSessionRequest(session_id=UNKNOWN, update_mask={"paths": ["priority"]})),
        ("send_message", lambda: pb.SendMessageRequest(session_id=UNKNOWN, text="hi")),
        (
            "answer_request",
            lambda: pb.AnswerRequestRequest(session_id=UNKNOWN, answer=input_pb2.InputAnswer(request_id="a")),
        ),
        ("interrupt_session", lambda: pb.InterruptSessionRequest(session_id=UNKNOWN)),
        ("fork_session", lambda: pb.ForkSessionRequest(session_id=UNKNOWN)),
        ("close_session", lambda: pb.CloseSessionRequest(session_id=UNKNOWN)),
    ],
)
def test_an_unknown_session_is_not_found(edge: Edge, method: str, request_of: Any) -> None:
    code, reason, refusal = edge.refused(method, request_of())
    assert (code, reason) == (StatusCode.NOT_FOUND, "NOT_FOUND")
    assert (refusal.resource_type, refusal.resource_name) == ("headrace.v1.Session", UNKNOWN)


def test_an_ended_session_is_a_failed_precondition(edge: Edge) -> None:
    made = edge.create()
    edge.turn(made.id)
    closed = edge.call("close_session", pb.CloseSessionRequest(session_id=made.id, reason="done")).session
    assert (closed.state, closed.close_reason, closed.etag) == (session_pb2.SESSION_STATE_CLOSED, "done", "2")
    assert closed.HasField("close_time")
    for method, request in (
        ("send_message", pb.SendMessageRequest(session_id=made.id, text="hi")),
        ("update_session", pb.UpdateSessionRequest(session_id=made.id, update_mask={"paths": ["priority"]})),
        ("fork_session", pb.ForkSessionRequest(session_id=made.id)),
    ):
        assert edge.refused(method, request)[:2] == (StatusCode.FAILED_PRECONDITION, "SESSION_ENDED")
    again = edge.call("close_session", pb.CloseSessionRequest(session_id=made.id, reason="twice")).session
    assert again.close_reason == "done"


def test_an_interrupt_answers_with_the_turn(edge: Edge) -> None:
    made = edge.create()
    request = pb.InterruptSessionRequest(session_id=made.id, reason="stop")
    assert edge.refused("interrupt_session", request)[:2] == (StatusCode.FAILED_PRECONDITION, "NO_ACTIVE_TURN")
    job = edge.send(made.id)
    edge.start(job)
    answered = edge.call("interrupt_session", request).job
    assert (answered.id, answered.state) == (job.id, job_pb2.JOB_STATE_CANCELLING)
    assert answered.cancellation.cause == job_pb2.CANCEL_CAUSE_INTERRUPTED


def test_a_fork_needs_something_to_go_on_from(edge: Edge) -> None:
    made = edge.create(display_name="chat")
    request = pb.ForkSessionRequest(session_id=made.id, display_name="twin", labels={"a": "b"})
    assert edge.refused("fork_session", request)[:2] == (StatusCode.FAILED_PRECONDITION, "SESSION_EMPTY")
    edge.turn(made.id)
    fork = edge.call("fork_session", request).session
    assert (fork.forked_from_session_id, fork.spec.display_name, dict(fork.spec.labels)) == (
        made.id,
        "twin",
        {"a": "b"},
    )
    assert edge.get(made.id).fork_session_ids == [fork.id]


def test_a_change_needs_the_etag_that_it_was_made_for(edge: Edge) -> None:
    made = edge.create()
    spec = session_pb2.SessionSpec(task=task_pb2.ClaudeTask(model="haiku"), idle_timeout=Duration(seconds=7))
    paths = {"paths": ["task.model", "idle_timeout"]}
    request = pb.UpdateSessionRequest(session_id=made.id, update_mask=paths, spec=spec, etag=made.etag)
    changed = edge.call("update_session", request).session
    assert (changed.etag, changed.spec.task.model, changed.spec.idle_timeout.seconds) == ("2", "haiku", 7)
    assert edge.refused("update_session", request)[:2] == (StatusCode.ABORTED, "STALE_ETAG")


def test_what_is_kept_of_a_session_is_fixed_at_its_start(edge: Edge) -> None:
    made = edge.create(snapshots=session_pb2.SNAPSHOT_POLICY_TRANSCRIPT)
    spec = session_pb2.SessionSpec(snapshots=session_pb2.SNAPSHOT_POLICY_NONE)
    request = pb.UpdateSessionRequest(session_id=made.id, update_mask={"paths": ["snapshots"]}, spec=spec)
    assert edge.faults("update_session", request) == ["update_mask"]
    assert edge.get(made.id).spec.snapshots == session_pb2.SNAPSHOT_POLICY_TRANSCRIPT


def test_r6_a_session_shows_its_latest_snapshot(edge: Edge) -> None:
    made = edge.create(snapshots=WHOLE)
    assert not edge.get(made.id).HasField("latest_snapshot")
    bench = edge.bench
    job_id = parse_job_id(edge.send(made.id).id)
    lease = bench.assign(job_id)
    bench.append(lease, frame(1, "conversation"), *snapshot(2))
    bench.finish(lease, outputs=4)
    found = edge.get(made.id).latest_snapshot
    assert (found.turn, found.worker_id, found.artifact_name) == (1, HOME.worker, NAME)
    assert (found.job_id, found.contents) == (job_id_text(job_id), WHOLE)


def test_an_answer_may_name_the_session(edge: Edge) -> None:
    made = edge.create()
    lease = edge.start(edge.send(made.id))
    asked = {"request_id": "ask-1", "tool_name": "Bash", "kind": input_pb2.INPUT_KIND_PERMISSION}
    edge.bench.report(lease, report_number=1, after_producer_sequence=1, input_requested=asked)
    found = edge.get(made.id)
    assert found.state == session_pb2.SESSION_STATE_WAITING_INPUT
    (open_input,) = found.open_inputs
    assert (open_input.job_id, open_input.request.tool_name) == (job_id_text(lease.job_id), "Bash")
    answer = input_pb2.InputAnswer(request_id="ask-1", allow=True)
    request = pb.AnswerRequestRequest(session_id=made.id, answer=answer)
    assert edge.call("answer_request", request).resolution == input_pb2.INPUT_RESOLUTION_ALLOWED
    answer.allow = False
    request = pb.AnswerRequestRequest(session_id=made.id, answer=answer)
    assert edge.refused("answer_request", request)[:2] == (StatusCode.FAILED_PRECONDITION, "INPUT_RESOLVED")
    request.answer.request_id = "ask-2"
    code, reason, refusal = edge.refused("answer_request", request)
    assert (code, reason, refusal.resource_name) == (StatusCode.NOT_FOUND, "NOT_FOUND", "ask-2")


def test_too_many_sessions_are_a_quota_that_names_the_limit(edge: Edge) -> None:
    limit_sessions(edge.bench, open_per_owner_max=1)
    edge.create()
    code, reason, refusal = edge.refused("create_session", pb.CreateSessionRequest())
    assert (code, reason) == (StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SESSIONS")
    assert "1 open sessions; at most 1 are allowed (sessions_per_owner)" in refusal.message
    assert refusal.retry_after_seconds is not None


def test_too_many_pending_turns_are_a_quota_that_names_the_limit(
    edge: Edge, unpacked: Callable[[bytes], dict[str, Any]]
) -> None:
    limit_sessions(edge.bench, pending_turns_max=1)
    made = edge.create()
    edge.send(made.id)
    code, reason, refusal = edge.refused("send_message", pb.SendMessageRequest(session_id=made.id, text="hi"))
    assert (code, reason) == (StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_SESSIONS")
    details = unpacked(refused_status(refusal).details)
    (violation,) = details["QuotaFailure"].violations
    assert violation.subject == f"headrace.v1.Session/{made.id}"
    assert "pending_turns_per_session" in violation.description
    assert "RetryInfo" in details


def test_an_unknown_queue_is_not_found(edge: Edge) -> None:
    request = pb.CreateSessionRequest(spec=session_pb2.SessionSpec(queue="nowhere"))
    code, reason, refusal = edge.refused("create_session", request)
    assert (code, reason, refusal.resource_type) == (StatusCode.NOT_FOUND, "NOT_FOUND", "headrace.v1.Queue")


def test_every_fault_of_a_session_is_named(edge: Edge) -> None:
    spec = session_pb2.SessionSpec(
        queue="NO",
        priority=101,
        task=task_pb2.ClaudeTask(prompt="x", session_id="y", model="-m", allowed_tools=[""]),
        idle_timeout=Duration(seconds=-1),
    )
    spec.MergeFromString(bytes([12 << 3, 99]))  # snapshots
    spec.placement.resources.slots = -1
    assert sorted(edge.faults("create_session", pb.CreateSessionRequest(spec=spec, request_id="r" * 129))) == [
        "request_id",
        "spec.idle_timeout",
        "spec.placement.resources.slots",
        "spec.priority",
        "spec.queue",
        "spec.snapshots",
        "spec.task.allowed_tools[0]",
        "spec.task.model",
        "spec.task.prompt",
        "spec.task.session_id",
    ]


def test_every_fault_of_a_change_is_named(edge: Edge) -> None:
    request = pb.UpdateSessionRequest(
        session_id=UNKNOWN,
        update_mask={"paths": ["task.model", "task.workspace", "queue", "task.model"]},
        spec=session_pb2.SessionSpec(queue="NO", task=task_pb2.ClaudeTask(model="-m", fallback_model="-f")),
    )
    assert edge.faults("update_session", request) == ["update_mask"] * 3 + ["spec.task.model"]
    assert edge.faults("update_session", pb.UpdateSessionRequest()) == ["session_id", "update_mask"]


def test_what_has_to_be_there_is_asked_for(edge: Edge) -> None:
    assert edge.faults("send_message", pb.SendMessageRequest()) == ["session_id", "text"]
    assert edge.faults("get_session", pb.GetSessionRequest(session_id="x")) == ["session_id"]
    assert edge.faults("interrupt_session", pb.InterruptSessionRequest()) == ["session_id"]
    assert edge.faults("fork_session", pb.ForkSessionRequest()) == ["session_id"]
    assert edge.faults("close_session", pb.CloseSessionRequest(reason="r" * 1025)) == ["session_id", "reason"]
    large = pb.SendMessageRequest(session_id=UNKNOWN, text="x" * (1024 * 1024 + 1))
    assert edge.faults("send_message", large) == ["text"]


def test_what_a_session_can_be_changed_in_is_what_the_contract_says() -> None:
    fields = {name for name in validate_session.FIELDS.updatable if "." not in name}
    assert fields <= set(session_pb2.SessionSpec.DESCRIPTOR.fields_by_name)
    task = {name.removeprefix("task.") for name in validate_session.FIELDS.updatable if "." in name}
    assert task <= set(task_pb2.ClaudeTask.DESCRIPTOR.fields_by_name)


def test_sessions_are_listed_in_pages(edge: Edge) -> None:
    ids = [edge.create(labels={"n": str(number % 2)}).id for number in range(5)]
    first = edge.call("list_sessions", pb.ListSessionsRequest(page_size=2, filter="state = CREATED"))
    assert [session.id for session in first.sessions] == [ids[4], ids[3]]
    found = [session.id for session in first.sessions]
    token = first.next_page_token
    while token:
        page = edge.call(
            "list_sessions", pb.ListSessionsRequest(page_size=2, filter="state = CREATED", page_token=token)
        )
        found += [session.id for session in page.sessions]
        token = page.next_page_token
    assert found == ids[::-1]
    labelled = edge.call("list_sessions", pb.ListSessionsRequest(filter="labels.n = 1 AND owner = ada"))
    assert [session.id for session in labelled.sessions] == [ids[3], ids[1]]
    assert edge.faults("list_sessions", pb.ListSessionsRequest(filter="state = ASLEEP")) == ["filter"]
    request = pb.ListSessionsRequest(filter="state = IDLE", page_token=first.next_page_token)
    assert edge.refused("list_sessions", request)[:2] == (StatusCode.INVALID_ARGUMENT, "INVALID_TOKEN")


def test_the_process_is_as_its_worker_last_said(edge: Edge) -> None:
    made = edge.create()
    edge.turn(made.id)
    lane = ControlLane(HOME, "c", 1, capabilities())
    edge.registry.connect(lane)
    assert not edge.get(made.id).binding.HasField("process")
    process = session_pb2.SessionProcess(process_id=7, memory_bytes=9, folder="/tmp/x")
    held = worker_service_pb2.HeldSession(session_id=made.id, binding_epoch=1, process=process)
    lane.renewed(worker_service_pb2.WorkerRenewal(counter=1, sessions=[held]))
    assert edge.get(made.id).binding.process == process
    lane.renewed(worker_service_pb2.WorkerRenewal(counter=2))
    assert not edge.get(made.id).binding.HasField("process")


def test_a_session_of_another_namespace_is_not_found(edge: Edge) -> None:
    made = edge.create()
    request = pb.GetSessionRequest(namespace="elsewhere", session_id=made.id)
    assert edge.refused("get_session", request)[:2] == (StatusCode.NOT_FOUND, "NOT_FOUND")
    assert edge.call("list_sessions", pb.ListSessionsRequest(namespace="elsewhere")).sessions == []
