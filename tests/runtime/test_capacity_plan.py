"""Capacity domains in the plan: one attempt notices a usage limit, no other starts, then one tries, then all (X5)."""

from typing import Any

import pytest

from headrace.v1 import event_pb2, job_pb2, outcome_pb2, task_pb2
from headrace_server.core.capacity import Cause, Domain, DomainState, closed_by, opened_by
from headrace_server.core.failures import FailureClass
from headrace_server.core.ids import SECOND, JobId, Micros
from headrace_server.core.job import Usage
from headrace_server.core.limits import HOLDER_GRACE_SECONDS
from headrace_server.core.placement import Capabilities, Needs
from headrace_server.core.states import JobState
from headrace_server.runtime.cycle import Cycle, Granted
from headrace_server.store.attempts.leases import Lease
from headrace_server.store.capacity import domains
from headrace_server.store.effects import Effects
from headrace_server.store.jobs.new_job import new_job as new_job_of
from headrace_server.store.ledger import Ledger
from store.driving import Bench, capabilities, claude_spec, failure, frame, new_job, offer
from store.scheduling import forbid_reading

DOMAIN = "default/default"
RESET = 3600.0


def submit(bench: Bench, count: int, model: str = "", **changes: Any) -> list[JobId]:
    spec = claude_spec()
    spec.claude.model = model
    jobs = [new_job(spec=spec, **changes) for _ in range(count)]
    return [job.id for job in bench.submit(*jobs)]


def ids(cycle: Cycle) -> list[JobId]:
    return [one.lease.job_id for one in cycle.granted]


def start(bench: Bench, granted: tuple[Granted, ...]) -> list[Lease]:
    leases = [one.lease for one in granted]
    bench.hear(starts=leases)
    return leases


def refuse(bench: Bench, lease: Lease, kind: FailureClass, retry_after: float | None = None) -> None:
    bench.finish(lease, failed=failure(kind, retry_after))


def domain(bench: Bench, name: str = DOMAIN) -> Domain:
    def read(ledger: Ledger) -> Domain:
        return domains.read_domain(ledger.look_up, name, ledger.now)

    return bench.write(read)


def change(bench: Bench, after: Domain, name: str = DOMAIN) -> None:
    bench.write(domains.change, name, after)


def states(bench: Bench, jobs: list[JobId]) -> set[JobState]:
    return {bench.job(job_id).state for job_id in jobs}


def job_output(sequence: int, output_tokens: int) -> event_pb2.Output:
    return event_pb2.Output(producer_sequence=sequence, usage=outcome_pb2.Usage(output_tokens=output_tokens))


def test_x5_a_usage_limit_is_noticed_by_one_attempt_and_waited_for_by_all(bench: Bench) -> None:
    first, *others = submit(bench, 200)
    bench.assign(first)
    (lease,) = [Lease(first, 1, 1)]
    bench.hear(starts=[lease])
    refuse(bench, lease, FailureClass.QUOTA, RESET)
    noticed = bench.job(first)
    assert (noticed.state, noticed.failures) == (JobState.SCHEDULED, 0), "it burns no attempt"
    many = offer(slots=100)
    for _ in range(10):
        assert ids(bench.cycle(many)) == []
        bench.clock.advance(RESET / 10 - 1)
    cycle = bench.cycle(many)
    assert ids(cycle) == []
    assert states(bench, others) == {JobState.QUEUED}
    bench.clock.advance(10)
    assert cycle.next_due is not None
    assert cycle.next_due <= bench.clock.now(), "a cycle is asked for at the reset"
    probe = bench.cycle(many)
    assert len(probe.granted) == 1, "first one tries"
    assert ids(bench.cycle(many)) == []
    (tried,) = start(bench, probe.granted)
    bench.finish(tried)
    assert bench.effects[-1].queued, "a cycle is asked for"
    assert len(bench.cycle(many).granted) == 100, "then all"
    assert all(bench.job(job_id).failures == 0 for job_id in [first, *others])


def test_x5_all_run_after_the_reset_and_only_one_ever_met_the_wall(bench: Bench) -> None:
    jobs = submit(bench, 200)
    bench.assign(jobs[0])
    bench.hear(starts=[Lease(jobs[0], 1, 1)])
    refuse(bench, Lease(jobs[0], 1, 1), FailureClass.QUOTA, RESET)
    bench.clock.advance(RESET)
    ran: list[int] = []
    while granted := bench.cycle(offer(slots=50)).granted:
        ran.append(len(granted))
        for lease in start(bench, granted):
            bench.finish(lease)
    assert ran == [1, 50, 50, 50, 49]
    assert states(bench, jobs) == {JobState.SUCCEEDED}
    assert [bench.job(job_id).epoch for job_id in jobs] == [2] + [1] * 199


