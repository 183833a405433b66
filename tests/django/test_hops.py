"""Under ASGI: how often a hit leaves the event loop's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest
from backends import Backend
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory
from viewcache import middleware, store

#: Threads in which this backend was asked.
_asked: list[int] = []


class Native(LocMemCache):
    """A backend with an async client of its own."""

    async def aget_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        _asked.append(threading.get_ident())
        return self.get_many(keys, version)

    async def aset(self, *args: Any, **kwargs: Any) -> None:
        self.set(*args, **kwargs)

    async def aadd(self, *args: Any, **kwargs: Any) -> bool:
        return bool(self.add(*args, **kwargs))


@pytest.fixture
def hops(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    counted: list[str] = []
    hop: Callable[..., Any] = store.sync_to_async

    def counting(step: Any, **kwargs: Any) -> Any:
        counted.append(step.__name__)
        return hop(step, **kwargs)

    monkeypatch.setattr(store, "sync_to_async", counting)
    return counted


async def _view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


async def _hit(hops: list[str]) -> int:
    """Hops of the third request, which is a hit."""
    site: Any = middleware.CacheMiddleware(_view)
    for _ in range(3):
        hops.clear()
        response = await site(AsyncRequestFactory().get("/page/"))
    assert "Age" in response.headers
    return len(hops)


def test_a_hit_hops_once_where_the_client_is_sync(backend: Backend, hops: list[str]) -> None:
    if backend.name == "db":
        pytest.skip("its connections are those of Django's own thread")
    needs_none = backend.name in ("locmem", "django-vcache")  # in this process; async by itself
    assert asyncio.run(_hit(hops)) == (0 if needs_none else 1)


def test_a_hit_does_not_hop_where_the_client_is_async(settings: Any, hops: list[str]) -> None:
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Native", "LOCATION": "native"}}
    _asked.clear()
    assert asyncio.run(_hit(hops)) == 0
    assert set(_asked) == {threading.get_ident()}
