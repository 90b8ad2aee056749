"""The handler `index-folder`, and a worker that has it: `python -m folder_index.worker [DATA]`.

Its input is `{"folder": PATH}`. It stores in batches and says after each how far it is, so that an attempt that is lost
or cancelled costs a batch: the next one goes on from the checkpoint.
"""

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypedDict

from folder_index.documents import Document, files_of, read_document, version_of
from folder_index.index import Index, database_path, opened
from headrace.worker import BlockingHandlerContext, InvalidInput, Worker

BATCH_COUNT = 100
BATCH_BYTES = 8 * 1024 * 1024

worker = Worker(slots=2)


class Tally(TypedDict):
    """What became of the files so far; it is the checkpoint, and at the end the result."""

    folder: str
    after: str
    """The last file that was dealt with; files are dealt with in the order of their paths."""
    indexed: int
    unchanged: int
    not_text: int
    removed: int


@worker.handler("index-folder")
def index_folder(input: dict[str, Any], context: BlockingHandlerContext) -> dict[str, Any]:
    """Makes the index agree with a folder: new and changed documents go in, others stay, removed ones go out."""
    folder = existing_folder(input.get("folder"))
    tally: Tally = context.last_checkpoint or start_of(folder)
    with opened(database_path(os.environ)) as index:
        context.progress(0, 0, f"looking through {folder}")
        files = files_of(folder)
        known = index.versions(folder)
        gone = known.keys() - set(files)
        index.remove(gone)
        tally["removed"] += len(gone)
        done = 0
        for batch in batches(files):
            context.raise_if_cancelled()
            left = [path for path in batch if path > tally["after"]]
            if left:
                deal_with(left, index, known, tally)
                context.checkpoint(tally)
            done += len(batch)
            context.progress(done, len(files), os.path.relpath(batch[-1], folder))
        return {"documents": len(index.versions(folder)), **tally}


def existing_folder(given: object) -> str:
    """The real path of the folder. Raises InvalidInput: trying again can't help."""
    if not isinstance(given, str) or not os.path.isabs(given):
        raise InvalidInput(f"`folder` has to be an absolute path, not {given!r}", sign="folder")
    folder = os.path.realpath(given)
    if not os.path.isdir(folder):
        raise InvalidInput(f"there is no folder {given}", sign="folder")
    return folder


def start_of(folder: str) -> Tally:
    """Nothing is done yet."""
    return Tally(folder=folder, after="", indexed=0, unchanged=0, not_text=0, removed=0)


def deal_with(paths: Iterable[str], index: Index, known: dict[str, Any], tally: Tally) -> None:
    """Brings a batch of files up to date."""
    documents: list[Document] = []
    for path in paths:
        version = version_of(path)
        if version is not None and known.get(path) == version:
            tally["unchanged"] += 1
        elif version is not None and (document := read_document(path, version)) is not None:
            documents.append(document)
            tally["indexed"] += 1
        else:
            tally["not_text"] += 1
            if path in known:
                index.remove([path])
        tally["after"] = path
    index.store(documents)


def batches(files: list[str]) -> Iterator[list[str]]:
    """The files in order, some at a time."""
    batch: list[str] = []
    size = 0
    for path in files:
        version = version_of(path)
        batch.append(path)
        size += version.size if version else 0
        if len(batch) == BATCH_COUNT or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def main() -> None:
    """Works until it is ended."""
    logging.basicConfig(level=logging.INFO)
    worker.server = os.environ.get("HEADRACE_SERVER", worker.server)
    if len(sys.argv) > 1:
        worker.data = Path(sys.argv[1])
    worker.run()


if __name__ == "__main__":
    main()
