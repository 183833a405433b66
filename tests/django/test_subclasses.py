"""Subclasses of our middleware: their hooks run, sync and async, as with Django's."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from viewcache import middleware


class Fetch(middleware.FetchFromCacheMiddleware):
    """The usual way to leave somebody out."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        if request.headers.get("X-Staff"):
            request._cache_update_cache = False  # type: ignore[attr-defined]
            return None
        return super().process_request(request)


class Update(middleware.UpdateCacheMiddleware):
    def process_response(self, request: Any, response: Any) -> Any:
        response["X-Update"] = "sync"
        return super().process_response(request, response)


class AsyncUpdate(Update):
    async def aprocess_response(self, request: Any, response: Any) -> Any:
        response["X-Update"] = "async"
        return await super().aprocess_response(request, response)


class Both(middleware.CacheMiddleware):
    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        return None if request.headers.get("X-Staff") else super().process_request(request)

    def process_response(self, request: Any, response: Any) -> Any:
        response["X-Update"] = "sync"
        if request.headers.get("X-Staff"):
            return response
        return super().process_response(request, response)


def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return HttpResponse(f"staff={request.headers.get('X-Staff')}")


async def aview(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    return view(request)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("chain", "update"),
    [(["Update", "Fetch"], "sync"), (["AsyncUpdate", "Fetch"], "async"), (["Both"], "sync")],
)
def test_hooks_of_a_subclass_run(
    site: Any, chain: list[str], update: str, asynchronous: bool
) -> None:
    client = site.serve(
        aview if asynchronous else view,
        middleware=[f"{__name__}.{name}" for name in chain],
        asynchronous=asynchronous,
    )

    def get(**headers: str) -> Any:
        response = client.get("/a/", headers=headers)
        return asyncio.run(response) if asynchronous else response

    said = update if asynchronous else "sync"
    for staff, is_hit in (("yes", False), ("", False), ("", True), ("yes", False)):
        response = get(X_Staff=staff) if staff else get()
        assert response.content.decode() == f"staff={staff or None}"
        assert response["X-Update"] == said
        assert ("Age" in response) is is_hit


def test_without_hooks_of_its_own_nothing_is_put_into_a_thread() -> None:
    made = middleware.CacheMiddleware(aview)
    assert iscoroutinefunction(made)
    assert not {"aprocess_request", "aprocess_response"} & vars(made).keys()


@pytest.mark.parametrize("prefix", [7, None])
def test_a_prefix_of_keys_is_what_django_formats(site: Any, settings: Any, prefix: Any) -> None:
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = prefix
    client = site.serve(view, per_site=True)
    assert ["Age" in client.get("/a/") for _ in range(3)] == [False, True, True]
