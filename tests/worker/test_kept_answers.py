"""X7: kept answers on the disk: what a worker finds again, what goes first, and that only whole answers are given."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headrace.v1 import event_pb2, outcome_pb2
from headrace_worker.executors.claude import response_cache as module
from headrace_worker.executors.claude.response_cache import Answer, Kept, ResponseCache, encode

SECOND = 1_000_000
NOW = 1_000 * SECOND
DAY = 86_400 * SECOND
ONE, TWO, THREE = (letter * 64 for letter in "abc")

STORING = """
import sys
from pathlib import Path
from headrace.v1 import event_pb2, outcome_pb2
from headrace_worker.executors.claude.response_cache import Answer, Kept, ResponseCache

cache = ResponseCache(Path(sys.argv[1]))
cache.load(1)
text = "x" * 300_000
answer = Answer(outcome_pb2.Result(claude=outcome_pb2.ClaudeResult(text=text)), [])
print("ready", flush=True)
number = 0
while True:
    number = (number + 1) % 20
    cache.put(f"{number:064x}", Kept("a", 10, 10, 10**15), answer)
"""


@pytest.fixture
def cache(tmp_path: Path) -> ResponseCache:
    return opened(tmp_path)


def opened(folder: Path, now: int = NOW) -> ResponseCache:
    made = ResponseCache(folder / "answers")
    made.load(now)
    return made


def answer(text: str) -> Answer:
    said = event_pb2.Output(claude=event_pb2.ClaudeFrame(raw_json=text))
    return Answer(outcome_pb2.Result(claude=outcome_pb2.ClaudeResult(text=text)), [said])


def kept(asked: int = NOW, given: int = NOW, until: int = NOW + DAY, namespace: str = "a") -> Kept:
    return Kept(namespace, asked, given, until)


def get(cache: ResponseCache, key: str, now: int = NOW, after: int = 0) -> Answer | None:
    return cache.get(key, now, DAY, after)


def files(cache: ResponseCache) -> list[str]:
    return sorted(path.name for path in cache.folder.iterdir())


def test_answers_survive_a_restart_and_the_least_recently_used_go_first(
    tmp_path: Path, cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_ENTRIES_COUNT_MAX", 2)
    for number, key in enumerate((ONE, TWO)):
        cache.put(key, kept(), answer(key))
        os.utime(cache.folder / key, (number, number))
    assert get(cache, ONE) == answer(ONE)
    again = opened(tmp_path)
    assert again.state().entries == 2
    again.put(THREE, kept(), answer(THREE))
    assert files(again) == [ONE, THREE]
    assert (get(again, TWO), get(again, ONE)) == (None, answer(ONE))
    assert (again.state().stores, again.state().evictions) == (1, 1)


def test_the_size_of_all_and_of_one_is_bounded(cache: ResponseCache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHE_ANSWER_BYTES_MAX", 5000)
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", 6000)
    cache.put(ONE, kept(), answer("x" * 2500))
    assert files(cache) == []
    cache.put(TWO, kept(), answer("x" * 2000))
    cache.put(THREE, kept(), answer("x" * 2000))
    assert files(cache) == [THREE]
    assert cache.state().size_bytes == (cache.folder / THREE).stat().st_size < 6000


def test_the_state_tells_the_oldest_and_the_newest_answer_and_nothing_of_none(cache: ResponseCache) -> None:
    assert not cache.state().HasField("oldest_time")
    cache.put(ONE, kept(given=NOW + 5), answer("1"))
    cache.put(TWO, kept(given=NOW + 3), answer("2"))
    state = cache.state()
    assert (state.oldest_time.ToMicroseconds(), state.newest_time.ToMicroseconds()) == (NOW + 3, NOW + 5)
    cache.sweep(NOW + 2 * DAY)
    assert (cache.state().entries, cache.state().size_bytes, files(cache)) == (0, 0, [])


@pytest.mark.parametrize("length", [0, 3, 20, 64, 90, -1])
def test_x7_a_file_that_was_cut_anywhere_is_no_answer_and_goes(cache: ResponseCache, length: int) -> None:
    cache.put(ONE, kept(), answer("whole"))
    path = cache.folder / ONE
    path.write_bytes(path.read_bytes()[:length])
    assert get(cache, ONE) is None
    assert (files(cache), cache.state().entries) == ([], 0)


def test_x7_a_changed_byte_anywhere_makes_a_file_no_answer(cache: ResponseCache) -> None:
    whole = encode(kept(), answer("whole"))
    for index in range(len(whole)):
        cache.put(ONE, kept(), answer("whole"))
        (cache.folder / ONE).write_bytes(whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :])
        assert get(cache, ONE) is None, index


def test_a_worker_that_starts_removes_what_it_can_not_use(tmp_path: Path, cache: ResponseCache) -> None:
    cache.put(ONE, kept(), answer("1"))
    cache.put(TWO, kept(until=NOW + SECOND), answer("2"))
    (cache.folder / f".{THREE}").write_bytes(b"begun")
    (cache.folder / THREE).write_bytes(b"HRA1 of an older version")
    (cache.folder / "notes.txt").write_bytes(b"")
    assert files(opened(tmp_path, NOW + SECOND)) == [ONE]


def test_x7_killed_while_it_stores_a_worker_never_gives_half_an_answer(tmp_path: Path) -> None:
    folder = tmp_path / "answers"
    for round_number in range(5):
        with subprocess.Popen([sys.executable, "-c", STORING, str(folder)], stdout=subprocess.PIPE) as storing:
            assert storing.stdout is not None
            storing.stdout.readline()
            deadline = time.monotonic() + 20
            while len(list(folder.glob("[0-9a-f]*"))) < 3 + round_number and time.monotonic() < deadline:
                time.sleep(0.001)
            storing.send_signal(signal.SIGKILL)
        cache = opened(tmp_path)
        assert cache.state().entries >= 3 + round_number
        for key in files(cache):
            found = cache.get(key, 11, DAY, 0)
            assert found is not None
            assert len(found.result.claude.text) == 300_000


def test_x7_an_answer_asked_for_by_the_time_of_an_invalidation_is_neither_given_nor_stored(
    cache: ResponseCache,
) -> None:
    cache.put(ONE, kept(asked=NOW), answer("1"))
    cache.put(TWO, kept(asked=NOW, namespace="b"), answer("2"))
    assert get(cache, ONE, after=NOW) is None
    assert cache.invalidate("a", NOW)
    assert not cache.invalidate("a", NOW)
    cache.put(ONE, kept(asked=NOW), answer("late"))
    assert files(cache) == [TWO]
    cache.put(ONE, kept(asked=NOW + 1), answer("new"))
    cache.sweep(NOW + 2)
    assert files(cache) == [ONE, TWO]
    assert get(cache, ONE, NOW + 2, after=NOW) == answer("new")


def test_what_a_worker_remembers_of_invalidations_is_bounded(
    cache: ResponseCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHE_INVALIDATIONS_COUNT_MAX", 2)
    for number, namespace in enumerate("abc", 1):
        assert cache.invalidate(namespace, number)
    assert [cache.invalidate(namespace, number) for number, namespace in enumerate("abc", 1)] == [True, False, False]


def test_an_answer_of_a_time_that_is_long_to_come_is_not_trusted(cache: ResponseCache) -> None:
    cache.put(ONE, kept(given=NOW + 2 * DAY, until=NOW + 3 * DAY), answer("1"))
    assert get(cache, ONE) is None
    assert get(cache, ONE, NOW + 2 * DAY) == answer("1")


def test_a_disk_that_takes_nothing_costs_no_job(cache: ResponseCache) -> None:
    (cache.folder / f".{ONE}").mkdir()
    cache.put(ONE, kept(), answer("1"))
    assert (get(cache, ONE), cache.state().stores) == (None, 0)
