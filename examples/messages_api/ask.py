"""Asks a model as a job, and prints its words as they come: `python -m messages_api.ask WORD…`."""

import os
import sys

import headrace
from headrace import blocking
from headrace.v1 import event_pb2


def submit(client: blocking.Client, prompt: str) -> blocking.Job:
    """The job. It tries again after an overload, a rate limit or a broken connection."""
    return client.submit(
        headrace.handler("ask", {"prompt": prompt}),
        retry_policy=headrace.retry_policy(max_attempts=4, initial_backoff=2),
        labels={"example": "messages-api"},
    )


def follow(job: blocking.Job) -> headrace.Outcome:
    """Prints the text as it comes, and on standard error what else happens. Raises JobDidNotSucceed."""
    for event in job.events():
        if not isinstance(event, event_pb2.Event):
            continue
        if event.output.HasField("chunk"):
            sys.stdout.buffer.write(event.output.chunk.data)
            sys.stdout.buffer.flush()
        elif event.HasField("attempt_failed"):
            print(f"\nattempt {event.attempt} failed: {event.attempt_failed.failure.message}", file=sys.stderr)
    print()
    return job.result()


def run(client: blocking.Client, prompt: str) -> int:
    """0 with an answer. Raises HeadraceError."""
    job = submit(client, prompt)
    print(f"job {job.id}", file=sys.stderr)
    try:
        outcome = follow(job)
    except KeyboardInterrupt:
        job.cancel("the caller gave up")
        return 130
    used = outcome.usage
    print(f"{outcome.value['model']}: {used.input_tokens} in / {used.output_tokens} out tokens", file=sys.stderr)
    return 0


def main() -> int:
    """The exit status: 1 without an answer, of which standard error says why."""
    with blocking.connect(os.environ.get("HEADRACE_SERVER", "localhost:7410")) as client:
        try:
            return run(client, " ".join(sys.argv[1:]))
        except headrace.HeadraceError as error:
            print(error, file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
