"""``BROWSER_SECONDS``: what browsers are told of a page that the cache keeps for longer."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import pytest
import viewcache
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.template.response import TemplateResponse
from django.utils.http import parse_http_date
from viewcache import conf
from viewcache.decorators import cache_page


@pytest.fixture(autouse=True)
def _timeouts(settings: Any) -> None:
    settings.CACHE_MIDDLEWARE_SECONDS = 600
    settings.VIEWCACHE = {"BROWSER_SECONDS": 0}


def ages(response: Any) -> tuple[str, bool]:
    """What the response tells a browser; is it old at once by ``Expires``, too?"""
    expires = response.headers.get("Expires")
    return (
        response.headers.get("Cache-Control", ""),
        expires is None or parse_http_date(expires) <= time.time() + 1,
    )


@pytest.mark.parametrize("per_site", [True, False])
def test_the_cache_keeps_what_browsers_ask_for_each_time(
    site: Any, counted: Any, per_site: bool
) -> None:
    view = counted()
    client = site.serve(view if per_site else cache_page(300)(view), per_site=per_site)
    for _ in range(3):
        response = client.get("/page/")
        assert (response.content, ages(response)) == (b"1", ("max-age=0", True))
    viewcache.expire(path="/page/")
    assert client.get("/page/").content == b"2"


def test_a_decorated_view_within_the_middleware(site: Any, counted: Any) -> None:
    client = site.serve(cache_page(300)(counted()), per_site=True)
    for _ in range(3):
        response = client.get("/page/")
        assert (response.content, ages(response)) == (b"1", ("max-age=0", True))


def test_why_a_page_is_not_stored_is_told_by_the_decorator_within(
    site: Any, settings: Any, counted: Any
) -> None:
    settings.VIEWCACHE = {"BROWSER_SECONDS": 0, "CACHE_STATUS": True}
    client = site.serve(cache_page(300)(counted()), per_site=True)
    response = client.get("/page/", headers={"authorization": "Basic YTpi"})
    assert 'detail="Authorization"' in response.headers["Cache-Status"]
    assert ages(response) == ("max-age=0", True)


def test_a_response_that_renders_later(site: Any, settings: Any, counted: Any) -> None:
    from django.template import engines

    template = engines["django"].from_string("{{ count }}")
    client = site.serve(
        cache_page(300)(
            counted(lambda request, count: TemplateResponse(request, template, {"count": count}))
        )
    )
    for _ in range(2):
        response = client.get("/page/")
        assert (response.content, ages(response)) == (b"1", ("max-age=0", True))


@pytest.mark.parametrize("said", ["max-age=60", "public, max-age=60"])
def test_what_the_view_says_comes_first(site: Any, counted: Any, said: str) -> None:
    client = site.serve(counted(Cache_Control=said), per_site=True)
    for _ in range(2):
        assert ages(client.get("/page/"))[0] == said


def test_seconds_and_the_pages_own_end(site: Any, settings: Any, counted: Any) -> None:
    settings.VIEWCACHE = {"BROWSER_SECONDS": 30}
    client = site.serve(counted(), per_site=True)
    assert ages(client.get("/page/"))[0] == "max-age=30"
    settings.VIEWCACHE = {"BROWSER_SECONDS": 10_000}
    client = site.serve(counted(), per_site=True)
    assert ages(client.get("/other/"))[0] == "max-age=600"


def test_the_moment_that_a_page_ends_is_no_later(site: Any, settings: Any, counted: Any) -> None:
    settings.USE_TZ = False

    def ends(request: Any, count: int) -> HttpResponse:
        viewcache.expires_at(request, datetime.now() + timedelta(seconds=100))
        return HttpResponse(str(count))

    client = site.serve(counted(ends), per_site=True)
    for _ in range(2):
        response = client.get("/page/")
        assert (response.content, ages(response)[0]) == (b"1", "max-age=0")


def test_browsers_are_told_of_no_stale_window(site: Any, settings: Any, counted: Any) -> None:
    settings.VIEWCACHE = {"BROWSER_SECONDS": 0, "STALE_WHILE_REVALIDATE": 30}
    client = site.serve(counted(), per_site=True)
    assert ages(client.get("/page/"))[0] == "max-age=0"


def test_as_django_without_it(site: Any, settings: Any, counted: Any) -> None:
    settings.VIEWCACHE = {}
    client = site.serve(counted(), per_site=True)
    assert ages(client.get("/page/")) == ("max-age=600", False)


@pytest.mark.parametrize("wrong", [-1, True, "0", 1.5])
def test_a_value_of_the_wrong_kind(settings: Any, wrong: Any) -> None:
    settings.VIEWCACHE = {"BROWSER_SECONDS": wrong}
    with pytest.raises(ImproperlyConfigured, match="a whole number of seconds"):
        conf.get()
