"""Rows `submit` and `bulk`: durable submits, in turns with a server that only answers."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from benchmark.bench import Bench
from benchmark.figures import Bound, Calls, Detail, Figure, Floor, Of, Target, Turns, cpu_micros
from benchmark.load import crowd
from benchmark.processes import Child
from benchmark.system import BULK_COUNT, CALL_SECONDS, System, bulk_requests, submit_requests
from headrace.v1 import job_service_pb2

Turn = Callable[[int], Awaitable[Calls]]

CALLERS = 64
BULK_CALLERS = 4
WARM_SECONDS = 0.2
BULK_SECONDS_MAX = 20.0
HANDLER = "nobody"


async def measure_submit(bench: Bench) -> list[Figure]:
    """Calls per second and their times, by 64 callers on one connection."""
    async with bench.launcher.system() as system:
        turns = await _submit_turns(bench, system)
    (p50, floor_p50), (p99, floor_p99) = turns.millis(50), turns.millis(99)
    bench.floors.note(f"echo by {CALLERS} callers", turns.floor_rate, "calls/s")
    return [
        Figure(
            "submit",
            f"SubmitJob, {CALLERS} callers",
            turns.rate,
            "calls/s",
            Floor("echo", turns.floor_rate),
            Target(Of.RATIO, Bound.AT_LEAST, 0.85),
            turns.rate_ratio,
            _details(turns, 1),
        ),
        Figure("submit", "its p50", p50, "ms", Floor("echo", floor_p50)),
        Figure("submit", "its p99", p99, "ms", Floor("echo", floor_p99)),
    ]


async def measure_bulk(bench: Bench) -> list[Figure]:
    """Jobs per second, by 4 callers with 500 jobs a call."""
    async with bench.launcher.system() as system:
        turns = await _bulk_turns(bench, system)
    p50, floor_p50 = turns.millis(50)
    bench.floors.note(f"SubmitJobs of {BULK_COUNT}, answered only", turns.floor_rate * BULK_COUNT, "jobs/s")
    return [
        Figure(
            "bulk",
            f"SubmitJobs, {BULK_COUNT} a call",
            turns.rate * BULK_COUNT,
            "jobs/s",
            Floor("answered only", turns.floor_rate * BULK_COUNT),
            Target(Of.OURS, Bound.AT_LEAST, 36_000),
            turns.rate_ratio,
            _details(turns, BULK_COUNT),
        ),
        Figure("bulk", f"its p50, {BULK_CALLERS} callers", p50, "ms", Floor("answered only", floor_p50)),
    ]


async def _submit_turns(bench: Bench, system: System) -> Turns:
    def seconds(turn: int) -> float:
        return WARM_SECONDS if turn < 0 else bench.size.turn_seconds

    async def ours(turn: int) -> Calls:
        return await crowd(
            lambda request: system.jobs.SubmitJob(request, timeout=CALL_SECONDS),
            submit_requests(HANDLER, f"turn{turn}"),
            CALLERS,
            seconds(turn),
        )

    async def floor(turn: int) -> Calls:
        return await bench.floors.echo(submit_requests(HANDLER, f"turn{turn}"), CALLERS, seconds(turn), CALL_SECONDS)

    return await _in_turns(bench, system, ours, floor)


async def _bulk_turns(bench: Bench, system: System) -> Turns:
    def requests(turn: int) -> list[job_service_pb2.SubmitJobsRequest]:
        calls = 1 if turn < 0 else bench.size.bulk_calls_count
        return bulk_requests(HANDLER, f"turn{turn}", calls * BULK_COUNT)

    async def ours(turn: int) -> Calls:
        return await crowd(system.send_bulk, requests(turn), BULK_CALLERS, BULK_SECONDS_MAX)

    async def floor(turn: int) -> Calls:
        return await bench.floors.bulk(requests(turn), BULK_CALLERS, BULK_SECONDS_MAX, CALL_SECONDS)

    return await _in_turns(bench, system, ours, floor)


async def _in_turns(bench: Bench, system: System, ours: Turn, floor: Turn) -> Turns:
    """One turn to warm up, which is not counted, then as many as the run's size says."""
    await floor(-1)
    await ours(-1)
    turns = Turns([], [])
    for number in range(bench.size.turns_count):
        bench.step(f"turn {number + 1} of {bench.size.turns_count}")
        turns.floor.append(await _with_cpu(bench.floors.server, floor, number))
        turns.ours.append(await _with_cpu(system.server, ours, number))
    return turns


async def _with_cpu(server: Child, turn: Turn, number: int) -> Calls:
    before = server.cpu_seconds
    calls = await turn(number)
    return replace(calls, server_cpu_seconds=server.cpu_seconds - before)


def _details(turns: Turns, per_call: int) -> dict[str, Detail]:
    """`per_call`: jobs in a call."""
    ratios = (ours.rate / floor.rate for ours, floor in zip(turns.ours, turns.floor, strict=True))
    return {
        "ratios_of_turns": ", ".join(f"{ratio:.2f}" for ratio in ratios),
        "server_cpu_micros": cpu_micros(turns.ours) / per_call,
        "floor_cpu_micros": cpu_micros(turns.floor) / per_call,
    }
