"""A site whose visitors have sessions, and views that are cached in each of the ways."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django import VERSION
from django.contrib.messages import constants
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from slots import pieces
from viewcache import pipeline
from viewcache.decorators import cache_page

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"
BETWEEN = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
WAYS = ["site", "view", "both", "async site", "async view"]


class Served:
    """A view that is served, and how often it was called."""

    def __init__(self) -> None:
        self.count = 0
        self.asynchronous = False

    def visitor(self, **session: Any) -> Visitor:
        client: Any = AsyncClient() if self.asynchronous else Client(enforce_csrf_checks=True)
        if self.asynchronous:
            client.handler.enforce_csrf_checks = True
        visitor = Visitor(client, self.asynchronous)
        if session:
            kept = client.session
            kept.update(session)
            kept.save()
            client.cookies["sessionid"] = kept.session_key
        return visitor


class Visitor:
    """A browser: it keeps its cookies."""

    def __init__(self, client: Any, asynchronous: bool) -> None:
        self.client = client
        self.asynchronous = asynchronous

    def get(self, url: str = "/page/", method: str = "get", *args: Any, **extra: Any) -> Any:
        send = getattr(self.client, method)
        response = (async_to_sync(send) if self.asynchronous else send)(url, *args, **extra)
        response.visit = pipeline.visit_of(
            getattr(response, "wsgi_request", None) or response.asgi_request
        )
        if response.streaming and response.is_async:

            async def read() -> bytes:
                return b"".join([chunk async for chunk in response.streaming_content])

            response.body = async_to_sync(read)()
        elif response.streaming:
            response.body = b"".join(response.streaming_content)
        else:
            response.body = response.content
        # Whatever it was and whatever became of it: no marker reaches anybody.
        assert b"viewcacheslot" not in response.body.lower()
        assert not any("viewcacheslot" in value.lower() for _, value in response.items())
        return response

    def text(self, *args: Any, **extra: Any) -> str:
        return str(self.get(*args, **extra).body.decode())


@pytest.fixture
def templates(settings: Any) -> dict[str, str]:
    """The templates of the site, by name."""
    found: dict[str, str] = {}
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", found)],
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.messages.context_processors.messages",
                    *(["django.template.context_processors.csp"] if VERSION >= (6,) else []),
                ],
            },
        }
    ]
    return found


@pytest.fixture
def serve(settings: Any, request: pytest.FixtureRequest) -> Iterator[Callable[..., Served]]:
    """A function that serves one view, cached in one of the ways."""
    memory = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": request.node.nodeid,
    }
    settings.CACHES = {"default": memory, "sessions": {**memory, "LOCATION": "sessions"}}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    settings.SESSION_CACHE_ALIAS = "sessions"
    settings.VIEWCACHE = {}
    settings.USE_I18N = False
    settings.DEBUG = False
    settings.MESSAGE_LEVEL = constants.DEBUG
    pieces.calls.clear()
    pieces.fails = False

    def serve(
        respond: Callable[[HttpRequest], Any],
        way: str = "site",
        middleware: list[str] | None = None,
        between: list[str] | None = None,
        decorate: Callable[[Any], Any] | None = None,
        handlers: dict[str, Any] | None = None,
    ) -> Served:
        served = Served()
        served.asynchronous = "async" in way

        def view(request: HttpRequest) -> Any:
            served.count += 1
            return respond(request)

        async def aview(request: HttpRequest) -> Any:
            served.count += 1
            return respond(request)

        made: Any = aview if served.asynchronous else view
        if decorate is not None:
            made = decorate(made)
        if "site" not in way:
            made = cache_page(60)(made)
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = [  # type: ignore[attr-defined]
            path("page/", made),
            path("post/", lambda request: HttpResponse("posted")),
        ]
        vars(module).update(handlers or {})
        settings.ROOT_URLCONF = module
        inner = [*BETWEEN, *(between or [])]
        per_site = way in ("site", "both", "async site")
        settings.MIDDLEWARE = middleware or ([UPDATE, *inner, FETCH] if per_site else inner)
        return served

    yield serve
    pieces.fails = False


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)
