"""What becomes of a question when the worker is not set up for it: no key, no way to the service."""

import headrace
from e2e.control_plane import ControlPlane
from e2e.story import Story, class_of
from examples.conftest import working
from headrace import blocking

WORKER = "messages_api.worker"
QUICK = headrace.retry_policy(max_attempts=2, initial_backoff=0.05, max_backoff=0.1)


def ask(client: blocking.Client, prompt: str) -> Story:
    """The whole story of a job."""
    return Story(client.submit(headrace.handler("ask", {"prompt": prompt}), retry_policy=QUICK)).finish()


def test_a_service_that_can_not_be_reached_is_a_failure_of_the_network(
    plane: ControlPlane, client: blocking.Client
) -> None:
    with working(plane, WORKER, ANTHROPIC_BASE_URL="http://127.0.0.1:9", ANTHROPIC_API_KEY="made-up"):
        story = ask(client, "Are you there?")
    assert (class_of(story.job.failure), story.job.attempt_count) == ("NETWORK", 2)


def test_a_worker_without_a_key_says_so(plane: ControlPlane, client: blocking.Client) -> None:
    with working(plane, WORKER):
        story = ask(client, "Who pays?")
    assert (class_of(story.job.failure), story.job.attempt_count) == ("AUTH", 1)
    assert "ANTHROPIC_API_KEY" in story.job.failure.message
