"""Pages that are drawn, served from the cache, and compared with those made without one."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from shop.world import World


class Pages:
    """The same in each process that is asked for the same."""

    def __init__(self, asked: argparse.Namespace, world: World) -> None:
        self.asked = asked
        self.world = world
        self.counts: Counter[str] = Counter()
        self.differences: list[str] = []
        self.pages: list[tuple[str, str, Callable[..., Any], Callable[..., Any]]] = []

    def found(self) -> dict[str, Any]:
        return {"counts": self.counts, "differences": self.differences}

    def open(self, at: int) -> None:
        """Another set of pages: each a few reads after another, cached in one of the ways."""
        from django.db import transaction
        from django.http import HttpRequest, HttpResponse
        from viewcache.decorators import cache_page
        from viewcache.middleware import CacheMiddleware

        random = Random(f"pages {self.asked.seed} {at}")
        self.pages = []
        for number in range(self.asked.pages):
            plan = [self.world.draw(random) for _ in range(random.choice([1, 1, 1, 2, 3]))]

            def view(request: HttpRequest, plan: Any = plan) -> HttpResponse:
                return HttpResponse("\n".join(f"{told} {get()}" for told, get in plan))

            way = random.choice(["site", "view", "both", "atomic", "atomic outside"])
            cached: Any = view
            if way in ("view", "both"):
                cached = cache_page(3600, key_prefix="v" if way == "both" else None)(cached)
            if way == "atomic":
                cached = CacheMiddleware(transaction.atomic(cached))
            elif way == "atomic outside":
                cached = transaction.atomic(cache_page(3600)(cached))
            elif way != "view":
                cached = CacheMiddleware(cached)
            told = f"{way} {[told for told, _ in plan]}"
            self.pages.append((f"/{at}/{number}/", told, view, cached))

    def serve(self) -> None:
        """Serve each page, whatever is on it."""
        for path, _, _, cached in self.pages:
            self._get(path, cached, inside=False)

    def compare(self, after: str) -> None:
        """Serve each page, and make it without the cache: are they the same?"""
        from django.test import RequestFactory
        from viewcache import bindings

        for path, told, view, cached in self.pages:
            served = self._get(path, cached, inside=after.endswith("inside"))
            with bindings.aside():
                wanted = view(RequestFactory().get(path)).content
            self.counts["compared"] += 1
            if served != wanted:
                self.differences.append(f"{after}: {told}: {served!r} is to be {wanted!r}")

    def _get(self, path: str, cached: Callable[..., Any], *, inside: bool) -> bytes:
        from django.core.signals import request_finished, request_started
        from django.test import RequestFactory
        from viewcache import pipeline

        request = RequestFactory().get(path)
        if not inside:
            # Not within a transaction: they close connections.
            request_started.send(sender=None, environ={})
        served: bytes = cached(request).content
        if not inside:
            request_finished.send(sender=None)
        visit = pipeline.visit_of(request)
        assert visit is not None
        self.counts[visit.status] += 1
        if visit.status == "bypass":
            self.counts[f"bypass: {visit.reason}"[:70]] += 1
        return served
