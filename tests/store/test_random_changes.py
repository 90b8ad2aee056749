"""Random histories in which clients do to jobs whatever they can: graphs, unique keys, updates, retries, deletions.

What holds of plain histories holds of these too (I1 to I14), with S3, Q6 and R4 beside it.
"""

from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from headrace.v1 import job_pb2
from headrace_server.core.ids import SECOND, JobId
from headrace_server.core.job import Job
from headrace_server.core.refusal import Reason, Refusal
from headrace_server.core.states import ENDED, WAITING, JobState
from headrace_server.store.jobs import deletions
from headrace_server.store.jobs.retries import retry
from headrace_server.store.jobs.submission import Accepted
from headrace_server.store.jobs.submit import submit_all, submit_each
from headrace_server.store.jobs.updates import Change, update
from headrace_server.store.ledger import Ledger
from headrace_server.store.records import expiry
from store.conftest import ENGINES
from store.driving import NAMESPACE
from store.graphs import ALL_ENDED, ANY_SUCCEEDED, CANCEL, FAIL, made
from store.test_random_histories import Histories

CHANGES = (*("graph",) * 4, *("keyed",) * 4, *("update",) * 2, *("retry",) * 2, *("delete",) * 2, "sweep")


class Changes(Histories):
    """The same machine, with what clients do beside plain submits and cancels."""

    @rule(action=st.sampled_from(CHANGES), seed=st.integers(0, 1 << 32))
    def change(self, action: str, seed: int) -> None:
        """One step."""
        chance = Random(seed)
        if action == "graph":
            self.graph(chance)
        elif action == "keyed":
            self.keyed(chance)
        elif action == "sweep":
            self.sweep()
        elif self.known:
            job = self.bench.job(chance.choice(list(self.known)))
            {"update": self.update, "retry": self.retry, "delete": self.delete}[action](chance, job)

    def graph(self, chance: Random) -> None:
        """Three items, each on some of the others before it in a random order, and on jobs that are there."""
        order = chance.sample(range(3), 3)
        there = list(self.known)
        items = []
        for number in range(3):
            before = [f"n{one}" for one in order[: order.index(number)]]
            refs = chance.sample(before, chance.randint(0, len(before)))
            ids = chance.sample(there, min(len(there), chance.choice((0, 0, 1))))
            policy: dict[str, Any] = {
                "dependency_condition": chance.choice((0, ALL_ENDED, ANY_SUCCEEDED)),
                "dependency_failure_action": chance.choice((0, FAIL)),
                "dependency_cancel_action": chance.choice((0, CANCEL)),
            }
            items.append(made(*refs, *ids, ref=f"n{number}", **policy))
        self.accepted(self.bench.write(chance.choice((submit_each, submit_all)), items))

    def keyed(self, chance: Random) -> None:
        """Two items with one of two keys, on a parent now and then."""
        conflicts = (
            job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING,
            job_pb2.UNIQUE_KEY_CONFLICT_REPLACE_WAITING,
            job_pb2.UNIQUE_KEY_CONFLICT_RETURN_EXISTING,
            job_pb2.UNIQUE_KEY_CONFLICT_REFUSE,
        )
        items = []
        for _ in range(2):
            parents = [chance.choice(list(self.known))] if self.known and chance.random() < 0.6 else []
            key = job_pb2.UniqueKey(key=chance.choice("ab"), on_conflict=chance.choice(conflicts))
            items.append(made(*parents, unique_key=key))
        self.accepted(self.bench.write(submit_each, items), Reason.UNIQUE_KEY_TAKEN)

    def accepted(self, answers: object, *reasons: Reason) -> None:
        """Learns the new jobs; nothing may be refused but for these reasons."""
        assert isinstance(answers, list)
        for answer in answers:
            if isinstance(answer, Refusal):
                assert answer.reason in reasons
            else:
                assert isinstance(answer, Accepted)
                assert answer.deduplicated == (answer.job.id in self.known)
                self.learn("", b"", answer.job)

    def update(self, chance: Random, job: Job) -> None:
        spec = job_pb2.JobSpec(priority=chance.randint(-3, 3))
        spec.schedule_time.FromMicroseconds(self.bench.clock.now() + chance.choice((-5, 5, 500)) * SECOND)
        fields = chance.choice((("priority",), ("schedule_time",), ("priority", "schedule_time")))
        answer = self.bench.write(update, NAMESPACE, job.id, Change(fields, spec, str(job.sequence), "tester"))
        assert isinstance(answer, Job) == (job.state in WAITING and not job.started)
        if isinstance(answer, Job) and job.state is not JobState.BLOCKED:
            assert answer.state is (JobState.SCHEDULED if answer.due else JobState.QUEUED)

    def retry(self, chance: Random, job: Job) -> None:
        answer = self.bench.write(retry, NAMESPACE, job.id, "", "tester", "")
        live = [one for one in self.jobs() if one.origin.retry_of == job.id and one.state not in ENDED]
        if isinstance(answer, Refusal):
            may = {Reason.RETRY_LIVE: bool(live), Reason.JOB_NOT_ENDED: job.state not in ENDED}
            assert may.get(answer.reason, answer.reason in (Reason.UNIQUE_KEY_TAKEN, Reason.QUEUE_FULL)), answer
        else:
            assert job.state in ENDED
            self.accepted([answer])
            if self.bench.job(answer.job.id).state not in ENDED:
                again = self.bench.write(retry, NAMESPACE, job.id, "", "tester", "")
                assert isinstance(again, Refusal), "R4: a second live retry"
        assert len(live) <= 1, "R4: two live retries"

    def delete(self, chance: Random, job: Job) -> None:
        refusal = self.bench.write(deletions.delete, NAMESPACE, job.id, "", "tester")
        assert (refusal is None) == (job.state in ENDED), "I14"
        if refusal is None:
            self.forget(job.id)

    def forget(self, job_id: JobId) -> None:
        """A deleted job is not heard of again."""
        del self.known[job_id]
        self.leases = [(lease, holder) for lease, holder in self.leases if lease.job_id != job_id]

    def sweep(self) -> None:
        def drop(ledger: Ledger) -> None:
            expiry.drop_idle_keys(ledger, 0)
            deletions.remove_some_log(ledger)

        self.bench.write(drop)


@pytest.mark.parametrize("engine", sorted(ENGINES))
def test_i1_to_i14_hold_whatever_clients_do_to_jobs(engine: str) -> None:
    machine = type("ChangesOfOneEngine", (Changes,), {"engine": engine})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            deadline=None,
            derandomize=True,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
