"""Whole flows by hand with grpcurl: repeated submits, a watch that is resumed, a cancel, graphs, queues, schedules."""

import base64
import json
import uuid
from pathlib import Path

import pytest

from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.grpcurl import Grpcurl
from interop.program import Json, Program, events_of, kinds_of, sequences_of

JOBS = "headrace.v1.JobService"
QUEUES = "headrace.v1.QueueService"
SCHEDULES = "headrace.v1.ScheduleService"
SESSIONS = "headrace.v1.SessionService"


@pytest.fixture
def grpcurl(interop_plane: ControlPlane) -> Grpcurl:
    return Grpcurl(interop_plane.address)


@pytest.fixture
def queue(grpcurl: Grpcurl) -> str:
    """A queue of the test's own, which is paused."""
    name = f"q-{uuid.uuid4()}"
    grpcurl.call(f"{QUEUES}/CreateQueue", {"queue": {"name": name, "max_concurrency": 1}})
    grpcurl.call(f"{QUEUES}/PauseQueue", {"name": name, "reason": "not yet"})
    return name


def sh(script: str, folder: Path | None = None, **spec: object) -> Json:
    workspace = {"workspace": {"folder": str(folder)}} if folder else {}
    return {"command": {"program": "sh", "arguments": ["-c", script], **workspace}, **spec}


def submit(grpcurl: Grpcurl, spec: Json, **request: object) -> Json:
    (answer,) = grpcurl.call(f"{JOBS}/SubmitJob", {"spec": spec, **request})
    return answer


def stdout_of(messages: list[Json]) -> bytes:
    chunks = [event["output"]["chunk"]["data"] for event in events_of(messages) if "output" in event]
    return b"".join(base64.b64decode(chunk) for chunk in chunks)


def test_s1_s8_grpcurl_submits_twice_and_checks_without_storing(grpcurl: Grpcurl) -> None:
    spec = sh("exit 0", labels={"by": "hand"})
    checked = submit(grpcurl, spec, request_id="grpcurl-1", validate_only=True)
    first = submit(grpcurl, spec, request_id="grpcurl-1")
    again = submit(grpcurl, spec, request_id="grpcurl-1")
    assert (checked["job"]["id"], first["deduplicated"], again["deduplicated"]) == ("", False, True)
    assert again["job"]["id"] == first["job"]["id"]
    (listed,) = grpcurl.call(f"{JOBS}/ListJobs", {"filter": 'labels.by = "hand"'})
    assert [job["id"] for job in listed["jobs"]] == [first["job"]["id"]]


def test_grpcurl_calls_over_the_unix_socket(socket: Path) -> None:
    grpcurl = Grpcurl(str(socket), "-unix")
    job = submit(grpcurl, sh("exit 0"))["job"]
    assert job["spec"]["owner"] == "local"
    messages = grpcurl.call(f"{JOBS}/WatchJob", {"job_id": job["id"]})
    assert messages[-1]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"


def test_e1_e9_grpcurl_is_interrupted_and_goes_on_from_the_cursor(grpcurl: Grpcurl, folder: Path) -> None:
    gate = Gate(folder / "gate")
    watch: Json = {"job_id": submit(grpcurl, sh("printf one; cat gate; printf two", folder))["job"]["id"]}
    first: list[Json] = []
    with Program(*grpcurl.command(f"{JOBS}/WatchJob", watch)) as program:
        while stdout_of(first) != b"one":
            first.append(program.next())
    gate.open()
    second = grpcurl.call(f"{JOBS}/WatchJob", {**watch, "cursor": first[-1]["cursor"]})
    whole = grpcurl.call(f"{JOBS}/WatchJob", watch)
    assert (kinds_of(second)[0], kinds_of(second)[-1]) == ("opened", "end")
    assert sequences_of(first) + sequences_of(second) == sequences_of(whole)
    assert stdout_of(second) == b"two"
    assert second[-1]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"


