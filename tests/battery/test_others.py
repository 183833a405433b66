"""What others may do: ask for an expiry, and look at what the cache tells."""

from __future__ import annotations

import pkgutil

import pytest
import viewcache
from battery.served import Served
from django.http import HttpResponse


@pytest.mark.case(84)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_request_expires_nothing(served: Served, method: str) -> None:
    site = served(
        lambda request, number: HttpResponse(
            str(number), headers={"Location": "/page/", "Content-Location": "/page/"}
        )
    )
    assert site.pages({}, {}) == [1, 1]
    assert site.get(method=method).content == b"2"
    assert site.pages({}) == [1]


@pytest.mark.case(85)
def test_a_header_expires_nothing(served: Served) -> None:
    groups = {"Cache-Groups": '"a"', "Cache-Group-Invalidation": '"a"', "Surrogate-Key": "a"}
    site = served(headers=groups)
    assert site.pages("/a/", "/b/", "/a/", "/b/") == [1, 2, 1, 2]


@pytest.mark.case(86)
def test_no_url_expires_anything(served: Served) -> None:
    modules = {module.name for module in pkgutil.iter_modules(viewcache.__path__)}
    assert not modules & {"urls", "views", "api"}
    site = served()
    assert site.pages({}) == [1]
    for method, headers in [
        ("PURGE", {}),
        ("BAN", {"Host": "testserver"}),
        ("GET", {"X-Purge": "1"}),
    ]:
        site.get(method=method, headers=headers)
    assert site.pages({}) == [1]


@pytest.mark.case(87)
def test_nothing_is_told_to_visitors_unless_asked_for(served: Served) -> None:
    site = served()
    for response in (site.get(), site.get()):
        told = {name.lower() for name in response.headers}
        assert told <= {"content-type", "cache-control", "expires", "age"}
    served.settings.VIEWCACHE = {"CACHE_STATUS": "debug"}
    served.settings.DEBUG = False
    for response in (site.get(), site.get()):
        assert "key=" not in response["Cache-Status"]
        assert "path:" not in response["Cache-Status"]


@pytest.mark.case(88)
def test_a_page_of_ones_own_tells_others_nothing(served: Served) -> None:
    """What a visitor with a session has in the cache, others cannot find out by asking for it."""
    site = served(lambda request, number: HttpResponse(request.COOKIES.get("sessionid", "")))
    ann = {"Cookie": "sessionid=ann"}
    site.get(headers=ann)
    for headers in ({}, {"Cookie": "sessionid=bob"}):
        assert "Age" not in site.get(headers=headers)
    assert "Age" in site.get(headers=ann)
