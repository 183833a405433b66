"""``VIEWCACHE["SETTLE_SECONDS"]``: after an expiry pages are served and not stored for a while."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

import pytest
import viewcache
from asgiref.sync import async_to_sync
from blog.models import Tag
from django.db import connections
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from viewcache import conf, queries
from viewcache.decorators import cache_page
from viewcache.generations import CLOSED
from viewcache.store import Store
from viewcache.visit import visit_of

if TYPE_CHECKING:
    from backends import Backend

URL = "/page/a/"


class Site:
    """A page that says how often it was made, and tags itself."""

    def __init__(self, settings: Any) -> None:
        self.count = 0
        self.during: Any = None

        def view(request: Any, **kwargs: Any) -> HttpResponse:
            self.count += 1
            if self.during is not None:
                self.during()
            viewcache.tag(request, "t")
            return HttpResponse(str(self.count))

        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = [path("page/<path:anything>", cache_page(600)(view))]  # type: ignore[attr-defined]
        settings.ROOT_URLCONF = module
        settings.MIDDLEWARE = []
        settings.USE_I18N = False
        settings.VIEWCACHE = {"SETTLE_SECONDS": 3600}

    def get(self, url: str = URL) -> tuple[str, str, str]:
        response: Any = Client().get(url)
        visit = visit_of(response.wsgi_request)
        assert visit is not None
        return response.content.decode(), visit.status, visit.reason


@pytest.fixture
def site(settings: Any, request: pytest.FixtureRequest) -> Site:
    if "backend" not in request.fixturenames:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": request.node.nodeid,
            }
        }
    return Site(settings)


def settle(*scopes: str) -> None:
    """Its time is over: the cache forgets the mark, as it forgets anything."""
    for key in conf.site().generation_keys(list(scopes)):
        assert Store().generations.get(key) == CLOSED
        Store().generations.delete(key)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", ["path:/page/a/", "tree:/", "tag:t"])
def test_after_an_expiry_pages_are_served_and_not_stored(
    site: Site, backend: Backend, scope: str
) -> None:
    assert [site.get()[1] for _ in range(2)] == ["stored", "hit"]
    kind, _, name = scope.partition(":")
    viewcache.expire(**{kind: name})
    assert site.get() == ("2", "miss", "closed")
    assert site.get() == ("3", "miss", "closed")
    if scope == "path:/page/a/":
        assert site.get("/page/b/")[1] == "stored"
    settle(*([scope] if kind != "tree" else ["tree:/", "path:/"]))
    assert [site.get()[1] for _ in range(2)] == ["stored", "hit"]


def test_it_ends_by_itself(site: Site, redis_server: Any, settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis_server.location,
        }
    }
    viewcache.expire(path=URL)
    viewcache.expire(tag=["a", "b"])
    keys = conf.site().generation_keys(["path:/page/a/", "tag:a", "tag:b"])
    told = [redis_server.ask(f"ttl {Store().generations.make_key(key)}") for key in keys]
    assert all(0 < int(line.partition(":")[2].split()[0]) <= 3601 for line in told)


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_a_hit_costs_no_more(site: Site, backend: Backend) -> None:
    site.get()
    with backend.counting() as sent:
        assert site.get()[1] == "hit"
    assert sent == {"mget": 1}


def test_what_opens_while_a_page_is_made_opens_for_the_next(site: Site) -> None:
    """The page may have read its data from a replica before."""
    viewcache.expire(path=URL)
    site.during = lambda: settle("path:/page/a/")
    assert site.get()[1:] == ("miss", "closed")
    site.during = None
    assert site.get()[1] == "stored"


def test_async(site: Site) -> None:
    get = async_to_sync(AsyncClient().get)
    get(URL)
    assert get(URL).content == b"1"
    async_to_sync(viewcache.aexpire)(path=URL)
    assert [get(URL).content for _ in range(2)] == [b"2", b"3"]
    settle("path:/page/a/")
    assert [get(URL).content for _ in range(2)] == [b"4", b"4"]


@pytest.mark.django_db(transaction=True)
def test_rows_that_settle_are_not_renewed(site: Site, settings: Any) -> None:
    settings.VIEWCACHE = {"SETTLE_SECONDS": 3600, "TRACK": True}
    try:
        Tag.objects.create(name="a", slug="a")
        site.during = lambda: list(Tag.objects.all())
        closed = [scope for scope in ("table:blog_tag", "rows:blog_tag") if _is_closed(scope)]
        assert closed
        assert [site.get()[2] for _ in range(3)] == ["closed"] * 3
        assert all(_is_closed(scope) for scope in closed)
    finally:
        queries.disconnect()
        connections["default"].close()


def _is_closed(scope: str) -> bool:
    [key] = conf.site().generation_keys([scope])
    return bool(Store().generations.get(key) == CLOSED)


@pytest.mark.parametrize("given", [-1, "1", None, True])
def test_a_value_that_is_no_number_of_seconds(settings: Any, given: Any) -> None:
    settings.VIEWCACHE = {"SETTLE_SECONDS": given}
    with pytest.raises(Exception, match="expected a number of seconds, 0 or more"):
        conf.get()
