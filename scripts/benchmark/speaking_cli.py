"""A stand-in for the CLI that says so many words of an answer, one at a pace, each with the time at which it was said.

It speaks as much of the CLI's protocol as the driver needs, and ignores its flags. What it says costs it next to
nothing, so that what is measured is what lies between it and the reader.
"""

import json
import os
import sys
import time
from typing import Any

VERSION = "speaking-1"
DELTAS_VARIABLE = "HEADRACE_SIMULATOR_DELTAS"
"""How many words, and the seconds between two: `100:0.02`. Named so that the worker hands it on."""
SESSION = "00000000-0000-4000-8000-000000000001"


def say(frame: dict[str, Any]) -> None:
    """Writes one frame."""
    sys.stdout.write(json.dumps({**frame, "session_id": SESSION}) + "\n")
    sys.stdout.flush()


def stream(event: dict[str, Any]) -> None:
    """Writes one event of a partial message."""
    say({"type": "stream_event", "event": event, "parent_tool_use_id": None})


def answer(number: int) -> None:
    """One turn: words, then the whole of them, then the result."""
    count, _, pause = os.environ.get(DELTAS_VARIABLE, "100:0.02").partition(":")
    message = {"id": f"message-{number}", "type": "message", "role": "assistant", "model": "bench", "usage": {}}
    say({"type": "system", "subtype": "init", "model": "bench", "cwd": "/", "tools": []})
    stream({"type": "message_start", "message": {**message, "content": []}})
    stream({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    words = []
    for _ in range(int(count)):
        time.sleep(float(pause))
        words.append(f"{time.monotonic_ns()} ")
        delta = {"type": "text_delta", "text": words[-1]}
        stream({"type": "content_block_delta", "index": 0, "delta": delta})
    stream({"type": "content_block_stop", "index": 0})
    stream({"type": "message_stop"})
    whole = "".join(words)
    say({"type": "assistant", "message": {**message, "content": [{"type": "text", "text": whole}]}})
    say({"type": "result", "subtype": "success", "is_error": False, "result": whole, "num_turns": 1, "usage": {}})


def main() -> None:
    """Answers each message until its input ends."""
    if "--version" in sys.argv:
        print(f"{VERSION} (bench)")
        return
    turns = 0
    for line in sys.stdin:
        frame = json.loads(line)
        if frame["type"] == "control_request":
            response = {"subtype": "success", "request_id": frame["request_id"], "response": {}}
            say({"type": "control_response", "response": response})
        elif frame["type"] == "user":
            turns += 1
            answer(turns)


if __name__ == "__main__":
    main()
