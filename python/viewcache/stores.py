"""
Which store answers a request: one for all of them where its cache is in this process, and is read
by the core itself; else that of the backend, which may be another in each thread.
"""

from __future__ import annotations

import os
import time
from typing import Any

from django.core.signals import setting_changed

from . import _core, backends, conf, kinds
from .store import Store

#: Where a backend carries its stores: that of its alias, and that of no alias, which means it.
_STORES = "_viewcache_stores"


class _LocalStore(Store):
    """Pages and generations in one local-memory cache."""

    is_kept = True

    def __init__(self, alias: str | None, memory: _core.LocalMemory) -> None:
        super().__init__(alias)
        self._memory = memory

    def answer(self, lookup: _core.LookUp) -> None:
        if not lookup.answer(self._memory, time.time()):
            super().answer(lookup)

    async def aanswer(self, lookup: _core.LookUp) -> None:
        self.answer(lookup)


_kept: dict[str | None, Store] = {}


def of(alias: str | None) -> Store:
    """The store of this alias. Raises ``InvalidCacheBackendError`` for an unknown one."""
    return _kept.get(alias) or _made(alias)


def _made(alias: str | None) -> Store:
    main: str = conf.django("CACHE_MIDDLEWARE_ALIAS")
    if alias not in (None, main):
        return Store(alias)
    pages = backends.of(main)
    stores: dict[str | None, Store] = pages.__dict__.get(_STORES, {})
    if alias in stores:
        return stores[alias]
    if (memory := backends.local_memory(pages)) is not None:
        return _kept.setdefault(alias, _LocalStore(alias, memory))
    if kinds.is_database(pages):
        # Beside its queries this takes no time.
        return Store(alias)
    # Another thread may have made one meanwhile.
    stores = pages.__dict__.setdefault(_STORES, stores)
    return stores.setdefault(alias, Store(alias))


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting in ("CACHES", "CACHE_MIDDLEWARE_ALIAS"):
        _kept.clear()


setting_changed.connect(_forget, dispatch_uid="viewcache.stores")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)
