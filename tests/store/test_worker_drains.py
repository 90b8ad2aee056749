"""Drains of workers are kept, said with every renewal and welcome, and undone (Q7)."""

from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.placement import Needs
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.resources import NOTHING, Resources
from headrace_server.store.attempts.demand import resources_used
from headrace_server.store.attempts.worker_drains import (
    WorkerDrain,
    drain_worker,
    end_drain,
    read_drain,
    return_due,
)
from headrace_server.store.records.audit import list_audit
from store.driving import HANDLER, HOME, Bench, OpenStore, new_job, offer

GIB = 1024**3


def test_q7_a_drain_is_said_at_every_renewal_and_welcome_also_after_a_restart(reopen: OpenStore) -> None:
    bench = reopen()
    bench.welcome()
    assert bench.hear(counter=2).drain is None
    drain = bench.write(drain_worker, "w1", "ada", 5 * SECOND, exits=True)
    assert drain == WorkerDrain("ada", bench.clock.now(), Micros(bench.clock.now() + 5 * SECOND), exits=True)
    assert bench.hear(counter=3).drain == drain
    again = reopen()
    assert again.read(read_drain, "w1") == drain
    assert again.welcome(counter=4).drain == drain
    again.write(end_drain, "w1", "ada")
    assert again.hear(counter=5).drain is None
    assert again.write(end_drain, "w1", "ada") is None, "it may be said again"


def test_q7_what_runs_is_returned_after_the_grace_and_not_before(bench: Bench) -> None:
    bench.welcome()
    assert not bench.write(return_due, "w1")
    bench.write(drain_worker, "w1", "ada", None, exits=False)
    bench.clock.advance(1000.0)
    assert not bench.write(return_due, "w1")
    bench.write(drain_worker, "w1", "bob", 5 * SECOND, exits=False)
    bench.clock.advance(4.9)
    assert not bench.write(return_due, "w1")
    bench.clock.advance(0.1)
    assert bench.write(return_due, "w1")
    bench.write(drain_worker, "w1", "bob", 0, exits=False)
    assert bench.write(return_due, "w1")
    bench.write(end_drain, "w1", "ada")
    assert not bench.write(return_due, "w1")


def test_q7_who_drained_a_worker_is_in_the_audit_log(bench: Bench) -> None:
    bench.welcome()
    bench.write(drain_worker, "w1", "ada", 5 * SECOND, exits=True)
    bench.write(end_drain, "w1", "bob")
    bench.write(end_drain, "w1", "bob")
    entries = bench.read(list_audit, "default", "worker", "w1", 0, 10)
    assert [(one.actor, one.action, one.detail) for one in entries] == [
        ("bob", "WorkerService.DrainWorker", "run"),
        ("ada", "WorkerService.DrainWorker", "exit, what runs is returned after 5 s"),
    ]


def test_q7_a_worker_that_never_came_can_not_be_drained(bench: Bench) -> None:
    for answer in (bench.write(drain_worker, "w9", "ada", None, exits=False), bench.write(end_drain, "w9", "ada")):
        assert isinstance(answer, Refusal)
        assert answer.reason is Reason.NOT_FOUND


def test_q5_a_worker_that_comes_back_has_its_leases_counted_with_what_they_take(bench: Bench) -> None:
    bench.welcome()
    taken = Resources(3, 2 * GIB, 500)
    large, _ = bench.submit(new_job(needs=Needs("handler", HANDLER, resources=taken)), new_job())
    granted = bench.cycle(offer(slots=8)).granted
    welcomed = bench.welcome(HOME, *(one.lease for one in granted), reattach=True)
    assert [job.id for job in welcomed.jobs] == [one.lease.job_id for one in granted]
    assert sorted(one.slots for one in welcomed.taken) == [1, 3]
    assert welcomed.taken[[job.id for job in welcomed.jobs].index(large.id)] == taken
    assert bench.read(resources_used, "w1") == Resources(4, 2 * GIB, 500)
    assert bench.read(resources_used, "w2") == NOTHING
