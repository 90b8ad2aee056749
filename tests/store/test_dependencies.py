"""Jobs that wait for others: graphs by refs and ids, what ends mean, and steps of bounded size (S6, S7, Q6, C2)."""

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from headrace.v1 import event_pb2, job_pb2, outcome_pb2, queue_pb2
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros, job_id_text
from headrace_server.core.job import CancelCause, Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, JobState
from headrace_server.store import settle
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.engine import Connection, Row
from headrace_server.store.jobs.dependencies import children_of, parents_of
from headrace_server.store.jobs.submission import Accepted, NewJob
from headrace_server.store.jobs.submit import check_each, submit_all, submit_each
from headrace_server.store.queueing.queues import create_queue
from store.checkers import check_store
from store.driving import NAMESPACE, RESULT, Bench, OpenStore, offer
from store.graphs import ALL_ENDED, ANY_SUCCEEDED, CANCEL, FAIL, QUEUE_TIMEOUT_SECONDS, Node, Reference, made

Answers = list[Accepted | Refusal]


def accepted(answers: Answers) -> list[Job]:
    assert all(isinstance(answer, Accepted) for answer in answers), answers
    return [answer.job for answer in answers if isinstance(answer, Accepted)]


def submitted(bench: Bench, *news: NewJob) -> list[Job]:
    return accepted(bench.write(submit_each, list(news)))


def states(bench: Bench, jobs: list[Job]) -> list[JobState]:
    return [bench.job(job.id).state for job in jobs]


def rows_of(connection: Connection, table: str) -> list[Row]:
    return connection.rows(f"SELECT * FROM {table}")


def succeed(bench: Bench, *jobs: Job) -> None:
    """Runs jobs that have to be the next ones to a good end, then tells whoever waits for them."""
    for job in jobs:
        bench.finish(bench.assign(job.id))
    bench.cycle()


def test_s7_a_graph_is_one_call_and_refs_may_point_forward(bench: Bench) -> None:
    last, middle, first = submitted(bench, made("b", ref="c"), made("a", ref="b"), made(ref="a"))
    assert states(bench, [last, middle, first]) == [JobState.BLOCKED, JobState.BLOCKED, JobState.QUEUED]
    assert [job.row for job in (last, middle, first)] == [1, 2, 3]
    succeed(bench, first)
    assert states(bench, [last, middle]) == [JobState.BLOCKED, JobState.QUEUED]
    succeed(bench, middle)
    succeed(bench, last)
    assert bench.kinds(last.id) == ["submitted", "queued", "attempt_assigned", "attempt_started", "succeeded"]
    queued = bench.events(last.id)[1].queued
    assert queued.cause == event_pb2.QUEUED_CAUSE_UNBLOCKED


def test_s7_the_stored_spec_names_jobs_and_the_fingerprint_is_of_the_spec_as_sent(bench: Bench) -> None:
    news = [made(ref="a", request_id="r1"), made("a", request_id="r2")]
    parent, child = submitted(bench, *news)
    spec = job_pb2.JobSpec.FromString(
        bench.read(lambda connection: connection.rows("SELECT spec FROM job_specs WHERE job = ?", (child.row,)))[0][0]
    )
    assert [one.job_id for one in spec.dependencies] == [job_id_text(parent.id)]
    again = bench.write(submit_each, news)
    assert [(one.job.id, one.deduplicated) for one in again if isinstance(one, Accepted)] == [
        (parent.id, True),
        (child.id, True),
    ]


def test_s7_a_repeated_item_counts_as_done_and_its_ref_means_the_job_that_is_there(bench: Bench) -> None:
    (parent,) = submitted(bench, made(ref="a", request_id="r1"))
    succeed(bench, parent)
    same, child = submitted(bench, made(ref="a", request_id="r1"), made("a"))
    assert (same.id, child.state) == (parent.id, JobState.QUEUED)


def test_s7_an_item_whose_parent_was_refused_is_refused_and_so_are_those_behind_it(bench: Bench) -> None:
    answers = bench.write(
        submit_each, [made("b"), made("a", ref="b"), made(ref="a", queue="nowhere"), made(ref="d"), made("missing")]
    )
    reasons = [answer.reason if isinstance(answer, Refusal) else None for answer in answers]
    refused = Reason.DEPENDENCY_REFUSED
    assert reasons == [refused, refused, Reason.NOT_FOUND, None, refused]


