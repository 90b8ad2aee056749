"""How people see schedules and change them: the servicer on a real store, with its checks, without its transport."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headrace.v1 import job_pb2, schedule_pb2, task_pb2
from headrace.v1 import schedule_service_pb2 as pb
from headrace_server.core.firing import CatchUpPolicy, FiringOutcome, Overlap
from headrace_server.core.ids import SECOND
from headrace_server.core.refusal import Reason, Refused
from headrace_server.rpc.schedule_service import ScheduleService
from headrace_server.store.codec import time_of
from headrace_server.store.records.audit import list_audit
from rpc.calling import Calls
from store.driving import NAMESPACE
from store.scheduling import at, end, jobs, move_to, run_until

SPEC: dict[str, Any] = {"handler": {"name": "echo"}}


class Edge(Calls):
    """A store at a certain time with the servicer in front of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.serve(ScheduleService(self.bench.store))
        move_to(self.bench, at("2027-03-27T12:00:00"))

    def create(self, name: str = "s", cron: str = "30 2 * * *", **parts: Any) -> schedule_pb2.Schedule:
        fields: dict[str, Any] = {"name": name, "spec": SPEC} | ({} if "interval" in parts else {"cron": cron}) | parts
        schedule = schedule_pb2.Schedule(**fields)
        made: schedule_pb2.Schedule = self.call("create_schedule", pb.CreateScheduleRequest(schedule=schedule)).schedule
        return made

    def get(self, name: str = "s") -> schedule_pb2.Schedule:
        found: schedule_pb2.Schedule = self.call("get_schedule", pb.GetScheduleRequest(name=name)).schedule
        return found

    def update(self, *paths: str, etag: str = "", **parts: Any) -> schedule_pb2.Schedule:
        request = pb.UpdateScheduleRequest(
            schedule=schedule_pb2.Schedule(name="s", etag=etag, **parts), update_mask={"paths": list(paths)}
        )
        changed: schedule_pb2.Schedule = self.call("update_schedule", request).schedule
        return changed


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    edge = Edge(tmp_path / "data")
    yield edge
    edge.bench.close()


def test_enums_have_the_numbers_of_the_contract() -> None:
    for core, contract, prefix in (
        (CatchUpPolicy, schedule_pb2.CatchUpPolicy, "CATCH_UP_POLICY_"),
        (Overlap, schedule_pb2.Overlap, "OVERLAP_"),
        (FiringOutcome, schedule_pb2.FiringOutcome, "FIRING_OUTCOME_"),
    ):
        stated = {name.removeprefix(prefix): number for name, number in contract.items() if number}
        assert {one.name: one.value for one in core} == stated


def test_a_created_schedule_has_its_defaults_and_its_next_tick(edge: Edge) -> None:
    made = edge.create(time_zone="Europe/Berlin")
    assert edge.get() == made
    assert (made.namespace, made.etag, made.time_zone) == ("default", "1", "Europe/Berlin")
    assert made.overlap == schedule_pb2.OVERLAP_SKIP
    assert made.catch_up == schedule_pb2.CatchUp(policy=schedule_pb2.CATCH_UP_POLICY_LAST)
    assert time_of(made.next_time) == at("2027-03-28T01:00:00")
    assert time_of(made.create_time) == time_of(made.update_time) == edge.bench.clock.now()
    assert not made.HasField("last_time")
    assert (made.spec.queue, made.spec.owner) == ("default", "ada")


def test_what_became_of_ticks_is_shown_newest_first(edge: Edge) -> None:
    edge.create(cron="* * * * *")
    run_until(edge.bench, at("2027-03-27T12:30:00"))
    end(edge.bench, jobs(edge.bench)[0].id)
    run_until(edge.bench, at("2027-03-27T12:31:00"))
    shown = edge.get()
    assert len(shown.firings) == 20
    first, second = shown.firings[:2]
    assert (first.outcome, second.outcome) == (
        schedule_pb2.FIRING_OUTCOME_SUBMITTED,
        schedule_pb2.FIRING_OUTCOME_SKIPPED,
    )
    assert len(first.job_id) == 36
    assert second.message
    assert time_of(first.nominal_time) == time_of(shown.last_time) == at("2027-03-27T12:31:00")
    listed = edge.call("list_schedules", pb.ListSchedulesRequest()).schedules
    assert [len(schedule.firings) for schedule in listed] == [0]


