"""Clients that hold conversations: what they ask of sessions, what they were told, and what they therefore may rely on.

As with jobs, a call may be lost on its way, its answer too, and with its request id it may be asked again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from headrace.v1 import input_pb2, job_pb2, session_pb2
from headrace.v1 import session_service_pb2 as pb
from headrace_server.core.refusal import Reason, Refused
from simulation.clients import (
    OF_SESSION,
    SMALL_QUEUE,
    UNAVAILABLE,
    Clients,
    Submit,
    call,
    copied,
    is_lost,
    when_answered,
)
from simulation.server import Server
from simulation.violation import hold

SESSIONS_COUNT_MAX = 5
FORKS_COUNT_MAX = 4
IDLE_SECONDS = (0, 60, 100_000, 100_000, 100_000)
MODELS = ("", "opus", "claude-sonnet-5", "haiku")
"""Of which each has a capacity domain of its own."""
LONG_AGO = 8
"""Of so many messages the latest may be said again."""


@dataclass(eq=False, slots=True)
class Wanted:
    """A session that a client wants, however often it asks."""

    name: str
    """Stands in its display name, so that everybody can tell it from others."""
    request_id: str
    spec: session_pb2.SessionSpec
    source: "Wanted | None" = None
    """Which it is to go on from."""
    id: str = ""
    """As it was told."""
    closing: list[bool] = field(default_factory=list)
    """Every wish to have it closed: whether the turn that runs may end."""
    messages: list[Submit] = field(default_factory=list)


class SessionClients:
    """All that hold conversations."""

    def __init__(self, clients: Clients) -> None:
        self.wanted: list[Wanted] = []
        self.lost: set[str] = set()
        """Sessions that are lost, as a checker has read."""
        self._clients = clients

    @property
    def known(self) -> list[Wanted]:
        """Of which a client has been told."""
        return [one for one in self.wanted if one.id]

    def create(self, server: Server, chance: Random) -> None:
        """Wants one more session, or asks again for one."""
        again = [one for one in self.wanted if one.request_id]
        if again and (len(self.wanted) >= SESSIONS_COUNT_MAX or chance.random() < 0.2):
            self._ask_for(server, chance.choice(again), chance)
            return
        if len(self.wanted) >= SESSIONS_COUNT_MAX:
            return
        self._want(server, _new_spec(chance), None, chance)

    def fork(self, server: Server, source: Wanted, chance: Random) -> None:
        """Wants a session that goes on from another."""
        if len(self.wanted) < SESSIONS_COUNT_MAX + FORKS_COUNT_MAX:
            self._want(server, copied(source.spec), source, chance)

    def say(self, server: Server, session: Wanted, chance: Random) -> None:
        """Says something, for the first time or again."""
        earlier = [one for one in session.messages[-LONG_AGO:] if one.request_id]
        if earlier and chance.random() < 0.25:
            self._say(server, session, chance.choice(earlier), chance)
            return
        submit = self._clients.want(lambda number: _spec_of_turn(session, number), chance)
        submit.bulk = OF_SESSION
        session.messages.append(submit)
        for _ in range(2 if submit.request_id and chance.random() < 0.15 else 1):
            self._say(server, session, submit, chance)

    def interrupt(self, server: Server, session: Wanted, chance: Random) -> None:
        """Has the turn that runs end."""

        def judge(answer: Any) -> None:
            if not isinstance(answer, Refused):
                self._clients.told.cancelled.add(answer.job.id)
                return
            self._may(session, answer, "X4", Reason.NO_ACTIVE_TURN)

        request = pb.InterruptSessionRequest(session_id=session.id, reason="not that")
        _ask(server, server.sessions.interrupt_session(request, call()), judge, chance)

    def close(self, server: Server, session: Wanted, chance: Random) -> None:
        """Wants no more turns."""
        finish_turn = chance.random() < 0.5
        session.closing.append(finish_turn)

        def judge(answer: Any) -> None:
            if isinstance(answer, Refused):
                self._may(session, answer, "X4")
            else:
                ended = answer.session.state in (session_pb2.SESSION_STATE_CLOSED, session_pb2.SESSION_STATE_LOST)
                hold(ended, "X4", f"{session.id} was closed and is {answer.session.state}")

        request = pb.CloseSessionRequest(session_id=session.id, finish_turn=finish_turn)
        _ask(server, server.sessions.close_session(request, call()), judge, chance)

    def change(self, server: Server, session: Wanted, chance: Random) -> None:
        """Wants its process to be kept for another time."""
        spec = session_pb2.SessionSpec(idle_timeout=Duration(seconds=chance.choice(IDLE_SECONDS)))
        request = pb.UpdateSessionRequest(
            session_id=session.id, spec=spec, update_mask=FieldMask(paths=["idle_timeout"])
        )

        def judge(answer: Any) -> None:
            if isinstance(answer, Refused):
                self._may(session, answer, "X4", *self._if_ended(session))

        _ask(server, server.sessions.update_session(request, call()), judge, chance)

    def answer(self, server: Server, session: Wanted, request_id: str, chance: Random) -> None:
        """Answers what a turn has asked, by the name of its session."""
        given = input_pb2.InputAnswer(request_id=request_id, allow=chance.random() < 0.5)

        def judge(answer: Any) -> None:
            if isinstance(answer, Refused):
                self._may(session, answer, "X3", Reason.INPUT_RESOLVED, Reason.NOT_FOUND)

        request = pb.AnswerRequestRequest(session_id=session.id, answer=given)
        _ask(server, server.sessions.answer_request(request, call()), judge, chance)

    def _want(self, server: Server, spec: session_pb2.SessionSpec, source: Wanted | None, chance: Random) -> None:
        name = spec.display_name = f"s{len(self.wanted) + 1}"
        wanted = Wanted(name, name if chance.random() < 0.7 else "", spec, source)
        self.wanted.append(wanted)
        for _ in range(2 if wanted.request_id and chance.random() < 0.2 else 1):
            self._ask_for(server, wanted, chance)

    def _ask_for(self, server: Server, wanted: Wanted, chance: Random) -> None:
        if wanted.source is None:
            create = pb.CreateSessionRequest(request_id=wanted.request_id, spec=copied(wanted.spec))
            coroutine: Any = server.sessions.create_session(create, call())
        else:
            fork = pb.ForkSessionRequest(session_id=wanted.source.id, display_name=wanted.name)
            fork.request_id = wanted.request_id
            coroutine = server.sessions.fork_session(fork, call())
        _ask(server, coroutine, lambda answer: self._told(wanted, answer), chance)

    def _told(self, wanted: Wanted, answer: Any) -> None:
        if isinstance(answer, Refused):
            hold(answer.refusal.reason in UNAVAILABLE or not wanted.id, "S1", f"{wanted.name} was refused as new")
            reasons = (Reason.SESSION_EMPTY, *self._if_ended(wanted.source)) if wanted.source is not None else ()
            self._may(wanted.source or wanted, answer, "X4", *reasons)
            return
        told = answer.session.id
        hold(wanted.id in ("", told) or not wanted.request_id, "S1", f"{wanted.name} is {wanted.id} and {told}")
        new_twice = wanted.id and wanted.request_id and not answer.deduplicated
        hold(not new_twice, "S1", f"{wanted.name} is new a second time")
        wanted.id = told

    def _say(self, server: Server, session: Wanted, submit: Submit, chance: Random) -> None:
        request = pb.SendMessageRequest(session_id=session.id, request_id=submit.request_id)
        request.text = submit.spec.claude.prompt

        def judge(answer: Any) -> None:
            if not isinstance(answer, Refused):
                self._clients.acknowledge(submit, answer.job.id, answer.deduplicated)
                return
            known = submit.job_id and submit.request_id and answer.refusal.reason not in UNAVAILABLE
            hold(not known, "S1", f"a repeated message was refused as new: {answer.refusal}")
            self._may(session, answer, "X4", Reason.QUEUE_FULL, *self._if_ended(session))

        _ask(server, server.sessions.send_message(request, call()), judge, chance)

    def _if_ended(self, session: Wanted) -> tuple[Reason, ...]:
        ended = session.closing or session.id in self.lost
        return (Reason.SESSION_ENDED,) if ended else ()

    def _may(self, session: Wanted, answer: Refused, promise: str, *reasons: Reason) -> None:
        gone = {Reason.NOT_FOUND} if session.closing or session.id in self.lost else set()
        may = UNAVAILABLE | gone | set(reasons)
        hold(answer.refusal.reason in may, promise, f"{session.name} was refused: {answer.refusal}")


def _ask(server: Server, coroutine: Any, judge: Callable[[Any], None], chance: Random) -> None:
    if is_lost(chance):
        coroutine.close()
        return
    task = server.call(coroutine)
    if not is_lost(chance):
        task.add_done_callback(when_answered(judge))
    server.run()


def _new_spec(chance: Random) -> session_pb2.SessionSpec:
    spec = session_pb2.SessionSpec(queue=chance.choice(("default", "default", SMALL_QUEUE)), owner="local")
    if chance.random() < 0.4:
        spec.snapshots = session_pb2.SNAPSHOT_POLICY_TRANSCRIPT
    spec.task.model = chance.choice(MODELS)
    spec.idle_timeout.FromSeconds(chance.choice(IDLE_SECONDS))
    if chance.random() < 0.3:
        spec.retry_policy.max_attempts = chance.randint(1, 4)
        spec.retry_policy.initial_backoff.FromSeconds(1)
    if chance.random() < 0.15:
        spec.timeouts.run_timeout.FromSeconds(chance.choice((6, 30)))
    return spec


def _spec_of_turn(session: Wanted, number: int) -> job_pb2.JobSpec:
    """What a turn is made of that says this: what checkers judge it by."""
    settings = session.spec
    spec = job_pb2.JobSpec(display_name=settings.display_name, queue=settings.queue, owner=settings.owner)
    if settings.HasField("retry_policy"):
        spec.retry_policy.CopyFrom(settings.retry_policy)
    if settings.HasField("timeouts"):
        spec.timeouts.CopyFrom(settings.timeouts)
    spec.claude.prompt, spec.claude.session_id = str(number), session.id
    spec.claude.model = settings.task.model
    return spec
