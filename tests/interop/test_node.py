"""A client in Node, with stubs that are made from `proto/` while it runs, against the real server."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2

from e2e.control_plane import DEADLINE_SECONDS, ControlPlane, Gate
from e2e.grpcurl import Grpcurl
from interop.npm import PACKAGE
from interop.program import Json, Program, events_of, kinds_of, sequences_of

FOLDERS = [str(PACKAGE.parents[2] / "proto"), str(Path(error_details_pb2.__file__).parents[2])]
HANDLERS = Path(__file__).parents[1] / "e2e" / "handler_programs.py"
MISSING = "01890a5d-ac96-774b-bcce-b302099a8057"
Drive = Callable[..., Program]


@pytest.fixture
def drive(node: str, interop_plane: ControlPlane) -> Drive:
    """Runs a scenario of `node/drive.mjs`: `drive(scenario, **input)`; on another address, if one is given."""

    def start(scenario: str, *, address: str = interop_plane.address, **values: Any) -> Program:
        environment = {"ADDRESS": address, "FOLDERS": json.dumps(FOLDERS), "INPUT": json.dumps(values)}
        return Program(node, str(PACKAGE / "drive.mjs"), scenario, environment={**os.environ, **environment})

    return start


@pytest.fixture
def seen(drive: Drive) -> Callable[..., list[Json]]:
    """All that a scenario says."""

    def run(scenario: str, **values: Any) -> list[Json]:
        with drive(scenario, **values) as program:
            return program.finish()

    return run


Seen = Callable[..., list[Json]]


def sh(script: str, folder: Path | None = None, **spec: Any) -> Json:
    task: Json = {"program": "sh", "arguments": ["-c", script]}
    if folder:
        task["workspace"] = {"folder": str(folder)}
    return {"command": task, **spec}


def stdout_of(events: list[Json]) -> bytes:
    chunks = [event["output"]["chunk"] for event in events if event["kind"] == "output"]
    return b"".join(base64.b64decode(chunk["data"]) for chunk in chunks if chunk["stream"].endswith("STDOUT"))


def split(documents: list[Json], key: str) -> tuple[list[Json], list[Json]]:
    """What came before and after the one document that has the key."""
    (at,) = [number for number, document in enumerate(documents) if key in document]
    return documents[:at], documents[at + 1 :]


def test_s1_s2_node_sends_a_submit_twice_and_gets_one_job(seen: Seen) -> None:
    said = seen("submit", spec=sh(r"printf 'a\000\377b'"), requestId="node-1")
    submitted = [one["submitted"] for one in said if "submitted" in one]
    assert [one["deduplicated"] for one in submitted] == [False, True, True]
    assert len({one["job"]["id"] for one in submitted}) == 1
    (refused,) = [one["refused"] for one in said if "refused" in one]
    assert refused["code"] == "ALREADY_EXISTS"
    assert refused["details"]["ErrorInfo"]["reason"] == "REQUEST_ID_REUSED"
    assert refused["details"]["ErrorInfo"]["domain"] == "headrace"
    assert refused["details"]["ResourceInfo"]["resourceName"] == submitted[0]["job"]["id"]


def test_e2_e3_node_watches_a_job_to_its_end(seen: Seen) -> None:
    said = seen("submit", spec=sh(r"printf 'a\000\377b'"), requestId="node-2")
    messages = [one for one in said if "cursor" in one]
    events = events_of(messages)
    assert (messages[0]["kind"], messages[-1]["kind"]) == ("opened", "end")
    assert all(message["cursor"] for message in messages)
    assert sequences_of(messages) == list(range(1, len(events) + 1))
    kinds = [event["kind"] for event in events]
    assert (kinds[0], kinds[-1], kinds.count("succeeded")) == ("submitted", "succeeded", 1)
    assert stdout_of(events) == b"a\x00\xffb"
    end = messages[-1]["end"]
    assert (end["reason"], end["job"]["state"]) == ("END_REASON_JOB_ENDED", "JOB_STATE_SUCCEEDED")
    assert end["job"]["lastSequence"] == str(len(events))


def test_node_calls_over_the_unix_socket(seen: Seen, socket: Path) -> None:
    said = seen("submit", address=f"unix:{socket}", spec=sh("exit 0"), requestId="node-3")
    assert said[0]["submitted"]["job"]["spec"]["owner"] == "local"
    assert [one["end"]["job"]["state"] for one in said if one.get("kind") == "end"] == ["JOB_STATE_SUCCEEDED"]


def test_x2_node_reads_the_frames_and_deltas_of_a_claude_job(seen: Seen) -> None:
    """Text beyond ASCII arrives as it is, and the raw frame beside its meaning."""
    text = "Grüße aus der Ferne: ☃ 𝄞 " * 10
    step = {"text": text, "delta_characters": 5, "delta_milliseconds": 10}
    prompt = f"Say hello. SIMULATE<<{json.dumps([step])}>>"
    messages = seen("claude", spec={"claude": {"prompt": prompt}})[1:]
    outputs = [event["output"] for event in events_of(messages) if event["kind"] == "output"]
    frames = [output["claude"] for output in outputs if output["kind"] == "claude"]
    assert (frames[0]["kind"], frames[-1]["kind"]) == ("init", "turnResult")
    assert [json.loads(frame["rawJson"])["type"] for frame in (frames[0], frames[-1])] == ["system", "result"]
    blocks = [block for frame in frames if frame["kind"] == "assistant" for block in frame["assistant"]["blocks"]]
    deltas = [delta for message in messages if message["kind"] == "deltas" for delta in message["deltas"]["deltas"]]
    assert [block["text"] for block in blocks] == [text]
    said = "".join(delta["text"] for delta in deltas if delta["kind"] == "text")
    assert said
    assert said in text, "deltas may be left out at the end, when the message itself is there"
    assert messages[-1]["end"]["job"]["result"]["claude"]["text"] == text


@pytest.fixture
def handlers(interop_plane: ControlPlane, tmp_path: Path) -> Iterator[None]:
    """A worker in Python that registers handlers."""
    command = [sys.executable, str(HANDLERS), interop_plane.address, str(tmp_path / "worker")]
    with subprocess.Popen(command, env=interop_plane.environment, cwd=tmp_path) as worker:
        yield
        worker.terminate()
        assert worker.wait(DEADLINE_SECONDS) == 0


def test_node_calls_a_python_handler(seen: Seen, handlers: None) -> None:
    value = {"number": 12, "nested": {"list": [1.5, "two", None, True, []], "empty": {}}}
    called, stored = seen("handler", name="square", value=value)[1:]
    assert called["value"] == {"square": 144}
    assert stored["stored"] == value


def test_e1_node_resumes_a_watch_in_a_new_call(seen: Seen, folder: Path) -> None:
    gate = Gate(folder / "gate")
    said = seen("resume", spec=sh("printf one; cat gate; printf two", folder), gate=str(gate.path))
    first, rest = split(said, "left")
    second, whole = split(rest, "again")
    assert set(kinds_of(first)[1:]) == {"batch"}, "left while the job ran"
    assert [message["kind"] for message in (second[0], second[-1])] == ["opened", "end"]
    assert (
        sequences_of(first) + sequences_of(second)
        == sequences_of(whole)
        == list(range(1, len(sequences_of(whole)) + 1))
    )
    assert stdout_of(events_of(first)) == b"one"
    assert stdout_of(events_of(second)) == b"two"


def test_e9_c1_node_cancels_a_running_job(seen: Seen, folder: Path) -> None:
    """Leaving the first watch does not cancel it; the cancel does."""
    Gate(folder / "gate")
    said = seen("cancel", spec=sh("cat gate", folder, timeouts={"cancelGrace": {"nanos": 1_000_000}}))
    before, after = split(said[:-1], "cancelled")
    first, second = [one["cancelled"]["job"] for one in said if "cancelled" in one]
    assert events_of(before)[-1]["kind"] == "attemptStarted"
    assert first["state"] == "JOB_STATE_CANCELLING"
    kinds = [event["kind"] for event in events_of(after)]
    assert (kinds[0], kinds[-1]) == ("cancelRequested", "cancelled")
    steps = [event["cancelStepped"] for event in events_of(after) if event["kind"] == "cancelStepped"]
    assert (steps[-1]["step"], steps[-1]["survivors"]) == ("CANCEL_STEP_TREE_GONE", 0)
    assert after[-1]["end"]["job"]["cancellation"]["reason"] == "enough"
    assert second["state"] == "JOB_STATE_CANCELLED", "once more succeeds and changes nothing"


def test_node_reads_the_details_of_errors(seen: Seen) -> None:
    bad = {"priority": 500, "queue": "No Such!", "claude": {"limits": {"maxTurns": -1}}}
    invalid, missing, unwatched = [one["refused"] for one in seen("errors", badSpec=bad, missing=MISSING)]
    assert (invalid["code"], invalid["details"]["ErrorInfo"]["reason"]) == ("INVALID_ARGUMENT", "INVALID_FIELD")
    assert {violation["field"] for violation in invalid["details"]["BadRequest"]["fieldViolations"]} == {
        *("spec.priority", "spec.queue", "spec.claude.prompt", "spec.claude.limits.max_turns"),
    }
    for refused in (missing, unwatched):
        assert (refused["code"], refused["details"]["ErrorInfo"]["reason"]) == ("NOT_FOUND", "NOT_FOUND")
        assert refused["details"]["ResourceInfo"]["resourceName"] == MISSING


def test_s5_q3_q7_node_makes_a_queue_with_limits(seen: Seen) -> None:
    queue = {"name": "node-limits", "maxQueued": 2, "maxConcurrency": 1, "timeouts": {"runTimeout": {"seconds": 30}}}
    said = seen("queue", queue=queue, spec=sh("printf x"))
    made = said[0]["queue"]
    assert (made["maxQueued"], made["maxConcurrency"]) == ("2", 1)
    assert made["timeouts"]["runTimeout"] == {"seconds": "30", "nanos": 0}
    taken, full = [one["refused"] for one in said if "refused" in one]
    assert (taken["code"], taken["details"]["ErrorInfo"]["reason"]) == ("ALREADY_EXISTS", "NAME_TAKEN")
    assert (full["code"], full["details"]["ErrorInfo"]["reason"]) == ("RESOURCE_EXHAUSTED", "QUEUE_FULL")
    assert full["details"].keys() >= {"QuotaFailure", "RetryInfo"}
    (explained,) = [one["explained"] for one in said if "explained" in one]
    assert explained["waitReasons"][0]["cause"] == "WAIT_CAUSE_QUEUE_PAUSED"
    assert "first look" in explained["waitReasons"][0]["message"]
    ends = [one["end"]["job"] for one in said if one.get("kind") == "end"]
    assert [job["state"] for job in ends] == ["JOB_STATE_SUCCEEDED"] * 2
    first_end, second_start = position(said, ends[0], "succeeded"), position(said, ends[1], "attemptAssigned")
    assert first_end < second_start, "one at a time"


def position(said: list[Json], job: Json, kind: str) -> int:
    (found,) = [event for event in events_of(said) if event["jobId"] == job["id"] and event["kind"] == kind]
    return int(found["position"])


def test_e1_e7_node_follows_the_feed_of_a_queue(seen: Seen) -> None:
    said = seen("feed", queue={"name": "node-feed"}, spec=sh("printf x"))
    said.pop(0)
    first, rest = split(said, "left")
    (listed,) = [one["listed"]["events"] for one in rest if "listed" in one]
    second = [one for one in rest if one.get("cursor")]
    assert (first[0]["kind"], second[0]["kind"], second[-1]["end"]["reason"]) == (
        *("opened", "opened"),
        "END_REASON_CAUGHT_UP",
    )
    followed = events_of(first) + events_of(second)
    assert followed == listed
    positions = [int(one["event"]["position"]) for one in followed]
    assert all(earlier < later for earlier, later in pairwise(positions))
    assert {one["queue"] for one in followed} == {"node-feed"}
    assert "output" not in {one["event"]["kind"] for one in followed}
    assert [one["event"]["kind"] for one in followed].count("succeeded") == 2


@pytest.fixture
def own_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """For tests that end it and start it again."""
    with ControlPlane(tmp_path_factory.mktemp("plane"), "--claude", "none", "--allow-command", "sh") as plane:
        yield plane


def test_l7_a_follower_in_node_goes_on_when_the_server_was_killed(drive: Drive, own_plane: ControlPlane) -> None:
    gate = Gate(own_plane.folder / "gate")
    spec = sh("printf one; cat gate; printf two", own_plane.folder)
    with drive("follow", address=own_plane.address, spec=spec) as program:
        messages: list[Json] = []
        while stdout_of(events_of(messages)) != b"one":
            messages.append(program.next())
        own_plane.kill()
        own_plane.start()
        gate.open()
        messages += program.finish()
    assert (kinds_of(messages).count("opened"), kinds_of(messages).count("end")) == (2, 1)
    assert sequences_of(messages) == list(range(1, len(sequences_of(messages)) + 1))
    assert stdout_of(events_of(messages)) == b"onetwo"
    assert messages[-1]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"


def test_e2_a_follower_in_node_is_told_that_the_server_drains_and_goes_on(
    drive: Drive, own_plane: ControlPlane
) -> None:
    grpcurl = Grpcurl(own_plane.address)
    grpcurl.call("headrace.v1.QueueService/PauseQueue", {"name": "default"})
    with drive("follow", address=own_plane.address, spec=sh("printf x")) as program:
        messages: list[Json] = []
        while not events_of(messages):
            messages.append(program.next())
        own_plane.stop()
        while kinds_of(messages)[-1] != "end":
            messages.append(program.next())
        own_plane.start()
        grpcurl.call("headrace.v1.QueueService/ResumeQueue", {"name": "default"})
        messages += program.finish()
    ends = [message["end"]["reason"] for message in messages if message.get("kind") == "end"]
    assert ends == ["END_REASON_DRAINING", "END_REASON_JOB_ENDED"]
    assert sequences_of(messages) == list(range(1, len(sequences_of(messages)) + 1))
    assert messages[-1]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"


def test_the_lock_file_says_which_packages_and_not_where_they_come_from() -> None:
    packages: Json = json.loads((PACKAGE / "package-lock.json").read_text())["packages"]
    assert packages.keys() >= {"node_modules/@grpc/grpc-js", "node_modules/@grpc/proto-loader"}
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_x1_x3_node_converses(seen: Seen) -> None:
    """It makes a session, says something, allows what is asked, reads the turn, and closes it."""
    touch = {"name": "Bash", "input": {"command": "touch made"}}
    steps = [{"text": "May I?", "tools": [touch]}, {"text": "Thank you"}]
    spec = {"task": {"permissionPrompts": "PERMISSION_PROMPTS_ASK"}}
    messages = seen("converse", spec=spec, text=f"SIMULATE<<{json.dumps(steps)}>>")
    kinds = [message["kind"] for message in messages]
    assert (kinds[0], kinds[-1]) == ("opened", "end")
    assert messages[-1]["end"]["reason"] == "END_REASON_SESSION_ENDED"
    events = events_of(messages)
    assert sequences_of(messages) == list(range(1, len(events) + 1))
    said, answered = [message["done"] for message in messages if message["kind"] == "done"]
    assert (said["number"], said["error"]) == ("2", None)
    assert {event["jobId"] for event in events} == {said["jobId"]}
    assert answered["resolution"] == "INPUT_RESOLUTION_ALLOWED"
    asked = [message["inputs"]["open"] for message in messages if message["kind"] == "inputs"]
    assert [[one["request"]["toolName"] for one in told] for told in asked] == [["Bash"], []]
    blocks = [block for event in events if event["kind"] == "output" for block in blocks_of(event["output"])]
    assert [block["text"] for block in blocks if block["kind"] == "text"] == ["May I?", "Thank you"]


def blocks_of(output: Json) -> list[Json]:
    frame = output.get("claude") or {}
    return list(frame["assistant"]["blocks"]) if frame.get("kind") == "assistant" else []
