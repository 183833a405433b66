"""Entries that the backend cannot decode, beside faults of the cache, which are another thing."""

from __future__ import annotations

import json
import pickle
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backends import Backend, write_raw
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import RequestFactory
from servers import Server
from viewcache import breaker, conf, illegible, stampede
from viewcache.decorators import cache_page
from viewcache.explaining import explain
from viewcache.store import Store
from viewcache.visit import Visit

GARBAGE = b"\x80garbage"
REDIS = pytest.mark.parametrize("backend", ["redis"], indirect=True)


@pytest.fixture(autouse=True)
def _afresh() -> Iterator[None]:
    stampede.passes.clear()
    yield
    breaker.reset()
    stampede.passes.clear()


def _keys(*scopes: str) -> list[str]:
    return conf.site().generation_keys(list(scopes))


class Json:
    """A serializer that reads no pickle, and says so as a decoder of text does."""

    def dumps(self, value: Any) -> bytes:
        plain = {"b": b64encode(value).decode()} if isinstance(value, bytes) else value
        return json.dumps(plain).encode()

    def loads(self, data: bytes) -> Any:
        value = json.loads(data)
        return b64decode(value["b"]) if isinstance(value, dict) else value


@REDIS
def test_another_serializer_overwrites_what_it_cannot_read(
    cached: Any, counted: Any, backend: Backend, settings: Any, visit_of: Any
) -> None:
    settings.VIEWCACHE = {"WAIT_SECONDS": 0.05}
    get = cached(counted())
    assert [visit_of(get())[0] for _ in range(2)] == ["stored", "hit"]
    options = {"serializer": f"{__name__}.Json"}
    settings.CACHES = {"default": {**settings.CACHES["default"], "OPTIONS": options}}
    assert [visit_of(get())[0] for _ in range(2)] == ["stored", "hit"]
    assert not breaker.any_failing()


