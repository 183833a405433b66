"""
The cache backend that an alias is reached through.

``caches[alias]`` opens a connection for each request where Django cannot know that it may be
shared: ``PyMemcacheCache`` closes its own at the end of every request, and under ASGI every request
has a backend of its own, ``RedisCache`` with a pool of its own. The clients beneath those two are
safe to share, so one backend of each alias is kept here for the process.

And what they do for each command that they could do once: ``RedisCache`` makes a client object
(a fifth of a look-up), ``PyMemcacheCache`` hashes each key in Python to choose among its servers
(two thirds), ``LocMemCache`` locks for each of many keys, and two of them look at each character of
a key.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from asyncio import _get_running_loop
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, cached_property
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakKeyDictionary

from django.core.cache import caches
from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, default_key_func
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import PyMemcacheCache
from django.core.cache.backends.redis import RedisCache, RedisCacheClient, RedisSerializer
from django.core.signals import setting_changed

from . import _core, conf

#: Seconds that pymemcache waits for an answer, unless ``OPTIONS`` say so: as redis-py does.
_SECONDS = 5

#: Bytes that are taken from a socket at once. By itself redis-py takes 32 KB, pymemcache 4.
_PIECE = 256 * 1024
_PIECES = {"socket_read_size": _PIECE}

#: ``None`` for an alias whose backend is not kept.
_kept: dict[str, BaseCache | None] = {}


def of(alias: str) -> BaseCache:
    """The backend of this alias; raises ``InvalidCacheBackendError`` for an unknown one."""
    try:
        found = _kept[alias]
    except KeyError:
        found = _keep(alias)
    if found is None:
        return caches[alias]
    if type(found) is _RedisCache and _get_running_loop() is None:
        # Beyond an event loop each thread of Django's has a pool for as long as it lives, and a
        # pool that all of them shared would run out of connections.
        return _twin(alias)
    return found


def are_kept(aliases: Iterable[str]) -> bool:
    """Are the backends of these aliases, which have been asked for, none that Django closes?"""
    return None not in map(_kept.get, aliases)


def renewed(alias: str, failed: BaseCache) -> BaseCache | None:
    """
    Another backend in place of a kept one that has failed: the server may have closed connections
    that nobody used. ``None`` where it was not kept, or sees to that itself.
    """
    if type(failed) is not _MemcachedCache or _kept.get(alias) is None:
        return None
    if _kept.get(alias) is failed:
        # Not closed: another thread may be using it.
        del _kept[alias]
    return of(alias)


def _keep(alias: str) -> BaseCache | None:
    before = caches.all(initialized_only=True)
    backend, kept = caches[alias], None
    kind = type(backend)
    if kind is RedisCache:
        kept = _made(_RedisCache, alias, _PIECES)
    elif kind is PyMemcacheCache:
        kept = _pooled(alias)
    elif kind is LocMemCache:
        kept = _made(_LocMemCache, alias, {})
    if kept is not None and backend not in before:
        # Django would look for it, to close it, at the end of each request.
        del caches[alias]
    return _kept.setdefault(alias, kept)


def _made(kind: type[BaseCache], alias: str, options: dict[str, Any]) -> BaseCache:
    """A backend of this kind with the parameters of this alias, and these beneath its options."""
    params: dict[str, Any] = dict(caches.settings[alias])
    del params["BACKEND"]
    location = params.pop("LOCATION", "")
    params["OPTIONS"] = {**options, **(params.get("OPTIONS") or {})}
    return cast(BaseCache, cast(Any, kind)(location, params))


def _pooled(alias: str) -> BaseCache | None:
    """
    pymemcache with a pool of connections, without which threads cannot share it, and with an end to
    waiting, of which it has none by itself. It answers for no server that it has not asked: by
    itself it says for a while after a failure that nothing is there, and nothing was written.
    """
    waits = dict.fromkeys(("connect_timeout", "timeout"), _SECONDS)
    options = {"use_pooling": True, "hasher": _hasher(), "socket_module": _sockets(), **waits}
    options["retry_attempts"] = 0
    backend = _made(_MemcachedCache, alias, options)
    chosen = cast(Any, backend)._options
    # Whoever is told of no error takes an expiry for done, and waits for what nobody renders.
    chosen["ignore_exc"] = False
    return backend if chosen["use_pooling"] else None


@cache
def _hasher() -> type[Any]:
    """
    pymemcache's choice of a server for a key, without the hash of it where there is nothing to
    choose.
    """
    from pymemcache.client.rendezvous import RendezvousHash

    class Hasher(RendezvousHash):  # type: ignore[misc]
        def get_node(self, key: Any) -> Any:
            return self.nodes[0] if len(self.nodes) == 1 else super().get_node(key)

    return Hasher


@cache
def _sockets() -> SimpleNamespace:
    """
    ``socket`` for pymemcache, which takes what has come in pieces of 4 KB: fifty for a large page.
    """

    class Socket(socket.socket):
        def recv(self, size: int, flags: int = 0) -> bytes:
            return super().recv(max(size, _PIECE), flags)

    return SimpleNamespace(**{**vars(socket), "socket": Socket})


#: Of the backends of Django's threads, those that ask on the same connections.
_twins: WeakKeyDictionary[BaseCache, BaseCache] = WeakKeyDictionary()
#: What may be replaced on one backend alone.
_COMMANDS = frozenset({"add", "get", "get_many", "incr", "set", "set_many", "touch", "delete"})


def _twin(alias: str) -> BaseCache:
    """The backend that this thread of Django's has, with one client in place of many."""
    theirs = caches[alias]
    if not _COMMANDS.isdisjoint(theirs.__dict__):
        return theirs  # Somebody watches it, as Django Debug Toolbar does.
    twin = _twins.get(theirs)
    if twin is None:
        made: Any = _made(_RedisCache, alias, _PIECES)
        made._cache._pools = cast(Any, theirs)._cache._pools
        twin = _twins[theirs] = made
    return twin


