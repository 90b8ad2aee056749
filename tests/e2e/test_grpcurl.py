"""What a person does by hand with grpcurl, knowing the address and nothing else."""

import pytest

from e2e.control_plane import ControlPlane
from e2e.grpcurl import Grpcurl


@pytest.fixture
def grpcurl(shared_plane: ControlPlane) -> Grpcurl:
    return Grpcurl(shared_plane.address)


def test_reflection_lists_every_service_and_describes_them(grpcurl: Grpcurl) -> None:
    assert set(grpcurl.lines("list")) == {
        *("headrace.v1.JobService", "headrace.v1.QueueService", "headrace.v1.ScheduleService"),
        *("headrace.v1.WorkerService", "headrace.v1.AdminService", "headrace.v1.EventService"),
        "headrace.v1.SessionService",
        *("grpc.health.v1.Health", "grpc.reflection.v1alpha.ServerReflection", "grpc.channelz.v1.Channelz"),
    }
    assert "headrace.v1.JobService.SubmitJob" in grpcurl.lines("list", "headrace.v1.JobService")
    assert "headrace.v1.JobService is a service:" in grpcurl.lines("describe", "headrace.v1.JobService")
    assert "message HandlerTask {" in grpcurl.lines("describe", "headrace.v1.HandlerTask")
    described = "\n".join(grpcurl.lines("describe", "headrace.v1.JobService.WatchJob"))
    assert "returns ( stream .headrace.v1.WatchJobResponse )" in described


def test_a_job_is_submitted_and_watched_by_hand(grpcurl: Grpcurl) -> None:
    spec = {"claude": {"prompt": 'Say hello. SIMULATE<<[{"text": "hello from afar"}]>>'}}
    (submitted,) = grpcurl.call("headrace.v1.JobService/SubmitJob", {"spec": spec})
    job_id = submitted["job"]["id"]
    # Mostly it is granted in the commit that takes it.
    assert submitted["job"]["state"] in ("JOB_STATE_QUEUED", "JOB_STATE_ASSIGNED")

    messages = grpcurl.call("headrace.v1.JobService/WatchJob", {"job_id": job_id, "deltas": True})
    assert "opened" in messages[0]
    events = [event for message in messages for event in message.get("batch", {}).get("events", ())]
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert "submitted" in events[0]
    assert events[-1]["succeeded"]["result"]["claude"]["text"] == "hello from afar"
    end = messages[-1]["end"]
    assert (end["reason"], end["job"]["state"]) == ("END_REASON_JOB_ENDED", "JOB_STATE_SUCCEEDED")
    assert end["job"]["simulated"] is True

    (found,) = grpcurl.call("headrace.v1.JobService/GetJob", {"job_id": job_id})
    assert found["job"]["result"] == end["job"]["result"]
    rest = grpcurl.call("headrace.v1.JobService/WatchJob", {"job_id": job_id, "cursor": messages[-2]["cursor"]})
    assert [next(kind for kind in ("opened", "batch", "end") if kind in message) for message in rest] == [
        "opened",
        "end",
    ]


@pytest.mark.parametrize("service", ["", "headrace.v1.JobService", "headrace.v1.WorkerService"])
def test_the_health_check_says_serving(grpcurl: Grpcurl, service: str) -> None:
    assert grpcurl.call("grpc.health.v1.Health/Check", {"service": service}) == [{"status": "SERVING"}]


def test_a_bad_request_shows_every_violation_with_its_path(grpcurl: Grpcurl) -> None:
    spec = {"priority": 500, "labels": {"BAD KEY": "x"}, "queue": "No Such!", "claude": {"limits": {"max_turns": -1}}}
    error = grpcurl.refused("headrace.v1.JobService/SubmitJob", {"namespace": "Bad", "spec": spec})
    assert error["code"] == 3
    assert error["details"]["ErrorInfo"]["reason"] == "INVALID_FIELD"
    assert error["details"]["ErrorInfo"]["domain"] == "headrace"
    violations = error["details"]["BadRequest"]["field_violations"]
    assert {violation["field"] for violation in violations} == {
        *("namespace", "spec.priority", 'spec.labels["BAD KEY"]', "spec.queue"),
        *("spec.claude.prompt", "spec.claude.limits.max_turns"),
    }
    assert all(violation["description"] for violation in violations)


def test_a_turn_of_a_session_that_is_not_there_names_the_field(grpcurl: Grpcurl) -> None:
    spec = {"claude": {"prompt": "Hi", "session_id": "01890a5d-ac96-774b-bcce-b302099a8057"}}
    error = grpcurl.refused("headrace.v1.JobService/SubmitJob", {"spec": spec})
    info = error["details"]["ErrorInfo"]
    assert (error["code"], info["reason"], info["metadata"]["field"]) == (5, "NOT_FOUND", "spec.claude.session_id")


def test_what_is_missing_is_named(grpcurl: Grpcurl) -> None:
    missing = "01890a5d-ac96-774b-bcce-b302099a8057"
    error = grpcurl.refused("headrace.v1.JobService/GetJob", {"job_id": missing})
    assert (error["code"], error["details"]["ErrorInfo"]["reason"]) == (5, "NOT_FOUND")
    assert error["details"]["ResourceInfo"]["resource_name"] == missing


def test_the_worker_of_the_control_plane_is_seen(grpcurl: Grpcurl) -> None:
    (listed,) = grpcurl.call("headrace.v1.WorkerService/ListWorkers", {})
    (worker,) = [one for one in listed["workers"] if one["id"] == "local"]
    assert worker["capabilities"]["claudeSimulated"] is True
    assert set(worker["capabilities"]["programs"]) == {"sh", "cat", "printf"}