def test_c1_c2_grpcurl_cancels_a_running_job(grpcurl: Grpcurl, folder: Path) -> None:
    Gate(folder / "gate")
    job_id = submit(grpcurl, sh("cat gate", folder, timeouts={"cancel_grace": "0.001s"}))["job"]["id"]
    with Program(*grpcurl.command(f"{JOBS}/WatchJob", {"job_id": job_id})) as program:
        messages: list[Json] = []
        while not any("attemptStarted" in event for event in events_of(messages)):
            messages.append(program.next())
        (answer,) = grpcurl.call(f"{JOBS}/CancelJob", {"job_id": job_id, "reason": "enough"})
        messages += program.finish()
    assert answer["job"]["state"] == "JOB_STATE_CANCELLING"
    assert events_of(messages)[-1]["cancelled"]["cancellation"]["reason"] == "enough"
    assert messages[-1]["end"]["job"]["state"] == "JOB_STATE_CANCELLED"


def test_s7_q6_q8_grpcurl_submits_a_graph_to_a_paused_queue_and_asks_why_it_waits(grpcurl: Grpcurl, queue: str) -> None:
    items = [
        {"ref": "test", "spec": sh("exit 0", queue=queue, dependencies=[{"ref": "build"}])},
        {"ref": "build", "spec": sh("exit 0", queue=queue)},
        {"spec": sh("exit 0", queue=queue, dependencies=[{"ref": "nobody"}])},
    ]
    refused = grpcurl.refused(f"{JOBS}/SubmitJobs", {"items": items, "atomic": True})
    assert refused["details"]["ErrorInfo"]["metadata"]["item"] == "2"
    (answer,) = grpcurl.call(f"{JOBS}/SubmitJobs", {"items": items[:2], "atomic": True})
    test, build = [result["jobId"] for result in answer["results"]]

    (why_build,) = grpcurl.call(f"{JOBS}/ExplainJob", {"job_id": build})
    (why_test,) = grpcurl.call(f"{JOBS}/ExplainJob", {"job_id": test})
    assert (why_build["state"], why_build["queuePosition"]) == ("JOB_STATE_QUEUED", "1")
    assert why_build["waitReasons"][0]["cause"] == "WAIT_CAUSE_QUEUE_PAUSED"
    assert "not yet" in why_build["waitReasons"][0]["message"]
    causes = [reason["cause"] for reason in why_test["waitReasons"]]
    assert (why_test["state"], "WAIT_CAUSE_DEPENDENCY" in causes) == ("JOB_STATE_BLOCKED", True)

    (resumed,) = grpcurl.call(f"{QUEUES}/ResumeQueue", {"name": queue})
    assert not resumed["queue"].get("pause")
    messages = grpcurl.call(f"{JOBS}/WatchJob", {"job_id": test, "without_output": True})
    assert messages[-1]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert [event["queued"]["cause"] for event in events_of(messages) if "queued" in event] == [
        "QUEUED_CAUSE_UNBLOCKED"
    ]


def test_q7_grpcurl_pauses_a_queue_for_a_time_and_purges_it(grpcurl: Grpcurl, queue: str) -> None:
    (paused,) = grpcurl.call(f"{QUEUES}/PauseQueue", {"name": queue, "reason": "lunch", "duration": "3600s"})
    assert paused["queue"]["pause"]["reason"] == "lunch"
    assert paused["queue"]["pause"]["expireTime"]
    job_id = submit(grpcurl, sh("exit 0", queue=queue))["job"]["id"]
    (purged,) = grpcurl.call(f"{QUEUES}/PurgeQueue", {"name": queue, "reason": "never mind"})
    assert (purged["cancelledCount"], purged["remainingCount"]) == ("1", "0")
    (found,) = grpcurl.call(f"{JOBS}/GetJob", {"job_id": job_id})
    assert found["job"]["cancellation"]["cause"] == "CANCEL_CAUSE_PURGED"


