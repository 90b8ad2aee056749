"""The one command of each example, as somebody runs it who has just cloned the repository: it leaves nothing."""

import re
import subprocess
from pathlib import Path

import pytest

from e2e.control_plane import ControlPlane, live_processes, wait_for
from examples.conftest import EXAMPLES
from model_server.server import ScriptedModelServer

SECONDS = 60.0


def run(example: str, environment: dict[str, str], *words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    arguments: list[str | Path] = [EXAMPLES / example / "run", *words]
    return subprocess.run(
        arguments, env=environment, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def assert_nothing_is_left(folder: Path) -> None:
    def left() -> list[str]:
        return [process.line for process in live_processes() if process.mentions(f"{folder}/".encode())]

    wait_for(lambda: not left(), "its processes end", must=False)
    assert left() == []
    assert list((folder / "t").iterdir()) == []


def test_a_folder_is_indexed_and_searched_by_one_command(new_user: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text("water under control")
    done = run("folder_index", new_user, "mine", "control", folder=tmp_path)
    assert (done.returncode, done.stdout.splitlines()[0]) == (
        *(0,),
        "documents 1, indexed 1, unchanged 0, removed 0, not_text 0",
    ), done.stderr
    assert f"{tmp_path}/mine/a.txt" in done.stdout
    assert_nothing_is_left(tmp_path)
    again = run("folder_index", new_user, str(tmp_path / "mine"), "water", folder=tmp_path)
    assert "unchanged 1" in again.stdout, "the index is kept"


def test_without_words_this_repository_is_indexed(new_user: dict[str, str], tmp_path: Path) -> None:
    done = run("folder_index", new_user, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^documents \d{3,}, ", done.stdout)
    assert "[lease]" in done.stdout.lower()


def test_a_folder_that_is_not_there_ends_the_command_with_the_reason(new_user: dict[str, str], tmp_path: Path) -> None:
    done = run("folder_index", new_user, "/no/such/folder", folder=tmp_path)
    assert done.returncode == 1
    assert "INVALID: there is no folder /no/such/folder" in done.stderr
    assert_nothing_is_left(tmp_path)


def test_a_model_is_asked_by_one_command(new_user: dict[str, str], tmp_path: Path, models: ScriptedModelServer) -> None:
    with_key = {**new_user, "ANTHROPIC_API_KEY": "made-up", "ANTHROPIC_BASE_URL": models.url}
    done = run("messages_api", with_key, 'Hello? SCRIPT<<[{"text": "Hello!"}]>>', folder=tmp_path)
    assert (done.returncode, done.stdout) == (0, "Hello!\n"), done.stderr
    assert "10 in / 5 out tokens" in done.stderr
    assert_nothing_is_left(tmp_path)


def test_without_a_key_a_scripted_model_stands_in_and_says_so(new_user: dict[str, str], tmp_path: Path) -> None:
    done = run("messages_api", new_user, folder=tmp_path)
    assert (done.returncode, "Scripted: no model was asked" in done.stdout) == (0, True), done.stderr
    assert "a scripted model on this machine stands in" in done.stderr
    assert_nothing_is_left(tmp_path)


def test_a_question_without_a_key_is_not_answered_by_a_stand_in(new_user: dict[str, str], tmp_path: Path) -> None:
    done = run("messages_api", new_user, "Who", "are", "you?", folder=tmp_path)
    said = "set ANTHROPIC_API_KEY to ask a model; without words, a scripted one on this machine answers\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", said)


def test_an_example_takes_the_control_plane_that_is_named(
    plane: ControlPlane, new_user: dict[str, str], tmp_path: Path
) -> None:
    done = run("messages_api", {**new_user, "HEADRACE_SERVER": plane.address}, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "a control plane of its own" not in done.stderr
    with plane.connect() as client:
        (job_id,) = re.findall(r"^job (\S+)", done.stderr, re.MULTILINE)
        assert client.job(job_id).get().spec.labels == {"example": "messages-api"}


@pytest.mark.parametrize("example", ["folder_index", "messages_api"])
def test_each_example_has_a_readme_with_its_command(example: str) -> None:
    readme = (EXAMPLES / example / "README.md").read_text()
    assert re.search(rf"^examples/{example}/run$", readme, re.MULTILINE)
