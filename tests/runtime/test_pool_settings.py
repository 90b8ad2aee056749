"""What an operator can set about the pool (Q9)."""

import pytest
from pydantic import ValidationError

from headrace_server.settings import Settings


def test_q9_without_a_minimum_the_slots_are_fixed() -> None:
    assert Settings(workers=6).workers_min is None


def test_q9_bounds_and_pace_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORKERS_MIN": "2", "SCALE_DOWN_SECONDS": "5", "SLOT_MEMORY_BYTES": "1GiB"}.items():
        monkeypatch.setenv(f"HEADRACE_{name}", value)
    settings = Settings(workers=6)
    assert (settings.workers_min, settings.scale_down_seconds, settings.slot_memory_bytes) == (2, 5.0, 1024**3)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"workers": 4, "workers_min": 5}, "5 is more than --workers or HEADRACE_WORKERS, which is 4"),
        ({"workers_min": 0}, "greater than or equal to 1"),
        ({"scale_up_seconds": 90}, "60 is less than HEADRACE_SCALE_UP_SECONDS, which is 90"),
        ({"scale_up_seconds": 9, "scale_down_seconds": 8}, "8 is less than HEADRACE_SCALE_UP_SECONDS, which is 9"),
    ],
)
def test_q9_bounds_that_contradict_each_other_are_refused(values: dict[str, int], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Settings.model_validate(values)


def test_q9_a_minimum_without_a_local_worker_means_nothing() -> None:
    assert Settings(workers=0, workers_min=2).workers == 0
