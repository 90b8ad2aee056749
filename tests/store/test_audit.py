"""The audit log: numbered in the order of commits, read newest first."""

from collections.abc import Sequence
from typing import Any

import pytest

from headrace_server.core.ids import job_id_text
from headrace_server.core.limits import AUDIT_DETAIL_CHARACTERS_MAX
from headrace_server.store.engine import Connection, Row
from headrace_server.store.jobs.cancel import cancel_by_caller
from headrace_server.store.ledger import Ledger
from headrace_server.store.records.audit import AuditEntry, list_audit, record_audit
from store.driving import HOME, Bench, OpenStore


def enter(bench: Bench, name: str, kind: str = "queue", namespace: str = "default", detail: str = "") -> None:
    bench.write(record_audit, "ada", "QueueService.PauseQueue", namespace, kind, name, detail)


def names(bench: Bench, kind: str = "", name: str = "", before: int = 0, count: int = 10) -> list[str]:
    return [entry.resource_name for entry in bench.read(list_audit, "default", kind, name, before, count)]


def test_an_entry_says_who_did_what_when(bench: Bench) -> None:
    enter(bench, "batch", detail="reason: full")
    (entry,) = bench.read(list_audit, "default", "", "", 0, 10)
    assert entry == AuditEntry(
        1, bench.clock.now(), "ada", "QueueService.PauseQueue", "default", "queue", "batch", "reason: full"
    )


def test_entries_come_newest_first_and_from_a_number_on(bench: Bench) -> None:
    for name in ("a", "b", "c", "d"):
        enter(bench, name)
    assert names(bench, count=2) == ["d", "c"]
    assert names(bench, before=3) == ["b", "a"]


def test_a_resource_in_no_namespace_is_among_those_of_every_one(bench: Bench) -> None:
    enter(bench, "w1", "worker", namespace="")
    enter(bench, "other", namespace="elsewhere")
    enter(bench, "here")
    assert names(bench) == ["here", "w1"]


def test_kind_and_name_choose_among_entries(bench: Bench) -> None:
    enter(bench, "same", "queue")
    enter(bench, "same", "schedule")
    enter(bench, "another", "queue")
    assert names(bench, "queue") == ["another", "same"]
    assert names(bench, "schedule", "same") == ["same"]
    assert names(bench, name="same") == ["same", "same"]


def test_numbers_are_dense_across_transactions_and_restarts(bench: Bench, reopen: OpenStore) -> None:
    enter(bench, "a")

    def two(ledger: Ledger) -> None:
        for name in ("b", "c"):
            record_audit(ledger, "ada", "QueueService.PauseQueue", "default", "queue", name, "")

    bench.write(two)
    again = reopen()
    enter(again, "d")
    assert [entry.number for entry in again.read(list_audit, "default", "", "", 0, 10)] == [4, 3, 2, 1]


def test_a_detail_that_is_too_long_is_cut(bench: Bench) -> None:
    enter(bench, "a", detail="x" * 5000)
    (entry,) = bench.read(list_audit, "default", "", "", 0, 10)
    assert len(entry.detail) == AUDIT_DETAIL_CHARACTERS_MAX
    assert entry.detail.endswith("x…")


@pytest.mark.parametrize("kind", ["queue", ""])
def test_entries_of_one_resource_are_found_by_an_index(bench: Bench, kind: str) -> None:
    for number in range(50):
        enter(bench, f"q{number}")
    plans: list[str] = []

    def explained(connection: Connection) -> None:
        ask = connection.rows

        class Explaining:
            def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
                plans.extend(row[-1] for row in ask(f"EXPLAIN QUERY PLAN {sql}", parameters))
                return []

        list_audit(Explaining(), "default", kind, "q7", 0, 10)  # type: ignore[arg-type]  # asks for rows only

    bench.read(explained)
    assert any("audit_resource (resource_type=? AND resource_name=?" in step for step in plans), plans


def test_l2_a_late_result_is_in_the_audit_log_once(bench: Bench) -> None:
    lease = bench.running()
    bench.lose()
    for _ in range(2):
        bench.finish(lease)
    (entry,) = bench.read(list_audit, "default", "job", job_id_text(lease.job_id), 0, 10)
    assert (entry.actor, entry.action) == (f"worker:{HOME.worker}", "WorkerService.Connect")
    assert entry.detail == "the result of its attempt with epoch 1 came too late; kept there, it changes nothing"


def test_l2_a_result_that_a_cancel_has_overtaken_is_in_the_audit_log(bench: Bench) -> None:
    lease = bench.running()
    bench.cancel(lease.job_id)
    bench.finish(lease)
    assert [entry.actor for entry in bench.read(list_audit, "default", "job", "", 0, 10)] == [f"worker:{HOME.worker}"]


def test_c2_of_a_cancel_that_is_said_again_there_is_one_entry(bench: Bench) -> None:
    lease = bench.running()
    for _ in range(2):
        bench.write(cancel_by_caller, "default", lease.job_id, "enough", "ada")
    entries = bench.read(list_audit, "default", "job", "", 0, 10)
    assert [(entry.action, entry.detail) for entry in entries] == [("JobService.CancelJob", "reason: enough")]