def test_schedules_are_listed_in_pages(edge: Edge) -> None:
    for name in ("b", "a", "c"):
        edge.create(name)
    first = edge.call("list_schedules", pb.ListSchedulesRequest(page_size=2))
    assert [schedule.name for schedule in first.schedules] == ["a", "b"]
    rest = edge.call("list_schedules", pb.ListSchedulesRequest(page_size=2, page_token=first.next_page_token))
    assert [schedule.name for schedule in rest.schedules] == ["c"]
    assert rest.next_page_token == ""
    refusal = edge.refusal("list_schedules", pb.ListSchedulesRequest(page_token="nonsense"))
    assert refusal.reason is Reason.INVALID_TOKEN


def test_an_update_changes_what_the_mask_names(edge: Edge) -> None:
    edge.create()
    changed = edge.update(
        "interval", "overlap", interval={"seconds": 90}, overlap="OVERLAP_ALLOW", jitter={"seconds": 9}
    )
    assert changed.WhichOneof("timing") == "interval"
    assert changed.overlap == schedule_pb2.OVERLAP_ALLOW
    assert not changed.HasField("jitter")
    assert changed.etag == "2"
    assert time_of(changed.next_time) == edge.bench.clock.now() + 90 * SECOND
    assert edge.update("overlap").overlap == schedule_pb2.OVERLAP_SKIP
    with pytest.raises(Refused) as caught:
        edge.update("overlap", etag="1")
    assert caught.value.refusal.reason is Reason.STALE_ETAG


@pytest.mark.parametrize(
    ("paths", "parts", "field"),
    [
        (["cron"], {}, "schedule.timing"),
        (["cron"], {"cron": "nonsense"}, "schedule.cron"),
        (["time_zone"], {"time_zone": "Mars"}, "schedule.time_zone"),
        (["jitter"], {"jitter": {"seconds": 86_400}}, "schedule.jitter"),
        (["spec"], {}, "schedule.spec"),
        (["spec"], {"spec": {}}, "schedule.spec.task"),
        (["name"], {}, "update_mask"),
        (["next_time"], {}, "update_mask"),
        (["color"], {}, "update_mask"),
        ([], {}, "update_mask"),
    ],
)
def test_a_bad_update_changes_nothing(edge: Edge, paths: list[str], parts: dict[str, Any], field: str) -> None:
    made = edge.create()
    with pytest.raises(Refused) as caught:
        edge.update(*paths, **parts)
    assert [violation.field for violation in caught.value.refusal.violations] == [field]
    assert edge.get() == made


