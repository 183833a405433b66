"""Connections to the cache: kept from request to request, whoever serves them."""

from __future__ import annotations

import asyncio
import os
import pickle
import re
import socket
import threading
from typing import Any
from unittest import mock

import pytest
from backends import Backend
from django.core.cache import CacheKeyWarning, InvalidCacheBackendError, caches, close_caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.redis import RedisSerializer
from django.http import HttpRequest, HttpResponse
from django.test import AsyncRequestFactory, RequestFactory
from viewcache import backends, middleware, stores

SHARED = pytest.mark.parametrize("backend", ["redis", "memcached"], indirect=True)


def _opened(backend: Backend) -> int:
    """Connections that the server has accepted, without those that ask it this."""
    assert backend.server is not None
    asked = {"redis": "info stats", "memcached": "stats"}[backend.name]
    found = re.search(
        r"total_connections(?:_received)?[: ](\d+)", said := backend.server.ask(asked)
    )
    assert found is not None, said
    _opened.asked += 1  # type: ignore[attr-defined]
    return int(found[1]) - _opened.asked  # type: ignore[attr-defined]


_opened.asked = 0  # type: ignore[attr-defined]


def _site() -> middleware.CacheMiddleware:
    return middleware.CacheMiddleware(lambda request: HttpResponse("page"))


def _get() -> Any:
    response: Any = _site()(RequestFactory().get("/kept/"))
    # As at the end of each request: Django closes the caches that it knows.
    close_caches()
    return response


@pytest.mark.parametrize("backend", ["locmem", "redis"], indirect=True)
@pytest.mark.parametrize("of_its_own", [False, True])
def test_django_warns_of_a_prefix_that_is_not_portable(
    backend: Backend, settings: Any, of_its_own: bool
) -> None:
    more = {"KEY_FUNCTION": f"{__name__}.of_a_site"} if of_its_own else {}
    settings.CACHES = {"default": {**settings.CACHES["default"], "KEY_PREFIX": "a b", **more}}
    with pytest.warns(CacheKeyWarning, match="a b"):
        _get()
    # What is read is not looked at, and was valid or warned of when it was written.
    assert "Age" in _get().headers


def of_a_site(key: str, key_prefix: str, version: int) -> str:
    return f"site:{key_prefix}:{version}:{key}"


@SHARED
def test_no_request_opens_a_connection(backend: Backend) -> None:
    for _ in range(2):
        _get()
    before = _opened(backend)
    for _ in range(5):
        assert "Age" in _get().headers
    assert _opened(backend) == before


@SHARED
def test_no_async_request_opens_a_connection(backend: Backend) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")

    site = middleware.CacheMiddleware(view)

    async def get() -> Any:
        return await site(AsyncRequestFactory().get("/kept/"))  # type: ignore[misc]

    async def requests() -> None:
        for _ in range(2):
            await asyncio.create_task(get())
        before = _opened(backend)
        for _ in range(5):
            # A task of its own, as under a server: nothing is in its context.
            assert "Age" in (await asyncio.create_task(get())).headers
        assert _opened(backend) == before

    asyncio.run(requests())


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
def test_a_connection_that_the_server_has_closed_is_opened_anew(backend: Backend) -> None:
    for _ in range(2):
        _get()
    kept = backends.of("default")
    _close(kept)
    assert "Age" in _get().headers
    assert backends.of("default") is not kept


def _close(kept: Any) -> None:
    """As the server does with connections that nobody used."""
    for client in kept._cache.clients.values():
        for connection in client.client_pool._free_objs:
            connection.sock.close()


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
@pytest.mark.parametrize("closed", ["pages", "default"])
def test_of_two_caches_the_one_whose_connection_is_closed_is_opened_anew(
    backend: Backend, settings: Any, closed: str
) -> None:
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "two"}
    settings.CACHES = {"default": memory, "pages": memory, closed: settings.CACHES["default"]}
    site = middleware.CacheMiddleware(lambda request: HttpResponse("page"), cache_alias="pages")

    def get() -> Any:
        return site(RequestFactory().get("/kept/"))

    for _ in range(2):
        get()
    kept = backends.of(closed)
    _close(kept)
    assert "Age" in get().headers
    assert backends.of(closed) is not kept


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
def test_those_whose_connections_failed_at_once_share_the_new_ones(backend: Backend) -> None:
    failed = backends.of("default")
    first, second = (backends.renewed("default", failed) for _ in range(2))
    assert first is second is backends.of("default")
    assert first is not failed


