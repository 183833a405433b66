"""A small site for each test: some views, with the cache around them or around the site."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from viewcache import pipeline, signals
from viewcache.decorators import cache_page

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"


@pytest.fixture(autouse=True)
def own_cache(settings: Any, request: pytest.FixtureRequest) -> None:
    """A local memory of its own for each test that asks for no other backend."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
            "OPTIONS": {"MAX_ENTRIES": 10_000},
        }
    }


class Counted:
    """A view whose body says how often it was rendered: ``1``, ``2``, …"""

    def __init__(self, respond: Callable[..., Any] | None = None, **headers: str) -> None:
        self.count = 0
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        self.respond = respond

    def __call__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self.count += 1
        if self.respond is not None:
            return self.respond(request, self.count)
        return HttpResponse(str(self.count), headers=self.headers)

    def coroutine(self) -> Callable[..., Any]:
        """The same view, async."""

        async def view(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return self(request, *args, **kwargs)

        return view


class Site:
    """What a test serves."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def serve(
        self,
        *urls: Any,
        per_site: bool = False,
        middleware: list[str] | None = None,
        asynchronous: bool = False,
    ) -> Any:
        """A client of a site with these URLs; a view alone is served at every path."""
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = [
            path("<path:anything>", url) if callable(url) and not hasattr(url, "pattern") else url
            for url in urls
        ]
        self.settings.ROOT_URLCONF = module
        inner = middleware or []
        self.settings.MIDDLEWARE = [UPDATE, *inner, FETCH] if per_site else inner
        return AsyncClient() if asynchronous else Client()


@pytest.fixture
def site(settings: Any) -> Site:
    settings.USE_I18N = False
    return Site(settings)


#: The ways to cache a view, all of which must do the same.
WAYS = ["site", "view", "both", "async site", "async view"]


@pytest.fixture(params=WAYS)
def cached(request: pytest.FixtureRequest, site: Site) -> Callable[..., Any]:
    """A function that serves a view cached in one of the ways, and returns a function that gets."""
    way: str = request.param

    def serve(view: Any, timeout: float = 60, **options: Any) -> Callable[..., Any]:
        if "async" in way:
            view = view.coroutine()
        if way != "site" and way != "async site":
            view = cache_page(timeout)(view)
        per_site = way != "view" and way != "async view"
        client = site.serve(view, per_site=per_site, **options)

        def get(url: str = "/page/", method: str = "GET", **extra: Any) -> Any:
            return client.generic(method, url, **extra)

        get.client = client  # type: ignore[attr-defined]
        return get

    return serve


def reason(response: Any) -> tuple[str, str]:
    """What became of this response's visit to the cache, and why."""
    visit = pipeline.visit_of(getattr(response, "wsgi_request", None) or response.asgi_request)
    assert visit is not None
    return visit.status, visit.reason


@pytest.fixture
def visit_of() -> Callable[[Any], tuple[str, str]]:
    return reason


@pytest.fixture
def counted() -> type[Counted]:
    return Counted


@pytest.fixture
def expired() -> Iterator[Callable[[], set[str]]]:
    """The scopes that were expired since it was last asked."""
    scopes: set[str] = set()

    def note(sender: object, scopes: Any = (), into: set[str] = scopes, **kwargs: Any) -> None:
        into.update(scopes)

    def told() -> set[str]:
        found = set(scopes)
        scopes.clear()
        return found

    signals.pages_expired.connect(note)
    yield told
    signals.pages_expired.disconnect(note)
