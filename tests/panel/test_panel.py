"""The panel in the real Django Debug Toolbar."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
import viewcache
from asgiref.sync import async_to_sync
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import include, path
from django.utils.html import strip_tags

pytest.importorskip("debug_toolbar")

pytestmark = pytest.mark.django_db(transaction=True)

TOOLBAR = "debug_toolbar.middleware.DebugToolbarMiddleware"
UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"


def page(request: HttpRequest) -> HttpResponse:
    viewcache.tag(request, "news")
    theme = request.COOKIES.get("theme", "")
    return HttpResponse(f"<html><body>a page {theme}</body></html>")


def private(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("<html><body>mine</body></html>")
    response.set_cookie("a", "b")
    return response


@pytest.fixture(autouse=True)
def site(settings: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "debug_toolbar"]
    module = types.ModuleType("urls_of_a_test")
    module.urlpatterns = [  # type: ignore[attr-defined]
        path("page/", page),
        path("private/", private),
        path("__debug__/", include("debug_toolbar.urls")),
    ]
    sys.modules[module.__name__] = module
    settings.ROOT_URLCONF = module.__name__
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.DEBUG = True
    settings.USE_I18N = False
    settings.VIEWCACHE = {}
    settings.INTERNAL_IPS = ["127.0.0.1"]
    settings.MIDDLEWARE = [TOOLBAR, UPDATE, FETCH]
    settings.DEBUG_TOOLBAR_PANELS = ["viewcache.panels.ViewcachePanel"]
    settings.DEBUG_TOOLBAR_CONFIG = {
        "IS_RUNNING_TESTS": False,
        "RENDER_PANELS": True,
        "SHOW_TOOLBAR_CALLBACK": lambda request: True,
    }
    from debug_toolbar.toolbar import DebugToolbar

    DebugToolbar._panel_classes = None
    yield
    DebugToolbar._panel_classes = None
    del sys.modules[module.__name__]


def shown(response: Any) -> str:
    """The words of the panel."""
    html = response.content.decode()
    assert "ViewcachePanel" in html
    return re.sub(r"\s+", " ", strip_tags(html.replace("<", " <")))


def get(url: str = "/page/", **headers: str) -> str:
    return shown(Client().get(url, headers=headers))


def test_a_miss_and_a_hit() -> None:
    said = get()
    assert "stored" in said
    assert "no page of this URL is known" in said
    assert re.search(r"put \d+ \d+\.\d\d", said)
    said = get()
    assert "hit the page was fresh." in said
    assert re.search(r"fetch \d+ \d+\.\d\d", said)
    assert "put" not in said.split("Round trips")[1]


def test_what_is_in_the_key_and_what_it_expires_by() -> None:
    get(cookie="theme=dark; other=1")
    said = get(cookie="theme=dark; other=1")
    assert "cookie theme dark yes" in said
    assert re.search(r"cookie other \S* ?no", said)
    assert "path:/page/ yes" in said
    viewcache.expire(tag="news")
    said = get(cookie="theme=dark")
    assert "tag:news was expired since" in said


def test_why_it_is_not_stored() -> None:
    assert "the response sets a cookie, so it belongs to one visitor" in get("/private/")


def test_a_page_holds_no_toolbar(settings: Any) -> None:
    get()
    settings.DEBUG_TOOLBAR_CONFIG = {"SHOW_TOOLBAR_CALLBACK": lambda request: False}
    settings.MIDDLEWARE = [UPDATE, FETCH]
    assert Client().get("/page/").content == b"<html><body>a page </body></html>"


def test_what_visitors_send_is_escaped() -> None:
    get(cookie="theme=<script>alert(1)</script>")
    response: Any = Client().get("/page/", headers={"cookie": "theme=<script>alert(1)</script>"})
    panel = response.content.decode().split("ViewcachePanel", 1)[1]
    assert "<script>alert" not in panel


def test_nothing_asked_the_cache(settings: Any) -> None:
    settings.MIDDLEWARE = [TOOLBAR]
    assert "bypass nothing asked the cache" in get()


def test_what_is_not_looked_up_has_no_key_and_no_scopes() -> None:
    said = shown(Client().post("/page/"))
    assert "bypass only GET and HEAD are cached." in said
    assert "path:/page/" not in said


def test_async() -> None:
    response = async_to_sync(AsyncClient().get)
    assert "stored" in shown(response("/page/"))
    assert "hit the page was fresh." in shown(response("/page/"))
