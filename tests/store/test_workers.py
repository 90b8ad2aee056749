"""Workers that connect, come back, or are gone (L1–L6)."""

import pytest

from headrace_server.core.facts import ReleaseCause
from headrace_server.core.states import JobState
from headrace_server.store.attempts import demand, workers
from headrace_server.store.attempts.leases import Disposition, Holder, Lease
from store.driving import HOME, Bench, OpenStore, chunk, finished, new_job, offer

REBORN = Holder(HOME.worker, "i2")


def test_a_worker_that_connects_is_known(bench: Bench) -> None:
    assert bench.welcome().current
    worker = bench.read(workers.get_worker, "w1")
    assert worker is not None
    assert (worker.incarnation, worker.hello.slots, worker.lost) == ("i1", 1, False)
    assert [one.worker for one in bench.read(workers.list_workers, "", 10)] == ["w1"]


def test_l5_a_worker_that_comes_back_goes_on_with_what_it_holds(bench: Bench) -> None:
    bench.welcome()
    lease = bench.running()
    bench.append(lease, chunk(1))
    welcomed = bench.welcome(HOME, lease, reattach=True)
    assert [(job.id, job.producer_sequence) for job in welcomed.jobs] == [(lease.job_id, 1)]
    assert welcomed.stale == ()
    assert bench.job(lease.job_id).state is JobState.RUNNING


def test_l3_a_hello_that_is_heard_after_a_later_one_takes_nothing_back(bench: Bench) -> None:
    bench.welcome(counter=2)
    lease = bench.running()
    late = bench.welcome(HOME, reattach=True, counter=1)
    assert (late.current, late.newest) == (True, False)
    assert bench.job(lease.job_id).state is JobState.RUNNING
    assert bench.welcome(HOME, lease, reattach=True, counter=3).newest


def test_l5_after_a_restart_of_the_server_a_worker_goes_on(reopen: OpenStore) -> None:
    bench = reopen()
    bench.welcome()
    lease = bench.running()
    bench = reopen()
    assert [job.id for job in bench.welcome(HOME, lease, reattach=True).jobs] == [lease.job_id]
    assert bench.append(lease, chunk(1)).committed == 1


def test_l4_a_restarted_node_knows_whom_to_watch(reopen: OpenStore) -> None:
    bench = reopen()
    bench.welcome()
    bench.running()
    bench.running(holder=Holder("w2", "x"))
    bench.welcome(Holder("w3", "idle"))
    bench.welcome(Holder("w4", "gone"))
    bench.lose(Holder("w4", "gone"))
    bench.hear(counter=7)
    assert sorted(reopen().read(workers.lease_holders), key=lambda one: one[0].worker) == [
        (HOME, 7),
        (Holder("w2", "x"), 0),
        (Holder("w3", "idle"), 1),
    ]


@pytest.mark.parametrize("back", [HOME, REBORN])
def test_l4_a_worker_that_was_lost_and_is_back_is_watched_again(reopen: OpenStore, back: Holder) -> None:
    bench = reopen()
    bench.welcome()
    bench.lose()
    assert bench.read(workers.lease_holders) == []
    bench.welcome(back)
    assert reopen().read(workers.lease_holders) == [(back, 1)]


def test_l5_a_new_incarnation_ends_the_attempts_of_the_old_one(bench: Bench) -> None:
    bench.welcome()
    lease = bench.running()
    bench.welcome(REBORN)
    assert bench.kinds(lease.job_id)[-1] == "attempt_lost"
    assert bench.append(lease, chunk(1)).stale
    assert not bench.welcome(HOME, lease, reattach=True).current


def test_l5_a_returning_worker_that_no_longer_holds_a_job_has_lost_it(bench: Bench) -> None:
    bench.welcome()
    lease = bench.running()
    (unsent,) = bench.submit()
    bench.assign(unsent.id)
    bench.welcome(HOME, reattach=True)
    assert bench.kinds(lease.job_id)[-1] == "attempt_lost"
    assert bench.kinds(unsent.id)[-1] == "attempt_released", "it never began"


