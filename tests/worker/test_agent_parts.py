"""The parts of the agent that need no connection: lease arithmetic, outbox, spool, deltas, lock, settings."""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from headrace.v1 import event_pb2, worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.app import SetupFailed, find_claude, load_handlers
from headrace_worker.channel import read_address
from headrace_worker.deltas import DeltaBuffer
from headrace_worker.executors.values import to_dict, to_value
from headrace_worker.lease import WorkerLease, margin_seconds
from headrace_worker.limits import DELTAS_COUNT_MAX, OUTPUT_ITEM_BYTES_MAX, SPOOL_BLOCK_BYTES, SPOOL_SEGMENT_BYTES_MAX
from headrace_worker.local_lock import LocalLock, LockTaken
from headrace_worker.outbox import Batch, Outbox
from headrace_worker.output_lane import encode_batch
from headrace_worker.settings import Settings
from headrace_worker.spool import Spool

LEASE = worker_pb2.Lease(job_id="job", attempt=1, epoch=7, generation=2)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def text_output(text: str) -> event_pb2.Output:
    return event_pb2.Output(chunk=event_pb2.Chunk(stream=event_pb2.OUTPUT_STREAM_STDOUT, data=text.encode()))


def texts(batch: Batch | None) -> list[str]:
    assert batch is not None
    return [event_pb2.Output.FromString(data).chunk.data.decode() for data in batch.outputs]


def test_l4_a_lease_counts_from_when_the_answered_renewal_was_sent() -> None:
    lease = WorkerLease()
    first = lease.send(100.0)
    lease.grant(first, 30.0, 101.0)
    second, third = lease.send(105.0), lease.send(110.0)
    assert lease.deadline == 100.0 + 24.0
    assert lease.answer(third, 112.0)
    assert lease.deadline == 110.0 + 24.0
    assert not lease.answer(second, 113.0)
    assert lease.deadline == 134.0


def test_l4_an_answer_on_an_old_stream_counts_for_nothing() -> None:
    lease = WorkerLease()
    lease.grant(lease.send(0.0), 30.0, 0.0)
    lost = lease.send(10.0)
    lease.disconnect()
    assert not lease.answer(lost, 11.0)
    assert lease.deadline == 24.0


def test_a_shorter_lease_of_a_new_welcome_counts_at_once() -> None:
    lease = WorkerLease()
    lease.grant(lease.send(0.0), 30.0, 0.0)
    lease.grant(lease.send(1.0), 4.0, 1.0)
    assert lease.deadline == 3.0


@pytest.mark.parametrize(("seconds", "margin"), [(100.0, 20.0), (30.0, 6.0), (10.0, 4.0), (2.0, 1.0)])
def test_the_margin_leaves_a_keeper_its_time(seconds: float, margin: float) -> None:
    assert margin_seconds(seconds) == margin


@given(st.lists(st.integers(0, 300_000), max_size=40), st.lists(st.booleans()))
def test_a_spool_gives_back_what_it_got_in_order(sizes: list[int], takes: list[bool]) -> None:
    records = [bytes([number]) * size for number, size in enumerate(sizes)]
    spool = Spool(Path(tempfile.gettempdir()), 10**9)
    taken = []
    for record, take in zip(records, [*takes, *[False] * len(records)], strict=False):
        assert spool.append(b"." + record)
        if take:
            taken.append(spool.take())
    while spool.size_bytes:
        taken.append(spool.take())
    assert taken == [b"." + record for record in records]
    spool.close()


