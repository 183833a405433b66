"""The cache is down: visitors are answered, and no expiry is taken for done."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import viewcache
from backends import Backend, cache_settings, close_connections, is_there
from django.core.cache import caches
from django.db import OperationalError, connection, transaction
from pymemcache.exceptions import MemcacheError
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from servers import Server, installed, running
from viewcache import breaker, conf
from viewcache.decorators import cache_page
from viewcache.store import Store, UnconfirmedError

#: What the clients raise, and what we do where they raise nothing.
DOWN = (OSError, RedisError, MemcacheError, UnconfirmedError)


@pytest.fixture(params=["redis", "memcached"])
def server(request: pytest.FixtureRequest, settings: Any) -> Iterator[Server]:
    """A server of this test's own, which it may stop."""
    if not installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    with running(request.param) as found:
        settings.CACHES = {"default": cache_settings(request.param, found.location)}
        yield found
        close_connections()


def stop(server: Server) -> None:
    server.process.kill()
    server.process.wait()


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    with caplog.at_level(logging.WARNING, "viewcache"):
        yield lambda: [record for record in caplog.records if record.name.startswith("viewcache")]


def test_down_when_looking_up(
    cached: Any, counted: Any, server: Server, visit_of: Any, log: Any
) -> None:
    view = counted()
    get = cached(view)
    assert [get().content for _ in range(2)] == [b"1", b"1"]
    stop(server)
    response = get()
    assert (response.status_code, response.content) == (200, b"2")
    assert visit_of(response)[1].startswith("cache fault")
    [line] = log()
    assert "could not look up a page" in line.getMessage()
    # The cache is left alone for a moment, and the log is, too.
    assert get().content == b"3"
    assert len(log()) == 1


