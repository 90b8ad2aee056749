"""A given folder is a Claude job's own while a worker holds it; what waits for it starts in its turn, delays nobody and
costs nothing (Q3, I4, I5)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import input_pb2, job_pb2, queue_pb2, session_pb2, task_pb2
from headrace_server.core.facts import ReleaseCause
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import JobId, job_id_text
from headrace_server.core.job import Job
from headrace_server.core.limits import GRANTS_COUNT_MAX, HOLDER_GRACE_SECONDS
from headrace_server.core.states import JobState
from headrace_server.runtime.explain import wait_reasons
from headrace_server.runtime.registry import ControlLane, Registry
from headrace_server.store.attempts.demand import queued_slots
from headrace_server.store.attempts.leases import Holder, Lease
from headrace_server.store.attempts.workers import Release
from headrace_server.store.engine import Connection
from headrace_server.store.jobs.new_job import new_job
from headrace_server.store.queueing.queues import create_queue
from headrace_server.store.queueing.waiting import read_waiting
from headrace_server.store.records import reads
from headrace_server.store.sessions.background import BackgroundTurn
from headrace_server.store.sqlite import SqliteEngine
from runtime.test_cycle_cost import cost_of_cycle
from store.conversing import Conversing, converse
from store.driving import HOME, NAMESPACE, Bench, capabilities, frame, offer

FOLDER = "/srv/site"
OTHER = Holder("w2", "i1")
MANY = offer(slots=100)


def spec(folder: str = FOLDER, *, shared: bool = False, **fields: Any) -> job_pb2.JobSpec:
    place = task_pb2.Workspace(folder=folder, shared=shared)
    return job_pb2.JobSpec(claude=task_pb2.ClaudeTask(prompt="hi", workspace=place), **fields)


def submit(bench: Bench, folder: str = FOLDER, namespace: str = NAMESPACE, **given: Any) -> JobId:
    """A job of an instant of its own."""
    bench.clock.advance(0.001)
    (job,) = bench.submit(new_job(namespace, "", spec(folder, **given), "tester", ""))
    return job.id


def ids(bench: Bench, *offers: Any) -> list[JobId]:
    """What the next cycle starts."""
    return [one.lease.job_id for one in bench.cycle(*(offers or (MANY,))).granted]


def start(bench: Bench, job_id: JobId, holder: Holder = HOME) -> Lease:
    lease = bench.assign(job_id, holder)
    bench.hear(holder, starts=[lease])
    return lease


def in_folder(bench: Bench, folder: str = FOLDER) -> Conversing:
    """A session with a given folder."""
    return converse(bench, session_pb2.SessionSpec(task=spec(folder).claude))


def test_q3_of_the_jobs_of_a_folder_one_runs_at_a_time_in_their_order(bench: Bench) -> None:
    jobs = [submit(bench) for _ in range(3)]
    for job_id in jobs:
        (granted,) = bench.cycle(MANY).granted
        assert granted.lease.job_id == job_id
        assert ids(bench) == []
        bench.finish(granted.lease)
    assert ids(bench) == []


def test_q3_a_folder_is_one_whatever_queue_namespace_owner_and_spelling(bench: Bench) -> None:
    for namespace, queue in ((NAMESPACE, "q"), ("other", "default")):
        bench.write(create_queue, namespace, queue_pb2.Queue(name=queue), "tester")
    jobs = [
        submit(bench),
        submit(bench, queue="q"),
        submit(bench, namespace="other"),
        submit(bench, owner="ann", concurrency_key="k", placement={"resources": {"slots": 2}}),
        submit(bench, "//srv///site/"),
    ]
    for job_id in jobs:
        (granted,) = bench.cycle(MANY).granted
        assert granted.lease.job_id == job_id
        bench.finish(granted.lease)


def test_q3_other_folders_shared_ones_and_jobs_without_are_not_delayed(bench: Bench) -> None:
    first, _ = submit(bench), submit(bench)
    others = [
        submit(bench, FOLDER + "/sub"),
        submit(bench, "/srv"),
        submit(bench, "/srv/site2"),
        submit(bench, shared=True),
        submit(bench, shared=True),
    ]
    (plain,) = bench.submit(new_job(NAMESPACE, "", job_pb2.JobSpec(claude={"prompt": "hi"}), "tester", ""))
    command = {"program": "make", "workspace": {"folder": FOLDER}}
    (of_command,) = bench.submit(new_job(NAMESPACE, "", job_pb2.JobSpec(command=command), "tester", ""))
    assert ids(bench) == [first, *others, plain.id]
    assert bench.job(of_command.id).state is JobState.QUEUED, "no worker has the program"


def test_q3_a_shared_job_holds_no_folder(bench: Bench) -> None:
    shared = submit(bench, shared=True)
    assert ids(bench) == [shared]
    assert ids(bench, MANY) == []
    own = submit(bench)
    assert ids(bench) == [own]


def finish(bench: Bench, lease: Lease) -> None:
    bench.finish(lease, outputs=1, reports=1)


def fail(bench: Bench, lease: Lease) -> None:
    bench.fail(lease, FailureClass.NETWORK, outputs=1, reports=1)


def hand_back(bench: Bench, lease: Lease) -> None:
    bench.finish(lease, returned=True, outputs=1, reports=1)


def be_lost(bench: Bench, lease: Lease) -> None:
    bench.lose()


def be_cancelled(bench: Bench, lease: Lease) -> None:
    bench.cancel(lease.job_id)
    assert ids(bench) == [], "its process may still run"
    bench.finish(lease, succeeded=None, outputs=1, reports=1)


@pytest.mark.parametrize("end", [finish, fail, hand_back, be_lost, be_cancelled])
def test_q3_a_folder_is_free_when_the_lease_ends_however_it_does(
    bench: Bench, end: Callable[[Bench, Lease], None]
) -> None:
    lease = start(bench, submit(bench))
    bench.append(lease, frame(1))
    bench.report(lease, report_number=1, input_requested=input_pb2.InputRequest(request_id="r1"))
    assert bench.job(lease.job_id).state is JobState.WAITING_INPUT
    later = submit(bench, priority=100)
    assert ids(bench, offer(OTHER)) == []
    end(bench, lease)
    assert ids(bench, offer(OTHER)) == [later]


def test_q3_a_folder_is_free_when_a_grant_is_taken_back(bench: Bench) -> None:
    first = submit(bench)
    lease = bench.assign(first)
    later = submit(bench, priority=100)
    assert ids(bench) == []
    bench.hear(releases=[Release(lease, ReleaseCause.DECLINED, "no")])
    assert ids(bench) == [later]


def test_q3_a_folder_stays_taken_across_a_restart(tmp_path: Path) -> None:
    bench = Bench(SqliteEngine(tmp_path))
    lease, later = start(bench, submit(bench)), submit(bench)
    for seed in (1, 2):
        bench.close()
        bench = Bench(SqliteEngine(tmp_path), bench.clock, seed)
        assert ids(bench) == []
    bench.finish(lease)
    assert ids(bench) == [later]
    bench.close()


def test_q3_a_limit_that_holds_a_key_besides_its_folder_is_kept(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="q", max_concurrency_per_key=1), "tester")
    lease = start(bench, submit(bench, "/elsewhere", queue="q", concurrency_key="k"))
    in_it = start(bench, submit(bench))
    waiting = submit(bench, queue="q", concurrency_key="k")
    assert ids(bench) == []
    bench.finish(in_it)
    assert ids(bench) == []
    bench.finish(lease)
    assert ids(bench) == [waiting]


def test_x1_turns_of_two_sessions_in_a_folder_run_one_after_the_other(bench: Bench) -> None:
    one, two = in_folder(bench), in_folder(bench)
    first = start(bench, one.say().id)
    waiting = two.say()
    assert ids(bench) == []
    bench.append(first, frame(1))
    bench.finish(first, outputs=1)
    two_first = start(bench, waiting.id)
    # Its worker has the conversation: this turn waits for that, too.
    again = one.say()
    assert again.holder == HOME.worker
    assert ids(bench) == []
    bench.finish(two_first)
    assert ids(bench) == [again.id]


def test_x1_a_turn_that_the_cli_began_runs_whoever_has_the_folder(bench: Bench) -> None:
    session = in_folder(bench)
    session.turn()
    start(bench, submit(bench))
    ((_, job_id),) = bench.hear(background=[BackgroundTurn(session.id, 1, 1)]).background
    assert job_id is not None
    assert ids(bench) == [job_id]


def test_r6_a_job_that_waits_for_its_worker_is_not_failed_for_the_others_in_its_folder(bench: Bench) -> None:
    lease = start(bench, submit(bench))
    bench.append(lease, frame(1, dirty=True))
    bench.lose()
    other = start(bench, submit(bench), OTHER)
    for _ in range(3):
        bench.clock.advance(HOLDER_GRACE_SECONDS - 1)
        bench.welcome()
        bench.cycle(offer())
    assert bench.job(lease.job_id).state is JobState.QUEUED
    bench.finish(other, OTHER)
    assert ids(bench, offer()) == [lease.job_id]


def test_i4_jobs_behind_a_folder_cost_nothing(bench: Bench) -> None:
    for _ in range(10):
        submit(bench)
    bench.cycle(MANY)
    bench.cycle(MANY)
    few, _ = cost_of_cycle(bench, MANY)
    for _ in range(9):
        bench.submit(*(new_job(NAMESPACE, "", spec(), "tester", "") for _ in range(1000)))
    many, granted = cost_of_cycle(bench, MANY)
    assert granted == 0
    assert many.steps <= few.steps_max
    assert len(many.statements) == len(few.statements)
    assert many.of("FROM jobs WHERE jobs.key") == 0, "no job is looked at"


def test_i4_keys_behind_a_folder_cost_nothing(bench: Bench) -> None:
    start(bench, submit(bench))
    submit(bench)
    bench.cycle(MANY)
    few, _ = cost_of_cycle(bench, MANY)
    bench.submit(*(new_job(NAMESPACE, "", spec(owner=f"o{number}"), "tester", "") for number in range(1000)))
    first_look, granted = cost_of_cycle(bench, MANY)
    assert granted == 0
    assert first_look.of("FROM ready_keys WHERE ready_group") <= 2, "they are not opened one by one"
    many, granted = cost_of_cycle(bench, MANY)
    assert granted == 0
    assert many.steps <= few.steps_max
    assert len(many.statements) == len(few.statements)


def waiting_turns(bench: Bench, folder: str, count: int) -> list[Job]:
    """Turns that wait for the worker that has their conversations."""
    sessions = [in_folder(bench, folder) for _ in range(count)]
    for session in sessions:
        session.turn()
    return [session.say() for session in sessions]


@pytest.mark.parametrize("taken", [True, False])
def test_i4_turns_that_wait_for_a_folder_hide_no_other(bench: Bench, taken: bool) -> None:
    last = in_folder(bench, "/elsewhere")
    last.turn()
    in_it = waiting_turns(bench, FOLDER, GRANTS_COUNT_MAX + 2)
    if taken:
        assert ids(bench, offer(slots=1)) == [in_it[0].id]
    other = last.say()
    assert ids(bench) == [*([] if taken else [in_it[0].id]), other.id]


def reasons(bench: Bench, job_id: JobId, namespace: str = NAMESPACE) -> list[tuple[int, str]]:
    """What a job is said to wait for, with a worker that is connected and free."""
    registry = Registry(30.0)
    registry.connect(ControlLane(HOME, "c", 8, capabilities()))

    def read(connection: Connection) -> list[job_pb2.WaitReason]:
        job = reads.get_job(connection, namespace, job_id)
        assert job is not None
        waiting = read_waiting(connection, job, bench.clock.now())
        return wait_reasons(job, reads.job_needs(connection, job), 1, registry, waiting)

    return [(one.cause, one.message) for one in bench.read(read)]


def test_q8_a_job_says_who_has_its_folder(bench: Bench) -> None:
    bench.write(create_queue, "other", queue_pb2.Queue(name="default"), "tester")
    shared = submit(bench, shared=True)
    bench.assign(shared)
    first, later, foreign = submit(bench), submit(bench), submit(bench, namespace="other")
    assert reasons(bench, later) == []
    lease = bench.assign(first)
    told = f"job {job_id_text(first)} works in folder '/srv/site'"
    assert reasons(bench, later) == [(job_pb2.WAIT_CAUSE_FOLDER, told)]
    told = "a job of another namespace works in folder '/srv/site'"
    assert reasons(bench, foreign, "other") == [(job_pb2.WAIT_CAUSE_FOLDER, told)]
    bench.finish(lease)
    assert reasons(bench, later) == []


def test_q8_a_turn_that_waits_for_its_worker_says_who_has_its_folder(bench: Bench) -> None:
    (turn,) = waiting_turns(bench, FOLDER, 1)
    first = start(bench, submit(bench, priority=100)).job_id
    told = f"job {job_id_text(first)} works in folder '/srv/site'"
    assert reasons(bench, turn.id) == [(job_pb2.WAIT_CAUSE_FOLDER, told)]


def test_q9_of_what_waits_for_a_folder_one_job_calls_for_a_slot(bench: Bench) -> None:
    def wanted() -> int:
        return bench.read(queued_slots, HOME.worker, lambda needs: True, 1000)

    first, *_ = [submit(bench) for _ in range(5)]
    assert wanted() == 1
    start(bench, first)
    bench.cycle(MANY)
    assert wanted() == 0
    turns = waiting_turns(bench, "/elsewhere", 3)
    bench.assign(turns[0].id)
    assert wanted() == 0
