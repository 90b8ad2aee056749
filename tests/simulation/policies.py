"""The queues of the simulated world, each with other limits."""

from google.protobuf.duration_pb2 import Duration

from headrace.v1 import queue_pb2
from simulation.clients import SMALL_QUEUE, SMALL_QUEUE_JOBS_MAX

NARROW_QUEUE = "narrow"
FAIR_QUEUE = "fair"
RATED_QUEUE = "rated"
OWNERS = ("ann", "bob", "eve")
KEYS = ("red", "green", "")


def queues() -> list[queue_pb2.Queue]:
    """All that are made when the world begins."""
    by_owner = queue_pb2.Fairness(scope=queue_pb2.FAIRNESS_SCOPE_OWNER, weights={"ann": 3.0, "bob": 0.5})
    return [
        queue_pb2.Queue(name=SMALL_QUEUE, max_queued=SMALL_QUEUE_JOBS_MAX),
        queue_pb2.Queue(name=NARROW_QUEUE, max_concurrency=2, max_concurrency_per_key=1),
        queue_pb2.Queue(name=FAIR_QUEUE, fairness=by_owner, max_concurrency_per_key=2),
        queue_pb2.Queue(
            name=RATED_QUEUE,
            rate_limit=queue_pb2.RateLimit(count=2, period=Duration(seconds=5), burst=3),
            rate_limit_per_key=queue_pb2.RateLimit(count=1, period=Duration(seconds=4)),
        ),
    ]
