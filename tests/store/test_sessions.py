"""Sessions: their turns run one at a time and in order, whatever becomes of each (X1)."""

from google.protobuf.timestamp_pb2 import Timestamp

from headrace.v1 import job_pb2, session_pb2, task_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, job_id_text
from headrace_server.core.job import Job, Usage
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import JobState
from headrace_server.runtime.explain import wait_reasons
from headrace_server.runtime.registry import Registry
from headrace_server.store.attempts.leases import Holder, Snooze, finish
from headrace_server.store.jobs.deletions import delete
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.jobs.retries import retry
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import check_each, submit_each
from headrace_server.store.jobs.updates import Change, update
from headrace_server.store.ledger import Ledger
from headrace_server.store.queueing.waiting import read_waiting
from headrace_server.store.records import reads
from headrace_server.store.sessions.turns import send_message
from store.conversing import CONVERSATION, converse, turn_job
from store.driving import HOME, NAMESPACE, Bench, finished, offer

OTHER = Holder("w2", "i2")


def states(bench: Bench, *jobs: Job) -> list[JobState]:
    """The states of jobs as they stand in the store."""
    return [bench.job(job.id).state for job in jobs]


def test_x1_a_turn_waits_for_the_one_before(bench: Bench) -> None:
    session = converse(bench)
    first, second = session.say("one"), session.say("two")
    assert (first.state, second.state) == (JobState.QUEUED, JobState.BLOCKED)
    lease = session.start(first.id)
    assert bench.job(second.id).state is JobState.BLOCKED
    bench.finish(lease, outputs=1)
    following = bench.job(second.id)
    assert (following.state, following.holder) == (JobState.QUEUED, "w1")
    bench.finish(session.start(second.id), outputs=1)
    row = session.row
    assert (row.turns, row.ended_turns, row.claude_session, row.binding_epoch) == (2, 2, CONVERSATION, 1)


def test_x1_turns_know_their_session_and_number(bench: Bench) -> None:
    session = converse(bench)
    jobs = [session.say(), session.say()]
    assert [(job.turn.session_id, job.turn.number) for job in jobs if job.turn] == [(session.id, 1), (session.id, 2)]
    submitted = bench.events(jobs[1].id)[0].submitted
    assert (submitted.session_id, submitted.turn, submitted.background) == (job_id_text(session.id), 2, False)


def test_x1_a_turn_that_failed_lets_the_next_one_go_on(bench: Bench) -> None:
    session = converse(bench)
    first, second = session.say(), session.say()
    bench.fail(session.start(first.id), FailureClass.INVALID, outputs=1)
    assert states(bench, first, second) == [JobState.FAILED, JobState.QUEUED]


def test_x1_a_retry_keeps_the_place_of_its_turn_and_its_worker(bench: Bench) -> None:
    session = converse(bench)
    first, second = session.say(), session.say()
    bench.fail(session.start(first.id), FailureClass.CRASH, outputs=1)
    assert states(bench, first, second) == [JobState.SCHEDULED, JobState.BLOCKED]
    bench.clock.advance(2.0)
    assert bench.cycle(offer(OTHER, 4)).granted == ()
    assert (bench.job(first.id).state, bench.job(first.id).holder) == (JobState.QUEUED, "w1")
    bench.finish(session.start(first.id), outputs=1)
    assert states(bench, first, second) == [JobState.SUCCEEDED, JobState.QUEUED]


def test_x1_a_snooze_keeps_the_place_of_its_turn(bench: Bench) -> None:
    session = converse(bench)
    first, second = session.say(), session.say()
    bench.finish(session.start(first.id), snoozed=Snooze(5 * SECOND, "later"), outputs=1)
    assert states(bench, first, second) == [JobState.SCHEDULED, JobState.BLOCKED]
    bench.clock.advance(6.0)
    bench.cycle()
    assert states(bench, first, second) == [JobState.QUEUED, JobState.BLOCKED]


