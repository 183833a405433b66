"""What a request holds in memory until its end."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import viewcache
from backends import Backend
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from viewcache.decorators import cache_page
from viewcache.middleware import FetchFromCacheMiddleware, UpdateCacheMiddleware

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


# -- What lives on after a request ----------------------------------------------------------------


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What is not freed by itself stays."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _plain(request: Any) -> HttpResponse:
    return HttpResponse("page", headers={"ETag": '"1"'})


def _session(request: Any) -> HttpResponse:
    return HttpResponse(f"page of {request.session.get('name')}")


def _writes(request: Any) -> HttpResponse:
    request.session["name"] = "ann"
    return HttpResponse("page")


def _slot(request: Any) -> HttpResponse:
    return HttpResponse("page" + viewcache.slot(request, "zero", _zero))


def _cookie(request: Any) -> HttpResponse:
    response = HttpResponse(f"page {request.COOKIES.get('theme')}")
    response.set_cookie("theme", "dark")
    return response


def _private(request: Any) -> HttpResponse:
    return HttpResponse("page", headers={"Cache-Control": "private"})


def _broken(request: Any) -> HttpResponse:
    raise ValueError("broken")


#: A view, and how it is asked.
ASKED = [
    (_plain, {}),
    (_plain, {"method": "HEAD"}),
    (_plain, {"headers": {"If-None-Match": '"1"'}}),
    (_plain, {"method": "POST"}),
    (_session, {}),
    (_writes, {}),
    (_slot, {}),
    (_cookie, {"headers": {"Cookie": "theme=light"}}),
    (_private, {}),
    (_broken, {}),
]


def _ask(site: Any, factory: Any, method: str = "GET", **more: Any) -> Callable[[], list[object]]:
    """Asks; then what there is at any time of the request, and of what it was given."""
    request = factory.generic(method, "/", **more)
    try:
        response = site(request)
        if asyncio.iscoroutine(response):
            asyncio.run(response)
    except ValueError:
        pass
    kept = [request, request.__dict__["_viewcache"], request.__dict__.get("_viewcache_reads")]
    there = [weakref.ref(each) for each in kept if each is not None]
    return lambda: [found for each in there if (found := each()) is not None]


@pytest.mark.parametrize(("view", "asked"), ASKED)
@pytest.mark.parametrize("is_tracked", [False, True])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_nothing_of_a_request_lives_on(
    settings: Any,
    view: Callable[[HttpRequest], HttpResponse],
    asked: dict[str, Any],
    is_tracked: bool,
    is_async: bool,
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.VIEWCACHE = {"TRACK": is_tracked}

    async def aview(request: HttpRequest) -> HttpResponse:
        return view(request)

    site: Any = FetchFromCacheMiddleware(aview if is_async else view)
    site = UpdateCacheMiddleware(SessionMiddleware(site))
    factory = AsyncRequestFactory() if is_async else RequestFactory()
    there = [_ask(site, factory, **asked) for _ in range(4)]
    gc.collect()
    # A thread's queries belong to the last page that it has made.
    last = there.pop()()
    assert not last or is_tracked
    assert not [found for request in there if (found := request())]


def test_a_hit_leaves_nothing_to_the_garbage_collector(uncollected: None) -> None:
    site = UpdateCacheMiddleware(FetchFromCacheMiddleware(_plain))
    asked = [_ask(site, RequestFactory()) for _ in range(3)]
    assert not [found for request in asked[1:] if (found := request())]


@pytest.mark.parametrize(("view", "asked"), ASKED)
def test_many_requests_take_the_memory_of_a_few(
    settings: Any, view: Callable[[HttpRequest], HttpResponse], asked: dict[str, Any]
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    site = UpdateCacheMiddleware(SessionMiddleware(FetchFromCacheMiddleware(view)))

    def kept() -> int:
        for _ in range(300):
            _ask(site, RequestFactory(), **asked)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        before = kept()
        assert kept() - before < 300 * 100
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_keeps_its_request_in_the_environ_is_collected(method: str) -> None:
    def keeps(request: HttpRequest) -> HttpResponse:
        request.META["a.middleware"] = request
        return fetch(request)  # type: ignore[return-value]

    fetch = FetchFromCacheMiddleware(_plain)
    site = UpdateCacheMiddleware(keeps)
    for _ in range(3):
        request = _ask(site, RequestFactory(), method)
        gc.collect()
        assert not request()


def test_a_page_whose_slot_is_gone_is_made_for_the_request_that_came(settings: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        page = f"page for {request.META['HTTP_X_A']}" + viewcache.slot(request, "zero", _zero)
        request.META["HTTP_X_A"] = "another"
        return HttpResponse(page, headers={"Vary": "X-A"})

    site = UpdateCacheMiddleware(FetchFromCacheMiddleware(view))
    _ask(site, RequestFactory(), headers={"X-A": "one"})
    settings.SECRET_KEY = "another"
    request = _ask(site, RequestFactory(), headers={"X-A": "one"})
    gc.collect()
    assert not request()
    for value in ("another", "one"):
        response = site(RequestFactory().get("/", headers={"X-A": value}))
        assert response.content.decode() == f"page for {value}0"
    assert "Age" in response.headers
