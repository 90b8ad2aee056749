"""Resources add up, and fit or don't."""

import pytest

from headrace_server.core.resources import NOTHING, ONE_SLOT, Resources, total


def test_q5_resources_add_up() -> None:
    assert total([ONE_SLOT, Resources(2, 100, 500), Resources(1, 1, 1)]) == Resources(4, 101, 501)
    assert total([]) == NOTHING
    assert Resources(3, 10, 20) * 2 == Resources(6, 20, 40)
    assert Resources(3, 10, 20) - Resources(1, 4, 5) == Resources(2, 6, 15)


@pytest.mark.parametrize(
    ("needed", "fits"),
    [
        (ONE_SLOT, True),
        (Resources(4, 100, 1000), True),
        (Resources(5), False),
        (Resources(1, 101), False),
        (Resources(1, 0, 1001), False),
    ],
)
def test_q5_each_resource_has_to_be_there(needed: Resources, fits: bool) -> None:
    assert needed.fits_in(Resources(4, 100, 1000)) is fits


def test_q5_what_declares_nothing_fits_where_nothing_but_a_slot_is_free() -> None:
    assert ONE_SLOT.fits_in(Resources(1, -5, -5))