@pytest.mark.parametrize(
    ("schedule", "field", "part"),
    [
        ({"name": "", "cron": "* * * * *"}, "schedule.name", "required"),
        ({"name": "A", "cron": "* * * * *"}, "schedule.name", "1 to 63"),
        ({}, "schedule.timing", "cron, interval"),
        ({"cron": "0 0 30 2 *"}, "schedule.cron", "never fires"),
        ({"cron": "* * *"}, "schedule.cron", "has 3 fields"),
        ({"cron": "99 * * * *"}, "schedule.cron", "minute '99'"),
        ({"interval": {"nanos": 999_999_999}}, "schedule.interval", "at least 1 s"),
        ({"interval": {"seconds": 99_999 * 86_400}}, "schedule.interval", "from 1 to 316224000 (ten years)"),
        ({"cron": "* * * * *", "time_zone": "Europe/Atlantis"}, "schedule.time_zone", "IANA"),
        ({"cron": "* * * * *", "spec": None}, "schedule.spec", "required"),
        (
            {"cron": "* * * * *", "spec": SPEC | {"schedule_time": {"seconds": 9}}},
            "schedule.spec.schedule_time",
            "unset",
        ),
        ({"cron": "* * * * *", "spec": SPEC | {"queue": "NO"}}, "schedule.spec.queue", "1 to 63"),
        (
            {"cron": "* * * * *", "spec": SPEC | {"dependencies": [{"ref": "a"}]}},
            "schedule.spec.dependencies[0].ref",
            "call",
        ),
        ({"cron": "* * * * *", "overlap": 9}, "schedule.overlap", "is 9"),
        ({"cron": "* * * * *", "jitter": {"seconds": 60}}, "schedule.jitter", "which is 60 s"),
        ({"interval": {"seconds": 5}, "jitter": {"seconds": 5}}, "schedule.jitter", "which is 5 s"),
        ({"cron": "* * * * *", "catch_up": {"max_count": 1001}}, "schedule.catch_up.max_count", "1000"),
        (
            {"cron": "* * * * *", "catch_up": {"window": {"seconds": 32 * 86_400}}},
            "schedule.catch_up.window",
            "31 days",
        ),
        ({"cron": "* * * * *", "catch_up": {"window": {}}}, "schedule.catch_up.window", "more than zero"),
        ({"cron": "* * * * *", "etag": "1"}, "schedule.etag", "server only"),
        ({"cron": "* * * * *", "firings": [{}]}, "schedule.firings", "server only"),
    ],
)
def test_s6_a_bad_schedule_is_refused_by_its_field(edge: Edge, schedule: dict[str, Any], field: str, part: str) -> None:
    request = pb.CreateScheduleRequest(schedule=schedule_pb2.Schedule(**({"name": "s", "spec": SPEC} | schedule)))
    refusal = edge.refusal("create_schedule", request)
    found = {violation.field: violation.description for violation in refusal.violations}
    assert set(found) == {field}
    assert part in found[field]


def test_what_is_not_there_is_not_found(edge: Edge) -> None:
    for method, request in (
        ("get_schedule", pb.GetScheduleRequest(name="x")),
        ("delete_schedule", pb.DeleteScheduleRequest(name="x")),
        ("pause_schedule", pb.PauseScheduleRequest(name="x")),
        ("resume_schedule", pb.ResumeScheduleRequest(name="x")),
        ("trigger_schedule", pb.TriggerScheduleRequest(name="x")),
        ("preview_schedule", pb.PreviewScheduleRequest(name="x")),
    ):
        refusal = edge.refusal(method, request)
        assert (refusal.reason, refusal.resource_type) == (Reason.NOT_FOUND, "headrace.v1.Schedule")


def test_a_pause_is_shown_until_it_is_resumed(edge: Edge) -> None:
    edge.create()
    paused = edge.call("pause_schedule", pb.PauseScheduleRequest(name="s", reason="repairs")).schedule
    assert (paused.pause.actor, paused.pause.reason) == ("ada", "repairs")
    assert time_of(paused.pause.time) == edge.bench.clock.now()
    assert not paused.HasField("next_time")
    resumed = edge.call("resume_schedule", pb.ResumeScheduleRequest(name="s")).schedule
    assert not resumed.HasField("pause")
    assert resumed.HasField("next_time")
    edge.call("delete_schedule", pb.DeleteScheduleRequest(name="s", etag=resumed.etag))
    assert edge.refusal("get_schedule", pb.GetScheduleRequest(name="s")).reason is Reason.NOT_FOUND


def test_a_trigger_answers_with_its_job(edge: Edge) -> None:
    edge.create()
    request = pb.TriggerScheduleRequest(name="s", request_id="r")
    first = edge.call("trigger_schedule", request)
    edge.update("spec", spec=job_pb2.JobSpec(handler=task_pb2.HandlerTask(name="other")))
    again = edge.call("trigger_schedule", request)
    assert (first.deduplicated, again.deduplicated) == (False, True)
    assert again.job == first.job
    assert first.job.schedule_name == "s"
    assert not first.job.HasField("nominal_time")
    assert first.job.spec.owner == "ada"


