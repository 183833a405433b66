"""Fixtures that every test may ask for: real servers, and a cache backend of each kind."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from servers import Server, ServerMissingError, installed, running

if TYPE_CHECKING:
    from django.core.cache.backends.base import BaseCache

IN_CI = os.environ.get("CI") == "true"

# Valkey is not in every Debian, and speaks what Redis speaks: where it is, it is tried too.
BACKENDS = [
    "locmem",
    "file",
    "db",
    "redis",
    "memcached",
    *(["valkey"] if installed("valkey") else []),
]
CACHE_TABLE = "viewcache_test_cache"


def _server(kind: str) -> Iterator[Server]:
    try:
        with running(kind) as server:
            yield server
    except ServerMissingError as missing:
        if IN_CI and kind != "valkey":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A real redis-server that lives as long as the test session."""
    yield from _server("redis")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    """A real valkey-server; a skip where it is not installed."""
    yield from _server("valkey")


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Server]:
    """A real memcached that lives as long as the test session."""
    yield from _server("memcached")


@dataclass(frozen=True)
class Backend:
    """The cache backend that CACHES names for the length of one test."""

    name: str
    server: Server | None = None

    @property
    def cache(self) -> BaseCache:
        """This thread's default cache."""
        from django.core.cache import caches

        return caches["default"]

    @property
    def counts(self) -> bool:
        """Whether the server can say how many commands it was sent."""
        return self.server is not None

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Fill the counter with the commands that reached the server during the block."""
        if self.server is None:
            pytest.skip(f"{self.name} has no server that counts commands")
        with self.server.counting() as sent:
            yield sent


def _cache_settings(name: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    path = "django.core.cache.backends"
    server = _backend_server(name, request)
    if name == "locmem":
        # A location of its own: locmem's entries are module globals that outlive a test.
        return {"BACKEND": f"{path}.locmem.LocMemCache", "LOCATION": request.node.nodeid}
    if name == "file":
        return {"BACKEND": f"{path}.filebased.FileBasedCache", "LOCATION": str(folder)}
    if name == "db":
        return {"BACKEND": f"{path}.db.DatabaseCache", "LOCATION": CACHE_TABLE}
    assert server is not None
    if name == "memcached":
        return {"BACKEND": f"{path}.memcached.PyMemcacheCache", "LOCATION": server.location}
    return {"BACKEND": f"{path}.redis.RedisCache", "LOCATION": server.location}


def _backend_server(name: str, request: pytest.FixtureRequest) -> Server | None:
    if name in ("redis", "valkey", "memcached"):
        server: Server = request.getfixturevalue(f"{name}_server")
        return server
    return None


def _close_connections() -> None:
    """Close what this thread's caches hold open; Django leaves Redis' pools to the collector."""
    from django.core.cache import caches

    for cache in caches.all(initialized_only=True):
        client = vars(cache).get("_cache")
        for pool in getattr(client, "_pools", {}).values():
            pool.disconnect()
        cache.close()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """Each backend in turn as the default cache, empty; choose with indirect parametrisation."""
    from django.core.management import call_command
    from django.test import override_settings

    name: str = request.param
    if name == "db":
        # Real transactions: inside the one that the `db` fixture opens, nothing ever commits.
        request.getfixturevalue("transactional_db")
    server = _backend_server(name, request)
    default = _cache_settings(name, request, tmp_path / "cache")
    with override_settings(CACHES={"default": default}):
        if name == "db":
            call_command("createcachetable", verbosity=0)
        if server is not None:
            server.flush()
        found = Backend(name, server)
        try:
            yield found
        finally:
            found.cache.clear()
            _close_connections()
