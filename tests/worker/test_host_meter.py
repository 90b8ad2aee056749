"""What a worker says of its host: the machine, or the control group that bounds it."""

from pathlib import Path

import pytest

from headrace_worker.host_meter import HostMeter, Machine, own_groups, this_machine

GIB = 1024**3


class Host:
    """A machine with four processors and 16 GiB whose counters a test moves."""

    def __init__(self, *groups: Path) -> None:
        self.time = 10.0
        self.idle = 1000.0
        self.available = 12 * GIB
        machine = Machine(
            frozenset(range(4)),
            lambda: (16 * GIB, self.available),
            lambda: self.idle,
            groups,
            lambda: self.time,
        )
        self.meter = HostMeter(machine)

    def passes(self, seconds: float, idle: float) -> None:
        self.time += seconds
        self.idle += idle


def group(folder: Path, **files: str) -> Path:
    """A control group; `memory_max` is its file `memory.max`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("_", ".", 1)).write_text(text + "\n")
    return folder


def test_q5_without_a_group_the_machine_is_the_host() -> None:
    host = Host()
    host.passes(5.0, 10.0)
    said = host.meter.read()
    assert (said.memory_bytes, said.memory_available_bytes) == (16 * GIB, 12 * GIB)
    assert (said.cpu_millis, said.cpu_available_millis) == (4000, 2000)


def test_processors_are_idle_by_what_they_did_since_the_reading_before() -> None:
    host = Host()
    assert host.meter.read().cpu_available_millis == 4000
    host.passes(5.0, 5.0)
    assert host.meter.read().cpu_available_millis == 1000
    host.passes(0.01, 0.0)
    assert host.meter.read().cpu_available_millis == 1000
    host.passes(4.99, 15.0)
    assert host.meter.read().cpu_available_millis == 3000


def test_q5_a_group_bounds_memory_and_its_unused_file_pages_count_as_free(tmp_path: Path) -> None:
    inner = group(
        tmp_path / "a",
        memory_max=str(2 * GIB),
        memory_current=str(1536 * 1024**2),
        memory_stat=f"anon 5\ninactive_file {GIB}",
    )
    said = Host(inner, group(tmp_path, memory_max=str(8 * GIB), memory_current=str(7 * GIB))).meter.read()
    assert said.memory_bytes == 2 * GIB
    assert said.memory_available_bytes == GIB


def test_q5_a_group_around_it_may_have_less_left(tmp_path: Path) -> None:
    inner = group(tmp_path / "a", memory_max=str(2 * GIB), memory_current="0")
    said = Host(inner, group(tmp_path, memory_max=str(8 * GIB), memory_current=str(8 * GIB))).meter.read()
    assert said.memory_bytes == 2 * GIB
    assert said.memory_available_bytes == 0


def test_q5_a_group_bounds_processors_and_what_it_used_is_not_idle(tmp_path: Path) -> None:
    inner = group(tmp_path, cpu_max="150000 100000", cpu_stat="usage_usec 1000000\nuser_usec 5")
    host = Host(inner)
    assert host.meter.read().cpu_millis == 1500
    (inner / "cpu.stat").write_text("usage_usec 6000000\n")
    host.passes(10.0, 40.0)
    assert host.meter.read().cpu_available_millis == 1000


@pytest.mark.parametrize("text", ["max", "", "max 100000", "1 0", "x y", "-5", "\x00"])
def test_what_can_not_be_read_bounds_nothing(tmp_path: Path, text: str) -> None:
    inner = group(tmp_path, memory_max=text, memory_current=text, memory_stat=text, cpu_max=text, cpu_stat=text)
    (inner / "memory.stat").write_bytes(b"\xff\xfe")
    host = Host(inner, tmp_path / "missing")
    host.passes(5.0, 10.0)
    said = host.meter.read()
    assert (said.memory_bytes, said.memory_available_bytes) == (16 * GIB, 12 * GIB)
    assert (said.cpu_millis, said.cpu_available_millis) == (4000, 2000)


def test_the_groups_of_a_process_are_its_own_and_those_around_it(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("9:name=x:/y\n0::/a/b\n")
    assert list(own_groups(tmp_path)) == []
    top = group(tmp_path / "sys/fs/cgroup", cgroup_controllers="memory")
    assert list(own_groups(tmp_path)) == [top / "a/b", top / "a", top]
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    assert list(own_groups(tmp_path)) == [top]
    (tmp_path / "proc/self/cgroup").write_text("0::/../x\n")
    assert list(own_groups(tmp_path)) == []
    (tmp_path / "proc/self/cgroup").write_text("1:cpu:/\n")
    assert list(own_groups(tmp_path)) == []


def test_the_meter_of_this_machine_says_what_it_has() -> None:
    said = HostMeter(this_machine()).read()
    assert 0 < said.memory_available_bytes <= said.memory_bytes
    assert 0 <= said.cpu_available_millis <= said.cpu_millis
    assert said.cpu_millis >= 100
