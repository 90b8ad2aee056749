"""What the agent does with assignments, wanted states, silence of the server, and its own end."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from headrace.v1 import error_pb2, event_pb2, job_pb2, outcome_pb2, task_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.agent import Agent, EndCause, Terms
from headrace_worker.attempts import RunningAttempt
from headrace_worker.executors.contract import Cancelled, Outcome, StopRequest, Succeeded
from worker.agent_running import handler_spec, running_agent
from worker.agent_server import ScriptedServer, serving

HOUR_SECONDS = 3600.0


class Patient:
    """An executor that runs until it is asked to stop, or `done` is set."""

    def __init__(self) -> None:
        self.done = asyncio.Event()
        self.kill_may_end = asyncio.Event()
        self.kill_may_end.set()
        self.stopped = asyncio.Event()
        self.stops: list[StopRequest] = []
        self.started: list[str] = []

    async def run(self, attempt: RunningAttempt) -> Outcome:
        self.started.append(attempt.lease.job_id)
        waits = [asyncio.ensure_future(wait) for wait in (self.done.wait(), attempt.wait_stop())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        stop = attempt.stop_requested()
        if stop is None:
            return Succeeded(outcome_pb2.Result())
        self.stops.append(stop)
        self.stopped.set()
        await self.kill_may_end.wait()
        return Cancelled()


Scenario = Callable[[ScriptedServer, Patient, Agent], Awaitable[None]]


def play(folder: Path, scenario: Scenario, terms: Terms | None = None, slots: int = 2) -> None:
    async def run() -> None:
        patient = Patient()
        async with (
            serving(folder) as server,
            running_agent(server, folder, {"handler": patient.run}, terms, slots=slots) as agent,
        ):
            await scenario(server, patient, agent)
            patient.done.set()

    uvloop.run(run())


def test_an_assignment_that_is_held_already_is_ignored(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        attempt = server.assign(handler_spec("f"))
        server.say(pb.ConnectResponse(assignments=[attempt.assignment]))
        await server.until(lambda: attempt.starts)
        await server.until_renewed(2)
        assert patient.started == ["job-1"]
        assert not attempt.releases

    play(tmp_path, scenario)


def test_what_does_not_fit_is_declined(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        attempts = [server.assign(handler_spec("f")) for _ in range(3)]
        command = server.assign(job_pb2.JobSpec(command=task_pb2.CommandTask(program="ls")))
        await server.until(lambda: attempts[2].releases and command.releases)
        assert attempts[2].releases[0].cause == event_pb2.RELEASE_CAUSE_DECLINED
        assert "does not run command" in command.releases[0].message
        assert len(patient.started) == 2

    play(tmp_path, scenario)


def test_a_renewal_names_every_attempt_and_the_message_that_it_had_seen(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: server.control.renewals[-1].held)
        renewal = server.control.renewals[-1]
        assert [(held.lease, held.phase) for held in renewal.held] == [(attempt.lease, pb.HELD_PHASE_STARTED)]
        assert renewal.handled_message_number >= 2
        counters = [renewal.counter for renewal in server.control.renewals]
        assert counters == sorted(set(counters))

    play(tmp_path, scenario)


def test_c2_a_cancel_reaches_the_attempt_once_however_often_it_is_said(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        patient.kill_may_end.clear()
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts)
        server.want(attempt, pb.WANTED_STATE_CANCEL, grace_seconds=1.5)
        await server.until_renewed(4)
        patient.kill_may_end.set()
        await server.until(lambda: attempt.finishes)
        assert attempt.outcome == "cancelled"
        assert patient.stops == [StopRequest(kill=False, grace_seconds=1.5, reason="cancel")]

    play(tmp_path, scenario)


def test_a_return_is_reported_as_returned(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts)
        server.want(attempt, pb.WANTED_STATE_RETURN)
        await server.until(lambda: attempt.finishes)
        assert attempt.outcome == "returned"

    play(tmp_path, scenario)


def test_l3_a_revoked_assignment_that_runs_says_that_it_started(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts == 1)
        server.want(attempt, pb.WANTED_STATE_REVOKE)
        await server.until(lambda: attempt.starts > 1)
        assert not attempt.releases

    play(tmp_path, scenario)


def test_l1_a_killed_attempt_keeps_its_slot_until_it_is_gone_and_the_next_waits_for_it(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        patient.kill_may_end.clear()
        first = server.assign(handler_spec("f"))
        await server.until(lambda: first.starts)
        first.stale = True
        server.want(first, pb.WANTED_STATE_KILL)
        await server.until(lambda: patient.stops)
        assert patient.stops[0].kill
        second = server.assign(handler_spec("f"))
        await server.until(lambda: len(server.control.renewals[-1].held) == 2)
        phases = {held.lease.job_id: held.phase for held in server.control.renewals[-1].held}
        assert phases["job-2"] == pb.HELD_PHASE_ACCEPTED
        assert not second.starts
        patient.kill_may_end.set()
        await server.until(lambda: second.starts)
        assert len(first.finishes) == 1

    play(tmp_path, scenario, slots=1)


def test_l3_an_accepted_assignment_is_given_back_when_it_is_revoked(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        patient.kill_may_end.clear()
        first = server.assign(handler_spec("f"))
        await server.until(lambda: first.starts)
        server.want(first, pb.WANTED_STATE_KILL)
        await server.until(lambda: patient.stops)
        second = server.assign(handler_spec("f"))
        server.want(second, pb.WANTED_STATE_REVOKE)
        await server.until(lambda: second.releases)
        assert second.releases[0].cause == event_pb2.RELEASE_CAUSE_REVOKED
        assert not second.starts
        patient.kill_may_end.set()
        await server.until(lambda: first.finishes)

    play(tmp_path, scenario, slots=1)


def test_l4_when_nobody_answers_attempts_end_by_the_workers_own_clock(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        server.lease_seconds = 0.6
        server.cut()
        await server.until(lambda: len(server.controls) == 2)
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts)
        await server.stop()
        await asyncio.wait_for(patient.stopped.wait(), 20)
        assert patient.stops[0] == StopRequest(kill=True, grace_seconds=0.0, reason="the worker's lease ended")
        await server.start()
        await server.until(lambda: attempt.finishes)
        assert attempt.finishes[0].failed.failure_class == outcome_pb2.FAILURE_CLASS_WORKER_LOST

    play(tmp_path, scenario)


def test_l4_the_lease_counts_from_the_renewal_that_was_answered(tmp_path: Path) -> None:
    async def run() -> None:
        deadlines: list[float] = []
        patient = Patient()
        async with (
            serving(tmp_path) as server,
            running_agent(server, tmp_path, {"handler": patient.run}, on_lease=deadlines.append, clock=lambda: 1000.0),
        ):
            await server.until_renewed(2)
            assert set(deadlines) == {1000.0 + 30.0 - 6.0}

    uvloop.run(run())


def test_a_server_that_stops_answering_renewals_is_taken_for_gone(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        server.answering = False
        await server.until(lambda: len(server.controls) == 2)
        server.answering = True
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts)

    play(tmp_path, scenario)


def test_an_attempt_that_the_server_does_not_know_at_the_welcome_is_ended(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts)
        attempt.stale = True
        server.cut()
        await server.until(lambda: attempt.finishes)
        assert patient.stops[0].kill

    play(tmp_path, scenario)


def test_q7_a_drain_lets_work_finish_within_its_grace(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Patient()
        async with serving(tmp_path) as server:
            async with running_agent(
                server, tmp_path, {"handler": patient.run}, Terms(drain_seconds=HOUR_SECONDS)
            ) as agent:
                attempt = server.assign(handler_spec("f"))
                await server.until(lambda: attempt.starts)
                agent.drain()
                await server.until(lambda: server.control.renewals[-1].draining)
                late = server.assign(handler_spec("f"))
                await server.until(lambda: late.releases)
                assert late.releases[0].cause == event_pb2.RELEASE_CAUSE_DRAINING
                patient.done.set()
            assert attempt.outcome == "succeeded"

    uvloop.run(run())


def test_q7_what_a_drain_outlasts_is_returned(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Patient()
        async with serving(tmp_path) as server:
            async with running_agent(server, tmp_path, {"handler": patient.run}, Terms(drain_seconds=0.05)):
                attempt = server.assign(handler_spec("f"))
                await server.until(lambda: attempt.starts)
            assert attempt.outcome == "returned"
            assert patient.stops[0].kill

    uvloop.run(run())


def test_an_abort_returns_what_runs_at_once(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Patient()
        async with serving(tmp_path) as server:
            async with running_agent(
                server, tmp_path, {"handler": patient.run}, Terms(drain_seconds=HOUR_SECONDS), cause=EndCause.ABORTED
            ) as agent:
                attempt = server.assign(handler_spec("f"))
                await server.until(lambda: attempt.starts)
                agent.drain()
                agent.abort()
            assert attempt.outcome == "returned"

    uvloop.run(run())


@pytest.mark.parametrize("wanted", [pb.WANTED_WORKER_EXIT, pb.WANTED_WORKER_DRAIN])
def test_q7_the_server_drains_a_worker_and_undoes_it(tmp_path: Path, wanted: pb.WantedWorker) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, agent: Agent) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts)
        server.wanted_worker = wanted
        await server.until(lambda: server.control.renewals[-1].draining)
        refused = server.assign(handler_spec("f"))
        await server.until(lambda: refused.releases)
        assert refused.releases[0].cause == event_pb2.RELEASE_CAUSE_DRAINING
        assert not patient.stops
        server.wanted_worker = pb.WANTED_WORKER_RUN
        await server.until(lambda: not server.control.renewals[-1].draining)
        patient.done.set()
        await server.until(lambda: attempt.settled)
        other = server.assign(handler_spec("f"))
        await server.until(lambda: other.starts)

    play(tmp_path, scenario)


def test_q7_a_worker_that_is_to_exit_does_so_when_it_is_empty_and_says_it_once(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Patient()
        async with (
            serving(tmp_path) as server,
            running_agent(server, tmp_path, {"handler": patient.run}, cause=EndCause.ABORTED) as agent,
        ):
            attempt = server.assign(handler_spec("f"))
            await server.until(lambda: attempt.starts)
            server.renewal_seconds = HOUR_SECONDS
            server.cut()
            await server.until_welcomed(2)
            server.say(pb.ConnectResponse(wanted_worker=pb.WANTED_WORKER_EXIT))
            await server.until(lambda: server.control.renewals and server.control.renewals[-1].draining)
            for _ in range(3):
                server.say(pb.ConnectResponse(wanted_worker=pb.WANTED_WORKER_EXIT))
            heard = server.control.requests
            server.say(pb.ConnectResponse(commands=[pb.AttemptCommand(lease=attempt.lease, command_number=1)]))
            await server.until(lambda: server.command_acks)
            assert server.control.requests == heard + 1
            assert not patient.stops
            agent.abort()

    uvloop.run(run())


def test_q7_a_worker_that_is_to_exit_ends_by_itself_once_it_is_empty(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Patient()
        async with (
            serving(tmp_path) as server,
            running_agent(server, tmp_path, {"handler": patient.run}, cause=EndCause.DRAINED, ends=True),
        ):
            attempt = server.assign(handler_spec("f"))
            await server.until(lambda: attempt.starts)
            server.wanted_worker = pb.WANTED_WORKER_EXIT
            await server.until(lambda: server.control.renewals[-1].draining)
            patient.done.set()
            await server.until(lambda: attempt.settled)
        assert attempt.outcome == "succeeded"

    uvloop.run(run())


def test_l5_a_worker_whose_id_is_taken_ends_its_attempts_and_itself(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Patient()
        async with serving(tmp_path) as server:
            async with running_agent(server, tmp_path, {"handler": patient.run}, cause=EndCause.DISMISSED):
                attempt = server.assign(handler_spec("f"))
                await server.until(lambda: attempt.starts)
                server.refusal = "STALE_INCARNATION"
                server.cut()
                await asyncio.wait_for(patient.stopped.wait(), 20)
            assert patient.stops[0].kill

    uvloop.run(run())


def test_a_local_worker_exits_when_its_lease_has_ended(tmp_path: Path) -> None:
    async def run() -> None:
        patient = Patient()
        async with serving(tmp_path) as server:
            server.lease_seconds = 0.4
            terms = Terms(exit_when_lease_ends=True)
            async with running_agent(server, tmp_path, {"handler": patient.run}, terms, cause=EndCause.LEASE_ENDED):
                attempt = server.assign(handler_spec("f"))
                await server.until(lambda: attempt.starts)
                await server.stop()
                await asyncio.wait_for(patient.stopped.wait(), 20)

    uvloop.run(run())


def test_a_command_that_the_worker_does_not_know_is_declined(tmp_path: Path) -> None:
    async def scenario(server: ScriptedServer, patient: Patient, _: Agent) -> None:
        attempt = server.assign(handler_spec("f"))
        await server.until(lambda: attempt.starts)
        server.say(pb.ConnectResponse(commands=[pb.AttemptCommand(lease=attempt.lease, command_number=1)]))
        await server.until(lambda: server.command_acks)
        assert server.command_acks[0].command_number == 1
        assert server.command_acks[0].error.reason == error_pb2.ERROR_REASON_NOT_SUPPORTED

    play(tmp_path, scenario)