def test_down_when_claiming_generations(
    cached: Any,
    counted: Any,
    server: Server,
    visit_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    claim = Store.claim

    def down(self: Store, entries: Any) -> Any:
        stop(server)
        return claim(self, entries)

    monkeypatch.setattr(Store, "claim", down)
    response = cached(counted())()
    assert response.content == b"1"
    assert visit_of(response)[1].startswith("cache fault")


def test_down_when_storing(
    cached: Any, counted: Any, server: Server, visit_of: Any, log: Any
) -> None:
    from django.http import HttpResponse

    def respond(request: Any, count: int) -> HttpResponse:
        stop(server)
        return HttpResponse("answered", headers={"X-Kept": "yes"})

    response = cached(counted(respond))()
    assert response.content == b"answered"
    assert response["X-Kept"] == "yes"
    assert visit_of(response) == ("bypass", "cache fault")
    assert "could not store a page" in log()[0].getMessage()


def test_down_when_reading_a_tag(site: Any, counted: Any, server: Server, visit_of: Any) -> None:
    from django.http import HttpResponse

    def respond(request: Any, count: int) -> HttpResponse:
        stop(server)
        viewcache.tag(request, "t")
        return HttpResponse("answered")

    response = site.serve(cache_page(60)(counted(respond))).get("/a/")
    assert response.content == b"answered"
    assert visit_of(response) == ("bypass", "cache fault")


def test_a_page_of_before_is_not_served_when_only_its_generations_are_gone(
    site: Any, counted: Any, settings: Any
) -> None:
    """Pages in one cache, generations in another, which loses all it has."""

    locmem = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {
        "default": {"BACKEND": locmem, "LOCATION": "faults-default"},
        "pages": {"BACKEND": locmem, "LOCATION": "faults-pages"},
    }
    client = site.serve(cache_page(600, cache="pages")(counted()))
    assert [client.get("/a/").content for _ in range(2)] == [b"1", b"1"]
    caches["default"].clear()
    assert [client.get("/a/").content for _ in range(2)] == [b"2", b"2"]


@pytest.mark.parametrize("backend", ["db"], indirect=True)
@pytest.mark.django_db(transaction=True)
def test_a_database_that_has_failed_is_tried_by_a_request_itself(
    site: Any,
    counted: Any,
    backend: Backend,
    visit_of: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connections are those of the request's own thread."""
    client = site.serve(cache_page(60)(counted()))
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE viewcache_test_cache RENAME TO elsewhere")
        assert visit_of(client.get("/a/")) == ("bypass", "cache fault")
        assert visit_of(client.get("/a/")) == ("bypass", "cache fault a moment ago")
        cursor.execute("ALTER TABLE elsewhere RENAME TO viewcache_test_cache")
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 1e-9)
    for known in filter(lambda each: each.is_failing, breaker._breakers.values()):
        known.answered()
        known.failed()
    assert [visit_of(client.get("/a/"))[0] for _ in range(2)] == ["stored", "hit"]
    assert not breaker.any_failing()


def test_an_expiry_raises(server: Server) -> None:
    stop(server)
    # Each time: pymemcache answers for a server that has just failed without asking it again.
    for _ in range(3):
        for given in ({"path": "/a/"}, {"tag": ["a", "b"]}):
            with pytest.raises(DOWN):
                viewcache.expire(**given)
            with pytest.raises(DOWN):
                asyncio.run(viewcache.aexpire(**given))


def test_expire_view_cache_says_why(server: Server) -> None:
    stop(server)
    for _ in range(3):
        done = viewcache.expire_view_cache("/a/")
        assert done == (False, done.reason)
        assert re.match(r"The cache failed: [A-Z]\w+(Error|Exception): \S", done.reason), done
    with pytest.raises(ValueError, match="empty"):
        viewcache.expire_view_cache("")


@pytest.mark.django_db(transaction=True)
def test_a_commit_is_not_broken_by_it(server: Server, log: Any) -> None:
    with transaction.atomic():
        viewcache.expire(path="/a/")
        stop(server)
    [line] = log()
    assert (line.levelname, line.name) == ("ERROR", "viewcache.expiry")
    assert "could not expire path:/a/" in line.getMessage()


def test_an_expiry_is_tried_even_when_reading_is_paused(
    site: Any, counted: Any, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = site.serve(cache_page(60)(counted()))
    assert [client.get("/a/").content for _ in range(2)] == [b"1", b"1"]
    for known in breaker._breakers.values():
        known.failed()
    assert client.get("/a/").content == b"2"
    viewcache.expire(path="/a/")
    breaker.reset()
    assert client.get("/a/").content == b"3"


def test_a_backend_that_does_not_take_a_new_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    from django.core.cache import cache

    monkeypatch.setattr(type(cache._connections[cache._alias]), "set_many", lambda *a, **k: ["x"])
    with pytest.raises(Exception, match="did not take 1 of 2 new generations"):
        viewcache.expire(path=["/a/", "/b/"])


def test_an_unknown_alias(site: Any, counted: Any, settings: Any) -> None:
    from django.core.cache import InvalidCacheBackendError

    client = site.serve(cache_page(60, cache="nowhere")(counted()))
    with pytest.raises(InvalidCacheBackendError):
        client.get("/a/")


def test_no_cache_at_all(cached: Any, counted: Any, settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"}}
    get = cached(counted())
    assert [get().content for _ in range(2)] == [b"1", b"2"]
    assert viewcache.expire(path="/a/") == (("path:/a/",), False)


def test_a_small_cache_that_evicts(cached: Any, counted: Any, settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "faults-small",
            "OPTIONS": {"MAX_ENTRIES": 7, "CULL_FREQUENCY": 2},
        }
    }
    view = counted()
    get = cached(view)
    for number in range(60):
        before = view.count
        response = get(f"/{number % 5}/")
        viewcache.expire(path=f"/{number % 3}/")
        # Old pages are those whose number is not that of this render.
        if "Age" not in response:
            assert int(response.content) == before + 1


@pytest.mark.parametrize("server", ["memcached"], indirect=True)
def test_a_page_too_large_for_the_cache(cached: Any, counted: Any, server: Server) -> None:
    from django.http import HttpResponse

    def respond(request: Any, count: int) -> HttpResponse:
        return HttpResponse(b"%d" % count + bytes(3_000_000))

    get = cached(counted(respond))
    assert [get().content[:1] for _ in range(3)] == [b"1", b"2", b"3"]


@pytest.mark.parametrize("server", ["memcached"], indirect=True)
def test_a_server_that_says_nothing_is_not_taken_for_one_that_is_up(
    site: Any,
    counted: Any,
    server: Server,
    visit_of: Any,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 1e-9)
    settings.VIEWCACHE = {"FAULT_SECONDS": 60}
    client = site.serve(cache_page(60)(counted()))
    client.get("/a/")
    stop(server)
    assert visit_of(client.get("/a/")) == ("bypass", "cache fault")
    # For a second pymemcache asks it nothing, and raises nothing.
    for _ in range(2):
        assert visit_of(client.get("/a/")) == ("bypass", "cache fault a moment ago")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("backend", ["db"], indirect=True)
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_table_that_is_locked_for_a_moment(backend: Backend, times: int) -> None:
    locked = [True] * times

    def lock(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "REPLACE")) and locked:
            locked.pop()
            raise OperationalError("database table is locked")
        return execute(sql, *args)

    viewcache.expire(path="/a/")
    [key] = conf.site().generation_keys(["path:/a/"])
    before = backend.cache.get(key)
    # Django's backend answers the same, whether it has written or not.
    with connection.execute_wrapper(lock):
        if times < 3:
            viewcache.expire(path="/a/")
            assert backend.cache.get(key) != before
        else:
            with pytest.raises(UnconfirmedError):
                viewcache.expire(path="/a/")
            assert backend.cache.get(key) == before
    assert not locked


#: Backends that are told to ignore their faults, with nothing where they look for a server.
IGNORING: dict[str, tuple[str, dict[str, Any]]] = {
    "django-redis": (
        "redis://127.0.0.1:1/0",
        {"IGNORE_EXCEPTIONS": True, "CONNECTION_POOL_KWARGS": {"retry": Retry(NoBackoff(), 0)}},
    ),
    "memcached": ("127.0.0.1:1", {"ignore_exc": True}),
    "memcached without a pool": ("127.0.0.1:1", {"ignore_exc": True, "use_pooling": False}),
}


@pytest.fixture(params=IGNORING)
def ignoring(request: pytest.FixtureRequest, settings: Any) -> Iterator[None]:
    if request.param == "django-redis" and not is_there("django-redis"):
        pytest.skip("django-redis is not installed")
    where, options = IGNORING[request.param]
    nowhere = cache_settings(request.param.split()[0], where)
    settings.CACHES = {"default": {**nowhere, "OPTIONS": options}}
    breaker.reset()
    yield
    breaker.reset()


@pytest.mark.parametrize("given", [{"path": "/a/"}, {"path": ["/a/", "/b/"]}])
def test_a_backend_that_ignores_its_faults_is_not_believed(ignoring: None, given: Any) -> None:
    with pytest.raises(DOWN):
        viewcache.expire(**given)
    with pytest.raises(DOWN):
        asyncio.run(viewcache.aexpire(**given))


def test_nobody_waits_for_a_cache_that_ignores_its_faults(
    ignoring: None, cached: Any, counted: Any, visit_of: Any, settings: Any, log: Any
) -> None:
    settings.VIEWCACHE = {"WAIT_SECONDS": 60}
    response = cached(counted())()
    assert (response.status_code, response.content) == (200, b"1")
    assert visit_of(response)[1].startswith("cache fault")
    assert len(log()) == 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("backend", ["db"], indirect=True)
@pytest.mark.parametrize("is_known", [False, True])
def test_nobody_waits_for_a_table_that_stays_locked(
    backend: Backend, is_known: bool, cached: Any, counted: Any, visit_of: Any, settings: Any
) -> None:
    settings.VIEWCACHE = {"WAIT_SECONDS": 60}

    def lock(execute: Any, sql: str, *args: Any) -> Any:
        if sql.startswith(("INSERT", "UPDATE", "REPLACE")):
            raise OperationalError("database table is locked")
        return execute(sql, *args)

    get = cached(counted())
    if is_known:
        get()
    with connection.execute_wrapper(lock):
        response = get("/page/?another=1")
    assert response.status_code == 200
    assert visit_of(response)[0] == ("stored" if is_known else "bypass")
    breaker.reset()