def test_x1_a_turn_handed_back_goes_on_before_the_next(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    first, second = session.say(), session.say()
    bench.finish(session.start(first.id), returned=True, outputs=1)
    assert states(bench, first, second) == [JobState.QUEUED, JobState.BLOCKED]
    assert bench.job(first.id).holder == "w1"


def test_x1_cancelled_turns_leave_the_line(bench: Bench) -> None:
    session = converse(bench)
    jobs = [session.say() for _ in range(4)]
    bench.cancel(jobs[1].id)
    assert states(bench, *jobs) == [JobState.QUEUED, JobState.CANCELLED, JobState.BLOCKED, JobState.BLOCKED]
    bench.cancel(jobs[0].id)
    assert states(bench, *jobs)[2:] == [JobState.QUEUED, JobState.BLOCKED]


def test_x1_a_turn_that_expired_lets_the_next_one_go_on(bench: Bench) -> None:
    session = converse(bench)
    spec = turn_job(session.id)
    spec.timeouts.queue_timeout.FromSeconds(5)
    (first,) = bench.submit(new_job(NAMESPACE, "", spec, "tester", ""))
    second = session.say()
    bench.clock.advance(6.0)
    bench.cycle()
    assert states(bench, first, second) == [JobState.EXPIRED, JobState.QUEUED]


def test_x1_a_turn_with_a_time_holds_those_behind_it(bench: Bench) -> None:
    session = converse(bench)
    spec = turn_job(session.id)
    spec.schedule_time.FromMicroseconds(bench.clock.now() + 10 * SECOND)
    (first,) = bench.submit(new_job(NAMESPACE, "", spec, "tester", ""))
    second = session.say()
    assert states(bench, first, second) == [JobState.SCHEDULED, JobState.BLOCKED]
    bench.clock.advance(11.0)
    bench.cycle()
    assert states(bench, first, second) == [JobState.QUEUED, JobState.BLOCKED]
    bench.cancel(first.id)
    later = turn_job(session.id)
    later.schedule_time.FromMicroseconds(bench.clock.now() + 10 * SECOND)
    (third,) = bench.submit(new_job(NAMESPACE, "", later, "tester", ""))
    assert states(bench, second, third) == [JobState.QUEUED, JobState.BLOCKED]
    bench.cancel(second.id)
    assert states(bench, third) == [JobState.SCHEDULED]


def test_x1_a_turn_waits_for_its_dependencies_as_well(bench: Bench) -> None:
    session = converse(bench)
    (parent,) = bench.submit(new_job(NAMESPACE, "", handler_job(), "tester", ""))
    first = session.say()
    spec = turn_job(session.id)
    spec.dependencies.add(job_id=job_id_text(parent.id))
    (second,) = bench.submit(new_job(NAMESPACE, "", spec, "tester", ""))
    third = session.say()
    bench.cancel(first.id)
    assert states(bench, second, third) == [JobState.BLOCKED, JobState.BLOCKED]
    bench.finish(bench.assign(parent.id))
    bench.cycle()
    assert states(bench, second, third) == [JobState.QUEUED, JobState.BLOCKED]


def test_x1_a_dependency_that_ends_first_does_not_jump_the_line(bench: Bench) -> None:
    session = converse(bench)
    first = session.say()
    (parent,) = bench.submit(new_job(NAMESPACE, "", handler_job(), "tester", ""))
    spec = turn_job(session.id)
    spec.dependencies.add(job_id=job_id_text(parent.id))
    (second,) = bench.submit(new_job(NAMESPACE, "", spec, "tester", ""))
    of_first, of_parent = (granted.lease for granted in bench.cycle(offer(slots=2)).granted)
    bench.finish(of_parent)
    bench.cycle()
    assert states(bench, parent, second) == [JobState.SUCCEEDED, JobState.BLOCKED]
    bench.finish(of_first)
    assert states(bench, first, second) == [JobState.SUCCEEDED, JobState.QUEUED]


def test_x1_turns_of_one_call_have_their_places_parents_first(bench: Bench) -> None:
    """A turn that depends on a later item of its call comes after it in the line, so neither waits for the other."""
    session = converse(bench)
    child, parent = turn_job(session.id, "child"), turn_job(session.id, "parent")
    child.dependencies.add(ref="parent")
    news = [
        new_job(NAMESPACE, "", child, "tester", "", "child"),
        new_job(NAMESPACE, "", parent, "tester", "", "parent"),
    ]
    first, second = bench.submit(*news)
    assert [job.turn.number for job in (first, second) if job.turn] == [2, 1]
    bench.finish(session.start(second.id), outputs=1)
    bench.cycle()
    assert states(bench, first) == [JobState.QUEUED]


def test_x1_a_turn_said_in_the_commit_of_an_end_goes_on(bench: Bench) -> None:
    session = converse(bench)
    first = session.say()
    lease = session.start(first.id)
    said: list[Job] = []

    def both(ledger: Ledger) -> None:
        finish(ledger, HOME, finished(lease, outputs=1))
        answer = send_message(ledger, NAMESPACE, session.id, "", "again", "tester", "")
        assert isinstance(answer, Accepted)
        said.append(answer.job)

    bench.write(both)
    assert states(bench, first, *said) == [JobState.SUCCEEDED, JobState.QUEUED]


def test_x1_sessions_do_not_wait_for_each_other(bench: Bench) -> None:
    one, two = converse(bench), converse(bench)
    jobs = [one.say(), two.say()]
    assert states(bench, *jobs) == [JobState.QUEUED, JobState.QUEUED]
    assert len(bench.cycle(offer(slots=4)).granted) == 2


def test_x1_deleting_a_turn_leaves_numbers_and_totals(bench: Bench) -> None:
    session = converse(bench)
    used = Usage(turns=2, output_tokens=7, cost_usd_micros=11)
    job = session.turn(usage=used)
    assert bench.write(delete, NAMESPACE, job.id, "", "tester") is None
    following = session.say()
    assert following.turn is not None
    assert following.turn.number == 2
    assert (session.row.usage, session.row.ended_turns) == (used, 1)


def test_totals_are_those_of_every_attempt(bench: Bench) -> None:
    session = converse(bench)
    job = session.say()
    lease = session.start(job.id)
    bench.clock.advance(3.0)
    bench.fail(lease, FailureClass.CRASH, outputs=1, usage=Usage(turns=1, cost_usd_micros=5))
    bench.clock.advance(2.0)
    lease = session.start(job.id)
    bench.clock.advance(4.0)
    bench.finish(lease, outputs=1, usage=Usage(turns=2, cost_usd_micros=6))
    row = session.row
    assert row.usage == Usage(turns=3, cost_usd_micros=11)
    assert row.run_micros == 7 * SECOND


def test_a_turn_has_the_settings_of_its_session_and_its_own_over_them(bench: Bench) -> None:
    spec = session_pb2.SessionSpec(
        owner="ann",
        display_name="chat",
        labels={"team": "search", "kind": "chat"},
        priority=7,
        task=task_pb2.ClaudeTask(
            model="opus",
            allowed_tools=["Read"],
            limits=task_pb2.ClaudeLimits(max_turns=9),
            workspace=task_pb2.Workspace(folder="/srv/notes"),
        ),
    )
    spec.timeouts.run_timeout.FromSeconds(60)
    spec.timeouts.total_timeout.FromMilliseconds(90_500)
    session = converse(bench, spec)
    given = turn_job(session.id, "hello", model="haiku", limits=task_pb2.ClaudeLimits(max_cost_usd_micros=5))
    given.labels["kind"] = "batch"
    given.timeouts.total_timeout.FromSeconds(30)
    (job,) = bench.submit(new_job(NAMESPACE, "", given, "tester", ""))
    stored = job_pb2.JobSpec.FromString(bench.read(reads.get_specs, [job])[job.row])
    assert (stored.owner, stored.queue, stored.display_name, stored.priority) == ("ann", "default", "chat", 7)
    assert dict(stored.labels) == {"team": "search", "kind": "batch"}
    assert (stored.timeouts.run_timeout.seconds, stored.timeouts.total_timeout.ToMilliseconds()) == (60, 30_000)
    task = stored.claude
    assert (task.prompt, task.model, list(task.allowed_tools)) == ("hello", "haiku", ["Read"])
    assert (task.limits.max_cost_usd_micros, task.workspace.folder) == (5, "/srv/notes")
    assert (job.owner, job.priority) == ("ann", 7)


def test_s8_a_check_of_a_turn_stores_nothing(bench: Bench) -> None:
    session = converse(bench)
    news = [new_job(NAMESPACE, "", turn_job(session.id), "tester", "")]
    assert bench.write(check_each, news) == [None]
    assert session.row.turns == 0


def test_a_turn_of_a_session_that_is_not_there_is_refused(bench: Bench) -> None:
    session = converse(bench)
    elsewhere = new_job("elsewhere", "", turn_job(session.id), "tester", "")
    unknown = new_job(NAMESPACE, "", turn_job(JobId(bytes(16))), "tester", "")
    refused = bench.write(submit_each, [elsewhere, unknown])
    for answer in refused:
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.resource_type) == (Reason.NOT_FOUND, "headrace.v1.Session")
        assert answer.metadata["field"] == "spec.claude.session_id"


