"""X3 on the worker: what an attempt asks is reported after what it has said, and each command is carried out once."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop

from headrace.v1 import error_pb2, event_pb2, input_pb2, outcome_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.agent import Agent
from headrace_worker.attempts import RunningAttempt
from headrace_worker.control_lane import ControlLane
from headrace_worker.executors.contract import Cancelled, Outcome, Succeeded, TooManyAsked
from headrace_worker.limits import CONTROL_MESSAGE_BYTES_MAX, INPUTS_OPEN_COUNT_MAX
from worker.agent_running import handler_spec, running_agent
from worker.agent_server import ScriptedServer, ServedAttempt, serving

DEADLINE_SECONDS = 20.0


class Asker:
    """An executor whose attempt a test drives by hand, until `done` is set or the attempt is to end."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.attempts: asyncio.Queue[RunningAttempt] = asyncio.Queue()

    async def run(self, attempt: RunningAttempt) -> Outcome:
        self.attempts.put_nowait(attempt)
        waits = [asyncio.ensure_future(wait) for wait in (self.done.wait(), attempt.wait_stop())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return Succeeded(outcome_pb2.Result()) if attempt.stop_requested() is None else Cancelled()


Scenario = Callable[[ScriptedServer, ServedAttempt, RunningAttempt, Agent], Awaitable[None]]


def play(folder: Path, scenario: Scenario) -> None:
    """Plays a scenario with one attempt that runs, then lets it end well."""

    async def run() -> None:
        asker = Asker()
        async with serving(folder) as server, running_agent(server, folder, {"handler": asker.run}) as agent:
            served = server.assign(handler_spec("f"))
            attempt = await asyncio.wait_for(asker.attempts.get(), DEADLINE_SECONDS)
            await scenario(server, served, attempt, agent)
            asker.done.set()
            await server.until(lambda: served.settled)

    uvloop.run(run())


def ask(attempt: RunningAttempt, name: str = "q") -> "asyncio.Task[input_pb2.InputAnswer]":
    return asyncio.ensure_future(attempt.ask(input_pb2.InputRequest(request_id=name, tool_name="Write")))


def answer(server: ScriptedServer, served: ServedAttempt, number: int, name: str = "q", *, allow: bool = True) -> None:
    given = input_pb2.InputAnswer(request_id=name, allow=allow)
    server.say(
        pb.ConnectResponse(commands=[pb.AttemptCommand(lease=served.lease, command_number=number, answer=given)])
    )


def change(server: ScriptedServer, served: ServedAttempt, number: int, model: str) -> None:
    settings = pb.SettingsCommand(model=model)
    command = pb.AttemptCommand(lease=served.lease, command_number=number, settings=settings)
    server.say(pb.ConnectResponse(commands=[command]))


def acks(server: ScriptedServer) -> list[tuple[int, int]]:
    """Number and reason of every acknowledgement; zero for none."""
    return [(ack.command_number, ack.error.reason) for ack in server.command_acks]


def test_x3_a_question_follows_the_output_before_it_and_its_answer_comes_back(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        server.acknowledging = False
        await attempt.emit(event_pb2.Output(chunk=event_pb2.Chunk(data=b"before")))
        asking = ask(attempt)
        await server.until(lambda: served.outputs)
        await server.until_renewed(2)
        assert served.reports == []
        await server.release_acks()
        await server.until(lambda: served.reports)
        assert served.reports[0].input_requested.request_id == "q"
        assert served.reports[0].after_producer_sequence == 1
        answer(server, served, 1)
        assert (await asyncio.wait_for(asking, DEADLINE_SECONDS)).allow
        await server.until(lambda: server.command_acks)
        assert acks(server) == [(1, 0)]

    play(tmp_path, scenario)


def test_x3_several_questions_are_open_at_once_and_answered_in_any_order(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        asking = {name: ask(attempt, name) for name in "abc"}
        await server.until(lambda: len(served.reports) == 3)
        answer(server, served, 1, "c")
        answer(server, served, 2, "a", allow=False)
        assert (await asyncio.wait_for(asking["c"], DEADLINE_SECONDS)).allow
        assert not (await asyncio.wait_for(asking["a"], DEADLINE_SECONDS)).allow
        assert not asking["b"].done()
        answer(server, served, 3, "b")
        await asyncio.wait_for(asking["b"], DEADLINE_SECONDS)

    play(tmp_path, scenario)


def test_x3_a_command_that_comes_again_is_acknowledged_again_and_carried_out_once(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        asking = ask(attempt)
        await server.until(lambda: served.reports)
        for _turn in range(3):
            answer(server, served, 1)
        await server.until(lambda: len(server.command_acks) == 3)
        assert acks(server) == [(1, 0)] * 3
        assert (await asking).allow
        again = ask(attempt, "r")
        answer(server, served, 1, "r")
        await server.until(lambda: len(server.command_acks) == 4)
        assert not again.done()
        again.cancel()

    play(tmp_path, scenario)


def test_x3_an_answer_that_was_lost_with_the_stream_comes_after_the_next_welcome(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        asking = ask(attempt)
        await server.until(lambda: served.reports)
        server.cut()
        await server.until_welcomed(2)
        answer(server, served, 1)
        assert (await asyncio.wait_for(asking, DEADLINE_SECONDS)).allow
        await server.until(lambda: server.command_acks)
        server.command_acks.clear()
        server.cut()
        await server.until_welcomed(3)
        answer(server, served, 1)
        await server.until(lambda: server.command_acks)
        assert acks(server) == [(1, 0)]
        assert len(served.reports) == 1

    play(tmp_path, scenario)


def test_x3_what_is_asked_while_nobody_listens_is_asked_once_after_the_next_welcome(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        await server.stop()
        asking = ask(attempt)
        await server.start()
        await server.until(lambda: served.reports)
        answer(server, served, 1)
        await asyncio.wait_for(asking, DEADLINE_SECONDS)
        assert [report.input_requested.request_id for report in served.reports] == ["q"]

    play(tmp_path, scenario)


def test_x3_a_question_that_is_not_wanted_any_more_is_withdrawn(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        asking = ask(attempt)
        await server.until(lambda: served.reports)
        asking.cancel()
        await server.until(lambda: len(served.reports) == 2)
        assert served.reports[1].input_withdrawn.request_id == "q"
        answer(server, served, 1)
        await server.until(lambda: server.command_acks)
        assert acks(server) == [(1, error_pb2.ERROR_REASON_NOT_FOUND)]

    play(tmp_path, scenario)


def test_x3_a_question_of_an_attempt_that_is_killed_is_not_withdrawn(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        asking = ask(attempt)
        await server.until(lambda: served.reports)
        served.stale = True
        server.want(served, pb.WANTED_STATE_KILL)
        await attempt.wait_kill()
        asking.cancel()
        await server.until(lambda: served.finishes)
        assert len(served.reports) == 1

    play(tmp_path, scenario)


def test_x3_more_than_may_be_open_or_one_twice_is_refused_to_the_executor(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        asking = [ask(attempt, str(number)) for number in range(INPUTS_OPEN_COUNT_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyAsked, match="100 requests are open"):
            await ask(attempt, "more")
        asking.pop().cancel()
        await server.until(lambda: len(served.reports) == INPUTS_OPEN_COUNT_MAX + 1)
        with pytest.raises(TooManyAsked, match="'0' is open already"):
            await ask(attempt, "0")
        for one in asking:
            one.cancel()

    play(tmp_path, scenario)


def test_x3_large_questions_go_in_several_messages_in_order() -> None:
    lane = ControlLane()
    large = "x" * (CONTROL_MESSAGE_BYTES_MAX // 2)
    reports = [
        pb.AttemptReport(report_number=number, input_requested=input_pb2.InputRequest(input_json=large))
        for number in (1, 2, 3)
    ]
    attempt: Any = SimpleNamespace(take_reports=lambda: reports)
    lane.report(attempt)
    lane.finish(pb.AttemptFinish())
    taken = [lane.take() for _ in range(3)]
    assert [[report.report_number for report in one.reports] for one in taken] == [[1], [2], [3]]
    assert [len(one.finishes) for one in taken] == [0, 0, 1]


def test_a_command_for_an_attempt_that_is_not_here_is_declined(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        other = ServedAttempt(served.assignment.__class__())
        other.assignment.CopyFrom(served.assignment)
        other.assignment.lease.job_id = "job-elsewhere"
        answer(server, other, 1)
        await server.until(lambda: server.command_acks)
        assert server.command_acks[0].lease.job_id == "job-elsewhere"
        assert acks(server) == [(1, error_pb2.ERROR_REASON_NOT_FOUND)]

    play(tmp_path, scenario)


def test_changes_of_settings_come_in_order_and_are_acknowledged_when_they_are_made(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, served: ServedAttempt, attempt: RunningAttempt, _: Agent) -> None:
        for number, model in enumerate("abc", 1):
            change(server, served, number, model)
        first = await asyncio.wait_for(attempt.next_settings(), DEADLINE_SECONDS)
        second = await asyncio.wait_for(attempt.next_settings(), DEADLINE_SECONDS)
        assert (first.settings.model, second.settings.model) == ("a", "b")
        assert acks(server) == []
        change(server, served, 1, "a")
        second.refuse("no such model")
        await server.until(lambda: server.command_acks)
        assert acks(server) == [(2, error_pb2.ERROR_REASON_INVALID_FIELD)]
        assert server.command_acks[0].error.message == "no such model"
        first.done()
        first.done()
        await server.until(lambda: len(server.command_acks) == 2)
        change(server, served, 2, "b")
        await server.until(lambda: len(server.command_acks) == 3)
        assert acks(server) == [(2, error_pb2.ERROR_REASON_INVALID_FIELD), (1, 0), *acks(server)[:1]]

    play(tmp_path, scenario)


def test_a_change_that_nobody_made_is_declined_when_the_attempt_ends(tmp_path: Path) -> None:
    async def run() -> None:
        asker = Asker()
        async with serving(tmp_path) as server, running_agent(server, tmp_path, {"handler": asker.run}):
            served = server.assign(handler_spec("f"))
            await asyncio.wait_for(asker.attempts.get(), DEADLINE_SECONDS)
            server.settling = False
            change(server, served, 1, "a")
            await server.until_renewed(2)
            asker.done.set()
            await server.until(lambda: served.finishes and server.command_acks)
            change(server, served, 2, "b")
            await server.until(lambda: len(server.command_acks) == 2)
            server.settle(served)
        assert acks(server) == [(1, error_pb2.ERROR_REASON_JOB_ENDED), (2, error_pb2.ERROR_REASON_NOT_FOUND)]

    uvloop.run(run())