def test_s7_all_or_nothing_holds_for_graphs(bench: Bench) -> None:
    answers = bench.write(submit_all, [made("a"), made(ref="a", queue="nowhere")])
    assert [answer.reason if isinstance(answer, Refusal) else None for answer in answers] == [
        Reason.DEPENDENCY_REFUSED,
        Reason.NOT_FOUND,
    ]
    assert bench.read(lambda connection: connection.rows("SELECT count(*) FROM jobs")) == [(0,)]
    child, parent = bench.write(submit_all, [made("a"), made(ref="a")])
    assert isinstance(child, Accepted)
    assert isinstance(parent, Accepted)
    assert (child.job.state, parent.job.state) == (JobState.BLOCKED, JobState.QUEUED)


def test_s8_checking_a_graph_stores_nothing(bench: Bench) -> None:
    assert bench.write(check_each, [made("a"), made(ref="a")]) == [None, None]
    for table in ("jobs", "dependencies", "events"):
        assert bench.read(rows_of, table) == []


def test_s5_blocked_jobs_count_and_a_graph_that_does_not_fit_is_refused(bench: Bench) -> None:
    bench.write(create_queue, NAMESPACE, queue_pb2.Queue(name="small", max_queued=2), "tester")
    graph = [made(ref="a", queue="small"), made("a", ref="b", queue="small"), made("b", queue="small")]
    answers = bench.write(submit_each, graph)
    assert [answer.reason if isinstance(answer, Refusal) else None for answer in answers] == [
        None,
        None,
        Reason.QUEUE_FULL,
    ]


def test_q6_a_dependency_that_is_not_there_is_refused(bench: Bench) -> None:
    (there,) = accepted(bench.write(submit_each, [made()]))
    (elsewhere,) = accepted(bench.write(submit_each, [replace(made(), namespace="elsewhere")]))
    for unknown in (JobId(bytes(range(16))), elsewhere.id):
        (answer,) = bench.write(submit_each, [made(there.id, unknown)])
        assert isinstance(answer, Refusal)
        assert (answer.reason, answer.resource_name) == (Reason.NOT_FOUND, job_id_text(unknown))


@pytest.mark.parametrize(
    ("fields", "end", "state"),
    [
        ({}, None, JobState.QUEUED),
        ({}, FailureClass.INVALID, JobState.SKIPPED),
        ({"dependency_failure_action": FAIL}, FailureClass.INVALID, JobState.FAILED),
        ({"dependency_condition": ALL_ENDED}, FailureClass.INVALID, JobState.QUEUED),
        ({"dependency_condition": ANY_SUCCEEDED}, FailureClass.INVALID, JobState.SKIPPED),
    ],
)
def test_q6_parents_may_have_ended_before_the_submit(
    bench: Bench, fields: dict[str, Any], end: FailureClass | None, state: JobState
) -> None:
    lease = bench.running()
    if end is None:
        bench.finish(lease)
    else:
        bench.fail(lease, end)
    (child,) = submitted(bench, made(lease.job_id, **fields))
    assert bench.job(child.id).state is state
    kinds = {JobState.QUEUED: [], JobState.SKIPPED: ["skipped"], JobState.FAILED: ["failed"]}
    assert bench.kinds(child.id) == ["submitted", *kinds[state]]
    assert bench.cycle().next_due is None


def test_q6_a_job_whose_parent_failed_says_which_and_how(bench: Bench) -> None:
    lease = bench.running()
    skipped, failed = submitted(bench, made(lease.job_id), made(lease.job_id, dependency_failure_action=FAIL))
    bench.fail(lease, FailureClass.INVALID)
    bench.cycle()
    text = job_id_text(lease.job_id)
    assert bench.events(skipped.id)[-1].skipped.dependency_job_id == text
    for job in (bench.job(skipped.id), bench.job(failed.id)):
        assert job.failure is not None
        assert job.failure.failure_class is FailureClass.DEPENDENCY
        assert outcome_pb2.Failure.FromString(job.failure.body).message == (
            f"job {text}, which it depends on, ended as FAILED"
        )


