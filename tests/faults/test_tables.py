"""The cache is a table that fails within the view's transaction, which must go on."""

from __future__ import annotations

import os
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import viewcache
from asgiref.sync import async_to_sync
from django.core.cache import caches
from django.core.management import call_command
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import path
from queries import databases
from queries.shop.project import database
from servers import ServerMissingError
from viewcache import breaker, pipeline, stampede
from viewcache.decorators import cache_page
from viewcache.store import Store

TABLE = "faults_cache"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL of these tests' own: no other database refuses all that follows an error."""
    try:
        with databases.postgresql() as url:
            databases.run(url, "CREATE DATABASE faults")
            yield f"{url}/faults"
    except ServerMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


class Router:
    """The cache's table is in that database."""

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        return "pg" if model._meta.app_label == "django_cache" else None

    db_for_write = db_for_read

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return db == "pg" if app_label == "django_cache" else None


@pytest.fixture
def postgresql(
    server: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[BaseDatabaseWrapper]:
    """``connections["pg"]``, with the table of the default cache."""
    described = connections.configure_settings({"default": {}, "pg": database(server)})
    connections.databases["pg"] = described["pg"]
    connection = connections["pg"]
    # Django's test cases let nobody connect to a database that they were not told of.
    monkeypatch.setattr(connection, "ensure_connection", lambda: _connect(connection))
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    kind = "django.core.cache.backends.db.DatabaseCache"
    settings.CACHES = {"default": {"BACKEND": kind, "LOCATION": TABLE}}
    settings.VIEWCACHE = {"WAIT_SECONDS": 0}
    stampede.passes.clear()
    breaker.reset()
    call_command("createcachetable", database="pg", verbosity=0)
    try:
        yield connection
    finally:
        breaker.reset()
        stampede.passes.clear()
        _run(f"DROP TABLE IF EXISTS {TABLE}")
        connection.close()
        del connections.databases["pg"]
        del connections["pg"]


def _connect(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None:
        with connection.wrap_database_errors:
            connection.connect()


def _run(sql: str) -> None:
    with connections["pg"].cursor() as cursor:
        cursor.execute(sql)


def _drop(request: HttpRequest) -> None:
    _run(f"DROP TABLE IF EXISTS {TABLE}")


def _nothing(request: HttpRequest) -> None:
    pass


def _tag(request: HttpRequest) -> None:
    _drop(request)
    viewcache.tag(request, "t")


def _site(settings: Any, does: Callable[[HttpRequest], None]) -> Client:
    """The view does this, and then asks the database."""

    def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        does(request)
        _run("SELECT 1")
        return HttpResponse("answered")

    module: Any = types.ModuleType("urls_of_a_test")
    module.urlpatterns = [path("<path:anything>", cache_page(60)(view))]
    settings.ROOT_URLCONF, settings.MIDDLEWARE = module, []
    return Client()


@pytest.mark.parametrize("fails", ["look-up", "tag", "store"])
def test_the_views_transaction_goes_on(
    postgresql: BaseDatabaseWrapper, settings: Any, fails: str
) -> None:
    client = _site(settings, {"look-up": _nothing, "tag": _tag, "store": _drop}[fails])
    if fails == "look-up":
        _run(f"DROP TABLE {TABLE}")
    with transaction.atomic(using="pg"):
        response: Any = client.get("/a/")
        _run("SELECT 1")
    assert response.content == b"answered"
    visit = pipeline.visit_of(response.wsgi_request)
    assert visit is not None
    assert (visit.status, visit.reason) == ("bypass", "cache fault")


@pytest.mark.parametrize("step", [Store.afetch, Store.aclaim, Store.aput, Store.awrite])
def test_under_asgi(postgresql: BaseDatabaseWrapper, settings: Any, step: Any) -> None:
    _run(f"DROP TABLE {TABLE}")
    given: dict[Any, Any] = {
        Store.afetch: (["a"], ["b"]),
        Store.aclaim: ({"a": 1},),
        Store.aput: ([("a", b"b", 60)],),
        Store.awrite: ({"a": 1},),
    }
    with transaction.atomic(using="pg"):
        with pytest.raises(DatabaseError, match=TABLE):
            async_to_sync(step)(Store(), *given[step])
        _run("SELECT 1")


def test_pages_are_hits_within_a_transaction(
    postgresql: BaseDatabaseWrapper, settings: Any
) -> None:
    client = _site(settings, _nothing)
    with transaction.atomic(using="pg"):
        assert ["Age" in client.get("/a/").headers for _ in range(3)] == [False, True, True]
    assert "Age" in client.get("/a/").headers
    caches["default"].clear()


def test_a_savepoint_is_for_a_transaction(postgresql: BaseDatabaseWrapper) -> None:
    seen: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql.split()[0])
        return execute(sql, *args)

    with postgresql.execute_wrapper(note):
        Store().fetch(["a"], ["b"])
        assert seen == ["SELECT"]
        with transaction.atomic(using="pg"):
            seen.clear()
            Store().fetch(["a"], ["b"])
            assert seen == ["SAVEPOINT", "SELECT", "RELEASE"]
