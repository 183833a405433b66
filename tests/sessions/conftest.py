"""A shop of one session: what is in the cart, who is there, and what changes either."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.conf import settings as django_settings
from django.contrib import messages
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from viewcache import pipeline, queries
from viewcache.decorators import cache_page

ENGINES = ["db", "cached_db", "cache", "file", "signed_cookies"]
#: Those whose sessions the site keeps.
KEPT = ENGINES[:-1]
UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"
INNER = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


def cart(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"cart {','.join(request.session.get('cart', []))}")


async def acart(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"cart {','.join(await request.session.aget('cart', []))}")


def counted(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{User.objects.count()} users, {','.join(request.session['cart'])}")


def add(request: HttpRequest) -> HttpResponse:
    request.session["cart"] = [*request.session.get("cart", []), request.GET["p"]]
    return HttpResponse("added")


async def aadd(request: HttpRequest) -> HttpResponse:
    await request.session.aset("cart", [*await request.session.aget("cart", []), request.GET["p"]])
    return HttpResponse("added")


def who(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"account of {request.user.get_username() or 'nobody'}")


def out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("bye")


def say(request: HttpRequest) -> HttpResponse:
    messages.info(request, request.GET["p"])
    return HttpResponse("said")


def said(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"said {','.join(map(str, messages.get_messages(request)))}")


def shared(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the same for everybody")


VIEWS: dict[str, Callable[..., Any]] = {
    view.__name__: view for view in (cart, acart, counted, add, aadd, who, out, say, said, shared)
}


class Shop:
    """Its visitors' requests, and what became of the last one."""

    def __init__(self, settings: Any, way: str = "site", middleware: tuple[str, ...] = ()) -> None:
        self.is_async = way.startswith("async")
        kept = VIEWS
        if way.endswith("view"):
            names = ("cart", "acart", "who", "said", "shared")
            kept = VIEWS | {name: cache_page(600)(VIEWS[name]) for name in names}
        module = types.ModuleType("urls_of_the_shop")
        module.urlpatterns = [path(f"{name}/", view) for name, view in kept.items()]
        settings.ROOT_URLCONF = module
        inner = [*INNER, *middleware]
        settings.MIDDLEWARE = inner if way.endswith("view") else [UPDATE, *inner, FETCH]
        self.status = self.reason = ""
        self.headers: Any = {}

    def visitor(self) -> Any:
        return AsyncClient() if self.is_async else Client()

    def get(self, client: Any, url: str, method: str = "get") -> str:
        call = getattr(client, method)
        response = async_to_sync(call)(url) if self.is_async else call(url)
        assert response.status_code == 200, response
        self.headers = response.headers
        request = getattr(response, "wsgi_request", None) or response.asgi_request
        visit = pipeline.visit_of(request)
        self.status, self.reason = (visit.status, visit.reason) if visit else ("", "")
        content: bytes = response.content
        return content.decode()

    def settle(self, client: Any, url: str) -> str:
        """Get the page until it is a hit, which is soon."""
        for _ in range(4):
            found = self.get(client, url)
            if self.status == "hit":
                return found
        raise AssertionError(f"{url} is no hit: {self.status} {self.reason}")


@pytest.fixture(autouse=True)
def own_caches(settings: Any, request: pytest.FixtureRequest, tmp_path: Any) -> None:
    if "backend" not in request.fixturenames:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": request.node.nodeid,
                "OPTIONS": {"MAX_ENTRIES": 10_000},
            }
        }
    settings.SESSION_FILE_PATH = str(tmp_path)
    settings.USE_I18N = False
    settings.MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"


@pytest.fixture(params=[False, True], ids=["plain", "TRACK"])
def track(request: pytest.FixtureRequest, settings: Any) -> Iterator[bool]:
    settings.VIEWCACHE = {"TRACK": request.param}
    yield request.param
    queries.disconnect()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, settings: Any, tmp_path: Any) -> str:
    return use_engine(settings, request.param, tmp_path)


@pytest.fixture(params=KEPT)
def kept(request: pytest.FixtureRequest, settings: Any, tmp_path: Any) -> str:
    return use_engine(settings, request.param, tmp_path)


def use_engine(settings: Any, name: str, place: Any) -> str:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{name}"
    if name == "file":
        # It remembers the first place that it was told.
        store().__dict__.get("_storage_path")
        store()._storage_path = str(place)
    return name


def store() -> Any:
    """The class of the engine's sessions."""
    return import_module(django_settings.SESSION_ENGINE).SessionStore


@pytest.fixture
def anna(transactional_db: None) -> User:
    return User.objects.create_user("anna", password="secret")


def key_of(client: Any) -> str:
    value: str = client.cookies[django_settings.SESSION_COOKIE_NAME].value
    return value
