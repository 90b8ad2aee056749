"""A database that is cut, overwritten or half made: one clear line at the start, or a store that can't be used."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from headrace.v1 import job_service_pb2
from headrace_server.store.errors import ForeignData, StoreUnavailable
from headrace_server.store.sqlite import SqliteEngine
from store.checkers import check_store
from survival.sending import NOT_OURS, command_spec
from survival.served import Served, read_store

PAGE = 4096
JOBS_COUNT = 12
Damage = Callable[[Path], None]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A folder with jobs of all sizes, and their ids."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    ids = []
    with Served(folder) as served:
        for number in range(JOBS_COUNT):
            spec = command_spec()
            spec.command.stdin = bytes(20_000 * (number % 2))
            request = job_service_pb2.SubmitJobRequest(request_id=f"r{number}", spec=spec)
            answer = served.unary("headrace.v1.JobService/SubmitJob", request.SerializeToString())
            ids.append(job_service_pb2.SubmitJobResponse.FromString(answer).job.id)
    return folder, ids


def damaged(sound: Path, folder: Path, damage: Damage) -> Path:
    folder.mkdir()
    shutil.copy(sound / "headrace.db", folder / "headrace.db")
    (folder / "address").write_text("127.0.0.1:1\n")
    damage(folder / "headrace.db")
    return folder


def overwrite(place: int, data: bytes) -> Damage:
    def damage(path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(place)
            file.write(data)

    return damage


def cut(size: int) -> Damage:
    return lambda path: os.truncate(path, size)


AT_START = {
    "no header": (overwrite(0, b"not a database at all"), "is damaged or not a database"),
    "cut in the middle": (cut(10 * PAGE), "is damaged or not a database"),
    "cut inside the header": (cut(50), "is damaged or not a database"),
    "empty": (cut(0), "is empty, but was not"),
}


@pytest.mark.parametrize("name", AT_START)
def test_what_can_be_seen_at_the_start_is_one_line(sound: tuple[Path, list[str]], tmp_path: Path, name: str) -> None:
    damage, expected = AT_START[name]
    folder = damaged(sound[0], tmp_path / "data", damage)
    before = (folder / "headrace.db").read_bytes()
    command = [sys.executable, "-m", "headrace_server", "--data", str(folder), "--listen", "127.0.0.1:0", "--no-worker"]
    ended = subprocess.run(command, check=False, capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith(f"headrace serve: {folder}/headrace.db ")
    assert expected in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert (folder / "headrace.db").read_bytes() == before, "nothing of it was changed"


@pytest.mark.parametrize("seed", range(8))
def test_a_page_that_was_overwritten_is_a_store_that_can_not_be_used(
    sound: tuple[Path, list[str]], tmp_path: Path, seed: int
) -> None:
    """Where the damage is not, all is answered as before."""
    random = Random(seed)
    pages = (sound[0] / "headrace.db").stat().st_size // PAGE
    folder = damaged(sound[0], tmp_path / "data", overwrite(random.randrange(1, pages) * PAGE, random.randbytes(PAGE)))
    refused = refusal_at_start(folder)
    if refused:
        assert refused.startswith((f"{folder}/headrace.db ", f"{folder}/headrace.db:"))
        return
    served = Served(folder)
    served.__enter__()
    codes = [ask(served, method, request) for method, request in requests(sound[1])]
    served.__exit__(AssertionError, None, None)
    assert not NOT_OURS & set(codes)
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND}


def refusal_at_start(folder: Path) -> str:
    try:
        SqliteEngine(folder).close()
    except (ForeignData, StoreUnavailable) as error:
        return str(error)
    return ""


def requests(ids: list[str]) -> list[tuple[str, Any]]:
    reads = [("GetJob", job_service_pb2.GetJobRequest(job_id=job_id)) for job_id in ids]
    cancels = [("CancelJob", job_service_pb2.CancelJobRequest(job_id=job_id)) for job_id in ids]
    submit = ("SubmitJob", job_service_pb2.SubmitJobRequest(spec=command_spec()))
    return [*reads, ("ListJobs", job_service_pb2.ListJobsRequest()), submit, *cancels]


def ask(served: Served, method: str, request: Any) -> grpc.StatusCode:
    try:
        served.unary(f"headrace.v1.JobService/{method}", request.SerializeToString())
    except grpc.RpcError as error:
        failed: Any = error
        code: grpc.StatusCode = failed.code()
        return code
    return grpc.StatusCode.OK


KILLED_AT = '''
import os, signal, sys
from pathlib import Path
from headrace_server.store.sqlite import SqliteEngine

class Killing:
    """A connection that is killed before a statement."""
    def __init__(self, raw, statements):
        self._raw, self._left = raw, statements
    def execute(self, sql, *arguments):
        self._left -= 1
        if self._left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._raw.execute(sql, *arguments)
    def __getattr__(self, name):
        return getattr(self._raw, name)

connect = SqliteEngine._connect
for number in range(1000):
    folder = Path(sys.argv[1]) / str(number)
    child = os.fork()
    if child == 0:
        SqliteEngine._connect = lambda engine: Killing(connect(engine), number)
        SqliteEngine(folder).close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        print(number)
        sys.exit(os.WEXITSTATUS(status))
    assert os.WTERMSIG(status) == signal.SIGKILL, status
'''


def test_a_kill_before_any_statement_of_the_first_start_is_made_good_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(tmp_path)], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    statements = int(ended.stdout)
    assert statements > 20, "each of the schema, and what is around it"
    for number in range(statements):
        read_store(tmp_path / str(number), check_store)
