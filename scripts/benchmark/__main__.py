"""`scripts/bench`: reads the command line, measures the rows that it names, and shows what was found."""

import argparse
import asyncio
import pstats
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console

from benchmark.bench import Bench
from benchmark.figures import Figure
from benchmark.floors import floors
from benchmark.processes import Processes, ProcessFailed
from benchmark.progress import telling
from benchmark.report import Report
from benchmark.rows import ROWS
from benchmark.size import DEFAULT, FULL, QUICK, Size
from benchmark.system import Launcher

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
TABLE_COLUMNS_MIN = 130
PROFILE_FUNCTIONS_COUNT = 25
THREAD_SECONDS_MIN = 0.01


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asks for."""

    rows: Sequence[str]
    size: Size
    as_json: bool
    parent: Path | None
    profiles: Path | None


def parse(arguments: Sequence[str], profiles: Path) -> Wanted:
    """Reads the command line; `profiles` is where profiles would go."""
    names = "\n".join(f"  {row.name:10}{row.what}" for row in ROWS.values())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures this machine: each figure beside a floor, the same gRPC stack with nothing behind it.",
        epilog=f"rows:\n{names}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", metavar="A,B", help="only these rows; default: all")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="little of everything: that it runs, not how fast")
    size.add_argument("--full", action="store_true", help="1 GiB past a stalled follower, a million queued jobs")
    parser.add_argument("--json", action="store_true", help="for machines")
    parser.add_argument(
        "--data", type=Path, metavar="FOLDER", help="measure the disk under it; default: the temporary folder"
    )
    parser.add_argument(
        "--profile", metavar="ROW", choices=list(ROWS), help="only this row, and the server's functions by own CPU time"
    )
    given = parser.parse_args(arguments)
    rows = [given.profile] if given.profile else given.rows.split(",") if given.rows else list(ROWS)
    unknown = [name for name in rows if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
    chosen = QUICK if given.quick else FULL if given.full else DEFAULT
    return Wanted(rows, chosen, given.json, given.data, profiles if given.profile else None)


async def measure(wanted: Wanted) -> Report:
    """Measures every row. Raises ProcessFailed."""
    started = time.monotonic()
    figures: list[Figure] = []
    async with Processes(wanted.parent) as processes, floors(processes) as bare:
        with telling(len(wanted.rows)) as progress:
            bench = Bench(Launcher(processes, wanted.profiles), bare, wanted.size, progress.step)
            for name in wanted.rows:
                progress.begin(name)
                figures += await ROWS[name].measure(bench)
                progress.done()
    disk = bare.disk
    return Report(
        wanted.size.name, time.monotonic() - started, figures, bare.measured, disk.millis(50), disk.millis(99)
    )


async def interruptible(wanted: Wanted) -> Report:
    """As `measure`; SIGTERM ends it as SIGINT does, so that nothing is left behind."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measure(wanted)


def show_profiles(folder: Path) -> None:
    """What each thread took, and the functions that took most, over all servers of the row."""
    files = sorted(path for path in folder.iterdir())
    if not files:
        print("bench: the server left no profile", file=sys.stderr)
        return
    threads: defaultdict[str, float] = defaultdict(float)
    for path in files:
        threads[path.suffix[1:]] += pstats.Stats(str(path)).get_stats_profile().total_tt
    taken = ", ".join(f"{name} {seconds:.2f}" for name, seconds in threads.items() if seconds >= THREAD_SECONDS_MIN)
    print(f"\nCPU seconds of the server, under the profile as the figures above: {taken}", file=sys.stderr)
    stats = pstats.Stats(*map(str, files), stream=sys.stderr).strip_dirs()
    stats.sort_stats(pstats.SortKey.TIME).print_stats(PROFILE_FUNCTIONS_COUNT)


def main() -> int:
    """Returns the exit status: whether everything could be measured, never how fast it was."""
    with tempfile.TemporaryDirectory(prefix="headrace-profile-") as profiles:
        wanted = parse(sys.argv[1:], Path(profiles))
        try:
            report = uvloop.run(interruptible(wanted))
        except ProcessFailed as error:
            print(f"bench: {error}", file=sys.stderr)
            return EXIT_FAILED
        except (KeyboardInterrupt, asyncio.CancelledError):
            return EXIT_INTERRUPTED
        if wanted.as_json:
            print(report.as_json())
        else:
            console = Console()
            console.width = max(console.width, TABLE_COLUMNS_MIN)
            report.show(console)
        if wanted.profiles is not None:
            show_profiles(wanted.profiles)
    return 0


if __name__ == "__main__":
    sys.exit(main())
