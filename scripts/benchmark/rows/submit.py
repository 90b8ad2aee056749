"""Rows `submit` and `bulk`: durable submits, in turns with a server that only answers."""

from benchmark.bench import Bench
from benchmark.figures import Bound, Calls, Figure, Floor, Of, Target, Turns
from benchmark.load import crowd
from benchmark.system import BULK_COUNT, CALL_SECONDS, System, bulk_requests, submit_requests

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
            _ratios(turns),
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
            _ratios(turns),
        ),
        Figure("bulk", f"its p50, {BULK_CALLERS} callers", p50, "ms", Floor("answered only", floor_p50)),
    ]


async def _submit_turns(bench: Bench, system: System) -> Turns:
    async def ours(name: str, seconds: float) -> Calls:
        requests = submit_requests(HANDLER, name)
        return await crowd(
            lambda request: system.jobs.SubmitJob(request, timeout=CALL_SECONDS), requests, CALLERS, seconds
        )

    async def floor(name: str, seconds: float) -> Calls:
        return await bench.floors.echo(submit_requests(HANDLER, name), CALLERS, seconds, CALL_SECONDS)

    await floor("warm", WARM_SECONDS)
    await ours("warm", WARM_SECONDS)
    ours_calls, floor_calls = [], []
    for number in range(bench.size.turns_count):
        bench.step(f"turn {number + 1} of {bench.size.turns_count}")
        floor_calls.append(await floor(f"turn{number}", bench.size.turn_seconds))
        ours_calls.append(await ours(f"turn{number}", bench.size.turn_seconds))
    return Turns(ours_calls, floor_calls)


async def _bulk_turns(bench: Bench, system: System) -> Turns:
    count = bench.size.bulk_calls_count * BULK_COUNT
    ours_calls, floor_calls = [], []
    for number in range(-1, bench.size.turns_count):
        bench.step(f"turn {number + 1} of {bench.size.turns_count}")
        requests = bulk_requests(HANDLER, f"turn{number}", count if number >= 0 else BULK_COUNT)
        floor = await bench.floors.bulk(requests, BULK_CALLERS, BULK_SECONDS_MAX, CALL_SECONDS)
        ours = await crowd(system.send_bulk, requests, BULK_CALLERS, BULK_SECONDS_MAX)
        if number >= 0:
            floor_calls.append(floor)
            ours_calls.append(ours)
    return Turns(ours_calls, floor_calls)


def _ratios(turns: Turns) -> dict[str, bool | float | str]:
    return {
        f"ratio_of_turn_{number + 1}": round(ours.rate / floor.rate, 3)
        for number, (ours, floor) in enumerate(zip(turns.ours, turns.floor, strict=True))
    }