def test_c2_cancelling_a_parent_applies_the_policy_of_each_child(bench: Bench) -> None:
    (parent,) = submitted(bench, made())
    children = submitted(
        bench,
        made(parent.id),
        made(parent.id, dependency_cancel_action=CANCEL),
        made(parent.id, dependency_cancel_action=CANCEL, dependency_condition=ALL_ENDED),
        made(parent.id, dependency_condition=ALL_ENDED),
    )
    bench.cancel(parent.id)
    assert bench.effects[-1].next_due is not None, "the scheduler is not woken"
    bench.cycle()
    assert states(bench, children) == [JobState.SKIPPED, JobState.CANCELLED, JobState.CANCELLED, JobState.QUEUED]
    cancellation = bench.job(children[1].id).cancellation
    assert cancellation is not None
    assert cancellation.cause is CancelCause.DEPENDENCY
    assert job_id_text(parent.id) in cancellation.reason


def test_q6_a_job_with_a_time_to_come_is_scheduled_once_its_parents_have_ended(bench: Bench) -> None:
    later = Micros(bench.clock.now() + 60 * SECOND)
    new = made(ref="a")
    child = made("a")
    child.schedule_time = later
    parent, job = submitted(bench, new, child)
    assert bench.job(job.id).state is JobState.BLOCKED
    succeed(bench, parent)
    assert (bench.job(job.id).state, bench.job(job.id).due) == (JobState.SCHEDULED, later)
    bench.clock.advance(61)
    bench.cycle()
    assert bench.kinds(job.id) == ["submitted", "scheduled", "queued"]


def test_c3_a_blocked_job_expires_when_it_was_not_started_in_time(bench: Bench) -> None:
    timeouts = job_pb2.Timeouts()
    timeouts.queue_timeout.seconds = 5
    (parent,) = submitted(bench, made())
    child, grandchild = submitted(bench, made(parent.id, ref="c", timeouts=timeouts), made("c"))
    bench.clock.advance(6)
    bench.cycle()
    bench.cycle()
    assert states(bench, [child, grandchild]) == [JobState.EXPIRED, JobState.SKIPPED]


def test_q6_skips_run_through_a_long_chain(bench: Bench) -> None:
    chain = [made(ref="0"), *(made(str(n), ref=str(n + 1)) for n in range(200))]
    jobs = submitted(bench, *chain)
    bench.cancel(jobs[0].id)
    bench.cycle()
    assert states(bench, jobs[1:]) == [JobState.SKIPPED] * 200


def test_q6_a_parent_with_many_children_is_followed_in_steps(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settle, "CHILDREN_COUNT_MAX", 10)
    (parent,) = submitted(bench, made())
    children = submitted(bench, *(made(parent.id) for _ in range(25)))
    bench.finish(bench.assign(parent.id))
    done = []
    while bench.effects[-1].next_due is not None:
        bench.cycle()
        done.append(states(bench, children).count(JobState.QUEUED))
        bench.read(check_store)
    assert done == [10, 20, 25]


def test_q6_steps_go_on_after_a_restart_also_when_the_parent_is_gone(
    reopen: OpenStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "CHILDREN_COUNT_MAX", 2)
    bench = reopen()
    (parent,) = submitted(bench, made())
    children = submitted(bench, *(made(parent.id) for _ in range(5)))
    bench.finish(bench.assign(parent.id))
    bench.cycle()
    bench = reopen()
    while JobState.BLOCKED in states(bench, children):
        bench.cycle()
    assert states(bench, children) == [JobState.QUEUED] * 5


def test_q6_the_results_of_parents_are_read_in_the_order_of_the_spec(bench: Bench) -> None:
    first, second, third = submitted(bench, made(), made(), made())
    (child,) = submitted(bench, made(third.id, first.id, second.id, dependency_condition=ALL_ENDED))
    succeed(bench, first)
    bench.cancel(second.id)
    bench.cycle()
    read = bench.read(parents_of, bench.job(child.id))
    result = outcome_pb2.Result.FromString(RESULT).SerializeToString()
    assert read == [
        (third.id, JobState.QUEUED, None),
        (first.id, JobState.SUCCEEDED, result),
        (second.id, JobState.CANCELLED, None),
    ]
    assert bench.write(parents_of, bench.job(child.id)) == read
    assert bench.read(children_of, first, 100) == [child.id]


