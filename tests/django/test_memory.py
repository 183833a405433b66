"""What a request holds in memory until its end."""

from __future__ import annotations

import itertools
import threading
import tracemalloc
from typing import Any

import pytest
import viewcache
from backends import Backend
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from viewcache.decorators import cache_page

ALL = pytest.mark.parametrize("backend", ["locmem", "redis", "memcached"], indirect=True)
PAGE = "x" * 500_000


def _kept_by(site: Any, status: str) -> int:
    """Bytes that the request holds, whose response is gone."""
    request = RequestFactory().get("/")
    tracemalloc.start()
    try:
        response = site(request)
        assert response.content.decode().strip("0") == PAGE
        assert request.__dict__["_viewcache"].status == status
        del response
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@ALL
@pytest.mark.parametrize("text", ["", "with a slot"])
def test_a_request_keeps_nothing_of_the_page_that_answers_it(backend: Backend, text: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(PAGE + (viewcache.slot(request, "zero", _zero) if text else ""))

    site = cache_page(60)(view)
    site(RequestFactory().get("/"))
    assert _kept_by(site, "hit") < len(PAGE) / 2


def _zero(request: HttpRequest) -> str:
    return "0"


@ALL
@pytest.mark.parametrize("on_error", [False, True])
def test_nor_of_one_that_is_stale(backend: Backend, on_error: bool) -> None:
    kept: list[int] = []
    calls = itertools.count()

    def view(request: HttpRequest) -> HttpResponse:
        call = next(calls)
        if call == 1 and not on_error:
            # In a thread of its own: it is another visitor.
            thread = threading.Thread(target=lambda: kept.append(_kept_by(site, "stale")))
            thread.start()
            thread.join()
        return HttpResponse(PAGE, status=500 if call and on_error else 200)

    site = cache_page(60, stale_while_revalidate=60, stale_if_error=60)(view)
    site(RequestFactory().get("/"))
    viewcache.expire(path="/", soft=True)
    if on_error:
        kept.append(_kept_by(site, "stale"))
    else:
        site(RequestFactory().get("/"))
    assert len(kept) == 1
    assert kept[0] < len(PAGE) / 2


def test_what_was_checked_is_held_within_bounds(settings: Any) -> None:
    settings.VIEWCACHE = {"MEMORY_BYTES": 3_000_000}
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "checked",
            "TIMEOUT": None,
        }
    }
    site = cache_page(60)(lambda request: HttpResponse(PAGE))
    tracemalloc.start()
    try:
        for number in range(20):
            for _ in range(2):
                site(RequestFactory().get(f"/{number}/"))
        caches["default"].clear()
        assert tracemalloc.get_traced_memory()[0] < 3_500_000
    finally:
        tracemalloc.stop()


@ALL
def test_what_was_let_go_is_no_empty_page(backend: Backend) -> None:
    site = cache_page(60)(lambda request: HttpResponse(PAGE, headers={"X-A": "b"}))
    requests = [RequestFactory().get("/") for _ in range(2)]
    for request in requests:
        site(request)
    lookup = requests[1].__dict__["_viewcache"].lookup
    hit = lookup.hit
    hit.let_go()
    status, _, headers, *_ = hit.head()
    assert (status, dict(headers)["X-A"], hit.size) == (200, "b", len(PAGE))
    assert (hit.slots, hit.tags) == ([], [])
    for ask in (
        lambda: hit.body,
        lambda: hit.ready(0, with_body=True),
        lambda: hit.fill([]),
    ):
        with pytest.raises(ValueError, match="let go"):
            ask()
