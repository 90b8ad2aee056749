"""Page tokens belong to the list that they continue."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace_server.core.refusal import Reason, Refused
from headrace_server.rpc.page_token import decode_page_token, encode_page_token, page_rows


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.text(max_size=40), max_size=4), st.text(max_size=50))
def test_a_position_comes_back(position: list[int | str], filter_text: str) -> None:
    token = encode_page_token(position, "ListJobs", "default", filter_text)
    assert decode_page_token(token, "ListJobs", "default", filter_text) == position


def test_no_token_means_the_first_page() -> None:
    assert decode_page_token("", "ListJobs") is None


@pytest.mark.parametrize("scope", [("ListJobs", "a", "b"), ("ListJobs", "ab", ""), ("ListQueues", "a", ""), ()])
def test_a_token_of_another_list_is_refused(scope: tuple[str, ...]) -> None:
    token = encode_page_token([1], "ListJobs", "a", "")
    with pytest.raises(Refused) as caught:
        decode_page_token(token, *scope)
    assert caught.value.refusal.reason is Reason.INVALID_TOKEN


@given(st.text(max_size=100))
def test_any_other_text_is_refused(text: str) -> None:
    if text:
        with pytest.raises(Refused) as caught:
            decode_page_token(text, "ListJobs")
        assert caught.value.refusal.reason is Reason.INVALID_TOKEN


@pytest.mark.parametrize(("asked", "given_"), [(0, 50), (1, 1), (500, 500), (501, 500), (2**31 - 1, 500)])
def test_page_sizes(asked: int, given_: int) -> None:
    assert page_rows(asked) == given_
