"""Simulated clients: what they ask for, what they were told, and what they therefore may rely on.

A call may be lost on its way, its answer too; then the client knows nothing and may ask again, with the same request
id.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar, cast

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message

from headrace.v1 import job_pb2, task_pb2
from headrace.v1 import job_service_pb2 as pb
from headrace_server.core.ids import SECOND, Micros
from headrace_server.core.refusal import Reason, Refused
from headrace_server.rpc.call import Call
from headrace_server.store.codec import set_time
from simulation.network import UnaryCall
from simulation.server import Server
from simulation.violation import hold

M = TypeVar("M", bound=Message)

SMALL_QUEUE = "small"
SMALL_QUEUE_JOBS_MAX = 6
NOBODYS_HANDLER = "nobody"
OF_GRAPH = -1
OF_SESSION = -2
RESUME_POLICIES = (
    task_pb2.RESUME_POLICY_UNSPECIFIED,
    task_pb2.RESUME_POLICY_UNSPECIFIED,
    task_pb2.RESUME_POLICY_RESUME_FIRST,
    task_pb2.RESUME_POLICY_FRESH,
    task_pb2.RESUME_POLICY_NEVER,
)
UNAVAILABLE = frozenset({Reason.STORE_UNAVAILABLE, Reason.DISK_FULL})


@dataclass(eq=False, slots=True)
class Submit:
    """One job that a client wants, however often it asks."""

    number: int
    request_id: str
    spec: job_pb2.JobSpec
    bulk: int = 0
    """Of an atomic bulk: which; zero for a job of its own, OF_GRAPH for one that is only ever asked for with others,
    OF_SESSION for a turn."""
    job_id: str = ""
    """As it was told."""


@dataclass(slots=True)
class Told:
    """What clients were told, and rely on."""

    submits: list[Submit] = field(default_factory=list)
    acknowledged: dict[str, Submit] = field(default_factory=dict)
    """By job id."""
    cancelled: set[str] = field(default_factory=set)
    """Jobs whose cancel was acknowledged."""
    deleting: set[str] = field(default_factory=set)
    """Jobs that somebody asked to have deleted."""


class Clients:
    """All clients; each call is one of a client's own."""

    def __init__(self, now: Callable[[], Micros]) -> None:
        self.told = Told()
        self._now = now
        self._bulks = 0

    def submit(self, server: Server, chance: Random) -> None:
        """Submits a new job, or one again."""
        earlier = [one for one in self.told.submits if one.request_id and not one.bulk]
        if earlier and chance.random() < 0.3:
            submit = chance.choice(earlier[-8:])
            if submit.job_id and chance.random() < 0.15:
                self._submit_other_payload(server, submit)
                return
        else:
            submit = self._new_submit(chance)
        self.ask_submit(server, submit, chance)
        if submit.request_id and chance.random() < 0.1:
            self.ask_submit(server, submit, chance)

    def submit_bulk(self, server: Server, chance: Random) -> None:
        """Submits some jobs that come together or not at all."""
        known = [one.bulk for one in self.told.submits if one.bulk > 0]
        if known and chance.random() < 0.4:
            bulk = chance.choice(known)
            submits = [one for one in self.told.submits if one.bulk == bulk]
        else:
            self._bulks += 1
            submits = [self._new_submit(chance, bulk=self._bulks) for _ in range(chance.randint(2, 4))]
        items = [pb.SubmitJobsItem(request_id=one.request_id, spec=copied(one.spec)) for one in submits]
        if is_lost(chance):
            return
        task = server.call(server.jobs.submit_jobs(pb.SubmitJobsRequest(items=items, atomic=True), call()))
        if not is_lost(chance):
            task.add_done_callback(when_answered(lambda answer: self._told_bulk(submits, answer)))

    def cancel(self, server: Server, chance: Random) -> None:
        """Cancels a job that it knows of."""
        if not self.told.acknowledged:
            return
        job_id = chance.choice(list(self.told.acknowledged)[-12:])
        if is_lost(chance):
            return
        task = server.call(server.jobs.cancel_job(pb.CancelJobRequest(job_id=job_id, reason="enough"), call()))
        if not is_lost(chance):
            task.add_done_callback(when_answered(lambda answer: self._told_cancelled(job_id, answer)))

    def ask_cancel(self, server: Server, job_id: str) -> None:
        """Cancels a job; nothing is lost on the way."""
        task = server.call(server.jobs.cancel_job(pb.CancelJobRequest(job_id=job_id, reason="enough"), call()))
        task.add_done_callback(when_answered(lambda answer: self._told_cancelled(job_id, answer)))

    def want(self, make: Callable[[int], job_pb2.JobSpec], chance: Random, *, with_id: bool | None = None) -> Submit:
        """Takes note of one more job that a client wants."""
        number = len(self.told.submits) + 1
        if with_id is None:
            with_id = chance.random() < 0.75
        submit = Submit(number, f"r{number}" if with_id else "", make(number))
        self.told.submits.append(submit)
        return submit

    def take_note(self, spec: job_pb2.JobSpec) -> int:
        """Takes note of a job that no client wants; returns its number."""
        self.told.submits.append(Submit(len(self.told.submits) + 1, "", spec, OF_SESSION))
        return len(self.told.submits)

    def explain(self, server: Server, job_id: str) -> "asyncio.Task[Any]":
        """Asks what a job waits for."""
        return server.call(server.jobs.explain_job(pb.ExplainJobRequest(job_id=job_id), call()))

    def _new_submit(self, chance: Random, bulk: int = 0) -> Submit:
        number = len(self.told.submits) + 1
        with_id = bulk or chance.random() < 0.75
        spec = new_spec(number, self._now(), chance)
        submit = Submit(number, f"r{number}" if with_id else "", spec, bulk)
        self.told.submits.append(submit)
        return submit

    def ask_submit(self, server: Server, submit: Submit, chance: Random) -> None:
        """Asks for a job, for the first time or again."""
        if is_lost(chance):
            return
        request = pb.SubmitJobRequest(request_id=submit.request_id, spec=copied(submit.spec))
        task = server.call(server.jobs.submit_job(request, call()))
        if not is_lost(chance):
            task.add_done_callback(when_answered(lambda answer: self._told_submit(submit, answer)))

    def _submit_other_payload(self, server: Server, submit: Submit) -> None:
        spec = copied(submit.spec)
        spec.owner = "another"

        def judge(answer: Any) -> None:
            hold(isinstance(answer, Refused), "S2", f"another payload of {submit.request_id} was taken")
            reason = answer.refusal.reason
            hold(reason in UNAVAILABLE | {Reason.REQUEST_ID_REUSED}, "S2", f"{submit.request_id}: {reason}")

        task = server.call(server.jobs.submit_job(pb.SubmitJobRequest(request_id=submit.request_id, spec=spec), call()))
        task.add_done_callback(when_answered(judge))

    def _told_submit(self, submit: Submit, answer: Any) -> None:
        if isinstance(answer, Refused):
            reason = answer.refusal.reason
            if reason is Reason.REQUEST_ID_REUSED:
                hold(not submit.job_id, "S1", f"the same payload of {submit.request_id} was refused")
            else:
                may = {Reason.QUEUE_FULL, Reason.UNIQUE_KEY_TAKEN if submit.spec.HasField("unique_key") else None}
                hold(reason in UNAVAILABLE | may, "S4", f"a submit was refused: {answer.refusal}")
                hold(reason in UNAVAILABLE or not submit.job_id, "S1", "a repeated submit was refused as new")
            return
        self.acknowledge(submit, answer.job.id, answer.deduplicated)

    def _told_bulk(self, submits: list[Submit], answer: Any) -> None:
        if isinstance(answer, Refused):
            hold(answer.refusal.reason in UNAVAILABLE | {Reason.QUEUE_FULL}, "S7", f"refused: {answer.refusal}")
            return
        hold(len(answer.results) == len(submits), "S7", "a result for each item")
        for submit, result in zip(submits, answer.results, strict=True):
            hold(result.job_id, "S7", "an item of an atomic bulk has no job")
            self.acknowledge(submit, result.job_id, result.deduplicated)

    def acknowledge(self, submit: Submit, job_id: str, deduplicated: bool) -> None:
        """A job was acknowledged."""
        known = submit.job_id
        hold(known in ("", job_id) or not submit.request_id, "I1", f"{submit.request_id} is {known} and {job_id}")
        hold(not (known and submit.request_id and not deduplicated), "S1", f"{submit.request_id} is new a second time")
        submit.job_id = job_id
        self.told.acknowledged[job_id] = submit

    def _told_cancelled(self, job_id: str, answer: Any) -> None:
        if isinstance(answer, Refused):
            reason = answer.refusal.reason
            may = {Reason.JOB_ENDED, Reason.NOT_FOUND if job_id in self.told.deleting else None}
            hold(reason in UNAVAILABLE | may, "C2", f"a cancel of {job_id} was refused: {reason}")
        else:
            self.told.cancelled.add(job_id)


