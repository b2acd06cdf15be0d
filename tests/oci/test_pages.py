"""Pagination: n, last and Link."""

import pytest

from chalicelib.oci.errors import RegistryError
from chalicelib.oci.pages import LARGEST, Page, PageRequest, page_link


@pytest.mark.parametrize(
    ("query", "size", "last"),
    [
        ({}, LARGEST, ""),
        ({"n": [""]}, LARGEST, ""),
        ({"n": ["0"]}, 0, ""),
        ({"n": ["7"], "last": ["v1"]}, 7, "v1"),
        ({"n": ["1001"]}, LARGEST, ""),
        ({"n": ["9" * 5000]}, LARGEST, ""),
        ({"last": ["a/b.c-d_e"]}, LARGEST, "a/b.c-d_e"),
    ],
)
def test_a_page_is_asked_for(query: dict[str, list[str]], size: int, last: str) -> None:
    assert PageRequest.parse(query) == PageRequest(size, last)


@pytest.mark.parametrize(
    "query", [{"n": ["-1"]}, {"n": ["x"]}, {"n": ["1.5"]}, {"n": ["٣"]}, {"last": ["a\0"]}, {"last": ["x" * 256]}]
)
def test_what_is_no_page_is_refused_with_400(query: dict[str, list[str]]) -> None:
    with pytest.raises(RegistryError, match="UNSUPPORTED") as refused:
        PageRequest.parse(query)

    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("page", "link"),
    [
        (Page(("a", "b"), more=True), {"Link": '</v2/x/tags/list?n=2&last=b>; rel="next"'}),
        (Page(("a", "b"), more=False), {}),
        (Page((), more=True), {}),
    ],
)
def test_a_link_is_there_exactly_where_more_follows(page: Page[str], link: dict[str, str]) -> None:
    assert page_link("/v2/x/tags/list", PageRequest(2), page) == link