def test_q6_results_past_a_mebibyte_are_left_out(bench: Bench) -> None:
    text = "x" * 700_000
    result = outcome_pb2.Result(claude=outcome_pb2.ClaudeResult(text=text)).SerializeToString()
    parents = submitted(bench, made(), made(), made())
    (child,) = submitted(bench, made(*(parent.id for parent in parents)))
    for parent, body in zip(parents, (result, result, RESULT), strict=True):
        bench.finish(bench.assign(parent.id), succeeded=body)
    read = bench.read(parents_of, bench.job(child.id))
    assert [len(body or b"") for _, _, body in read] == [len(result), 0, len(RESULT)]


def random_graph(chance: Random, count: int) -> list[Node]:
    nodes = []
    for number in range(count):
        near = range(max(0, number - 30), number)
        parents = tuple(chance.sample(near, min(len(near), chance.choice((0, 1, 1, 2, 3)))))
        condition = chance.choice((0, 1, ALL_ENDED, ANY_SUCCEEDED))
        actions = chance.choice((0, 1, FAIL)), chance.choice((0, 1, CANCEL))
        nodes.append(Node(parents, condition, *actions, expires=chance.random() < 0.1))
    return nodes


class Driven:
    """A graph in a store, every job of which is brought to an end by what clients and workers say."""

    def __init__(self, bench: Bench, nodes: list[Node], chance: Random) -> None:
        items = [made(*(f"n{one}" for one in node.parents), ref=f"n{n}", **node.spec()) for n, node in enumerate(nodes)]
        order = list(range(len(nodes)))
        chance.shuffle(order)
        jobs = submitted(bench, *(items[number] for number in order))
        self.ids = {number: job.id for number, job in zip(order, jobs, strict=True)}
        self.bench = bench
        self.leases: dict[JobId, Lease] = {}

    def cycle(self) -> None:
        """Tells children, and grants what can run."""
        for granted in self.bench.cycle(offer(slots=128)).granted:
            self.leases[granted.lease.job_id] = granted.lease

    def end(self, number: int, state: JobState) -> None:
        """Brings a job that has a lease, or is to be cancelled, to an end."""
        lease = self.leases.get(self.ids[number])
        if state is JobState.CANCELLED:
            self.bench.cancel(self.ids[number])
            if lease is not None:
                self.bench.finish(lease, succeeded=None)
        elif state is JobState.FAILED:
            assert lease is not None
            self.bench.fail(lease, FailureClass.INVALID)
        else:
            assert lease is not None
            self.bench.finish(lease)

    def states(self) -> list[JobState]:
        """Of all jobs, by their number."""
        return [self.bench.job(self.ids[number]).state for number in range(len(self.ids))]


@pytest.mark.parametrize(("seed", "count"), [(1, 1000), *((seed, 40) for seed in range(2, 12))])
def test_q6_a_random_graph_ends_as_the_reference_says(bench: Bench, seed: int, count: int) -> None:
    chance = Random(seed)
    nodes = random_graph(chance, count)
    driven, reference = Driven(bench, nodes, chance), Reference(nodes)
    expire_at = chance.randint(1, count // 2)
    for step in range(2 * count):
        driven.cycle()
        open_ones = [number for number, state in enumerate(reference.states) if state not in ENDED]
        if step == expire_at:
            bench.clock.advance(QUEUE_TIMEOUT_SECONDS)
            reference.end(JobState.EXPIRED, *(number for number in open_ones if nodes[number].expires))
            continue
        able = [n for n in open_ones if reference.states[n] is JobState.QUEUED and not nodes[n].expires]
        state = chance.choice((*(JobState.SUCCEEDED,) * 4, JobState.FAILED, JobState.CANCELLED))
        among = open_ones if state is JobState.CANCELLED else able
        if among:
            number = chance.choice(among)
            driven.end(number, state)
            reference.end(state, number)
    driven.cycle()
    assert driven.states() == reference.states
    assert count < 1000 or set(reference.states) == ENDED, "the large graph shows every kind of end"
    assert all(state in ENDED for state in reference.states), "I4: a graph that stands still"