def test_a_spool_is_bounded_and_leaves_no_file(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 3 * SPOOL_SEGMENT_BYTES_MAX)
    record = bytes(SPOOL_SEGMENT_BYTES_MAX // 2)
    assert [spool.append(record) for _ in range(8)] == [True] * 6 + [False] * 2
    assert open_files_below(tmp_path) > 0
    assert list(tmp_path.iterdir()) == []
    spool.take()
    assert spool.append(record)
    spool.close()
    assert spool.size_bytes == 0
    assert open_files_below(tmp_path) == 0


def test_a_spool_gives_disk_space_back_while_it_is_used(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 4 * SPOOL_SEGMENT_BYTES_MAX)
    record = bytes(SPOOL_SEGMENT_BYTES_MAX // 2)
    for _ in range(4):
        spool.append(record)
    for _ in range(20):
        spool.append(record)
        spool.take()
        assert open_files_below(tmp_path) <= 4
    spool.close()


def open_files_below(folder: Path) -> int:
    """Files of this process in the folder, named or not."""
    links = (os.readlink(entry) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
    return sum(link.startswith(str(folder)) for link in links)


def test_a_spool_refuses_when_the_disk_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    spool = Spool(tmp_path / "file" / "folder", 10**9)
    taken = [spool.append(bytes(SPOOL_BLOCK_BYTES)) for _ in range(3)]
    assert taken == [True, False, False]
    assert spool.take() == bytes(SPOOL_BLOCK_BYTES)
    assert spool.append(b"there is room again")


def test_outputs_are_numbered_and_stay_until_they_are_committed(tmp_path: Path) -> None:
    async def run() -> None:
        outbox = Outbox(Spool(tmp_path, 1000), lambda: None)
        assert [await outbox.put(text_output(text)) for text in "abc"] == [1, 2, 3]
        assert texts(outbox.next_batch(1000)) == ["a", "b", "c"]
        assert outbox.next_batch(1000) is None
        await outbox.put(text_output("d"))
        assert outbox.acknowledge(2)
        assert texts(outbox.next_batch(1000)) == ["c", "d"]
        outbox.rewind()
        assert texts(outbox.next_batch(1000)) == ["c", "d"]
        assert not outbox.acknowledge(1)
        assert outbox.acknowledge(4)
        assert outbox.empty

    asyncio.run(run())


def test_a_batch_keeps_to_its_bytes_but_for_a_single_larger_output(tmp_path: Path) -> None:
    async def run() -> None:
        outbox = Outbox(Spool(tmp_path, 10_000), lambda: None)
        for text in ("x" * 500, "y" * 40, "z" * 40):
            await outbox.put(text_output(text))
        assert texts(outbox.next_batch(100)) == ["x" * 500]
        outbox.acknowledge(1)
        assert texts(outbox.next_batch(120)) == ["y" * 40, "z" * 40]
        with pytest.raises(ValueError, match="larger than"):
            await outbox.put(text_output("x" * OUTPUT_ITEM_BYTES_MAX))

    asyncio.run(run())


def test_a_sealed_outbox_lets_go_of_who_waits_and_delivers_what_it_took(tmp_path: Path) -> None:
    async def run() -> None:
        outbox = Outbox(Spool(tmp_path, 0), lambda: None)
        await outbox.put(text_output("x" * 900_000))
        waiting = asyncio.ensure_future(outbox.put(text_output("y" * 900_000)))
        await asyncio.sleep(0)
        outbox.seal()
        assert await waiting == 1
        assert not outbox.empty
        assert len(texts(outbox.next_batch(10**6))) == 1

    asyncio.run(run())


def test_a_batch_is_encoded_as_the_contract_says(tmp_path: Path) -> None:
    outputs = [
        event_pb2.Output(producer_sequence=number, chunk=event_pb2.Chunk(data=bytes(size)))
        for number, size in ((1, 0), (2, 100), (3, 300), (4, 70_000))
    ]
    batch = Batch(tuple(output.SerializeToString() for output in outputs), 0)
    request = pb.StreamOutputRequest.FromString(encode_batch(LEASE.SerializeToString(), batch))
    assert request == pb.StreamOutputRequest(batches=[pb.OutputBatch(lease=LEASE, outputs=outputs)])


def test_deltas_wait_for_the_output_that_they_follow() -> None:
    deltas = DeltaBuffer()
    deltas.offer(0, event_pb2.Delta(text="a"))
    deltas.offer(3, event_pb2.Delta(text="b"))
    groups = deltas.take(2, LEASE)
    assert [(group.after_producer_sequence, len(group.deltas)) for group in groups] == [(0, 1)]
    assert deltas.take(3, LEASE)[0].deltas[0].text == "b"
    assert deltas.empty


def test_dropped_deltas_are_counted_in_their_place() -> None:
    deltas = DeltaBuffer()
    for number in range(DELTAS_COUNT_MAX + 5):
        deltas.offer(0, event_pb2.Delta(text=str(number)))
    kinds = [delta.WhichOneof("kind") for delta in deltas.take(0, LEASE)[0].deltas]
    assert kinds == ["text"] * DELTAS_COUNT_MAX + ["dropped"]
    deltas.offer(0, event_pb2.Delta(text="lost"))
    deltas.drop()
    deltas.offer(0, event_pb2.Delta(text="next"))
    found = deltas.take(0, LEASE)[0].deltas
    assert (found[0].dropped, found[1].text) == (1, "next")


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_json_values_come_back_as_they_went(value: dict[str, object]) -> None:
    assert to_dict(to_value(value).struct_value) == value


def test_the_local_lock_is_held_once_and_names_its_holder(tmp_path: Path) -> None:
    lock = LocalLock(tmp_path / "folder" / "lock")
    with pytest.raises(LockTaken, match=f"process {os.getpid()}"):
        LocalLock(tmp_path / "folder" / "lock")
    lock.close()
    LocalLock(tmp_path / "folder" / "lock").close()


def test_settings_come_from_options_over_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_WORKER_SLOTS", "9")
    monkeypatch.setenv("HEADRACE_WORKER_ID", "from-variable")
    monkeypatch.setenv("HEADRACE_WORKER_LABEL", "zone=a,gpu=")
    monkeypatch.setenv("HEADRACE_WORKER_ALLOW_COMMAND", "git, make")
    settings = Settings(id="from-option")
    assert (settings.slots, settings.id) == (9, "from-option")
    assert settings.label == {"zone": "a", "gpu": ""}
    assert settings.allow_command == ("git", "make")


@pytest.mark.parametrize(
    "given_settings",
    [{"slots": 0}, {"id": "a b"}, {"label": ["x"]}, {"server": "http://x"}, {"allow_root": ["/not/there"]}],
)
def test_a_wrong_setting_is_refused(given_settings: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate(given_settings)


def test_x8_folders_are_those_below_the_folder_of_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "code").mkdir()
    settings = Settings.model_validate({"data": "d", "claude_config": "c", "lock": "l", "allow_root": ["code"]})
    assert (settings.data, settings.claude_config, settings.lock) == (tmp_path / "d", tmp_path / "c", tmp_path / "l")
    assert settings.allow_root == (tmp_path / "code",)


@pytest.mark.parametrize(
    ("text", "target"),
    [("h:1", "dns:///h:1"), ("h", "dns:///h:7410"), ("[::1]", "dns:///[::1]:7410"), ("unix:/s", "unix:/s")],
)
def test_addresses_are_read(text: str, target: str) -> None:
    assert read_address(text) == target


@pytest.mark.parametrize("text", ["", "h:", "h:99999", "unix:", "http://h:1", "a/b"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        read_address(text)


def test_a_claude_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    environment = {"PATH": str(tmp_path)}
    assert find_claude("none", environment) is None
    assert find_claude("", environment) is None
    simulated = find_claude("simulated", environment)
    assert simulated is not None
    assert simulated.simulated
    with pytest.raises(SetupFailed):
        find_claude("no-such-claude", environment)
    program = tmp_path / "claude"
    program.write_text("#!/bin/sh\necho 9.8.7 '(Claude Code)'\n")
    program.chmod(0o755)
    found = find_claude("", environment)
    assert found is not None
    assert (found.version, found.arguments) == ("9.8.7", (str(program),))


def test_handler_modules_bring_their_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_handlers.py").write_text(
        "from headrace.worker import Worker\nworker = Worker()\n@worker.handler('a')\ndef a(values): ...\nempty = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert list(load_handlers(("some_handlers",))) == ["a"]
    assert list(load_handlers(("some_handlers:worker",))) == ["a"]
    for wrong in ("no_such_module", "some_handlers:empty", "some_handlers:absent"):
        with pytest.raises(SetupFailed):
            load_handlers((wrong,))


def test_the_command_line_explains_itself_and_what_is_wrong() -> None:
    command = [sys.executable, "-m", "headrace_worker"]
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "Usage: headrace work" in text
    given = [*command, "--slots", "0", "--sessions-max", "5000"]
    variables = {**os.environ, "HEADRACE_WORKER_STALL_TOOL_SECONDS": "0"}
    wrong = subprocess.run(given, capture_output=True, text=True, check=False, timeout=60, env=variables)
    assert wrong.returncode == 2
    assert sorted(wrong.stderr.splitlines(), reverse=True) == [
        "headrace work: HEADRACE_WORKER_STALL_TOOL_SECONDS: Input should be greater than or equal to 0.1, not 0",
        "headrace work: --slots: Input should be greater than or equal to 1, not 0",
        "headrace work: --sessions-max: Input should be less than or equal to 1000, not 5000",
    ]


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("PROFILE", "team-a", "HEADRACE_WORKER_PROFILE: 'team-a' is not NAME=FILE"),
        ("LABEL", "zone", "HEADRACE_WORKER_LABEL: 'zone' is not KEY=VALUE"),
        (
            "CLAUDE_MEMORY_SOFT_BYTES",
            "many",
            "HEADRACE_WORKER_CLAUDE_MEMORY_SOFT_BYTES: 'many' is not a size: write 512MiB, 2GiB",
        ),
        (
            "CLAUDE_MEMORY_SOFT_BYTES",
            "9GiB",
            "HEADRACE_WORKER_CLAUDE_MEMORY_SOFT_BYTES is 9663676416, more than"
            " HEADRACE_WORKER_CLAUDE_MEMORY_HARD_BYTES, which is 8589934592",
        ),
        ("DATA", "/proc/no", "the data folder /proc/no can't be used: /proc/no: No such file or directory"),
    ],
)
def test_a_wrong_variable_is_named_with_what_to_write(variable: str, value: str, line: str) -> None:
    given = [sys.executable, "-m", "headrace_worker"]
    variables = {**os.environ, f"HEADRACE_WORKER_{variable}": value}
    wrong = subprocess.run(given, capture_output=True, text=True, check=False, timeout=60, env=variables)
    assert (wrong.returncode, wrong.stderr) == (2, f"headrace work: {line}\n")
