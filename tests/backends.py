"""The cache backends that tests run on, each as Django's CACHES names it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from servers import Server, installed

# Valkey is not in every Debian, and speaks what Redis speaks: where it is, it is tried too.
SERVED = ["redis", "memcached", *(["valkey"] if installed("valkey") else [])]
BACKENDS = ["locmem", "file", "db", *SERVED]

_CLASSES = {
    "locmem": "locmem.LocMemCache",
    "file": "filebased.FileBasedCache",
    "db": "db.DatabaseCache",
    "redis": "redis.RedisCache",
    "valkey": "redis.RedisCache",
    "memcached": "memcached.PyMemcacheCache",
}


def cache_settings(name: str, location: str) -> dict[str, Any]:
    """An entry of CACHES."""
    return {"BACKEND": f"django.core.cache.backends.{_CLASSES[name]}", "LOCATION": location}


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


def close_connections() -> None:
    """Close what this thread's caches hold open; Django leaves Redis' pools to the collector."""
    for cache in caches.all(initialized_only=True):
        client = vars(cache).get("_cache")
        for pool in getattr(client, "_pools", {}).values():
            pool.disconnect()
        cache.close()
