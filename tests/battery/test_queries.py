"""Query strings: what of them is in the key."""

from __future__ import annotations

import random
from typing import Any

import pytest
import viewcache
from battery.served import Served, status
from django.http import HttpResponse, QueryDict
from viewcache import conf


def shows_query(request: Any, number: int) -> HttpResponse:
    return HttpResponse(repr(list(request.GET.lists())).encode("utf-8", "backslashreplace"))


@pytest.mark.case(25, 26)
def test_order(served: Served) -> None:
    site = served()
    assert site.pages("/?a=1&b=2", "/?b=2&a=1") == [1, 2]
    served.settings.VIEWCACHE = {"SORT_QUERY": True}
    assert site.pages("/?a=1&c=2", "/?c=2&a=1") == [3, 3]
    # What has one name keeps its order: getlist() shows it, get() takes the last.
    assert site.pages("/?a=2&a=1", "/?a=1&a=2", "/?a=2&a=1") == [4, 5, 4]
    assert site.pages("/?b=0&a=2&a=1", "/?a=2&b=0&a=1") == [6, 6]


SPELLED = [
    "a=1+b",
    "a=1%20b",
    "%61=1 b",
    "a=%f6",
    "a=%ef%bf%bd",
    "a=%zz",
    "a=%25zz",
    "a=%",
    "a=%u0041",
    "a",
    "a=",
    "=",
    "&&a=&",
    "",
    "a=%c3%a9",
    "a=%C3%A9",
    "a=b=c",
    "a=%26b=1",
    "a&b=1",
    "a=\xe9",
    "a=1;b=2",
    "a=1%3Bb=2",
    "a[]=1",
    "a%5B%5D=1",
    "a=%00",
    "a=%0",
]


@pytest.mark.case(27)
def test_what_django_reads_alike_is_one_page_and_nothing_else_is(served: Served) -> None:
    site = served(shows_query)
    dice = random.Random(27)
    for query in [*SPELLED, *("&".join(dice.sample(SPELLED, 2)) for _ in range(30))]:
        expected = repr(list(QueryDict(query).lists()))
        for _ in range(2):
            body = site.get("/", QUERY_STRING=query).content.decode()
            assert body == expected


@pytest.mark.case(28)
def test_a_semicolon_separates_nothing(served: Served) -> None:
    site = served(shows_query)
    evil = site.get("/?utm_content=x;callback=evil").content
    # The whole value went with the parameter that is ignored, so this is the plain page.
    assert site.get("/").content == evil
    assert site.get("/?callback=evil").content != evil
    assert site.get("/?q=1;callback=evil").content != site.get("/?q=1").content


@pytest.mark.case(29)
def test_ignored_parameters_are_known_by_their_decoded_name(served: Served) -> None:
    site = served()
    plain = site.pages("/")
    for query in (
        "utm%5fsource=1",
        "utm_source=1&utm_source=2",
        "utm_s%00=1",
        "fbclid=",
        "utm_a%5B%5D=1",
        "fbclid&gclid",
    ):
        assert site.pages(f"/?{query}") == plain, query
    for query in ("UTM_SOURCE=1", "xutm_source=1", "fbclid%5B%5D=1", "fbclid2=1", "utm=1"):
        assert site.pages(f"/?{query}") == [site.renders], query


@pytest.mark.case(31)
def test_what_is_not_on_a_list_counts(served: Served) -> None:
    site = served()
    urls = [f"/?{query}" for query in ("", "lang=fr", "page=2", "_i18n=de", "v=1", "utm=x")]
    assert site.pages(*urls, *urls) == [1, 2, 3, 4, 5, 6] * 2


@pytest.mark.case(31)
def test_a_list_of_the_views_own_is_all_that_counts(served: Served) -> None:
    site = served(query=["page"])
    assert site.pages("/?page=1", "/?page=1&x=2", "/?page=2", "/?x=3&page=2") == [1, 1, 2, 2]


@pytest.mark.case(32)
def test_too_many_parameters_are_refused_and_not_stored(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(f"{len(request.GET)} {number}"))
    served.settings.DATA_UPLOAD_MAX_NUMBER_FIELDS = 1_000
    many = "/?" + "&".join(f"a{number}=1" for number in range(1_001))
    assert [site.get(many).status_code for _ in range(2)] == [400, 400]
    assert site.renders == 2
    fine = "/?" + "&".join(f"a{number}=1" for number in range(1_000))
    assert site.is_cached(fine)


@pytest.mark.case(32)
@pytest.mark.parametrize("query", ["a=1&" * 100_000, "a=" + "%41" * 3_500_000, "&" * 1_000_000])
def test_a_query_of_any_size_is_a_short_key(served: Served, query: str) -> None:
    site = served()
    responses = [site.get("/", QUERY_STRING=text) for text in (query, query, query + "b=2")]
    assert [response.content for response in responses] == [b"1", b"1", b"2"]
    assert len(site.keys(responses[0])["page"]) < 100


@pytest.mark.case(33)
def test_a_flood_of_queries_is_bounded_and_one_expiry_ends_it(served: Served) -> None:
    served.settings.VIEWCACHE = {"MEMORY_ENTRIES": 50}
    site = served()
    urls = [f"/?x={number}" for number in range(200)]
    site.pages(*urls)
    assert conf.site().remembered <= 50
    written: list[int] = []
    write = type(site.backend.cache).set_many

    done = viewcache.expire(path="/")
    assert len(done.scopes) == 1, (written, write)
    before = site.renders
    assert site.pages(*urls[:20]) == list(range(before + 1, before + 21))


@pytest.mark.case(34)
def test_a_view_that_prints_the_raw_query_prints_the_first_visitors(served: Served) -> None:
    def prints(request: Any, number: int) -> HttpResponse:
        return HttpResponse(request.META["QUERY_STRING"])

    site = served(prints)
    assert site.get("/?q=1&utm_source=ann").content == b"q=1&utm_source=ann"
    # Known, and said in the documentation; AUDIT tells it of a view.
    assert site.get("/?q=1&utm_source=bob").content == b"q=1&utm_source=ann"
    served.settings.VIEWCACHE = {"IGNORE_QUERY": []}
    for name in ("ann", "bob"):
        query = f"q=2&utm_source={name}"
        assert site.get(f"/?{query}").content.decode() == query


@pytest.mark.case(27)
def test_another_encoding_is_another_page(served: Served) -> None:
    """A view that has Django read the query as Latin-1 gets keys of the raw text."""
    site = served(shows_query)
    bodies = [site.get("/", QUERY_STRING=query).content for query in ("a=%e9", "a=%c3%a9")]
    assert bodies[0] != bodies[1]
    assert status(site.get("/", QUERY_STRING="a=%e9"))[0] == "hit"
