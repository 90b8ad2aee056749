"""Command jobs through the whole path: exact bytes, exit codes, the allow-list, cancelled trees, who comes first."""

from collections.abc import Callable
from pathlib import Path

import pytest

import headrace
from e2e.control_plane import ControlPlane, Gate, wait_for
from e2e.story import ERR, OUT, Story, class_of, state_of
from headrace import blocking
from headrace.v1 import job_pb2

StartControlPlane = Callable[..., ControlPlane]
ALL_BYTES = bytes(range(256)) * 64
ANSI = b"\x1b[1;31mred\x1b[0m\r\n\x00\xff\xfe"
EURO = "€".encode()


def sh(script: str, folder: Path | str = "", stdin: bytes = b"") -> headrace.tasks.Task:
    return headrace.command("sh", "-c", script, folder=str(folder), stdin=stdin)


@pytest.fixture
def folder(shared_plane: ControlPlane, request: pytest.FixtureRequest) -> Path:
    folder: Path = shared_plane.folder / request.node.name[:40]
    folder.mkdir()
    return folder


def test_e6_stdout_and_stderr_keep_every_byte(client: blocking.Client, folder: Path) -> None:
    (folder / "ansi").write_bytes(ANSI)
    story = Story(client.submit(sh("cat ansi >&2; cat; cat ansi >&2", folder, ALL_BYTES))).finish()
    assert story.bytes_of(OUT) == ALL_BYTES
    assert story.bytes_of(ERR) == ANSI * 2
    result = story.job.result.command
    assert (result.exit_code, result.stdout_bytes, result.stderr_bytes) == (0, len(ALL_BYTES), 2 * len(ANSI))


def test_e6_a_character_split_between_two_writes_stays_split(client: blocking.Client, folder: Path) -> None:
    """The second byte is written only once the first one is in the log."""
    gate = Gate(folder / "gate")
    job = client.submit(sh(r"printf '\342'; cat gate; printf '\202\254'", folder))
    story = Story(job).until_kind("chunk")
    assert story.bytes_of(OUT) == EURO[:1]
    gate.open()
    assert story.finish().bytes_of(OUT) == EURO


def test_a_non_zero_exit_status_fails_the_job_with_it(client: blocking.Client) -> None:
    story = Story(client.submit(sh("echo why >&2; exit 3"))).finish()
    failure = story.job.failure
    assert (story.state, class_of(failure), failure.exit_code) == ("FAILED", "ERROR", 3)
    assert "why" in failure.detail
    assert story.job.attempt_count == 1, "retried only by a policy that the job states"


def test_a_program_that_a_signal_ends_is_a_crash_and_names_it(client: blocking.Client) -> None:
    once = job_pb2.RetryPolicy(max_attempts=1)
    story = Story(client.submit(sh("kill -SEGV $$"), retry_policy=once)).finish()
    assert (story.state, class_of(story.job.failure), story.job.failure.signal) == ("FAILED", "CRASH", 11)


def test_an_environment_is_what_the_task_says_and_little_else(client: blocking.Client) -> None:
    task = headrace.command("sh", "-c", "env", environment={"GREETING": "hi there"})
    lines = Story(client.submit(task)).finish().bytes_of(OUT).decode().splitlines()
    names = {line.partition("=")[0] for line in lines}
    assert "GREETING=hi there" in lines
    assert names - {"PATH", "HOME", "LANG", "TMPDIR", "PWD", "GREETING", "_", "SHLVL", "OLDPWD"} == {"HEADRACE_TREE"}


def test_a_program_that_no_worker_allows_waits_and_says_so(client: blocking.Client) -> None:
    job = client.submit(headrace.command("no-such-program"))
    answer = job.explain()
    assert answer.state == job_pb2.JOB_STATE_QUEUED
    (reason,) = answer.wait_reasons
    assert reason.cause == job_pb2.WAIT_CAUSE_NO_ELIGIBLE_WORKER
    assert "no-such-program" in reason.message
    assert list(job.get().wait_reasons) == [reason]
    assert job.cancel("never mind").state == job_pb2.JOB_STATE_CANCELLED
    assert Story(job).finish().kinds == ["submitted", "cancelled"]