class _Client(RedisCacheClient):
    """redis-py's clients keep nothing of one command for the next, and any thread may use one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._of_pool: dict[object, Any] = {}

    def get_client(self, key: Any = None, *, write: bool = False) -> Any:
        inner: Any = self
        pool = inner._get_connection_pool(write)
        client = self._of_pool.get(pool)
        if client is None:
            client = self._of_pool[pool] = inner._client(connection_pool=pool)
        return client


class _OwnKeys(BaseCache):
    """
    A backend whose keys are all ours. Each is a word and a digest, so whether they are valid is a
    matter of ``KEY_PREFIX``, and one of them tells.
    """

    _is_validated = False

    @cached_property
    def _name(self) -> str | Callable[[str], str]:
        """What stands before a key in its name in the cache; or what makes the name of it."""
        is_usual = self.key_func is default_key_func
        return f"{self.key_prefix}:{self.version}:" if is_usual else self.make_key

    def _names(self, keys: Iterable[str], version: int | None) -> list[str]:
        if version is not None:
            return [self.make_key(key, version) for key in keys]
        name = self._name
        if isinstance(name, str):
            return [name + key for key in keys]
        return [name(key) for key in keys]

    def make_and_validate_key(self, key: str, version: int | None = None) -> str:
        [name] = self._names([key], version)
        if self.key_func is not default_key_func or not self._is_validated:
            self.validate_key(name)
            self._is_validated = True
        return name


class _Served(_OwnKeys):
    """Reads with the keys as they are: each was valid when it was set."""

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        keys = list(keys)
        made = dict(zip(self._names(keys, version), keys, strict=True))
        found: dict[Any, Any] = cast(Any, self)._cache.get_many(made)
        return {made[name]: value for name, value in found.items()}


class _RedisCache(_Served, RedisCache):
    """With one client for all of its commands."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = _Client

    def lend(self, pages: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
        """As ``get_many()``; what is large under the first keys is lent as it came."""
        keys, client = [*pages, *others], cast(Any, self)._cache
        if type(client._serializer) is not RedisSerializer:
            return self.get_many(keys)
        values = client.get_client().mget(self._names(keys, None))
        found, left = _core.read_redis(keys, len(pages), values)
        for key, value in left:
            found[key] = client._serializer.loads(value)
        return found


class _MemcachedCache(_Served, PyMemcacheCache):
    """With the keys that it is given, each on the server that it always was on."""

    @cached_property
    def _cache(self) -> Any:
        # pymemcache moves the keys of a server that fails to another, and back when it returns. An
        # expiry that was written there meanwhile would be lost, and the pages of before it served.
        client = cast(Any, self)._class(self.client_servers, **cast(Any, self)._options)
        # Nor does it note which have failed: it would give them new connections without closing
        # the old, and threads would take turns to trip over what it has noted.
        client.hasher.remove_node = client._mark_failed_server = lambda server: None
        return client

    def tried(self) -> list[str]:
        """Keys that are on each of the servers."""
        get_node = self._cache.hasher.get_node
        keys = (f"{TRIED}.{number}" for number in range(64 * len(self._cache.clients)))
        return [*{get_node(self.make_key(key)): key for key in keys}.values()]


class _LocMemCache(_OwnKeys, LocMemCache):
    """Reads several keys at once, each of which was valid when it was set, and sets several."""

    @cached_property
    def memory(self) -> _core.LocalMemory:
        """What reads it."""
        bounds = (conf.get().MEMORY_ENTRIES, conf.get().MEMORY_BYTES)
        return _core.LocalMemory(self, self._name, _DJANGOS, _loads, *bounds)

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        return super().get_many(keys, version) if version is not None else self.lend([], [*keys])

    def lend(self, pages: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
        """
        As ``get_many()``; what is large under the first keys is lent as it lies in the cache: the
        bytes that hold it, where it begins, where it ends.
        """
        found = self.memory.lend(pages, others, time.time())
        return super().get_many([*pages, *others]) if found is None else found

    def set_many(
        self, data: Mapping[str, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[str]:
        if not self.memory.is_djangos:
            return super().set_many(dict(data), timeout, version)
        inner: Any = self
        made = [
            (self.make_and_validate_key(key, version), pickle.dumps(value, inner.pickle_protocol))
            for key, value in data.items()
        ]
        with inner._lock:
            for name, pickled in made:
                inner._set(name, pickled, timeout)
        return []


def _loads(pickled: bytes) -> Any:
    """What this pickle holds; ``None``, which is no entry of ours, where it holds nothing."""
    try:
        return pickle.loads(pickled)
    except Exception:
        return None


#: What ``_LocMemCache`` does in one go. Whoever replaces it, as a tracer does, is asked.
_DJANGOS = [
    (kind, name, getattr(kind, name))
    for kind, name in (
        (LocMemCache, "get_many"),
        (LocMemCache, "get"),
        (LocMemCache, "set_many"),
        (LocMemCache, "set"),
        (BaseCache, "make_key"),
    )
]


def local_memory(backend: BaseCache) -> _core.LocalMemory | None:
    """What reads this backend, if it is a kept one of local memory."""
    return backend.memory if isinstance(backend, _LocMemCache) else None


def lend(backend: BaseCache, pages: Sequence[str], others: Sequence[str]) -> dict[str, Any]:
    """``backend.get_many()`` of all these keys; what is under the first may be lent."""
    if isinstance(backend, _LENDING):
        return backend.lend(pages, others)
    found = backend.get_many([*pages, *others])
    return found if type(found) is dict else dict(found)


_LENDING = (_LocMemCache, _RedisCache)

#: A key to ask for, to see whether the cache answers.
TRIED = "viewcache.tried"


def tried(backend: BaseCache) -> list[str]:
    """Keys to ask for, to see whether the cache answers, with each of its servers."""
    return backend.tried() if type(backend) is _MemcachedCache else [TRIED]


def _close(*, setting: str, **kwargs: Any) -> None:
    """The settings have changed."""
    if setting != "CACHES":
        return
    for backend in [*_kept.values()]:
        if type(backend) is _RedisCache:
            client: Any = backend._cache
            for pool in client._pools.values():
                pool.disconnect()
        elif backend is not None:
            backend.close()
    _kept.clear()


setting_changed.connect(_close, dispatch_uid="viewcache.backends")
# Two processes must not talk on one socket.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_kept.clear)
    os.register_at_fork(after_in_child=_twins.clear)
