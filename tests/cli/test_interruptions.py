"""What a reader is told when a stream breaks off and is opened again."""

import grpc
import pytest

from headrace import errors
from headrace.cli.narration import interruption_line


@pytest.mark.parametrize(
    ("cause", "told"),
    [
        (errors.ConnectionFailed("localhost:7410", "the stream was cut"), "connection lost: the stream was cut"),
        (
            errors.TooManyCalls(errors.Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "you have 2 streams open")),
            "refused: you have 2 streams open",
        ),
    ],
)
def test_a_server_without_room_is_not_a_lost_connection(cause: errors.HeadraceError, told: str) -> None:
    assert interruption_line(cause) == told