def test_x5_an_overloaded_service_is_tried_by_one_job_at_a_time_ever_more_rarely(bench: Bench) -> None:
    jobs = submit(bench, 200)
    (granted,) = bench.cycle(offer(slots=1)).granted
    refuse(bench, granted.lease, FailureClass.OVERLOADED)
    started_at: list[float] = []
    begun = bench.clock.now()
    while len(started_at) < 5:
        cycle = bench.cycle(offer(slots=64))
        if cycle.granted:
            assert len(cycle.granted) == 1
            started_at.append((bench.clock.now() - begun) / SECOND)
            refuse(bench, cycle.granted[0].lease, FailureClass.OVERLOADED)
        bench.clock.advance(1)
    assert started_at == [5, 15, 35, 75, 155]
    assert sum(bench.job(job_id).failures for job_id in jobs) == 6
    bench.clock.advance(160)
    (probe,) = start(bench, bench.cycle(offer(slots=64)).granted)
    assert ids(bench.cycle(offer(slots=64))) == []
    bench.finish(probe)
    assert len(bench.cycle(offer(slots=64)).granted) == 64


def test_x5_the_first_words_of_a_probe_let_the_others_go_though_it_runs_on(bench: Bench) -> None:
    submit(bench, 5)
    (granted,) = bench.cycle(offer(slots=1)).granted
    refuse(bench, granted.lease, FailureClass.QUOTA, RESET)
    bench.clock.advance(RESET)
    (probe,) = start(bench, bench.cycle(offer(slots=8)).granted)
    said = job_output(1, output_tokens=5)
    bench.append(probe, said)
    assert bench.effects[-1].queued
    assert len(bench.cycle(offer(slots=8)).granted) == 4


def test_x5_a_probe_that_is_lost_or_ends_without_a_word_is_followed_by_another(bench: Bench) -> None:
    submit(bench, 3)
    (granted,) = bench.cycle(offer(slots=1)).granted
    refuse(bench, granted.lease, FailureClass.QUOTA, RESET)
    bench.clock.advance(RESET)
    (probe,) = start(bench, bench.cycle(offer(slots=8)).granted)
    refuse(bench, probe, FailureClass.CRASH)
    assert bench.effects[-1].queued
    assert domain(bench).state is DomainState.HALF_OPEN
    assert len(bench.cycle(offer(slots=8)).granted) == 1
    bench.lose()
    assert len(bench.cycle(offer(slots=8)).granted) == 1


def test_x5_where_several_were_refused_half_as_many_run_and_more_with_every_success(bench: Bench) -> None:
    submit(bench, 100)
    leases = start(bench, bench.cycle(offer(slots=16)).granted)
    refuse(bench, leases[0], FailureClass.RATE_LIMITED, 2.0)
    for lease in leases[1:9]:
        bench.finish(lease)
    bench.clock.advance(5)
    assert domain(bench).most == 8
    (probe,) = start(bench, bench.cycle(offer(slots=64)).granted)
    bench.finish(probe)
    assert len(bench.cycle(offer(slots=64)).granted) == 1, "7 run since before"
    for lease in leases[9:]:
        bench.finish(lease)
    assert len(bench.cycle(offer(slots=64)).granted) == 7


@pytest.mark.parametrize("kind", [FailureClass.AUTH, FailureClass.BILLING])
def test_x5_a_refused_credential_fails_one_job_and_keeps_the_others_until_somebody_opens_it(
    bench: Bench, kind: FailureClass
) -> None:
    first, *others = submit(bench, 20)
    refuse(bench, bench.assign(first), kind)
    assert bench.job(first).state is JobState.FAILED
    bench.clock.advance(10 * 86_400)
    assert ids(bench.cycle(offer(slots=8))) == []
    change(bench, opened_by(domain(bench), "ann", "a new key", bench.clock.now()))
    (probe,) = start(bench, bench.cycle(offer(slots=8)).granted)
    bench.finish(probe)
    assert len(bench.cycle(offer(slots=8)).granted) == 8
    assert states(bench, others) >= {JobState.SUCCEEDED, JobState.ASSIGNED}


def test_x5_other_domains_and_other_kinds_of_jobs_go_on(bench: Bench) -> None:
    submit(bench, 3, "opus")
    (granted,) = bench.cycle(offer(slots=1)).granted
    refuse(bench, granted.lease, FailureClass.QUOTA, RESET)
    others = [*submit(bench, 2, "claude-sonnet-5"), *[job.id for job in bench.submit(new_job(), new_job())]]
    assert sorted(ids(bench.cycle(offer(slots=8)))) == sorted(others)
    assert domain(bench, "default/opus").cause is Cause.QUOTA