def test_c1_a_cancel_ends_the_whole_tree_and_every_rung_is_in_the_log(client: blocking.Client, folder: Path) -> None:
    """A child that ignores signals, and a grandchild in a session of its own: nothing of it is left."""
    script = "trap '' INT TERM; setsid sh -c 'echo $$ > grandchild; trap \"\" TERM; cat gate' & echo $$ > child; wait"
    Gate(folder / "gate")
    grace = job_pb2.Timeouts(cancel_grace=headrace.tasks.duration(0.1))
    job = client.submit(sh(script, folder), timeouts=grace)
    pids = [number_in(folder / "child"), number_in(folder / "grandchild")]
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    assert job.cancel("enough").state == job_pb2.JOB_STATE_CANCELLING
    story = Story(job).finish()

    assert story.state == "CANCELLED"
    assert story.steps == ["INTERRUPT", "TERMINATE", "KILL", "TREE_GONE"]
    assert story.all("cancel_stepped")[-1].survivors == 0
    assert story.all("cancel_requested")[0].reason == "enough"
    assert [pid for pid in pids if is_alive(pid)] == []


def number_in(path: Path) -> int:
    return int(wait_for(lambda: path.read_text().strip() if path.exists() else "", f"{path.name} is written"))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_c2_cancelling_twice_is_a_success_and_cancelling_what_ended_otherwise_is_refused(
    client: blocking.Client,
) -> None:
    waiting = client.submit(headrace.command("no-such-program"))
    assert waiting.cancel().state == waiting.cancel().state == job_pb2.JOB_STATE_CANCELLED
    ended = client.submit(sh("exit 0"))
    ended.result()
    with pytest.raises(headrace.errors.JobEnded):
        ended.cancel()


def test_q1_one_slot_takes_equals_in_their_order_and_a_higher_priority_first(start_plane: StartControlPlane) -> None:
    plane = start_plane("--workers", "1", "--claude", "none")
    gate = Gate(plane.folder / "gate")
    with plane.connect() as client:
        first = client.submit(sh("cat gate", plane.folder))
        Story(first).until_kind("attempt_started").close()
        jobs = [client.submit(sh(f"echo {name} >> order", plane.folder)) for name in "abc"]
        jobs.append(client.submit(sh("echo urgent >> order", plane.folder), priority=10))
        assert [job.get().queue_position for job in jobs] == [2, 3, 4, 1]
        gate.open()
        for job in jobs:
            job.result()
    assert (plane.folder / "order").read_text().split() == ["urgent", "a", "b", "c"]


def test_a_list_filters_pages_and_counts(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "none")
    with plane.connect() as client:
        good = [client.submit(sh("exit 0"), labels={"team": "a"}, owner="ann") for _ in range(3)]
        bad = client.submit(sh("exit 1"), owner="bob")
        for job in (*good, bad):
            Story(job).finish()
        newest_first = [job.id for job in reversed((*good, bad))]
        assert [job.id for job in client.list(page_size=2)] == newest_first
        assert [job.id for job in client.list('labels.team = "a" AND state = SUCCEEDED')] == newest_first[1:]
        assert [state_of(job) for job in client.list('owner = "bob"')] == ["FAILED"]
        queue = client.queues.get()
        counts = {job_pb2.JobState.Name(one.state): one.count for one in queue.state_counts if one.count}
        assert counts == {"JOB_STATE_SUCCEEDED": 3, "JOB_STATE_FAILED": 1}


def test_s1_the_same_request_id_is_the_same_job(client: blocking.Client) -> None:
    task = sh("exit 0")
    one = client.submit(task, request_id="once-and-only-once")
    one.result()
    again = client.submit(task, request_id="once-and-only-once")
    assert (again.id, again.deduplicated) == (one.id, True)
    with pytest.raises(headrace.errors.RequestIdReused):
        client.submit(sh("exit 1"), request_id="once-and-only-once")


def test_a_flood_of_output_arrives_whole(client: blocking.Client) -> None:
    count = 200_000
    story = Story(client.submit(sh(f"seq {count}"))).finish()
    assert story.bytes_of(OUT) == b"".join(b"%d\n" % number for number in range(1, count + 1))
    assert story.producer_sequences(1) == list(range(1, len(story.producer_sequences(1)) + 1))
    assert max(len(event.output.chunk.data) for event in story.events) <= 256 * 1024


def test_e6_output_past_its_cap_is_counted_and_the_job_goes_on(client: blocking.Client) -> None:
    story = Story(client.submit(sh("seq 100000; echo end >&2"), output_bytes_max=65_536)).finish()
    assert story.state == "SUCCEEDED"
    assert story.kinds.count("output_truncated") == 1
    assert story.job.output_truncated
    assert len(story.bytes_of(OUT)) <= 65_536
    assert story.job.result.command.stdout_bytes == 588_895
    truncated = next(event for event in story.events if event.HasField("output_truncated"))
    later = [event for event in story.events if event.sequence > truncated.sequence]
    assert not any(event.output.HasField("chunk") for event in later)