def ticks(edge: Edge, **parts: Any) -> list[tuple[str, int]]:
    """Local times of a preview, and by how many seconds each is put off."""
    response = edge.call("preview_schedule", pb.PreviewScheduleRequest(**parts))
    return [
        (tick.local_time, (time_of(tick.fire_time) - time_of(tick.nominal_time)) // SECOND) for tick in response.ticks
    ]


def test_k4_a_preview_shows_utc_and_local_time_across_a_change(edge: Edge) -> None:
    edge.create(time_zone="Europe/Berlin")
    response = edge.call("preview_schedule", pb.PreviewScheduleRequest(name="s", count=2))
    first, second = response.ticks
    assert (time_of(first.nominal_time), first.local_time) == (at("2027-03-28T01:00:00"), "2027-03-28T03:00:00+02:00")
    assert (time_of(second.nominal_time), second.local_time) == (at("2027-03-29T00:30:00"), "2027-03-29T02:30:00+02:00")
    assert first.fire_time == first.nominal_time


def test_k4_a_preview_is_what_happens(edge: Edge) -> None:
    edge.create(cron="*/10 * * * *", jitter={"seconds": 300}, overlap="OVERLAP_ALLOW")
    response = edge.call("preview_schedule", pb.PreviewScheduleRequest(name="s", count=5))
    run_until(edge.bench, at("2027-03-27T12:59:00"))
    assert [(job.origin.nominal_time, job.created) for job in jobs(edge.bench)] == [
        (time_of(tick.nominal_time), time_of(tick.fire_time)) for tick in response.ticks
    ]


def test_k4_a_preview_of_a_schedule_that_is_only_thought_of(edge: Edge) -> None:
    thought = schedule_pb2.Schedule(interval={"seconds": 60})
    assert ticks(edge, schedule=thought, count=2) == [
        ("2027-03-27T12:01:00+00:00", 0),
        ("2027-03-27T12:02:00+00:00", 0),
    ]
    leap = schedule_pb2.Schedule(cron="0 0 29 2 *", time_zone="America/New_York")
    assert [tick for tick, _ in ticks(edge, schedule=leap)] == [
        "2028-02-29T00:00:00-05:00",
        "2032-02-29T00:00:00-05:00",
        "2036-02-29T00:00:00-05:00",
    ]
    begun = ticks(edge, schedule=leap, start_time={"seconds": at("2032-02-29T05:00:00") // SECOND}, count=1)
    assert begun == [("2032-02-29T00:00:00-05:00", 0)]
    assert ticks(edge, schedule=leap, start_time={"seconds": 253_402_300_799}) == []
    assert len(ticks(edge, schedule=schedule_pb2.Schedule(cron="* * * * * *"), count=100)) == 100


@pytest.mark.parametrize(
    ("parts", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"schedule": {}}, "schedule.timing"),
        ({"schedule": {"cron": "x"}}, "schedule.cron"),
        ({"schedule": {"interval": {"seconds": -1}}}, "schedule.interval"),
        ({"name": "s", "count": 101}, "count"),
        ({"name": "s", "start_time": {"seconds": -1}}, "start_time"),
    ],
)
def test_a_bad_preview_is_refused(edge: Edge, parts: dict[str, Any], field: str) -> None:
    refusal = edge.refusal("preview_schedule", pb.PreviewScheduleRequest(**parts))
    assert [violation.field for violation in refusal.violations] == [field]


def test_every_change_is_audited(edge: Edge) -> None:
    edge.create()
    edge.update("overlap", "cron", overlap="OVERLAP_ALLOW", cron="0 * * * *")
    edge.call("pause_schedule", pb.PauseScheduleRequest(name="s", reason="repairs"))
    edge.call("resume_schedule", pb.ResumeScheduleRequest(name="s"))
    edge.call("trigger_schedule", pb.TriggerScheduleRequest(name="s", request_id="r"))
    edge.call("trigger_schedule", pb.TriggerScheduleRequest(name="s", request_id="r"))
    edge.call("delete_schedule", pb.DeleteScheduleRequest(name="s"))
    entries = edge.bench.read(list_audit, NAMESPACE, "schedule", "s", 0, 20)[::-1]
    names = ["Create", "Update", "Pause", "Resume", "Trigger", "Delete"]
    assert [entry.action for entry in entries] == [f"ScheduleService.{name}Schedule" for name in names]
    assert {entry.actor for entry in entries} == {"ada"}
    assert entries[1].detail == 'cron: "30 2 * * *" → "0 * * * *"; overlap: unset → OVERLAP_ALLOW'
    assert entries[2].detail == "repairs"
