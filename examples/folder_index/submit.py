"""Indexes a folder as a job and shows how far it is: `python -m folder_index.submit FOLDER`.

Two submits of one folder are one job: its real path is the job's unique key.
"""

import hashlib
import os
import sys

import headrace
from headrace import blocking
from headrace.v1 import event_pb2

KEY_CHARACTERS_MAX = 256


def key_of(folder: str) -> str:
    """The folder's identity: its real path, or a digest of one that is too long for a key."""
    key = f"folder:{os.path.realpath(folder)}"
    return key if len(key) <= KEY_CHARACTERS_MAX else f"folder:{hashlib.sha256(key.encode()).hexdigest()}"


def submit(client: blocking.Client, folder: str) -> blocking.Job:
    """The job that indexes the folder: a new one, or the one that does so already."""
    return client.submit(
        headrace.handler("index-folder", {"folder": os.path.abspath(folder)}),
        unique_key=headrace.unique_key(key_of(folder), "return-existing"),
        retry_policy=headrace.retry_policy(max_attempts=3),
        labels={"example": "folder-index"},
    )


def follow(job: blocking.Job) -> headrace.Outcome:
    """Shows the job's progress until its end. Raises JobDidNotSucceed."""
    for event in job.events():
        if isinstance(event, event_pb2.Event) and event.output.HasField("progress"):
            note = event.output.progress
            print(f"{note.done:>7} of {note.total or '?'}  {note.message}", file=sys.stderr)
    return job.result()


def run(client: blocking.Client, folder: str) -> int:
    """0 when the folder is indexed. Raises HeadraceError."""
    job = submit(client, folder)
    print(f"job {job.id}{', which was there already' if job.deduplicated else ''}", file=sys.stderr)
    try:
        value = follow(job).value
    except KeyboardInterrupt:
        job.cancel("the caller gave up")
        return 130
    counts = {name: int(value[name]) for name in ("documents", "indexed", "unchanged", "removed", "not_text")}
    print(", ".join(f"{name} {count}" for name, count in counts.items()))
    return 0


def main() -> int:
    """The exit status: 1 when the folder was not indexed, which is said on standard error."""
    if len(sys.argv) != 2:
        print("usage: python -m folder_index.submit FOLDER", file=sys.stderr)
        return 2
    with blocking.connect(os.environ.get("HEADRACE_SERVER", "localhost:7410")) as client:
        try:
            return run(client, sys.argv[1])
        except headrace.HeadraceError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
