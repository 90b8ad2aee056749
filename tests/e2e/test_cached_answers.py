"""X7 from end to end: an answer is given again and says so, is seen and counted, and counts no more when somebody says
so, also on a worker that was away."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headrace
from e2e.control_plane import ControlPlane, wait_for
from e2e.remote_worker import SHORT_LEASE, RemoteWorker
from headrace.v1 import event_pb2, worker_pb2
from model_server.server import ScriptedModelServer

StartControlPlane = Callable[..., ControlPlane]
StartWorker = Callable[..., RemoteWorker]

QUESTION = 'Say it. SIMULATE<<[{"text": "an answer"}]>>'


def ask(client: Any, prompt: str = QUESTION, **options: Any) -> tuple[bool, int, list[event_pb2.ClaudeFrame]]:
    """Whether the answer is an old one, what it cost, and what was said."""
    job = client.submit(headrace.claude(prompt, response_cache=3600, **options))
    frames = [event.output.claude for event in job.events() if event.output.HasField("claude")]
    done = job.get()
    assert done.result.claude.text == "an answer"
    return done.result.claude.cached, done.usage.cost_usd_micros, frames


def total(client: Any) -> worker_pb2.ResponseCacheState:
    state: worker_pb2.ResponseCacheState = client.response_cache.get().total
    return state


def kept(worker: RemoteWorker) -> list[Path]:
    return list((worker.data / "answers").iterdir())


def test_x7_an_answer_is_given_again_marked_and_free_until_it_is_invalidated(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated", **SHORT_LEASE)
    with plane.connect() as client:
        cached, cost, said = ask(client)
        assert (cached, cost > 0, any(frame.cached for frame in said)) == (False, True, False)
        cached, cost, again = ask(client)
        assert (cached, cost, all(frame.cached for frame in again)) == (True, 0, True)
        assert [frame.WhichOneof("kind") for frame in again] == [frame.WhichOneof("kind") for frame in said]
        wait_for(lambda: total(client).hits, "a renewal with what was counted")
        seen = total(client)
        assert (seen.entries, seen.hits, seen.misses, seen.stores) == (1, 1, 1, 1)
        assert seen.size_bytes > 0
        assert seen.oldest_time == seen.newest_time
        until = client.response_cache.invalidate(reason="new facts")
        wait_for(lambda: not total(client).entries, "the answer is gone from the disk")
        assert client.response_cache.get().invalidate_time.ToDatetime(tzinfo=until.tzinfo) == until
        assert ask(client)[0] is False
        assert ask(client)[0] is True
        (entry,) = client.audit(resource_type="response_cache")
        assert (entry.action, entry.resource_name, entry.detail) == (
            "AdminService.InvalidateResponseCache",
            "default",
            "new facts",
        )


def test_x7_an_answer_is_of_one_namespace_and_so_is_an_invalidation(start_plane: StartControlPlane) -> None:
    plane = start_plane("--claude", "simulated", **SHORT_LEASE)
    with plane.connect() as client, headrace.blocking.connect(plane.address, namespace="other") as other:
        assert [ask(one)[0] for one in (client, other)] == [False, False]
        other.response_cache.invalidate()
        wait_for(lambda: total(client).entries == 1, "one of them is gone")
        assert [ask(one)[0] for one in (client, other)] == [True, False]


def test_x7_a_worker_that_was_away_removes_what_was_invalidated_when_it_comes_back(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    plane = start_plane("--no-worker", **SHORT_LEASE)
    worker = start_worker(plane, "w1", "--claude", "simulated")
    with plane.connect() as client:
        ask(client)
        assert len(kept(worker)) == 1
        worker.signal(signal.SIGKILL)
        worker.wait()
        client.response_cache.invalidate()
        again = start_worker(plane, "w1", "--claude", "simulated")
        wait_for(lambda: not kept(again), "it has heard of it")
        assert ask(client)[0] is False


def test_x7_a_worker_that_was_killed_gives_its_answers_again(
    start_plane: StartControlPlane, start_worker: StartWorker
) -> None:
    plane = start_plane("--no-worker", **SHORT_LEASE)
    worker = start_worker(plane, "w1", "--claude", "simulated")
    with plane.connect() as client:
        ask(client)
        worker.signal(signal.SIGKILL)
        worker.wait()
        start_worker(plane, "w1", "--claude", "simulated")
        assert ask(client)[0] is True


def test_x7_the_model_is_asked_once_by_the_real_cli_however_many_jobs_ask_the_same(
    real_client: headrace.blocking.Client, models: ScriptedModelServer
) -> None:
    words = "An answer to many."
    prompt = f'One of many. SCRIPT<<[{{"text": "{words}", "delta_milliseconds": 100}}]>>'

    def calls() -> int:
        return sum("One of many." in str(call.body) for call in models.model_calls)

    def crowd(count: int) -> list[bool]:
        jobs = [real_client.submit(headrace.claude(prompt, response_cache=3600)) for _ in range(count)]
        for job in jobs:
            job.result()
        results = [job.get().result.claude for job in jobs]
        assert {one.text for one in results} == {words}
        return sorted(one.cached for one in results)

    assert crowd(4) == [False, True, True, True]
    assert calls() == 1
    real_client.response_cache.invalidate()
    assert crowd(4) == [False, True, True, True]
    assert calls() == 2
