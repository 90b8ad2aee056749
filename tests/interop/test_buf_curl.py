"""The basic flow with `buf curl`, which speaks gRPC with a library of its own, over plaintext HTTP/2.

The schema comes from the server's reflection, or from `proto/`.
"""

import base64
import json
import os
import shutil
from pathlib import Path

import pytest
from google.rpc import error_details_pb2

from e2e.control_plane import BIN, ControlPlane, Gate
from interop.program import Json, Program, events_of, kinds_of, sequences_of

PROTO = Path(__file__).parents[2] / "proto"
NOT_FOUND = 5


class BufCurl:
    """The program, pointed at the JobService of a control plane, with its cache in a folder of the test's."""

    def __init__(self, address: str, options: tuple[str, ...], cache: Path) -> None:
        program = shutil.which("buf", path=str(BIN))
        assert program, "the development environment brings buf"
        self._start = [program, "curl", "--protocol", "grpc", "--http2-prior-knowledge", *options]
        self._url = f"http://{address}/headrace.v1.JobService"
        self._environment = {**os.environ, "BUF_CACHE_DIR": str(cache)}

    def start(self, method: str, request: Json) -> Program:
        words = (*self._start, "--data", json.dumps(request), f"{self._url}/{method}")
        return Program(*words, environment=self._environment)

    def call(self, method: str, request: Json) -> list[Json]:
        with self.start(method, request) as program:
            return program.finish()


@pytest.fixture(params=[(), ("--schema", str(PROTO))], ids=["reflection", "schema"])
def buf(request: pytest.FixtureRequest, interop_plane: ControlPlane, tmp_path: Path) -> BufCurl:
    return BufCurl(interop_plane.address, request.param, tmp_path / "cache")


def sh(script: str, folder: Path) -> Json:
    task = {"program": "sh", "arguments": ["-c", script], "workspace": {"folder": str(folder)}}
    return {"command": task, "timeouts": {"cancelGrace": "0.001s"}}


def test_e2_e3_buf_curl_submits_watches_and_gets_a_job(buf: BufCurl, folder: Path) -> None:
    (submitted,) = buf.call("SubmitJob", {"spec": sh("printf done", folder)})
    job_id = submitted["job"]["id"]
    messages = buf.call("WatchJob", {"jobId": job_id})
    events = events_of(messages)
    assert (kinds_of(messages)[0], kinds_of(messages)[-1]) == ("opened", "end")
    assert sequences_of(messages) == list(range(1, len(events) + 1))
    assert [event["output"]["chunk"]["data"] for event in events if "output" in event] == ["ZG9uZQ=="]
    assert "succeeded" in events[-1]
    (found,) = buf.call("GetJob", {"jobId": job_id})
    end = messages[-1]["end"]["job"]
    assert (found["job"]["state"], found["job"]["result"]) == ("JOB_STATE_SUCCEEDED", end["result"])
    rest = buf.call("WatchJob", {"jobId": job_id, "cursor": messages[-2]["cursor"]})
    assert kinds_of(rest) == ["opened", "end"]


def test_buf_curl_calls_over_the_unix_socket(socket: Path, folder: Path, tmp_path: Path) -> None:
    buf = BufCurl("localhost", ("--unix-socket", str(socket)), tmp_path / "cache")
    (submitted,) = buf.call("SubmitJob", {"spec": sh("exit 0", folder)})
    assert submitted["job"]["spec"]["owner"] == "local"
    messages = buf.call("WatchJob", {"jobId": submitted["job"]["id"]})
    assert messages[-1]["end"]["job"]["state"] == "JOB_STATE_SUCCEEDED"


def test_c1_buf_curl_cancels_a_running_job(buf: BufCurl, folder: Path) -> None:
    Gate(folder / "gate")
    (submitted,) = buf.call("SubmitJob", {"spec": sh("cat gate", folder)})
    job_id = submitted["job"]["id"]
    with buf.start("WatchJob", {"jobId": job_id}) as program:
        messages: list[Json] = []
        while not any("attemptStarted" in event for event in events_of(messages)):
            messages.append(program.next())
        (answer,) = buf.call("CancelJob", {"jobId": job_id, "reason": "enough"})
        messages += program.finish()
    assert answer["job"]["state"] == "JOB_STATE_CANCELLING"
    assert events_of(messages)[-1]["cancelled"]["cancellation"]["reason"] == "enough"
    assert messages[-1]["end"]["reason"] == "END_REASON_JOB_ENDED"


def test_buf_curl_shows_the_details_of_an_error(buf: BufCurl) -> None:
    missing = "01890a5d-ac96-774b-bcce-b302099a8057"
    with buf.start("GetJob", {"jobId": missing}) as program:
        status, error = program.fail()
    assert status == NOT_FOUND << 3, "its way to say which code it was"
    details = {detail["type"]: base64.b64decode(detail["value"] + "==") for detail in error["details"]}
    info = error_details_pb2.ErrorInfo.FromString(details["google.rpc.ErrorInfo"])
    resource = error_details_pb2.ResourceInfo.FromString(details["google.rpc.ResourceInfo"])
    assert (error["code"], info.reason, info.domain) == ("not_found", "NOT_FOUND", "headrace")
    assert resource.resource_name == missing
