"""A control plane for tests of the agent: real gRPC on a Unix socket, its decisions made by the test.

It keeps what it was told, and notes in `violations` whatever the contract forbids the worker: holes in output, a
finish before its output, more bytes in flight than granted, two batches of an attempt at once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2

from headrace.v1 import event_pb2, job_pb2, worker_pb2
from headrace.v1 import worker_service_pb2 as pb
from headrace_worker.lease import LeaseKey, key_of

DEADLINE_SECONDS = 20.0
EOF: Any = vars(grpc.aio)["EOF"]


@dataclass
class ServedAttempt:
    """What the server knows of an attempt."""

    assignment: worker_pb2.Assignment
    outputs: list[event_pb2.Output] = field(default_factory=list)
    """Committed."""
    duplicates: int = 0
    """Outputs that came again after they were committed."""
    reports: list[pb.AttemptReport] = field(default_factory=list)
    starts: int = 0
    finishes: list[pb.AttemptFinish] = field(default_factory=list)
    releases: list[pb.AttemptRelease] = field(default_factory=list)
    wanted: pb.WantedAttempt | None = None
    stale: bool = False
    settled: bool = False
    deltas: list[event_pb2.Delta] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    """Outputs of each batch received."""

    @property
    def lease(self) -> worker_pb2.Lease:
        return self.assignment.lease

    @property
    def data(self) -> bytes:
        return b"".join(output.chunk.data for output in self.outputs)

    @property
    def outcome(self) -> str:
        return str(self.finishes[-1].WhichOneof("outcome")) if self.finishes else ""

    def rungs(self) -> list[str]:
        return [event_pb2.CancelStep.Name(report.step.step) for report in self.reports]


class ControlStream:
    """One Connect stream."""

    def __init__(self, server: "ScriptedServer", context: Any) -> None:
        self.hello = pb.ConnectRequest()
        self.renewals: list[pb.WorkerRenewal] = []
        self.requests = 0
        self.queue: asyncio.Queue[pb.ConnectResponse] = asyncio.Queue()
        self.cut = asyncio.Event()
        self._server = server
        self._context = context
        self._number = 0

    async def serve(self) -> None:
        self.hello = await self._context.read()
        self._server.welcome(self)
        tasks = [asyncio.ensure_future(part) for part in (self._read(), self._write(), self.cut.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self) -> None:
        while (request := await self._context.read()) is not EOF:
            self.requests += 1
            self._server.hear(self, request)

    async def _write(self) -> None:
        while True:
            response = await self.queue.get()
            self._number += 1
            response.message_number = self._number
            await self._context.write(response)


class ScriptedServer:
    """Welcomes one worker. Change its fields to change what it does."""

    def __init__(self, socket: Path) -> None:
        self.address = f"unix:{socket}"
        self.lease_seconds = 30.0
        self.renewal_seconds = 0.05
        self.credit_bytes = 4 * 1024 * 1024
        self.answering = True
        """Whether renewals are answered."""
        self.acknowledging = True
        """Whether output is acknowledged at once."""
        self.settling = True
        """Whether finishes are acknowledged at once."""
        self.refusal = ""
        """The reason with which Connect is refused."""
        self.wanted_worker = pb.WANTED_WORKER_UNSPECIFIED
        self.attempts: dict[LeaseKey, ServedAttempt] = {}
        self.controls: list[ControlStream] = []
        self.opens: list[pb.StreamOutputOpen] = []
        self.command_acks: list[pb.CommandAck] = []
        self.background_turns: list[pb.BackgroundTurn] = []
        self.violations: list[str] = []
        self._changed = asyncio.Event()
        self._output_context: Any = None
        self._output_cut = asyncio.Event()
        self._held_acks: list[pb.OutputAck] = []
        self._in_flight: dict[LeaseKey, int] = {}
        self._server: grpc.aio.Server | None = None

    @property
    def control(self) -> ControlStream:
        return self.controls[-1]

    async def start(self) -> None:
        self._server = grpc.aio.server()
        handlers = {
            "Connect": grpc.stream_stream_rpc_method_handler(
                self._connect, pb.ConnectRequest.FromString, pb.ConnectResponse.SerializeToString
            ),
            "StreamOutput": grpc.stream_stream_rpc_method_handler(
                self._stream_output, pb.StreamOutputRequest.FromString, pb.StreamOutputResponse.SerializeToString
            ),
        }
        generic = grpc.method_handlers_generic_handler("headrace.v1.WorkerService", handlers)
        self._server.add_generic_rpc_handlers((generic,))
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        if self._server is not None:
            self.cut()
            await self._server.stop(None)
            self._server = None

    def cut(self) -> None:
        """Breaks both lanes."""
        for control in self.controls:
            control.cut.set()
        self.cut_output()

    def cut_output(self) -> None:
        """Breaks the data lane alone."""
        self._output_cut.set()

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits until the condition holds; it is looked at after everything that the worker says."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def until_renewed(self, times: int = 1) -> None:
        """Waits for that many further renewals."""
        control = self.control
        goal = len(control.renewals) + times
        await self.until(lambda: len(control.renewals) >= goal)

    async def until_welcomed(self, times: int) -> None:
        """Waits for the welcome with that number."""
        await self.until(lambda: len(self.controls) >= times)

    def assign(self, spec: job_pb2.JobSpec, *, send: bool = True, epoch: int = 1, **more: Any) -> ServedAttempt:
        """Grants an attempt at a new job; `more` are further fields of the assignment."""
        lease = worker_pb2.Lease(job_id=f"job-{len(self.attempts) + 1}", attempt=1, epoch=epoch, generation=1)
        attempt = ServedAttempt(worker_pb2.Assignment(lease=lease, namespace="default", spec=spec, **more))
        self.attempts[key_of(lease)] = attempt
        if send:
            self.say(pb.ConnectResponse(assignments=[attempt.assignment]))
        return attempt

    def say(self, response: pb.ConnectResponse) -> None:
        self.control.queue.put_nowait(response)

    def want(self, attempt: ServedAttempt, wanted: pb.WantedState, grace_seconds: float = 10.0) -> None:
        """From now on, at every renewal."""
        nanos = int(grace_seconds * 1e9)
        grace = duration_pb2.Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)
        attempt.wanted = pb.WantedAttempt(
            lease=attempt.lease, wanted=wanted, cancel_grace=grace, cause=pb.STOP_CAUSE_CANCEL
        )
        self.say(pb.ConnectResponse(wanted=[attempt.wanted]))

    async def release_acks(self) -> None:
        """Acknowledges what was held back, and what comes from now on."""
        self.acknowledging = True
        acks, self._held_acks = self._held_acks, []
        await self._acknowledge(acks)

    def welcome(self, control: ControlStream) -> None:
        self.controls.append(control)
        renewal = control.hello.renewal
        control.renewals.append(renewal)
        welcome = pb.WorkerWelcome(
            lease_duration=duration_pb2.Duration(
                nanos=int(self.lease_seconds * 1e9) % 10**9, seconds=int(self.lease_seconds)
            ),
            renewal_interval=duration_pb2.Duration(
                nanos=int(self.renewal_seconds * 1e9) % 10**9, seconds=int(self.renewal_seconds)
            ),
            connection_id=f"connection-{len(self.controls)}",
            server_version="scripted",
            generation=1,
        )
        for held in renewal.held:
            attempt = self.attempts.get(key_of(held.lease))
            stale = attempt is None or attempt.stale
            welcome.held.add(
                lease=held.lease,
                committed_producer_sequence=0 if attempt is None or stale else len(attempt.outputs),
                committed_report_number=0 if attempt is None or stale else len(attempt.reports),
                wanted=pb.WANTED_STATE_KILL if stale else pb.WANTED_STATE_RUN,
            )
        control.queue.put_nowait(pb.ConnectResponse(welcome=welcome, renewed_counter=renewal.counter))
        self._changed.set()

    def hear(self, control: ControlStream, request: pb.ConnectRequest) -> None:
        response = pb.ConnectResponse()
        for start in request.starts:
            self.attempts[key_of(start.lease)].starts += 1
        for release in request.releases:
            attempt = self.attempts[key_of(release.lease)]
            attempt.releases.append(release)
            attempt.settled = True
        for report in request.reports:
            self._report(report, response)
        for finish in request.finishes:
            self._finish(finish, response)
        self.command_acks.extend(request.command_acks)
        self.background_turns.extend(request.background_turns)
        if request.HasField("renewal"):
            control.renewals.append(request.renewal)
            if self.answering:
                response.renewed_counter = request.renewal.counter
                response.wanted_worker = self.wanted_worker
                response.wanted.extend(
                    attempt.wanted for attempt in self.attempts.values() if attempt.wanted and not attempt.settled
                )
        if response.ByteSize():
            control.queue.put_nowait(response)
        self._changed.set()

    def settle(
        self, attempt: ServedAttempt, disposition: pb.FinishDisposition = pb.FINISH_DISPOSITION_ACCEPTED
    ) -> None:
        """Acknowledges a finish that was held back."""
        attempt.settled = True
        self.say(pb.ConnectResponse(finish_acks=[pb.FinishAck(lease=attempt.lease, disposition=disposition)]))

    def _report(self, report: pb.AttemptReport, response: pb.ConnectResponse) -> None:
        attempt = self.attempts[key_of(report.lease)]
        if report.after_producer_sequence > len(attempt.outputs):
            self.violations.append(f"report {report.report_number} before output {report.after_producer_sequence}")
        if report.report_number == len(attempt.reports) + 1:
            attempt.reports.append(report)
        elif report.report_number > len(attempt.reports):
            self.violations.append(f"report {report.report_number} after {len(attempt.reports)}")
        response.report_acks.add(lease=report.lease, committed_report_number=len(attempt.reports))

    def _finish(self, finish: pb.AttemptFinish, response: pb.ConnectResponse) -> None:
        attempt = self.attempts[key_of(finish.lease)]
        attempt.finishes.append(finish)
        if not attempt.stale and finish.last_producer_sequence != len(attempt.outputs):
            self.violations.append(f"finish after output {finish.last_producer_sequence} of {len(attempt.outputs)}")
        if not attempt.stale and finish.last_report_number != len(attempt.reports):
            self.violations.append(f"finish after report {finish.last_report_number} of {len(attempt.reports)}")
        if self.settling:
            attempt.settled = True
            disposition = pb.FINISH_DISPOSITION_STALE if attempt.stale else pb.FINISH_DISPOSITION_ACCEPTED
            response.finish_acks.add(lease=finish.lease, disposition=disposition)

    async def _connect(self, _: AsyncIterator[pb.ConnectRequest], context: Any) -> None:
        if self.refusal:
            info = any_pb2.Any()
            info.Pack(error_details_pb2.ErrorInfo(reason=self.refusal, domain="headrace"))
            status = status_pb2.Status(code=10, message="refused", details=[info])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            await context.abort(grpc.StatusCode.ABORTED, "refused")
        await ControlStream(self, context).serve()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    async def _stream_output(self, _: AsyncIterator[pb.StreamOutputRequest], context: Any) -> None:
        first = await context.read()
        self.opens.append(first.open)
        self._output_context = context
        self._output_cut = asyncio.Event()
        self._in_flight.clear()
        self._held_acks.clear()
        await context.write(pb.StreamOutputResponse(credit_bytes=self.credit_bytes))
        tasks = [asyncio.ensure_future(part) for part in (self._read_output(context), self._output_cut.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._changed.set()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")

    async def _read_output(self, context: Any) -> None:
        while (request := await context.read()) is not EOF:
            acks = [self._commit(batch) for batch in request.batches]
            for deltas in request.deltas:
                self.attempts[key_of(deltas.lease)].deltas.extend(deltas.deltas)
            self._changed.set()
            if self.acknowledging:
                await self._acknowledge(acks)
            else:
                self._held_acks += acks

    def _commit(self, batch: pb.OutputBatch) -> pb.OutputAck:
        key = key_of(batch.lease)
        attempt = self.attempts[key]
        attempt.batches.append(len(batch.outputs))
        size = sum(output.ByteSize() for output in batch.outputs)
        if key in self._in_flight:
            self.violations.append(f"a second batch of {key.job_id} is in flight")
        if self._in_flight and sum(self._in_flight.values()) + size > self.credit_bytes:
            self.violations.append(f"{size} bytes more than the credit of {self.credit_bytes} allows")
        self._in_flight[key] = size
        for output in batch.outputs:
            if attempt.stale:
                break
            if output.producer_sequence <= len(attempt.outputs):
                attempt.duplicates += 1
            elif output.producer_sequence == len(attempt.outputs) + 1:
                attempt.outputs.append(output)
            else:
                self.violations.append(f"a hole before output {output.producer_sequence}")
        return pb.OutputAck(lease=batch.lease, committed_producer_sequence=len(attempt.outputs), stale=attempt.stale)

    async def _acknowledge(self, acks: list[pb.OutputAck]) -> None:
        for ack in acks:
            self._in_flight.pop(key_of(ack.lease), None)
        if acks:
            await self._output_context.write(pb.StreamOutputResponse(acks=acks))


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[ScriptedServer]:
    """A server that is up; at the end, the worker must have kept its side of the contract."""
    server = ScriptedServer(folder / "s")
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
    assert server.violations == []
