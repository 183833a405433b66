"""A small site on a cache of a given kind, and what it answers."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from typing import Any

from backends import BACKENDS, Backend
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import re_path
from viewcache import conf, pipeline
from viewcache.decorators import cache_page

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"

NOT_DATABASE = [name for name in BACKENDS if name != "db"]

Respond = Callable[[HttpRequest, int], Any]


class Site:
    """A site with one view at every path, which knows how often it was rendered."""

    def __init__(self, backend: Backend, client: Client) -> None:
        self.backend = backend
        self.client = client
        self.renders = 0

    def get(self, url: str = "/page/", method: str = "GET", **extra: Any) -> Any:
        """A response; ``extra`` as for the test client, ``headers=`` among it."""
        return self.client.generic(method, url, **extra)

    def pages(self, *requests: str | dict[str, Any]) -> list[int]:
        """Which render answers each of these requests: URLs, or headers of ``/page/``."""
        numbers = []
        for request in requests:
            response = self.get(request) if isinstance(request, str) else self.get(headers=request)
            numbers.append(int(response.content))
        return numbers

    def is_cached(self, url: str = "/page/", **extra: Any) -> bool:
        """Is the second of two such requests answered from the cache?"""
        self.get(url, **extra)
        return status(self.get(url, **extra))[0] == "hit"

    # -- What lies in the cache -------------------------------------------------------------------

    def keys(self, response: Any) -> dict[str, str]:
        """The keys of this response's recipe and page, and those of its generations by scope."""
        visit = visit_of(response)
        assert visit.lookup is not None
        assert visit.lookup.key is not None
        scopes = [scope for scope, _ in visit.lookup.scopes]
        named = dict(zip(scopes, conf.site().generation_keys(scopes), strict=True))
        return {"recipe": visit.lookup.recipe_key, "page": visit.lookup.key, **named}

    def entries(self, response: Any) -> dict[str, Any]:
        """What lies under those keys."""
        return self.backend.cache.get_many(self.keys(response).values())

    def put_back(self, entries: dict[str, Any], *kinds: str) -> None:
        """Set entries as they were: those of these kinds, ``r1``, ``p1``, ``g1``."""
        for key, value in entries.items():
            if key.split(".")[1] in kinds:
                self.backend.cache.set(key, value, 600)


class Served:
    """Makes sites."""

    def __init__(self, settings: Any, backend: Backend) -> None:
        self.settings = settings
        self.backend = backend

    def __call__(
        self,
        respond: Respond | None = None,
        *,
        headers: dict[str, str] | None = None,
        per_site: bool = False,
        middleware: Iterable[str] = (),
        timeout: float = 600,
        **options: Any,
    ) -> Site:
        """A site whose view responds so; without a view, with the number of the render."""

        def view(request: HttpRequest, **kwargs: Any) -> Any:
            site.renders += 1
            if respond is not None:
                return respond(request, site.renders)
            return HttpResponse(str(site.renders), headers=headers)

        decorated = view if per_site else cache_page(timeout, **options)(view)
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = [re_path(r"(?s)^.*$", decorated)]
        self.settings.ROOT_URLCONF = module
        self.settings.MIDDLEWARE = [UPDATE, *middleware, FETCH] if per_site else [*middleware]
        site = Site(self.backend, Client(raise_request_exception=False))
        return site

    def keep(self, entries: int) -> None:
        """Have the caches that count their entries keep so many of them."""
        cache = self.settings.CACHES["default"]
        if self.backend.server is None:
            options = {"MAX_ENTRIES": entries}
            self.settings.CACHES = {"default": {**cache, "OPTIONS": options}}

    def asynchronous(self) -> AsyncClient:
        """A client of the same site under ASGI."""
        return AsyncClient()


def visit_of(response: Any) -> pipeline.Visit:
    """This response's way through the cache."""
    visit = pipeline.visit_of(getattr(response, "wsgi_request", None) or response.asgi_request)
    assert visit is not None
    return visit


def status(response: Any) -> tuple[str, str]:
    """What became of it, and why."""
    visit = visit_of(response)
    return visit.status, visit.reason
