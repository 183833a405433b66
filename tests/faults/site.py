"""A site whose pages show one number, and what the tests hold of it."""

from __future__ import annotations

import contextlib
import types
from typing import Any

import viewcache
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from viewcache import breaker, stampede
from viewcache.decorators import cache_page


class Site:
    """No page is older than the last change whose expiry the cache has acknowledged."""

    def __init__(self, settings: Any) -> None:
        self.data = 0
        self.acknowledged = 0
        self.renders = 0
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = [path("<path:anything>", cache_page(600)(self.view))]
        settings.ROOT_URLCONF = module
        settings.MIDDLEWARE = []
        settings.USE_I18N = False
        self.client = Client()

    def view(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.renders += 1
        return HttpResponse(f"{self.data} " + "x" * int(request.GET.get("size", 0)))

    def get(self, url: str = "/page/") -> bool:
        """Ask; is the answer from the cache?"""
        renders, acknowledged = self.renders, self.acknowledged
        response = self.client.get(url)
        assert response.status_code == 200
        assert int(response.content.split()[0]) >= acknowledged, "an old page"
        return self.renders == renders

    def change(self, url: str = "/page/") -> bool:
        """Change what the page shows and expire it; has the cache acknowledged that?"""
        self.data += 1
        try:
            viewcache.expire(path=url)
        except Exception:  # the cache's client raises what it likes
            return False
        self.acknowledged = self.data
        return True

    def recover(self, url: str = "/page/") -> None:
        """The cache is back: expire what could not be, and be cached again."""
        with contextlib.suppress(Exception):
            # Clients throw broken connections away as they notice them.
            viewcache.expire(path="/nowhere/")
        breaker.reset()
        stampede.passes.clear()
        assert self.change(url)
        self.get(url)
        assert self.get(url)
