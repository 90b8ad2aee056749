"""Stands in for the Messages API where there is no key: serves the tests' scripted model on loopback.

`python -m messages_api.scripted_model FILE` writes its address to the file and serves until it is ended. No model is
asked: it says what a script in the prompt names.
"""

import signal
import sys
from pathlib import Path

from model_server.server import ScriptedModelServer


def main() -> None:
    """Serves until SIGTERM or SIGINT."""
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    with ScriptedModelServer() as server:
        Path(sys.argv[1]).write_text(f"{server.url}\n")
        signal.sigwait(ends)


if __name__ == "__main__":
    main()