@pytest.mark.parametrize("cached", ["view", "async view"], indirect=True)
def test_text_that_is_no_text_when_a_page_was_waited_for_is_no_fault(
    cached: Any, counted: Any, visit_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another has taught the recipe a header meanwhile, which this request has no text for."""

    def again(self: Visit) -> Any:
        return "\udc80".encode()

    monkeypatch.setattr(Store, "take_turn", lambda *args: False)
    monkeypatch.setattr(Visit, "look_again", again)
    response = cached(counted())()
    assert (response.content, visit_of(response)) == (b"1", ("bypass", "text that is no text"))
    assert not breaker.any_failing()


class HungUpError(Exception):
    """Of a client that nobody has heard of."""


class Hanging(LocMemCache):
    """A backend whose client waits in vain."""

    waited = 0
    error: type[Exception] = Exception

    def get(self, *args: Any, **kwargs: Any) -> Any:
        type(self).waited += 1
        raise self.error("no answer")


@pytest.mark.parametrize("error", [HungUpError, TimeoutError, ConnectionError])
def test_a_fault_is_not_waited_for_key_by_key(
    site: Any,
    counted: Any,
    settings: Any,
    visit_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
) -> None:
    monkeypatch.setattr(Hanging, "waited", 0)
    monkeypatch.setattr(Hanging, "error", error)
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Hanging", "LOCATION": "hanging"}}
    response = site.serve(cache_page(60)(counted())).get("/a/")
    assert (response.content, visit_of(response)) == (b"1", ("bypass", "cache fault"))
    # After an error that nobody knows it is asked once more, whether it answers at all.
    assert Hanging.waited == (2 if error is HungUpError else 1)


@pytest.mark.parametrize("of_client", ["redis.exceptions.TimeoutError", "django.db.DatabaseError"])
def test_errors_of_known_clients_are_faults(of_client: str) -> None:
    from django.utils.module_loading import import_string

    assert illegible.is_fault(import_string(of_client)("down"))
    assert not illegible.is_fault(pickle.UnpicklingError("damage"))


class Native(LocMemCache):
    """A backend with an async client of its own."""

    async def aget_many(self, keys: Any, version: int | None = None) -> dict[Any, Any]:
        return self.get_many(keys, version)

    async def aset(self, *args: Any, **kwargs: Any) -> None:
        self.set(*args, **kwargs)


@pytest.mark.parametrize("cached", ["async site", "async view"], indirect=True)
def test_where_the_client_is_async(cached: Any, counted: Any, settings: Any, visit_of: Any) -> None:
    where = {"BACKEND": f"{__name__}.Native", "LOCATION": "illegible-native"}
    settings.CACHES = {"default": where}
    get = cached(counted())
    get()
    backend = Backend("locmem")
    for name in [*backend.cache._cache]:  # type: ignore[attr-defined]
        if name.split(".")[1] in ("g1", "p1", "r1"):
            write_raw(backend, name.removeprefix(":1:"), GARBAGE)
            assert [visit_of(get())[0] for _ in range(2)] == ["stored", "hit"]
    backend.cache.clear()


@pytest.mark.parametrize("backend", ["redis", "file"], indirect=True)
def test_of_two_caches(
    site: Any, counted: Any, backend: Backend, settings: Any, visit_of: Any
) -> None:
    memory = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "both"}
    here = settings.CACHES["default"]
    for caches_of_site in ({"default": memory, "pages": here}, {"default": here, "pages": memory}):
        settings.CACHES = caches_of_site
        client = site.serve(cache_page(60, cache="pages")(counted()))
        lookup = client.get("/a/").wsgi_request._viewcache.lookup
        alias, key = (
            ("pages", lookup.key)
            if caches_of_site["pages"] is here
            else ("default", _keys("path:/a/")[0])
        )
        assert caches[alias].get(key) is not None
        settings.CACHES = {**caches_of_site, "default": here}
        write_raw(backend, key, GARBAGE)
        settings.CACHES = caches_of_site
        assert [visit_of(client.get("/a/"))[0] for _ in range(2)] == ["stored", "hit"]


@REDIS
def test_explaining_deletes_nothing(
    site: Any, counted: Any, backend: Backend, settings: Any
) -> None:
    settings.USE_I18N = True  # Django's functions remember what it was when they were first called
    client = site.serve(cache_page(60)(counted()))
    client.get("/a/")
    [key] = _keys("path:/a/")
    write_raw(backend, key, GARBAGE)
    request = RequestFactory().get("/a/", headers={"host": "testserver"})
    assert not explain(request).page
    assert isinstance(backend.server, Server)
    assert "garbage" in _raw(backend.server, key)


def _raw(server: Server, key: str) -> str:
    from redis import Redis

    with Redis("127.0.0.1", server.port) as redis:
        return repr(redis.get(f":1:{key}"))


@REDIS
def test_a_generation_that_is_not_readable_is_a_new_one(
    site: Any, counted: Any, backend: Backend
) -> None:
    client = site.serve(cache_page(60)(counted()))
    client.get("/a/")
    [key] = _keys("tree:/")
    before = backend.cache.get(key)
    write_raw(backend, key, GARBAGE)
    assert client.get("/a/").content == b"2"
    after = backend.cache.get(key)
    assert isinstance(after, int)
    assert after != before


@REDIS
def test_a_generation_of_another_type_is_overwritten(
    site: Any, counted: Any, backend: Backend, visit_of: Any
) -> None:
    """Redis answers that nothing is there, and that something is when it is to be added."""
    client = site.serve(cache_page(60)(counted()))
    client.get("/a/")
    [key] = _keys("tree:/")
    assert backend.server is not None
    backend.server.ask(f"del :1:{key}", f"rpush :1:{key} a")
    assert [visit_of(client.get("/a/"))[0] for _ in range(2)] == ["stored", "hit"]


@pytest.mark.parametrize("backend", ["file"], indirect=True)
def test_files_that_nobody_can_read_the_age_of(
    site: Any, counted: Any, backend: Backend, settings: Any, visit_of: Any
) -> None:
    """``add()`` reads it: for turns, generations and the inventory."""
    settings.VIEWCACHE = {"INVENTORY": 100}
    client = site.serve(cache_page(60)(counted()))
    client.get("/a/")
    folder = Path(settings.CACHES["default"]["LOCATION"])
    for file in folder.iterdir():
        file.write_bytes(GARBAGE)
    conf.inventory.cache_clear()
    assert [visit_of(client.get("/a/"))[0] for _ in range(2)] == ["stored", "hit"]
    assert not breaker.any_failing()
