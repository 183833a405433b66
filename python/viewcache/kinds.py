"""
What kind of cache a backend is, as far as that decides how it is asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, cast

from django.core.cache.backends.base import BaseCache
from django.db import DatabaseError, connections, router

from .compat import is_of


def databases(caches: Iterable[BaseCache]) -> set[str]:
    """The databases of those of these caches that are tables."""
    models = [cast(Any, each).cache_model_class for each in caches if is_database(each)]
    choose = (router.db_for_read, router.db_for_write)
    return {database(model) for model in models for database in choose}


def is_database(backend: BaseCache) -> bool:
    return _is_table(cast(Any, type(backend)))


@cache
def _is_table(kind: type) -> bool:
    """Is it Django's database cache? Each request asks: of each class it is found out once."""
    names = ((each.__module__, each.__name__) for each in kind.__mro__)
    return ("django.core.cache.backends.db", "BaseDatabaseCache") in names


def has_no_table(backend: BaseCache) -> bool:
    """Is it Django's database cache, and has nobody made its table yet (``createcachetable``)?"""
    if not is_database(backend):
        return False
    cache: Any = backend
    connection = connections[router.db_for_write(cache.cache_model_class)]
    try:
        return cache._table not in connection.introspection.table_names()
    except DatabaseError:
        return False  # nobody can tell


def is_memcached(backend: BaseCache) -> bool:
    return is_of(backend, "django.core.cache.backends.memcached", "BaseMemcachedCache")


def is_in_process(backend: BaseCache) -> bool:
    """Are its entries kept in this process, or nowhere?"""
    return is_of(backend, "django.core.cache.backends.locmem", "LocMemCache") or is_of(
        backend, "django.core.cache.backends.dummy", "DummyCache"
    )


def ignores_faults(backend: BaseCache) -> bool:
    """
    Has it been told to, as django-redis and django-vcache (``IGNORE_EXCEPTIONS``) and pymemcache
    (``ignore_exc``) can be?
    """
    if is_memcached(backend):
        return bool(cast(Any, backend)._options.get("ignore_exc"))
    return bool(getattr(backend, "_ignore_exceptions", False))


def is_native(backend: BaseCache) -> bool:
    """Has the backend an async client of its own?"""
    kind = type(backend)
    return kind.aget_many is not BaseCache.aget_many and kind.aset is not BaseCache.aset