@SHARED
def test_many_threads_at_once(backend: Backend) -> None:
    _get()
    wrong: list[object] = []

    def requests() -> None:
        wrong.extend(r for _ in range(5) if "Age" not in (r := _get()).headers)

    threads = [threading.Thread(target=requests) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@SHARED
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_does_not_share_it(backend: Backend) -> None:
    assert backends.of("default") is backends.of("default")
    child = os.fork()
    if child == 0:
        os._exit(len(backends._kept))
    assert os.waitpid(child, 0)[1] == 0
    assert backends._kept


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
@pytest.mark.parametrize("count", [1, 3])
def test_keys_lie_where_django_looks_for_them(backend: Backend, settings: Any, count: int) -> None:
    # To the client, each spelling of the address is a server of its own.
    host, port = backend.server.location.rsplit(":", 1)
    spelled = [f"{host}:{port}", f"127.1:{port}", f"127.0.1:{port}"][:count]
    settings.CACHES = {"default": {**settings.CACHES["default"], "LOCATION": spelled}}
    ours, theirs = backends.of("default"), caches["default"]
    entries = {f"key{number}": number for number in range(30)}
    assert len({_server(theirs, key) for key in entries}) == count
    for key in entries:
        assert _server(ours, key) == _server(theirs, key)
    assert ours.set_many(entries, 60) == []
    assert ours.get_many(entries) == theirs.get_many(entries) == entries


def _server(cache: Any, key: str) -> str:
    return str(cache._cache.hasher.get_node(cache.make_key(key)))


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
def test_of_one_server_no_key_is_hashed(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    def hashed(*args: Any) -> int:
        raise AssertionError(args)

    ours: Any = backends.of("default")
    monkeypatch.setattr(ours._cache.hasher, "hash_function", hashed)
    ours.set("key", "value", 60)
    assert ours.get_many(["key", "absent"]) == {"key": "value"}


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
@pytest.mark.parametrize("size", [0, 1, 4094, 4095, 4096, 4097, 262_142, 262_145, 900_000])
def test_large_pages_are_read_in_large_pieces(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    ours: Any = backends.of("default")
    pages = {f"page{number}": bytes([number]) * size for number in range(3)}
    for key, page in pages.items():
        ours.set(key, page, 60)
    assert ours.get_many([*pages, "absent"]) == pages
    [client] = ours._cache.clients.values()
    [connection] = client.client_pool._free_objs
    received: list[int] = []
    kind = type(connection.sock)
    received_by = kind.recv

    def recv(self: Any, size: int, flags: int = 0) -> bytes:
        found: bytes = received_by(self, size, flags)
        received.append(len(found))
        return found

    monkeypatch.setattr(kind, "recv", recv)
    ours.get_many(pages)
    assert len(received) <= 2 + 3 * size // 16_384


@pytest.mark.parametrize("backend", ["memcached"], indirect=True)
def test_what_the_site_says_of_its_client_stands(backend: Backend, settings: Any) -> None:
    from pymemcache.client.rendezvous import RendezvousHash

    said = {"hasher": RendezvousHash, "socket_module": socket, "timeout": 0.5}
    settings.CACHES = {"default": {**settings.CACHES["default"], "OPTIONS": said}}
    ours: Any = backends.of("default")
    ours.set("key", "value", 60)
    assert type(ours._cache.hasher) is RendezvousHash
    [client] = ours._cache.clients.values()
    assert client.socket_module is socket
    assert client.timeout == 0.5


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
@pytest.mark.parametrize("said", [{}, {"socket_read_size": 1024}])
def test_redis_is_read_in_large_pieces_unless_the_site_says_otherwise(
    backend: Backend, settings: Any, said: dict[str, Any]
) -> None:
    settings.CACHES = {"default": {**settings.CACHES["default"], "OPTIONS": said}}

    async def under_asgi() -> Any:
        return backends.of("default")

    for ours in (backends.of("default"), asyncio.run(under_asgi())):
        pool = ours._cache.get_client().connection_pool
        assert pool.connection_kwargs["socket_read_size"] == said.get(
            "socket_read_size", 256 * 1024
        )


def test_what_cannot_be_shared_is_djangos(settings: Any) -> None:
    memcached = "django.core.cache.backends.memcached.PyMemcacheCache"
    settings.CACHES = {
        "default": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
        "own": {"BACKEND": memcached, "LOCATION": "h:1", "OPTIONS": {"use_pooling": False}},
    }
    for alias in settings.CACHES:
        assert backends.of(alias) is caches[alias]


def test_local_memory_reads_what_django_wrote(settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "read",
            "KEY_PREFIX": "p",
            "VERSION": 3,
        }
    }
    theirs, ours = caches["default"], backends.of("default")
    theirs.set_many({"a": 1, "b": [2]}, 60)
    theirs.set("gone", 1, 0.001)
    with mock.patch("time.time", return_value=theirs._expire_info[theirs.make_key("gone")]):  # type: ignore[attr-defined]
        assert ours.get_many(["a", "b", "gone", "never"]) == {"a": 1, "b": [2]}
        assert not theirs.has_key("gone")
    assert ours.get_many(["a"], version=4) == {}


def test_who_patches_local_memory_sees_what_is_read(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": "patched",
        }
    }
    caches["default"].set_many({"a": 1, "b": 2}, 60)
    seen: list[str] = []
    get = LocMemCache.get

    def watched(self: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        seen.append(key)
        return get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocMemCache, "get", watched)
    ours = backends.of("default")
    assert ours.get_many(["a", "b"]) == backends.lend(ours, ["a"], ["b"]) == {"a": 1, "b": 2}
    assert seen == ["a", "b"] * 2


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_who_watches_local_memory_sees_look_ups(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    _get()
    seen: list[str] = []
    get = LocMemCache.get

    def watched(self: Any, key: str, *args: Any, **kwargs: Any) -> Any:
        seen.append(key.split(".")[1][0])
        return get(self, key, *args, **kwargs)

    monkeypatch.setattr(LocMemCache, "get", watched)
    assert "Age" in _get().headers
    assert sorted(seen) == ["g", "g", "p", "r"]


@pytest.mark.parametrize("backend", ["locmem", "redis", "memcached"], indirect=True)
def test_one_store_answers_all_requests_of_a_backend(backend: Backend, settings: Any) -> None:
    before = settings.CACHES["default"]
    stored = stores.of(None)
    assert stores.of(None) is stored
    assert stored.is_kept == (backend.name == "locmem")
    elsewhere: list[Any] = []
    thread = threading.Thread(target=lambda: elsewhere.append(stores.of(None)))
    thread.start()
    thread.join()
    # Each thread has its own pool of connections to Redis.
    assert (elsewhere == [stored]) == (backend.name != "redis")
    settings.CACHES = {"default": {**before, "KEY_PREFIX": "another"}, "b": before}
    assert stores.of(None) is not stored
    # Its pages are in another cache than its generations.
    assert not stores.of("b").is_kept


def test_what_is_wrong_with_a_cache_django_says(settings: Any) -> None:
    settings.CACHES = {"default": {"BACKEND": "no.such.Cache"}}
    for alias in ("default", "another"):
        with pytest.raises(InvalidCacheBackendError, match=r"no\.such\.Cache|another"):
            backends.of(alias)


@pytest.mark.parametrize("backend", ["locmem", "memcached"], indirect=True)
def test_djangos_own_backend_is_not_made_beside_the_kept_one(backend: Backend) -> None:
    made: list[Any] = []
    thread = threading.Thread(
        target=lambda: made.extend([_get(), *caches.all(initialized_only=True)])
    )
    thread.start()
    thread.join()
    assert len(made) == 1


@pytest.mark.parametrize("backend", ["redis", "locmem"], indirect=True)
def test_a_kept_backend_reads_what_django_wrote(backend: Backend, settings: Any) -> None:
    def reverse(key: str, prefix: str, version: int) -> str:
        return f"{version}-{prefix}-{key[::-1]}"

    plain = {**settings.CACHES["default"], "KEY_PREFIX": "p", "VERSION": 3}
    settings.CACHES = {"default": plain, "own": {**plain, "KEY_FUNCTION": reverse}}
    for alias in settings.CACHES:
        theirs, ours = caches[alias], backends.of(alias)
        assert ours is not theirs
        theirs.set_many({"a": 1, "b": [2]}, 60)
        assert ours.get_many(["b", "a", "never"]) == {"a": 1, "b": [2]}
        assert ours.get_many(["a"], version=4) == {}
        ours.set("c", b"3", 60)
        assert theirs.get("c") == b"3"


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_local_memory_drops_what_has_expired(backend: Backend) -> None:
    """As Django's own does when it comes to it; else it would lie there until it is culled."""
    ours: Any = backends.of("default")
    ours.set_many({"a": 1, "b": 2}, 60)
    expired = next(name for name in ours._cache if name.endswith("a"))
    ours._expire_info[expired] = 1.0
    assert ours.get_many(["a", "b"]) == {"b": 2}
    assert [name[-1] for name in ours._cache] == ["b"]
    assert [name[-1] for name in ours._expire_info] == ["b"]


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_local_memory_keeps_what_is_read(backend: Backend) -> None:
    """What was not read for longest is culled first."""
    ours: Any = backends.of("default")
    ours.set_many(dict.fromkeys("abc", 1), 60)
    ours.get_many(["a", "b"])
    assert [name[-1] for name in ours._cache] == ["b", "a", "c"]


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_a_thread_asks_redis_on_the_connections_that_it_has(backend: Backend) -> None:
    def found() -> tuple[Any, Any]:
        return caches["default"]._cache, backends.of("default")._cache  # type: ignore[attr-defined]

    theirs, ours = found()
    assert ours._pools is theirs._pools
    assert ours.get_client() is ours.get_client()
    others: list[Any] = []
    thread = threading.Thread(target=lambda: others.extend(found()))
    thread.start()
    thread.join()
    assert others[1]._pools is others[0]._pools is not ours._pools


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_who_watches_a_backend_sees_what_is_asked(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As Django Debug Toolbar and the tracers do.
    asked: list[object] = []
    theirs = caches["default"]
    get_many = theirs.get_many
    monkeypatch.setattr(
        theirs, "get_many", lambda keys, version=None: asked.append(keys) or get_many(keys, version)
    )
    for _ in range(2):
        _get()
    assert len(asked) >= 2


@pytest.mark.parametrize("backend", ["locmem", "redis"], indirect=True)
@pytest.mark.parametrize("size", [0, 255, 256, 1023, 1024, 65_535, 65_536, 200_000])
def test_pages_are_lent_as_they_lie(backend: Backend, size: int) -> None:
    page = os.urandom(size)
    # Of these, none is bytes alone, whatever its pickle looks like.
    values = [bytearray(page), [page], (page, 0, 1), page.hex(), list(page), 7, "7", -7]
    others = {f"k{number}": value for number, value in enumerate(values)}
    numbers = {f"n{number}": number for number in (0, 255, 2**31, 2**62, -1)}
    caches["default"].set_many({"page": page, "other": page, **others, **numbers})
    ours = backends.of("default")
    found = backends.lend(ours, ["page", *others, "never"], ["other", *numbers, "no"])
    lent = found.pop("page")
    assert isinstance(lent, tuple) == (size >= 1024)
    if isinstance(lent, tuple):
        held, start, end = lent
        lent = held[start:end]
    assert lent == page == found.pop("other")
    assert found == others | numbers


class Reversed(RedisSerializer):
    """A serializer of a site's own, whose entries look like pages of ours, and are none."""

    def dumps(self, obj: Any) -> Any:
        return super().dumps(pickle.dumps(obj)[::-1])

    def loads(self, data: bytes) -> Any:
        return pickle.loads(super().loads(data)[::-1])


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_what_the_sites_serializer_wrote_it_reads(backend: Backend, settings: Any) -> None:
    settings.CACHES = {
        "default": {**settings.CACHES["default"], "OPTIONS": {"serializer": Reversed}}
    }
    entries = {"page": os.urandom(2000), "number": 7}
    caches["default"].set_many(entries)
    assert backends.lend(backends.of("default"), ["page"], ["number"]) == entries
