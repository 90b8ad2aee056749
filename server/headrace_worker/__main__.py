"""Entry point of `headrace work`, also `python -m headrace_worker`. Nothing else is decided here."""

import os

# Has to be set before grpc is loaded: children are started by exec only, and its fork handlers cost and break things.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
# Lost connections are told by the worker itself, in words.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from headrace_worker.command_line import app

if __name__ == "__main__":
    app(prog_name="headrace work")