def test_k2_k4_grpcurl_previews_a_schedule_makes_it_and_triggers_it(grpcurl: Grpcurl) -> None:
    """At the end of March 2027 the clocks of Berlin go from two to three; half past two runs right after it."""
    schedule = {"name": "by-hand", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "spec": sh("exit 0")}
    thought_of = {"schedule": schedule, "start_time": "2027-03-27T00:00:00Z", "count": 3}
    (preview,) = grpcurl.call(f"{SCHEDULES}/PreviewSchedule", thought_of)
    assert [(tick["nominalTime"], tick["localTime"]) for tick in preview["ticks"]] == [
        ("2027-03-27T01:30:00Z", "2027-03-27T02:30:00+01:00"),
        ("2027-03-28T01:00:00Z", "2027-03-28T03:00:00+02:00"),
        ("2027-03-29T00:30:00Z", "2027-03-29T02:30:00+02:00"),
    ]
    (made,) = grpcurl.call(f"{SCHEDULES}/CreateSchedule", {"schedule": schedule})
    since_made = {"name": "by-hand", "start_time": made["schedule"]["createTime"], "count": 1}
    (next_tick,) = grpcurl.call(f"{SCHEDULES}/PreviewSchedule", since_made)
    assert made["schedule"]["nextTime"] == next_tick["ticks"][0]["nominalTime"]
    taken = grpcurl.refused(f"{SCHEDULES}/CreateSchedule", {"schedule": schedule})
    assert taken["details"]["ErrorInfo"]["reason"] == "NAME_TAKEN"
    (triggered,) = grpcurl.call(f"{SCHEDULES}/TriggerSchedule", {"name": "by-hand"})
    assert triggered["job"]["scheduleName"] == "by-hand"
    messages = grpcurl.call(f"{JOBS}/WatchJob", {"job_id": triggered["job"]["id"]})
    assert messages[-1]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"
    assert grpcurl.call(f"{SCHEDULES}/DeleteSchedule", {"name": "by-hand"}) == [{}]


def test_x1_x3_x4_grpcurl_drives_a_session(grpcurl: Grpcurl) -> None:
    """A client without streams: it says something, looks until it is asked, answers, forks, closes."""
    touch = {"name": "Bash", "input": {"command": "touch made"}}
    text = f"SIMULATE<<{json.dumps([{'text': 'May I?', 'tools': [touch]}, {'text': 'Thank you'}])}>>"
    spec = {"labels": {"by": "hand"}, "task": {"permission_prompts": "PERMISSION_PROMPTS_ASK"}}
    (made,) = grpcurl.call(f"{SESSIONS}/CreateSession", {"request_id": "grpcurl-s", "spec": spec})
    this = {"session_id": made["session"]["id"]}

    def look() -> Json:
        (answer,) = grpcurl.call(f"{SESSIONS}/GetSession", this)
        session: Json = answer["session"]
        return session

    refused = grpcurl.refused(f"{SESSIONS}/InterruptSession", this)
    assert refused["details"]["ErrorInfo"]["reason"] == "NO_ACTIVE_TURN"
    refused = grpcurl.refused(f"{SESSIONS}/ForkSession", this)
    assert refused["details"]["ErrorInfo"]["reason"] == "SESSION_EMPTY"
    (first,) = grpcurl.call(f"{SESSIONS}/SendMessage", {**this, "text": text, "request_id": "grpcurl-m"})
    (again,) = grpcurl.call(f"{SESSIONS}/SendMessage", {**this, "text": text, "request_id": "grpcurl-m"})
    assert (again["deduplicated"], again["job"]["id"]) == (True, first["job"]["id"])
    (asked,) = wait_for(lambda: look()["openInputs"], "the turn asks")
    answer = {**this, "answer": {"request_id": asked["request"]["requestId"], "allow": True}}
    (answered,) = grpcurl.call(f"{SESSIONS}/AnswerRequest", answer)
    assert answered == {"resolution": "INPUT_RESOLUTION_ALLOWED"}
    session = wait_for(lambda: (seen := look())["state"] == "SESSION_STATE_IDLE" and seen, "the turn ends")
    assert (session["turnCount"], session["pendingTurnCount"]) == (1, 0)
    changed = {
        **this,
        "spec": {"task": {"model": "opus"}},
        "update_mask": {"paths": ["task.model"]},
        "etag": session["etag"],
    }
    (updated,) = grpcurl.call(f"{SESSIONS}/UpdateSession", changed)
    assert updated["session"]["spec"]["task"]["model"] == "opus"
    (fork,) = grpcurl.call(f"{SESSIONS}/ForkSession", {**this, "display_name": "other"})
    assert look()["forkSessionIds"] == [fork["session"]["id"]]
    (listed,) = grpcurl.call(f"{SESSIONS}/ListSessions", {"filter": 'labels.by = "hand"'})
    assert [one["id"] for one in listed["sessions"]] == [fork["session"]["id"], made["session"]["id"]]
    for one in listed["sessions"]:
        (closed,) = grpcurl.call(f"{SESSIONS}/CloseSession", {"session_id": one["id"]})
        assert closed["session"]["state"] == "SESSION_STATE_CLOSED"
