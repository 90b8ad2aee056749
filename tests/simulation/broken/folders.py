"""Broken variants of what keeps two jobs out of one folder."""

from headrace_server.store import counters
from headrace_server.store.queueing import folders
from simulation.broken.queueing import Patches


def folder_ignored() -> Patches:
    """Nobody asks who works in a folder."""
    return [(folders, "is_taken", lambda query, folder: False)]


def folder_taken_twice_at_once() -> Patches:
    """Two jobs of a folder may start in one plan."""
    return [(folders.FolderRoom, "take", lambda room, folder: None)]


def freed_folder_stays_parked() -> Patches:
    """What waits for a folder is not looked at when it is free."""
    return [(counters.Counters, "_open_folders", lambda changes, connection, places: None)]
