"""Databases that several processes share, and a search for old pages in one of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from servers import Server, ServerMissingError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import databases  # noqa: E402
import tracking  # noqa: E402
from viewcache import queries  # noqa: E402

IN_CI = os.environ.get("CI") == "true"
_numbers = itertools.count()


def _server(running: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    try:
        with running() as url:
            yield url
    except ServerMissingError as missing:
        if IN_CI:
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL: the URL of the server."""
    yield from _server(databases.postgresql)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """A real MariaDB: the URL of the server."""
    yield from _server(databases.mariadb)


@pytest.fixture
def database_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """
    The URL of a new database of this kind: ``sqlite``, ``postgresql`` or ``mariadb``, the latter
    two with `` repeatable`` after them for transactions that see the data of their first read.
    """

    def make(kind: str) -> str:
        number = next(_numbers)
        if kind == "sqlite":
            return f"sqlite://{tmp_path / f'shop{number}.sqlite3'}"
        kind, _, isolation = kind.partition(" ")
        server: str = request.getfixturevalue(f"{kind}_server")
        databases.run(server, f"CREATE DATABASE shop_{number}")
        return f"{server}/shop_{number}" + (isolation and f"?{isolation}_read")

    return make


@pytest.fixture
def in_shop(
    redis_server: Server, database_of: Callable[[str], str]
) -> Callable[..., dict[str, Any]]:
    """
    Run a module of the shop in a process of its own, on the cache of this number; what it prints,
    as JSON.
    """

    def run(
        module: str, kind: str, *arguments: str, url: str | None = None, cache: int = 0
    ) -> dict[str, Any]:
        command = [sys.executable, "-m", module, "--database", url or database_of(kind)]
        done = subprocess.run(
            [*command, "--cache", f"{redis_server.location}/{cache}", *arguments],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    return run


@pytest.fixture
def tracked(
    settings: Any, request: pytest.FixtureRequest, transactional_db: None
) -> Iterator[tracking.Site]:
    """A site that tracks; its cache is the ``backend`` of the test, else memory of its own."""
    if "backend" not in request.fixturenames:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": request.node.nodeid,
            }
        }
    site = tracking.Site(settings)
    site.track()
    yield site
    queries.disconnect()


@pytest.fixture
def connected(
    database_of: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], BaseDatabaseWrapper]]:
    """Make a connection of this alias to a new database of this kind."""
    from shop.project import database

    made = []

    def connect(alias: str, kind: str) -> BaseDatabaseWrapper:
        described = connections.configure_settings(
            {"default": {}, alias: database(database_of(kind))}
        )
        connections.databases[alias] = described[alias]
        connection = connections[alias]
        made.append(connection)
        # Django's test cases let nobody connect to a database that they were not told of.
        monkeypatch.setattr(connection, "ensure_connection", lambda: _connect(connection))
        return connection

    yield connect
    for connection in made:
        connection.close()
        del connections.databases[connection.alias]
        del connections[connection.alias]


@pytest.fixture
def postgresql(
    tracked: tracking.Site, connected: Callable[[str, str], BaseDatabaseWrapper]
) -> BaseDatabaseWrapper:
    """A connection to a PostgreSQL of its own, ``connections["pg"]``, with a table ``thing``."""
    connection = connected("pg", "postgresql")
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE thing (id serial PRIMARY KEY, name text)")
        cursor.execute("INSERT INTO thing (name) VALUES ('old')")
    return connection


def _connect(connection: BaseDatabaseWrapper) -> None:
    if connection.connection is None:
        with connection.wrap_database_errors:
            connection.connect()