def test_explain_names_the_turn_before(bench: Bench) -> None:
    session = converse(bench)
    first, second = session.say(), session.say()
    waiting = bench.read(read_waiting, second, bench.clock.now())
    needs = bench.read(reads.job_needs, second)
    (reason,) = wait_reasons(second, needs, 0, Registry(30.0), waiting)
    assert reason.cause == job_pb2.WAIT_CAUSE_SESSION
    assert reason.message == f"turn 1 of its session, job {job_id_text(first.id)}, has not ended"


def test_a_retry_by_hand_is_a_turn_of_its_own(bench: Bench) -> None:
    session = converse(bench)
    job = session.say("do it")
    bench.fail(session.start(job.id), FailureClass.INVALID, outputs=1)
    waiting = session.say("more")
    answer = bench.write(retry, NAMESPACE, job.id, "", "tester", "")
    assert isinstance(answer, Accepted)
    assert answer.job.turn is not None
    assert (answer.job.turn.number, answer.job.state) == (3, JobState.BLOCKED)
    assert bench.job(waiting.id).state is JobState.QUEUED


def test_a_waiting_turn_that_is_put_off_waits_for_its_worker_afterwards(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job = session.say()
    assert job.holder == "w1"

    def put_off(seconds: int) -> None:
        spec = job_pb2.JobSpec(schedule_time=Timestamp())
        spec.schedule_time.FromMicroseconds(bench.clock.now() + seconds * SECOND)
        changed = bench.write(update, NAMESPACE, job.id, Change(("schedule_time",), spec, "", "tester"))
        assert isinstance(changed, Job), changed

    put_off(60)
    assert bench.job(job.id).state is JobState.SCHEDULED
    put_off(-1)
    bench.cycle()
    again = bench.job(job.id)
    assert (again.state, again.holder) == (JobState.QUEUED, "w1")
    assert again.due > bench.clock.now()


def test_a_change_of_a_waiting_turn_leaves_how_long_it_waits_for_its_worker(bench: Bench) -> None:
    session = converse(bench)
    session.turn()
    job = session.say()
    change = Change(("priority",), job_pb2.JobSpec(priority=5), "", "tester")
    changed = bench.write(update, NAMESPACE, job.id, change)
    assert isinstance(changed, Job)
    assert (changed.due, changed.priority) == (job.due, 5)
    assert not bench.events(job.id)[-1].updated.spec.HasField("schedule_time")


def handler_job() -> job_pb2.JobSpec:
    """A job that is no turn."""
    return job_pb2.JobSpec(handler=task_pb2.HandlerTask(name="echo"))
