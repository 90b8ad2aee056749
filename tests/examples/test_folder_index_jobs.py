"""The folder indexer as jobs of a control plane: progress, refusals, one job for a folder, cancels and lost workers."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import headrace
from e2e.control_plane import ControlPlane
from e2e.story import Story, class_of
from examples.conftest import EXAMPLES, StartWorker
from folder_index.index import opened
from folder_index.submit import submit
from headrace import blocking

WORKER = "folder_index.worker"
FILES_COUNT = 6_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the test's own."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.txt").write_text("The water runs through the headrace.\n")
    return folder


@pytest.fixture
def large(folder: Path) -> Path:
    """A folder that takes seconds."""
    for number in range(FILES_COUNT):
        (folder / f"{number:05}.txt").write_text(f"document {number} " + "of many words " * 300)
    return folder


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """The worker's database."""
    return tmp_path / "index.db"


def program(plane: ControlPlane, index: Path, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs a program of the example as a user does."""
    environment = {
        **plane.environment,
        "PYTHONPATH": str(EXAMPLES),
        "HEADRACE_SERVER": plane.address,
        "FOLDER_INDEX_DATABASE": str(index),
    }
    arguments = [sys.executable, "-m", f"folder_index.{name}", *words]
    return subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_a_folder_is_indexed_with_progress_and_can_be_searched(
    plane: ControlPlane, start_worker: StartWorker, folder: Path, index: Path
) -> None:
    start_worker(WORKER, FOLDER_INDEX_DATABASE=str(index))
    done = program(plane, index, "submit", str(folder))
    assert (done.returncode, done.stdout) == (0, "documents 1, indexed 1, unchanged 0, removed 0, not_text 0\n")
    assert "1 of 1  a.txt" in done.stderr
    again = program(plane, index, "submit", str(folder))
    assert again.stdout == "documents 1, indexed 0, unchanged 1, removed 0, not_text 0\n"

    found = program(plane, index, "search", "headrace", "water")
    assert found.stdout == f"{folder}/a.txt\n    The [water] runs through the [headrace].\n"
    assert program(plane, index, "search", "nothing").returncode == 1


def test_r2_a_folder_that_is_not_there_is_refused_and_never_retried(
    client: blocking.Client, start_worker: StartWorker, index: Path
) -> None:
    start_worker(WORKER, FOLDER_INDEX_DATABASE=str(index))
    story = Story(submit(client, "/no/such/folder")).finish()
    assert (story.state, class_of(story.job.failure), story.job.attempt_count) == ("FAILED", "INVALID", 1)
    assert story.job.failure.message == "there is no folder /no/such/folder"
    assert story.job.spec.retry_policy.max_attempts == 3


def test_s3_two_submits_of_a_folder_are_one_job_until_it_ends(
    client: blocking.Client, start_worker: StartWorker, folder: Path, index: Path
) -> None:
    first = submit(client, str(folder))
    second = submit(client, f"{folder}/../folder/")
    assert (second.id, second.deduplicated, first.deduplicated) == (first.id, True, False)
    start_worker(WORKER, FOLDER_INDEX_DATABASE=str(index))
    first.result()
    assert submit(client, str(folder)).id != first.id


def test_c1_a_running_index_is_cancelled_between_two_batches(
    client: blocking.Client, start_worker: StartWorker, large: Path, index: Path
) -> None:
    start_worker(WORKER, FOLDER_INDEX_DATABASE=str(index))
    job = submit(client, str(large))
    story = Story(job).until_kind("checkpoint")
    job.cancel("enough")
    story.finish()
    assert (story.state, story.steps) == ("CANCELLED", ["INTERRUPT", "TREE_GONE"])
    with opened(index) as left:
        assert 0 < len(left.versions(os.path.realpath(large))) < FILES_COUNT


def test_l6_the_next_attempt_of_a_lost_worker_goes_on_from_its_checkpoint(
    client: blocking.Client, start_worker: StartWorker, large: Path, index: Path
) -> None:
    worker = start_worker(WORKER, FOLDER_INDEX_DATABASE=str(index))
    job = submit(client, str(large))
    story = Story(job).until_kind("checkpoint")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    with opened(index) as left:
        stored_count = len(left.versions(os.path.realpath(large)))
    start_worker(WORKER, FOLDER_INDEX_DATABASE=str(index))
    story.finish()

    assert story.state == "SUCCEEDED", story.job.failure
    assert [event.attempt for event in story.events if event.HasField("attempt_started")] == [1, 2]
    told = [event for event in story.events if event.output.HasField("checkpoint") and event.attempt == 1]
    told_count = told[-1].output.checkpoint.value.struct_value.fields["indexed"].number_value
    value = headrace.Outcome(story.job).value
    assert value["documents"] == value["indexed"] + value["unchanged"] == FILES_COUNT + 1
    assert value["unchanged"] == stored_count - told_count, "only what lies behind the checkpoint is looked at again"
    assert told_count > 0
