"""Jobs that take much of a worker: they fit, and they do not starve behind small ones (Q5, I4)."""

from dataclasses import dataclass, field

from headrace_server.core.ids import JobId
from headrace_server.core.placement import Needs, Offer
from headrace_server.core.resources import Resources, total
from headrace_server.runtime.plan import RESERVE_AFTER_SECONDS
from headrace_server.store.attempts.leases import Holder, Lease
from store.driving import Bench, capabilities, new_job

LARGE = Needs("handler", "echo", resources=Resources(4))


@dataclass
class Host:
    """A worker that counts what its jobs take."""

    bench: Bench
    name: str
    slots: int = 4
    memory_bytes: int = 1 << 30
    running: dict[JobId, tuple[Lease, Resources]] = field(default_factory=dict)

    @property
    def holder(self) -> Holder:
        return Holder(self.name, "i1")

    def offer(self) -> Offer:
        used = total(taken for _, taken in self.running.values())
        free = Resources(self.slots, self.memory_bytes) - used
        return Offer(self.name, "i1", capabilities(), free.slots, free.memory_bytes, used=used)

    def finish(self, job_id: JobId) -> None:
        lease, _ = self.running.pop(job_id)
        self.bench.finish(lease, self.holder)


def cycle(bench: Bench, *hosts: Host, sizes: dict[JobId, Resources]) -> list[JobId]:
    """Runs a cycle and has the hosts run what it grants."""
    done = bench.cycle(*(host.offer() for host in hosts))
    for one in done.granted:
        host = next(host for host in hosts if host.name == one.worker)
        host.running[one.lease.job_id] = (one.lease, sizes.get(one.lease.job_id, Resources()))
        assert total(taken for _, taken in host.running.values()).slots <= host.slots
    return [one.lease.job_id for one in done.granted]


def test_i4_a_large_job_starts_in_the_end_however_many_small_ones_come(bench: Bench) -> None:
    hosts = [Host(bench, "a"), Host(bench, "b")]
    bench.submit(*(new_job() for _ in range(8)))
    cycle(bench, *hosts, sizes={})
    (large,) = bench.submit(new_job(needs=LARGE))
    sizes = {large.id: LARGE.resources}
    started: list[JobId] = []
    seconds = 0
    while large.id not in started and seconds < 300:
        bench.clock.advance(5)
        seconds += 5
        bench.submit(new_job(), new_job())
        for host in hosts:
            host.finish(next(iter(host.running)))
        started = cycle(bench, *hosts, sizes=sizes)
    assert RESERVE_AFTER_SECONDS < seconds <= RESERVE_AFTER_SECONDS + 25
    busy = [sum(taken.slots for _, taken in host.running.values()) for host in hosts]
    assert sorted(busy) == [4, 4], "the other worker was kept busy all along"


def test_q5_before_that_small_jobs_fill_what_a_large_one_can_not_use(bench: Bench) -> None:
    host = Host(bench, "a")
    (first,) = bench.submit(new_job())
    cycle(bench, host, sizes={})
    (large,) = bench.submit(new_job(needs=LARGE))
    small = bench.submit(*(new_job() for _ in range(5)))
    assert cycle(bench, host, sizes={}) == [job.id for job in small[:3]]
    assert first.id in host.running
    assert large.id not in host.running


def test_i4_jobs_too_large_for_every_worker_hold_nobody_up(bench: Bench) -> None:
    host = Host(bench, "a")
    bench.submit(*(new_job(needs=Needs("handler", "echo", resources=Resources(5))) for _ in range(3)))
    bench.clock.advance(RESERVE_AFTER_SECONDS * 10)
    small = bench.submit(*(new_job() for _ in range(4)))
    assert cycle(bench, host, sizes={}) == [job.id for job in small]


def test_i4_memory_that_is_never_free_keeps_no_room(bench: Bench) -> None:
    """The host uses some of its memory itself, so a job that wants all of it would wait for ever."""
    wanted = Needs("handler", "echo", resources=Resources(1, 1 << 30))
    bench.submit(new_job(needs=wanted))
    bench.clock.advance(RESERVE_AFTER_SECONDS * 10)
    small = bench.submit(*(new_job() for _ in range(4)))
    host = Host(bench, "a", memory_bytes=(1 << 30) - 1)
    assert cycle(bench, host, sizes={}) == [job.id for job in small]


def test_i5_memory_is_shared_out_as_declared(bench: Bench) -> None:
    wanted = Resources(1, 400 << 20)
    jobs = bench.submit(*(new_job(needs=Needs("handler", "echo", resources=wanted)) for _ in range(4)))
    sizes = {job.id: wanted for job in jobs}
    host = Host(bench, "a")
    assert cycle(bench, host, sizes=sizes) == [job.id for job in jobs[:2]]
    assert cycle(bench, host, sizes=sizes) == []
    host.finish(jobs[0].id)
    assert cycle(bench, host, sizes=sizes) == [jobs[2].id]
