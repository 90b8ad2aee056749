"""Cycles whose transaction, or the one before, holds what nobody knew of when they were asked for."""

from headrace_server.core.facts import ReleaseCause
from headrace_server.core.ids import JobId
from headrace_server.core.states import JobState
from headrace_server.runtime.cycle import run_cycle
from headrace_server.store.attempts.workers import Release
from headrace_server.store.jobs.cancel import cancel
from headrace_server.store.jobs.submit import Accepted, submit_each
from headrace_server.store.ledger import Ledger
from store.driving import NAMESPACE, Bench, handler_spec, new_job, offer


def test_q1_a_job_goes_first_that_came_in_the_transaction_that_ended_another(bench: Bench) -> None:
    bench.submit(new_job(owner="other"))
    bench.clock.advance(1)
    (ended,) = bench.submit(new_job())

    def replace(ledger: Ledger) -> JobId:
        cancel(ledger, NAMESPACE, ended.id, "", "tester")
        (accepted,) = submit_each(ledger, [new_job(priority=1)])
        assert isinstance(accepted, Accepted)
        return accepted.job.id

    urgent = bench.write(replace)
    assert [one.lease.job_id for one in bench.cycle(offer()).granted] == [urgent]


def test_c3_a_grant_that_comes_back_after_the_queue_timeout_is_not_granted_again(bench: Bench) -> None:
    spec = handler_spec()
    spec.timeouts.queue_timeout.seconds = 5
    (job,) = bench.submit(new_job(spec=spec))
    lease = bench.assign(job.id)
    bench.clock.advance(10)
    bench.hear(releases=[Release(lease, ReleaseCause.DECLINED, "no room")])
    cycle = bench.write(run_cycle, [offer()], (), timed=False)
    assert cycle.granted == ()
    assert bench.job(job.id).state is JobState.EXPIRED