def test_l1_a_returning_worker_that_holds_an_older_lease_has_lost_the_newer_one(bench: Bench) -> None:
    bench.welcome()
    old = bench.running()
    bench.finish(old, returned=True)
    new = bench.assign(old.job_id)
    welcomed = bench.welcome(HOME, old, reattach=True)
    assert (welcomed.jobs, welcomed.stale) == ((), (old,))
    assert bench.job(new.job_id).state is JobState.QUEUED, "or it would wait for ever for a worker that renews"


@pytest.mark.parametrize("change", [1, -1])
def test_l1_a_lease_that_is_held_with_another_epoch_is_stale(bench: Bench, change: int) -> None:
    bench.welcome()
    lease = bench.running()
    wrong = Lease(lease.job_id, lease.epoch + change, lease.generation)
    assert bench.welcome(HOME, wrong, reattach=True).stale == (wrong,)


def test_l3_what_a_worker_knows_nothing_of_goes_back(bench: Bench) -> None:
    started = bench.running()
    (job,) = bench.submit()
    unstarted = bench.assign(job.id)
    bench.hear(absent=[started, unstarted])
    assert bench.kinds(started.job_id)[-1] == "attempt_lost"
    assert bench.kinds(job.id)[-1] == "attempt_released"


def test_i12_slots_used_are_the_attempts_that_a_worker_holds(bench: Bench) -> None:
    leases = [bench.running() for _ in range(3)]
    bench.finish(leases[0])
    bench.cancel(leases[1].job_id)
    assert bench.read(demand.resources_used, "w1").slots == 2
    bench.lose()
    assert bench.read(demand.resources_used, "w1").slots == 0


def test_l6_a_lost_worker_loses_the_leases_of_that_incarnation_only(bench: Bench) -> None:
    bench.welcome(REBORN)
    lease = bench.running(holder=REBORN)
    bench.lose(HOME)
    assert bench.job(lease.job_id).state is JobState.RUNNING
    worker = bench.read(workers.get_worker, "w1")
    assert worker is not None
    assert not worker.lost


def test_one_message_may_say_everything_at_once(bench: Bench) -> None:
    bench.submit(new_job(), new_job(), new_job())
    started, finished_, released = (one.lease for one in bench.cycle(offer(slots=3)).granted)
    heard = bench.hear(
        starts=[started, finished_],
        releases=[workers.Release(released, ReleaseCause.DECLINED, "")],
        finishes=[finished(finished_)],
        counter=2,
    )
    states = [bench.job(lease.job_id).state for lease in (started, finished_, released)]
    assert states == [JobState.RUNNING, JobState.SUCCEEDED, JobState.QUEUED]
    assert [lease for lease, _, _ in heard.finished] == [finished_]


def test_l1_a_lease_from_before_a_restore_is_refused(reopen: OpenStore) -> None:
    bench = reopen()
    lease = bench.running()
    bench.write(lambda ledger: ledger.run("UPDATE sequences SET value = 2 WHERE name = 'generation'"))
    bench = reopen()
    assert bench.append(lease, chunk(1)).stale
    assert bench.finish(lease)[0] is Disposition.STALE


def test_l7_an_incarnation_that_still_lives_keeps_its_leases_until_they_end(bench: Bench) -> None:
    bench.welcome()
    lease = bench.running()
    greeting = workers.Greeting(REBORN, False, b"", 1, (), frozenset({HOME.incarnation}))
    welcomed = bench.write(workers.welcome, greeting)
    assert (welcomed.current, welcomed.first, welcomed.jobs) == (True, True, ())
    assert welcomed.inherited.slots == 1
    assert bench.job(lease.job_id).state is JobState.RUNNING
    again = bench.welcome(REBORN, reattach=True)
    assert (again.current, again.first, again.inherited.slots) == (True, False, 1)
    assert bench.job(lease.job_id).state is JobState.RUNNING, "nor when it comes back"
    assert not bench.welcome(HOME, lease, reattach=True).current
    bench.lose(HOME)
    assert bench.job(lease.job_id).state is JobState.QUEUED
    worker = bench.read(workers.get_worker, "w1")
    assert worker is not None
    assert (worker.incarnation, worker.lost) == ("i2", False)
