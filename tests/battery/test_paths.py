"""Paths: what they mean, and what of them an expiry reaches."""

from __future__ import annotations

from typing import Any

import pytest
import viewcache
from battery.served import Served, status
from django.http import HttpResponse


def shows_path(request: Any, number: int) -> HttpResponse:
    return HttpResponse(f"{request.path_info!r} {number}")


@pytest.mark.case(18)
@pytest.mark.parametrize("expired", ["/a/b", "/a%2Fb", "/a%2fb", "http://testserver/a%2Fb?x=1"])
def test_an_encoded_slash_is_a_slash(served: Served, expired: str) -> None:
    site = served()
    assert site.pages("/a%2Fb", "/a/b", "/a%2fb") == [1, 1, 1]
    viewcache.expire(path=expired)
    assert site.pages("/a%2Fb", "/a/b") == [2, 2]


DECEPTIVE = [
    "/account/x.css",
    "/account;.css",
    "/account%00.css",
    "/account%0a.css",
    "/account%23x.css",
    "/account%3fx.css",
    "/account;jsessionid=1",
]


@pytest.mark.case(19)
@pytest.mark.parametrize("path", DECEPTIVE)
def test_a_path_is_not_judged_by_what_it_looks_like(served: Served, path: str) -> None:
    private = served(headers={"Cache-Control": "private"})
    assert private.pages(path, path) == [1, 2]
    site = served()
    assert site.pages(path, "/account", path) == [1, 2, 1]


@pytest.mark.case(20)
def test_the_redirect_to_the_slash_is_no_page(served: Served) -> None:
    site = served(per_site=True, middleware=["django.middleware.common.CommonMiddleware"])
    from django.conf import settings
    from django.urls import path

    settings.ROOT_URLCONF.urlpatterns[:] = [
        path("a/", settings.ROOT_URLCONF.urlpatterns[0].callback)
    ]
    assert [site.get("/a").status_code for _ in range(2)] == [301, 301]
    assert status(site.get("/a"))[0] != "hit"
    assert site.pages("/a/", "/a/") == [1, 1]
    viewcache.expire(path="/a")
    assert site.pages("/a/") == [1]
    viewcache.expire(path="/a/")
    assert site.pages("/a/") == [2]
    for tree in ("/a", "/a/"):
        viewcache.expire(tree=tree)
        assert site.pages("/a/") == [site.renders]
    assert site.renders == 4


ODD = [
    "/%00",
    "/a%00b",
    "/%ff",
    "/%c0%af",
    "/%ed%a0%80",
    "/%F0%9F%98%80",
    "/%0d%0aX: y",
    "/%25",
    "/%2525",
]


@pytest.mark.case(21)
@pytest.mark.parametrize("path", ODD)
def test_odd_bytes_are_bytes_like_any(served: Served, path: str) -> None:
    site = served(shows_path)
    bodies = [site.get(url).content for url in (path, path + "x", path)]
    assert bodies[0] == bodies[2] != bodies[1]
    viewcache.expire(path=path)
    assert site.get(path).content != bodies[0]
    assert site.get(path + "x").content == bodies[1]


@pytest.mark.case(21)
def test_nothing_ends_at_a_nul(served: Served) -> None:
    site = served()
    assert site.pages("/a", "/a%00", "/a%00b", "/a") == [1, 2, 3, 1]
    assert site.pages("/a?q=%00", "/a?q=%00b", "/a?q=") == [4, 5, 6]


@pytest.mark.case(21)
def test_text_that_is_no_text_is_past_the_cache(served: Served) -> None:
    site = served()
    for extra in ({"QUERY_STRING": "a=\udcff"}, {"HTTP_COOKIE": "a=\udcff"}):
        response = site.get(**extra)
        assert response.status_code == 200
    # Paths cannot have any: Django's handlers percent-encode what is no UTF-8.
    assert site.pages("/page/", "/page/")[1] == site.renders


@pytest.mark.case(22)
@pytest.mark.parametrize("size", [8_192, 65_536, 1_000_000])
def test_long_urls(served: Served, size: int) -> None:
    site = served()
    assert status(site.get("/" + "x" * size)) == ("bypass", "path too long")
    url = "/a/?q=" + "x" * size
    numbers = site.pages(url, url, url + "y")
    assert numbers[0] == numbers[1] != numbers[2]
    assert all(len(key) <= 100 for key in site.keys(site.get(url)).values())


@pytest.mark.case(23)
@pytest.mark.parametrize("target", ["http://other.example/a", "*", "//other.example/a", "a"])
def test_odd_request_targets(served: Served, target: str) -> None:
    site = served(
        lambda request, number: HttpResponse(f"{request.get_host()} {request.path}"), per_site=True
    )
    for _ in range(2):
        response = site.get(PATH_INFO=target)
        # Django's resolver knows paths that begin with a slash.
        assert response.status_code == 404 or response.content == b"testserver " + target.encode()
    assert site.get("/a").content == b"testserver /a"


@pytest.mark.case(24)
def test_trees_end_at_slashes(served: Served) -> None:
    site = served()
    urls = ["/blog", "/blog/", "/blog/1", "/blog/1/2/", "/blogger", "/x/blog/", "/"]
    first = dict(zip(urls, site.pages(*urls), strict=True))
    for tree, reached in {
        "/blog": urls[:4],
        "/blog/": urls[:4],
        "/blog/1": ["/blog/1", "/blog/1/2/"],
        "/log/": [],
        "/": urls,
    }.items():
        before = dict(zip(urls, site.pages(*urls), strict=True))
        viewcache.expire(tree=tree)
        after = dict(zip(urls, site.pages(*urls), strict=True))
        assert [url for url in urls if before[url] != after[url]] == reached
    assert first.keys() == set(urls)
