"""A worker made of bytes: opens the two lanes by hand and says whatever a test gives it, sound or not.

Owns the streams. It keeps what the server said, and never judges it.
"""

import queue
import threading
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import grpc

from headrace.v1 import worker_pb2
from headrace.v1 import worker_service_pb2 as pb

Answer = TypeVar("Answer", pb.ConnectResponse, pb.StreamOutputResponse)
SECONDS = 20.0
PROGRAM = "lane"
"""What its jobs run; nobody else submits such."""
CONNECT = "/headrace.v1.WorkerService/Connect"
STREAM_OUTPUT = "/headrace.v1.WorkerService/StreamOutput"


class Lane(Generic[Answer]):
    """One stream to the server, of bytes as they are."""

    def __init__(self, channel: grpc.Channel, method: str, answer: type[Answer]) -> None:
        self.answers: list[Answer] = []
        self._news = threading.Condition()
        self._ended = False
        self._outgoing: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._call: Any = channel.stream_stream(method, None, answer.FromString)(self._requests(), timeout=SECONDS)
        self._reader = threading.Thread(target=self._read, name="lane-reader", daemon=True)
        self._reader.start()

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self._outgoing.put(message)

    def wait(self, count: int) -> bool:
        """Waits for so many answers in all; false when the stream has ended before."""
        with self._news:
            assert self._news.wait_for(lambda: self._ended or len(self.answers) >= count, SECONDS)
            return len(self.answers) >= count

    def end(self) -> grpc.StatusCode:
        """Waits until the server ends the stream; with which status."""
        with self._news:
            assert self._news.wait_for(lambda: self._ended, SECONDS), "the server goes on with it"
        return self.leave()

    def leave(self) -> grpc.StatusCode:
        """Sends no more; the status that the stream ended with."""
        self._outgoing.put(None)
        self._reader.join(SECONDS)
        assert not self._reader.is_alive(), "the stream did not end"
        code: grpc.StatusCode = self._call.code()
        return code

    def _requests(self) -> Iterator[bytes]:
        while (message := self._outgoing.get()) is not None:
            yield message

    def _read(self) -> None:
        try:
            for answer in self._call:
                with self._news:
                    self.answers.append(answer)
                    self._news.notify_all()
        except grpc.RpcError:
            pass  # its status is asked for by `leave`
        with self._news:
            self._ended = True
            self._news.notify_all()


def hello(
    worker_id: str = "raw", incarnation: str = "1", slots: int = 4, counter: int = 1, program: str = PROGRAM
) -> pb.ConnectRequest:
    """The first message of a sound worker."""
    capabilities = worker_pb2.WorkerCapabilities(executors=["command"], programs=[program])
    return pb.ConnectRequest(
        hello=pb.WorkerHello(
            worker_id=worker_id, incarnation=incarnation, protocol_version=1, slots=slots, capabilities=capabilities
        ),
        renewal=pb.WorkerRenewal(counter=counter),
    )


class RawWorker:
    """A worker with both lanes open."""

    def __init__(self, channel: grpc.Channel, first: pb.ConnectRequest) -> None:
        self.control: Lane[pb.ConnectResponse] = Lane(channel, CONNECT, pb.ConnectResponse)
        self.control.send(first.SerializeToString())
        assert self.control.wait(1), "welcome"
        self.opening = pb.StreamOutputOpen(
            worker_id=first.hello.worker_id,
            incarnation=first.hello.incarnation,
            connection_id=self.control.answers[0].welcome.connection_id,
        )
        self.data: Lane[pb.StreamOutputResponse] = Lane(channel, STREAM_OUTPUT, pb.StreamOutputResponse)
        self.data.send(pb.StreamOutputRequest(open=self.opening).SerializeToString())
        assert self.data.wait(1), "credit"

    def leases(self, count: int) -> list[worker_pb2.Lease]:
        """Waits until so many jobs were assigned; their leases."""
        answers = 1
        while len(found := self._assigned()) < count:
            answers = len(self.control.answers) + 1
            assert self.control.wait(answers), "the lane has ended"
        return found

    def _assigned(self) -> list[worker_pb2.Lease]:
        return [assignment.lease for answer in self.control.answers for assignment in answer.assignments]

    def leave(self) -> tuple[grpc.StatusCode, grpc.StatusCode]:
        """Ends both lanes; how they ended."""
        return self.data.leave(), self.control.leave()
