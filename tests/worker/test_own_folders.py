"""X8: whatever runs at once has a config folder, a temporary folder and a working folder of its own."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headrace_worker.executors.contract import Outcome, Succeeded
from worker.conftest import FAKE_CLI, QUICK
from worker.session_running import SESSION, SessionWorker, use

OTHER = "0190aaaa-0000-7000-8000-000000000002"
TELL = """
started(); init()
result("\\n".join([os.environ["CLAUDE_CONFIG_DIR"], os.environ["TMPDIR"], os.getcwd()]))
hear()
"""


def folders_of(outcome: Outcome) -> list[Path]:
    assert isinstance(outcome, Succeeded), outcome
    return [Path(line) for line in outcome.result.claude.text.splitlines()]


def test_x8_sessions_and_jobs_share_no_folder(
    tmp_path: Path, attempt_of: Callable[..., Any], base_environment: dict[str, str]
) -> None:
    def make() -> SessionWorker:
        program = (sys.executable, "-c", FAKE_CLI + TELL)
        return SessionWorker(tmp_path, attempt_of, program, {}, base_environment, simulated=False, seconds=QUICK)

    async def main(worker: SessionWorker) -> None:
        jobs = []
        for number in (1, 2):
            job = worker.attempt("hello", job_id=f"one-shot-{number}")
            job.assignment.ClearField("session")
            jobs.append(job)
        outcomes = await asyncio.gather(
            *(worker.executor.run(job) for job in jobs),
            worker.turn("hello", SESSION),
            worker.turn("hello", OTHER),
        )
        told = [folders_of(outcome) for outcome in outcomes]
        data = tmp_path / "data"
        configs = [data / "claude" / f"one-shot-{number}" / "config" for number in (1, 2)]
        configs += [data / "sessions" / session_id / "config" for session_id in (SESSION, OTHER)]
        assert [config for config, _, _ in told] == configs
        assert [folder.name for _, _, folder in told] == ["one-shot-1", "one-shot-2", SESSION, OTHER]
        temporary = {temporary for _, temporary, _ in told}
        assert len(temporary) == 4
        assert {folder.parent for folder in temporary} == {data / "tmp"}

    use(make, main)
