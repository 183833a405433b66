"""The cache backends that tests run on, each as Django's CACHES names it."""

from __future__ import annotations

import base64
import contextlib
import pickle
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.cache.backends.locmem import LocMemCache
from django.db import connection
from pymemcache import Client
from pymemcache.serde import FLAG_INTEGER
from redis import Redis
from servers import HOST, Server, installed


def is_there(package: str) -> bool:
    """Is this package installed?"""
    return find_spec(package.replace("-", "_")) is not None


# Valkey is not in every Debian, and speaks what Redis speaks: where it is, it is tried too.
SERVERS = {"redis": "redis", "memcached": "memcached"}
if installed("valkey"):
    SERVERS["valkey"] = "valkey"
# Backends of other packages that docs/how-to.md names, where they are installed.
SERVERS |= {name: "redis" for name in ("django-redis", "django-vcache") if is_there(name)}
BACKENDS = ["locmem", "file", "db", *SERVERS]
#: One with an async client of its own, which Django's have not.
ASYNC = pytest.param(
    "django-vcache",
    marks=pytest.mark.skipif(not is_there("django-vcache"), reason="no django-vcache"),
)

_CLASSES = {
    "locmem": "django.core.cache.backends.locmem.LocMemCache",
    "file": "django.core.cache.backends.filebased.FileBasedCache",
    "db": "django.core.cache.backends.db.DatabaseCache",
    "redis": "django.core.cache.backends.redis.RedisCache",
    "valkey": "django.core.cache.backends.redis.RedisCache",
    "memcached": "django.core.cache.backends.memcached.PyMemcacheCache",
    "django-redis": "django_redis.cache.RedisCache",
    "django-vcache": "django_vcache.backend.ValkeyCache",
}


def cache_settings(name: str, location: str) -> dict[str, Any]:
    """An entry of CACHES."""
    return {"BACKEND": _CLASSES[name], "LOCATION": location}


@dataclass(frozen=True)
class Backend:
    """The backend that is the default cache for the length of one test."""

    name: str
    server: Server | None = None

    @property
    def cache(self) -> BaseCache:
        """This thread's default cache."""
        return caches["default"]

    @property
    def counts(self) -> bool:
        """Whether the server can say how many commands it was sent."""
        return self.server is not None

    @contextlib.contextmanager
    def counting(self) -> Iterator[Counter[str]]:
        """Fill the counter with the commands that reach the server during the block."""
        if self.server is None:
            pytest.skip(f"{self.name} has no server that counts commands")
        with self.server.counting() as sent:
            yield sent


def write_raw(backend: Backend, key: str, raw: bytes) -> None:
    """Put these bytes where the backend keeps what its serializer made of a value."""
    cache: Any = backend.cache
    name = cache.make_key(key)
    if backend.name == "locmem":
        cache._cache[name] = raw
    elif backend.name == "file":
        Path(cache._key_to_file(key)).write_bytes(pickle.dumps(time.time() + 600) + raw)
    elif backend.name == "db":
        with connection.cursor() as cursor:
            said = f"UPDATE {cache._table} SET value = %s WHERE cache_key = %s"
            cursor.execute(said, [base64.b64encode(raw).decode(), name])
    elif backend.name == "memcached":
        assert backend.server is not None
        with contextlib.closing(Client((HOST, backend.server.port))) as client:
            client.set(name, raw, noreply=False, flags=FLAG_INTEGER)
    else:
        assert backend.server is not None
        with Redis(HOST, backend.server.port) as redis:
            redis.set(name, raw)


def close_connections() -> None:
    """Close what this thread's caches hold open; Django leaves Redis' pools to the collector."""
    for cache in caches.all(initialized_only=True):
        client = vars(cache).get("_cache")
        for pool in getattr(client, "_pools", {}).values():
            pool.disconnect()
        cache.close()


def ask_step_by_step(patch: pytest.MonkeyPatch) -> None:
    """
    Have Django itself asked for each key of local memory, as a tracer has it: the core does not
    answer by itself then, and each step of a look-up is one of ``Store``'s.
    """
    get = LocMemCache.get
    patch.setattr(LocMemCache, "get", lambda self, *args, **options: get(self, *args, **options))
