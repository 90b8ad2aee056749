"""Searches what was indexed: `python -m folder_index.search WORD…`. Exit status 1 when nothing is found."""

import os
import sys

from folder_index.index import database_path, opened

LIMIT = 10


def main() -> int:
    """Prints the best documents that hold all the words."""
    words = " ".join(sys.argv[1:])
    if not words:
        print("usage: python -m folder_index.search WORD…", file=sys.stderr)
        return 2
    with opened(database_path(os.environ)) as index:
        found = index.search(words, LIMIT)
    for document in found:
        print(f"{document.path}\n    {document.words}")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