def test_x5_a_domain_belongs_to_the_server_not_to_a_namespace_or_queue(bench: Bench) -> None:
    submit(bench, 1)
    (granted,) = bench.cycle(offer(slots=1)).granted
    refuse(bench, granted.lease, FailureClass.QUOTA, RESET)
    submit(bench, 2, namespace="other")
    assert ids(bench.cycle(offer(slots=8))) == []


def test_x5_a_closed_domain_costs_a_cycle_the_same_however_many_jobs_wait(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *_ = submit(bench, 300)
    refuse(bench, bench.assign(first), FailureClass.QUOTA, RESET)
    looked = forbid_reading(monkeypatch)
    assert ids(bench.cycle(offer(slots=64))) == []
    assert looked == [], "no job is read"


def test_x5_a_dirty_job_that_waits_for_its_worker_obeys_its_domain_and_hides_nobody(bench: Bench) -> None:
    lease = bench.running(claude_spec())
    bench.append(lease, frame(1, dirty=True))
    refuse_dirty = failure(FailureClass.CRASH)
    bench.finish(lease, failed=refuse_dirty, outputs=1)
    change(bench, closed_by(domain(bench), "ann", "", Micros(0), bench.clock.now()))
    bench.clock.advance(2)
    assert ids(bench.cycle(offer(slots=8))) == []
    change(bench, opened_by(domain(bench), "ann", "", bench.clock.now()))
    assert ids(bench.cycle(offer(slots=8))) == [lease.job_id]


def test_x5_a_dirty_job_does_not_give_up_its_worker_while_its_domain_is_closed(bench: Bench) -> None:
    bench.welcome()
    lease = bench.running(claude_spec())
    bench.append(lease, frame(1, dirty=True))
    bench.finish(lease, returned=True, outputs=1)
    change(bench, closed_by(domain(bench), "ann", "", Micros(0), bench.clock.now()))
    for _ in range(5):
        bench.clock.advance(HOLDER_GRACE_SECONDS)
        bench.cycle(offer(slots=8))
    waiting = bench.job(lease.job_id)
    assert (waiting.state, waiting.holder) == (JobState.QUEUED, "w1")
    change(bench, opened_by(domain(bench), "ann", "", bench.clock.now()))
    bench.clock.advance(HOLDER_GRACE_SECONDS)
    bench.cycle()
    assert bench.job(lease.job_id).state is JobState.FAILED, "from then on it is its worker's fault"


def test_x5_a_domain_is_as_it_was_after_a_restart(bench: Bench) -> None:
    submit(bench, 3)
    (granted,) = bench.cycle(offer(slots=1)).granted
    refuse(bench, granted.lease, FailureClass.QUOTA, RESET)
    bench.clock.advance(RESET)
    assert len(bench.cycle(offer(slots=8)).granted) == 1

    def forget(ledger: Ledger) -> Effects:
        ledger.forget("capacity domains")
        return ledger.effects

    bench.write(forget)
    assert ids(bench.cycle(offer(slots=8))) == [], "the probe is counted from its row"


def test_x5_needs_of_a_claude_task_name_its_domain_and_its_profile() -> None:
    spec = job_pb2.JobSpec(
        claude=task_pb2.ClaudeTask(prompt="hi", model="claude-haiku-4", environment_profile="team"),
    )
    needs = new_job_of("", "", spec, "me", "").needs
    assert needs == Needs("claude", "team", domain="team/haiku")
    assert Needs.decode(needs.encode()) == needs
    assert Needs.decode('["claude","",[]]').domain == DOMAIN, "from before there were domains"


def test_x8_a_worker_without_the_environment_profile_gets_no_job_that_names_it(bench: Bench) -> None:
    (job,) = bench.submit(new_job(spec=claude_spec(), needs=Needs("claude", "team", domain="team/default")))
    assert ids(bench.cycle(offer(slots=1))) == []
    able = Capabilities(frozenset({"claude"}), {}, frozenset(), frozenset(), frozenset({"team"}))
    assert ids(bench.cycle(offer(slots=1, able=able))) == [job.id]
    assert capabilities().profiles == frozenset()


def test_r2_the_usage_of_a_refused_attempt_is_no_answer(bench: Bench) -> None:
    submit(bench, 2)
    (granted,) = bench.cycle(offer(slots=1)).granted
    bench.finish(granted.lease, failed=failure(FailureClass.QUOTA, RESET), usage=Usage(output_tokens=5))
    assert domain(bench).state is DomainState.CLOSED
    decided = [event for event in bench.events(granted.lease.job_id) if event.HasField("attempt_failed")]
    assert decided[0].attempt_failed.decision.action == job_pb2.RETRY_ACTION_WAIT_QUOTA
