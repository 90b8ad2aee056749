"""Workspaces: what is allowed, what is new, what is kept and what goes."""

import os
from pathlib import Path

import pytest

from headrace.v1 import task_pb2, worker_pb2
from headrace_worker.folders import remove_folder, remove_older_than
from headrace_worker.workspace import WorkspaceRefused, Workspaces

LEASE = worker_pb2.Lease(job_id="job-1", attempt=2)
EMPTY = task_pb2.Workspace()


def folder(path: Path | str) -> task_pb2.Workspace:
    return task_pb2.Workspace(folder=str(path))


def test_x8_empty_workspace_is_new_and_has_its_own_temporary_folder(workspaces: Workspaces) -> None:
    first = workspaces.prepare(LEASE, EMPTY, resumed=False)
    (first.folder / "left").write_text("x")
    second = workspaces.prepare(LEASE, EMPTY, resumed=False)
    assert (first.folder, list(second.folder.iterdir())) == (second.folder, [])
    assert first.temporary != second.temporary
    assert second.folder.stat().st_mode & 0o777 == 0o700


def test_r6_resumed_attempt_finds_the_folder_as_it_was_left(workspaces: Workspaces) -> None:
    first = workspaces.prepare(LEASE, EMPTY, resumed=False)
    (first.folder / "left").write_text("x")
    workspaces.remove(first, keep_folder=True)
    assert not first.temporary.exists()
    assert (workspaces.prepare(LEASE, EMPTY, resumed=True).folder / "left").read_text() == "x"


def test_own_folder_goes_with_the_job_even_when_parts_are_read_only(workspaces: Workspaces) -> None:
    prepared = workspaces.prepare(LEASE, EMPTY, resumed=False)
    inner = prepared.folder / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").write_text("x")
    inner.chmod(0o500)
    inner.parent.chmod(0o500)
    workspaces.remove(prepared, keep_folder=False)
    assert not prepared.folder.exists()


def test_given_folder_is_used_and_never_removed(workspaces: Workspaces, tmp_path: Path) -> None:
    given = tmp_path / "allowed" / "repository"
    given.mkdir()
    prepared = workspaces.prepare(LEASE, folder(given), resumed=False)
    workspaces.remove(prepared, keep_folder=False)
    assert (prepared.folder, given.is_dir()) == (given, True)


def test_a_root_that_is_itself_a_link_works(tmp_path: Path) -> None:
    (tmp_path / "real" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    workspaces = Workspaces(tmp_path / "data", [tmp_path / "link"])
    prepared = workspaces.prepare(LEASE, folder(tmp_path / "link" / "inner"), resumed=False)
    assert prepared.folder == tmp_path / "real" / "inner"


def test_s6_folder_outside_the_roots_is_refused(workspaces: Workspaces, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "allowed-not").mkdir()
    (tmp_path / "allowed" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "allowed" / "file").write_text("x")
    refused: list[Path | str] = [
        "relative",
        "",
        "/\0",
        tmp_path / "outside",
        tmp_path / "allowed-not",
        tmp_path / "allowed" / "missing",
        tmp_path / "allowed" / "link",
        tmp_path / "allowed" / "file",
        f"{tmp_path}/allowed/../outside",
    ]
    for path in refused:
        with pytest.raises(WorkspaceRefused):
            workspaces.prepare(LEASE, folder(path), resumed=False)


def test_job_id_that_is_a_path_is_refused(workspaces: Workspaces) -> None:
    with pytest.raises(WorkspaceRefused):
        workspaces.prepare(worker_pb2.Lease(job_id="../../etc"), EMPTY, resumed=False)


def test_folders_that_are_nested_as_deeply_as_anybody_likes_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        inner = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    remove_folder(top)
    assert not top.exists()


def test_a_link_is_removed_and_what_it_names_is_not(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    remove_folder(tmp_path / "link")
    assert os.listdir(tmp_path) == ["target"]


def test_old_folders_go_but_those_that_are_in_use(tmp_path: Path) -> None:
    for name, age in (("old", 100), ("kept", 100), ("new", 1)):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    assert remove_older_than(tmp_path, 50, 1000, frozenset({"kept"})) == ["old"]
    assert sorted(os.listdir(tmp_path)) == ["kept", "new"]
    assert remove_older_than(tmp_path / "missing", 50, 1000, frozenset()) == []
