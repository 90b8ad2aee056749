"""The entry point of the `headrace` command: decides who reads the arguments, and says what is missing to do so."""

from __future__ import annotations

import importlib
import os
import sys

from headrace.cli import launch


def main() -> None:
    """Runs the command that the arguments name, and exits with its status."""
    if len(sys.argv) > 1 and sys.argv[1] in launch.PROGRAMS:
        launch.launch(sys.argv[1], sys.argv[2:])
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        app = importlib.import_module("headrace.cli.app").app
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] not in ("typer", "rich"):
            raise
        sys.exit(f"headrace: the command needs {error.name}: pip install 'headrace[cli]'")
    app(prog_name="headrace")


if __name__ == "__main__":
    main()
