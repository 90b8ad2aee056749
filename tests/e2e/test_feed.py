"""The feed of a real control plane: readers that resume across kills get all of it, once (E1, E7, L7)."""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator

import headrace
from e2e.control_plane import DEADLINE_SECONDS, ControlPlane
from headrace import blocking
from headrace.v1 import event_service_pb2

StartControlPlane = Callable[..., ControlPlane]
ROUNDS_COUNT = 5
JOBS_COUNT = 20
FILTERS = {"all": "", "cancelled": "type = cancelled", "mine": "labels.round = 3"}


class Reader:
    """Follows the feed on a thread of its own, across whatever happens to the server."""

    def __init__(self, client: blocking.Client, filter: str) -> None:
        self._stream = client.events.follow(filter, scope="namespace", from_beginning=True)
        self._found: queue.SimpleQueue[event_service_pb2.FeedEvent | BaseException] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            for item in self._stream:
                assert isinstance(item, event_service_pb2.FeedEvent), "nothing was removed"
                self._found.put(item)
        except BaseException as error:
            self._found.put(error)

    def until(self, position: int) -> list[event_service_pb2.FeedEvent]:
        """Everything up to a position."""
        found: list[event_service_pb2.FeedEvent] = []
        while not found or found[-1].event.position < position:
            item = self._found.get(timeout=DEADLINE_SECONDS)
            if isinstance(item, BaseException):
                raise item
            found.append(item)
        return found

    def close(self) -> None:
        self._stream.close()
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def readers(client: blocking.Client) -> Iterator[dict[str, Reader]]:
    made = {name: Reader(client, filter) for name, filter in FILTERS.items()}
    try:
        yield made
    finally:
        for reader in made.values():
            reader.close()


def work(plane: ControlPlane, number: int) -> None:
    """Submits jobs and cancels half of them."""
    with plane.connect() as client:
        for place in range(JOBS_COUNT):
            job = client.submit(headrace.handler("nobody"), labels={"round": str(number)})
            if place % 2:
                job.cancel()


def test_e1_readers_of_the_feed_outlive_kills_of_the_control_plane(start_plane: StartControlPlane) -> None:
    plane = start_plane("--workers", "0")
    with plane.connect() as watching, readers(watching) as followed:
        for number in range(ROUNDS_COUNT):
            work(plane, number)
            plane.kill()
            plane.start()
        work(plane, ROUNDS_COUNT)
        with plane.connect() as client:
            log = list(client.events.list(scope="namespace", oldest_first=True, page_size=37))
            newest = list(client.events.list(scope="namespace", page_size=500))
        found = {}
        for name, filter in FILTERS.items():
            wanted = [event for event in log if matches(event, name)]
            found[name] = followed[name].until(wanted[-1].event.position)
            assert found[name] == wanted, filter

    jobs = (ROUNDS_COUNT + 1) * JOBS_COUNT
    assert [event.event.position for event in log] == list(range(1, jobs + jobs // 2 + 1))
    assert newest == log[::-1]
    assert len(found["cancelled"]) == jobs // 2
    assert len(found["mine"]) == JOBS_COUNT + JOBS_COUNT // 2


def matches(event: event_service_pb2.FeedEvent, name: str) -> bool:
    if name == "cancelled":
        return event.event.HasField("cancelled")
    # Rounds follow each other, so the events of one are a stretch of the log.
    each = JOBS_COUNT + JOBS_COUNT // 2
    return name == "all" or 3 * each < event.event.position <= 4 * each
