"""A page with 100,000 variants is expired by as many commands as a page with one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import viewcache
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from viewcache.decorators import cache_page
from viewcache.store import Store

if TYPE_CHECKING:
    from backends import Backend

VARIANTS = 100_000
SAMPLE = 1_500
HOWS = ["path", "tree", "expire_view_cache"]


@cache_page(3600)
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"the page of {request.COOKIES['visitor']}")


def visit(visitor: int) -> HttpResponse:
    """As this visitor, whose browser sends its cookies in an order of its own."""
    cookies = [f"visitor={visitor}", "theme=dark", f"_ga={visitor * 7}"]
    random.shuffle(cookies)
    response = page(RequestFactory().get("/page/", HTTP_COOKIE="; ".join(cookies)))
    assert response.content == b"the page of %d" % visitor
    return response


@contextmanager
def in_bulk() -> Iterator[None]:
    """
    Each visitor misses, renders and stores by the real code; only the way to the server is short:
    pages are sent by the thousand, and what all look-ups of the path fetch is fetched once.
    """
    waiting: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    fetch = Store.fetch

    def fetch_once(self: Store, pages: Any, generations: Any) -> dict[str, Any]:
        keys = [key for key in (*pages, *generations) if ".p1." not in key]
        if any(key not in shared for key in keys):
            shared.update(fetch(self, keys, []))
        return {key: shared[key] for key in keys if key in shared}

    def put_later(self: Store, entries: Any) -> None:
        waiting.update({key: value for key, value, _ in entries})
        if len(waiting) >= 1000:
            send()

    def send() -> None:
        cache.set_many(waiting, 3600)
        waiting.clear()

    with mock.patch.object(Store, "fetch", fetch_once), mock.patch.object(Store, "put", put_later):
        yield
    send()


def cost(backend: Backend, how: str) -> Any:
    """The commands that the server counts for one expiry."""
    with backend.counting() as sent:
        if how == "path":
            viewcache.expire(path="/page/")
        elif how == "tree":
            viewcache.expire(tree="/")
        else:
            assert viewcache.expire_view_cache("/page/").expired
    return sent


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_one_expiry_of_many_variants(backend: Backend, settings: Any) -> None:
    # One visitor after another: nobody has to wait for anybody.
    settings.VIEWCACHE = {"WAIT_SECONDS": 0}
    visit(0)
    assert "Age" in visit(0)
    with_one = {how: cost(backend, how) for how in HOWS}
    assert with_one["path"] == {"set": 1}

    visit(0)
    with in_bulk():
        for visitor in range(1, VARIANTS):
            visit(visitor)
    assert backend.server is not None
    stored = int(backend.server.ask("dbsize").partition(":")[2].split()[0])
    assert stored >= VARIANTS
    visitors = random.sample(range(VARIANTS), SAMPLE)
    assert all("Age" in visit(visitor) for visitor in visitors[:100])

    assert {how: cost(backend, how) for how in HOWS} == with_one
    # Nothing was deleted, and nothing is served.
    assert int(backend.server.ask("dbsize").partition(":")[2].split()[0]) == stored
    assert not any("Age" in visit(visitor) for visitor in visitors)
    # Each of them has a page of its own again.
    assert all("Age" in visit(visitor) for visitor in visitors[:100])