def new_spec(number: int, now: Micros, chance: Random) -> job_pb2.JobSpec:
    """A job that somebody may want; its number stands in its name, so that everybody can tell it from others."""
    spec = job_pb2.JobSpec(display_name=str(number), priority=chance.choice((0, 0, 0, -2, 3)))
    spec.queue = SMALL_QUEUE if chance.random() < 0.4 else "default"
    if chance.random() < 0.3:
        spec.claude.CopyFrom(task_pb2.ClaudeTask(prompt="hi", resume_policy=chance.choice(RESUME_POLICIES)))
    else:
        spec.handler.name = chance.choice(
            ("echo", "echo", "echo", "rare", NOBODYS_HANDLER if number % 7 == 0 else "echo")
        )
    if chance.random() < 0.15:
        spec.placement.required_labels["zone"] = chance.choice("ab")
    if chance.random() < 0.2:
        set_time(spec.schedule_time, Micros(now + chance.randint(1, 120) * SECOND))
    if chance.random() < 0.5:
        spec.retry_policy.max_attempts = chance.randint(1, 4)
        spec.retry_policy.initial_backoff.CopyFrom(Duration(seconds=chance.choice((1, 1, 20))))
    if chance.random() < 0.15:
        spec.output_bytes_max = 30
    if chance.random() < 0.1:
        spec.labels["endless"] = "yes"
    return spec


def copied(message: M) -> M:
    """A copy: servicers fill in what is left open."""
    fresh = type(message)()
    fresh.CopyFrom(message)
    return fresh


def is_lost(chance: Random) -> bool:
    """Whether a message does not arrive."""
    return chance.random() < 0.06


def call() -> Call:
    """What a servicer is told about a call."""
    return cast(Call, UnaryCall())


def when_answered(judge: Callable[[Any], None]) -> "Callable[[asyncio.Task[Any]], None]":
    """Judges an answer, when one comes."""

    def answered(task: "asyncio.Task[Any]") -> None:
        if not task.cancelled():
            judge(task.result())

    return answered
