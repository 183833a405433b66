"""The inventory: what is cached is listed, whoever stores it, and nothing served needs it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import types
from collections.abc import Coroutine, Generator
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
import viewcache
from backends import ASYNC, write_raw
from django.core.cache import cache, caches
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from viewcache import _core, conf, hit_counts, inventory
from viewcache.decorators import cache_page
from viewcache.store import Store

if TYPE_CHECKING:
    from backends import Backend

every_backend = pytest.mark.parametrize(
    "backend", ["locmem", "file", "db", "redis", "memcached"], indirect=True
)
redis = pytest.mark.parametrize("backend", ["redis"], indirect=True)


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse("page")


def themed(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.COOKIES.get("theme", ""))


ten_minutes = cache_page(600)(view)


def get(url: str, view: Any = ten_minutes, **headers: str) -> HttpResponse:
    response: HttpResponse = view(RequestFactory().get(url, headers=headers))
    return response


@pytest.fixture(autouse=True)
def small(settings: Any) -> None:
    """Reading 50,000 places is for the tests that need them."""
    settings.VIEWCACHE = {"INVENTORY": 1000}


def listed(*patterns: str) -> list[str]:
    found = inventory.read([_core.UrlPattern(pattern) for pattern in patterns])
    return [page.local for page in found.pages]


# -- What is listed -------------------------------------------------------------------------------


def test_every_way_lists_its_pages(cached: Any, counted: Any) -> None:
    get = cached(counted())
    for url in ["/b/?x=2", "/a/", "/b/?x=1", "/a/", "/café/?q=ü+1&utm_source=x"]:
        get(url)
    assert listed() == ["/a/", "/b/?x=1", "/b/?x=2", "/café/?q=%C3%BC%201"]
    assert [page.origin for page in inventory.read().pages] == ["http://testserver"] * 4


@every_backend
def test_an_entry_that_cannot_be_decoded_hides_no_other(backend: Backend, settings: Any) -> None:
    settings.VIEWCACHE = {"INVENTORY": 8, "COUNT_HITS": True}
    for _ in range(2):
        get("/a/")
    hit_counts.write()
    places = conf.inventory().keys(0, 8)
    [taken] = backend.cache.get_many(places)
    damaged = next(place for place in places if place != taken)
    # The file has to be there before its bytes are replaced.
    backend.cache.set(damaged, 1, 600)
    write_raw(backend, damaged, b"\x80garbage")
    assert listed() == ["/a/"]
    pages = [page.key for page in inventory.read().pages]
    assert list(hit_counts.read(pages).values()) == [1]
    [count] = hit_counts._keys(pages)
    write_raw(backend, count, b"\x80garbage")
    assert hit_counts.read(pages) == {}


@every_backend
def test_on_every_backend(backend: Backend) -> None:
    for number in range(20):
        get(f"/{number:02}/")
    conf.inventory.cache_clear()  # another process
    get("/00/")
    viewcache.expire(path="/01/")
    get("/01/")
    assert listed() == [f"/{number:02}/" for number in range(20)]
    assert len(list(inventory.look_at(inventory.read().pages))) == 20


def test_variants_are_listed_with_what_tells_them_apart(settings: Any, cached: Any) -> None:
    settings.USE_I18N = True
    settings.CACHES["other"] = {**settings.CACHES["default"], "LOCATION": "another"}

    elsewhere = cache_page(60, cache="other", key_prefix="mine")(themed)
    for theme in ("dark", "light", "dark"):
        get("/page/", elsewhere, Cookie=f"theme={theme}")
    elsewhere(RequestFactory().head("/page/"))
    pages = inventory.read().pages
    assert [(page.local, page.alias, page.key_prefix, page.language) for page in pages] == [
        ("/page/", "other", "mine", "en")
    ] * 3
    assert sorted(page.method for page in pages) == ["GET", "GET", "HEAD"]
    assert len(list(inventory.look_at(pages))) == 3


def test_patterns_choose(cached: Any, counted: Any) -> None:
    get = cached(counted())
    for url in ["/blog/", "/blog/1/", "/shop/?page=2", "/about/"]:
        get(url)
    assert listed("^/blog/") == ["/blog/", "/blog/1/"]
    assert listed("^/blog/$", r"page=\d") == ["/blog/", "/shop/?page=2"]
    assert len(listed("^http://testserver/")) == 4
    assert listed("nothing") == []
    with pytest.raises(ValueError, match="is not a pattern: unclosed group"):
        listed("(")


def test_what_became_of_a_page_is_told() -> None:
    def tagged(request: HttpRequest) -> HttpResponse:
        viewcache.tag(request, "a")
        return HttpResponse("page")

    get("/fresh/")
    get("/expired/", cache_page(600)(tagged))
    get("/gone/")
    get("/evicted/")
    viewcache.expire(tag="a")
    cache.delete(conf.site().generation_keys(["path:/gone/"])[0])
    [evicted] = [page for page in inventory.read().pages if page.path == "/evicted/"]
    cache.delete(evicted.key)
    cache.set(conf.inventory().keys(0, 1)[0], "something else")
    told = {page.listed.path: page for page in inventory.look_at(inventory.read().pages)}
    assert {path: page.stale for path, page in told.items()} == {
        "/fresh/": None,
        "/expired/": ("expired", "tag:a"),
        "/gone/": ("generation-gone", "path:/gone/"),
    }
    assert told["/expired/"].tags == ["tag:a"]
    assert told["/fresh/"].expires_at - told["/fresh/"].stored_at == 600
    assert told["/fresh/"].bytes > len(b"page")


def test_signed_pages_are_listed_and_what_nobody_signed_is_not(
    settings: Any, cached: Any, counted: Any
) -> None:
    settings.VIEWCACHE = {"SIGN": True}
    get = cached(counted())
    get("/a/")
    get("/b/")
    viewcache.expire(path="/b/")
    listed = inventory.read().pages
    found = {page.listed.path: page.stale for page in inventory.look_at(listed)}
    assert found == {"/a/": None, "/b/": ("expired", "path:/b/")}
    settings.SECRET_KEY = "another"
    assert not [*inventory.look_at(listed)]


def test_another_pages_record_is_no_page(cached: Any, counted: Any) -> None:
    get = cached(counted())
    get("/a/")
    get("/b/")
    first, second = inventory.read().pages
    cache.set(first.key, cache.get(second.key))
    assert [page.listed for page in inventory.look_at([first, second])] == [second]


def test_pages_of_views_are_found_by_name(site: Any) -> None:
    def items(request: HttpRequest, pk: int) -> HttpResponse:
        return HttpResponse(str(pk))

    client = site.serve(
        path("items/<int:pk>/", items, name="item"),
        path("about/", lambda request: HttpResponse(""), name="about"),
        per_site=True,
    )
    for url in ["/items/1/", "/items/2/?a", "/about/"]:
        client.get(url)
    found = inventory.of_views(inventory.read().pages, ["item"])
    assert [page.local for page in found] == ["/items/1/", "/items/2/?a="]
    assert inventory.has_view("item")
    assert not inventory.has_view("items")


# -- Its bounds -----------------------------------------------------------------------------------


def test_it_is_bounded_and_pages_beyond_it_are_served(
    cached: Any, counted: Any, settings: Any
) -> None:
    settings.VIEWCACHE = {"INVENTORY": 40}
    counter = counted()
    get = cached(counter)
    for _ in range(2):
        for number in range(100):
            get(f"/{number}/")
    found = inventory.read()
    assert found.places == 40
    assert 32 <= found.taken <= 40
    assert counter.count == 100, "a page that is not listed is served like any other"


def test_one_url_does_not_fill_it(cached: Any) -> None:
    for number in range(200):
        get("/page/", cache_page(60)(themed), Cookie=f"theme={number}")
    get("/other/")
    assert len(listed("/page/")) <= 32
    assert listed("/other/") == ["/other/"]


@pytest.mark.parametrize("backend", [ASYNC], indirect=True)
def test_one_url_does_not_fill_it_with_an_async_client_either(backend: Backend) -> None:
    rendered = []

    @cache_page(600)
    async def page(request: HttpRequest) -> HttpResponse:
        rendered.append(1)
        return themed(request)

    async def run() -> None:
        for number in range(40):
            await page(RequestFactory().get("/page/", headers={"cookie": f"theme={number}"}))

    for _ in range(2):
        asyncio.run(run())
    assert len(listed()) <= 32
    assert len(rendered) == 40, "a page that is not listed is served like any other"


def test_whoever_finds_a_place_taken_meanwhile_takes_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache.set("first", b"another page")
    store = Store()
    get_many = store.generations.get_many

    def meanwhile(keys: Any) -> Any:
        found = get_many(keys)
        cache.add("second", b"a third page")
        return found

    monkeypatch.setattr(store.generations, "get_many", meanwhile)
    places = ["first", "second", "third"]
    assert store.enlist(places, b"page", 60)
    assert cache.get("third") == b"page"
    # Where all are taken, it takes none.
    assert not store.enlist(places, b"a fourth page", 60)
    assert cache.get_many(places) == {
        "first": b"another page",
        "second": b"a third page",
        "third": b"page",
    }


def test_it_can_be_switched_off(cached: Any, counted: Any, settings: Any) -> None:
    settings.VIEWCACHE = {"INVENTORY": 0}
    counter = counted()
    get = cached(counter)
    with mock.patch.object(Store, "enlist") as enlist, mock.patch.object(Store, "aenlist"):
        assert [get().content, get().content] == [b"1", b"1"]
    assert not enlist.called
    with pytest.raises(ImproperlyConfigured, match=r"'INVENTORY'.* is 0"):
        inventory.read()


def test_a_release_has_its_own(cached: Any, counted: Any, settings: Any) -> None:
    get = cached(counted())
    get("/a/")
    settings.VIEWCACHE = {"RELEASE": "2"}
    assert listed() == []


def test_what_was_lost_is_listed_again(cached: Any, counted: Any) -> None:
    get = cached(counted())
    get("/a/")
    cache.clear()
    assert listed() == []
    get("/a/")
    assert listed() == ["/a/"]


def test_an_entry_outlasts_its_page_and_is_kept_while_the_page_is_stored_anew() -> None:
    get("/a/")
    later = 10**9
    with mock.patch.object(Store, "enlist") as enlist:
        viewcache.expire(path="/a/")
        get("/a/")
        assert not enlist.called
        # A page that ends after its entry renews the entry.
        viewcache.expire(path="/a/")
        get("/a/", cache_page(later)(view))
        assert [call.args[2] > later for call in enlist.call_args_list] == [True]


# -- Nothing that is served depends on it ---------------------------------------------------------


def test_expiry_needs_no_entry(cached: Any, counted: Any) -> None:
    get = cached(counted())
    assert get("/a/").content == b"1"
    cache.delete_many(conf.inventory().keys(0, conf.inventory().places))
    assert listed() == []
    assert get("/a/").content == b"1"
    viewcache.expire(path="/a/")
    assert get("/a/").content == b"2"


def test_a_fault_of_it_is_logged_and_the_page_is_stored(
    cached: Any, counted: Any, visit_of: Any, caplog: pytest.LogCaptureFixture
) -> None:
    get = cached(counted())
    with (
        mock.patch.object(Store, "enlist", side_effect=OSError("no")),
        mock.patch.object(Store, "aenlist", side_effect=OSError("no")),
        caplog.at_level(logging.WARNING, "viewcache"),
    ):
        response = get("/a/")
    assert (response.status_code, visit_of(response)[0]) == (200, "stored")
    [record] = caplog.records
    assert "could not note a page in the inventory (OSError: no)" in record.getMessage()


# -- What it costs --------------------------------------------------------------------------------


@redis
def test_only_the_first_store_of_a_process_costs_more(backend: Backend, settings: Any) -> None:
    def commands(inventory: int) -> list[int]:
        settings.VIEWCACHE = {"INVENTORY": inventory, "WAIT_SECONDS": 0}
        backend.cache.clear()
        counted = []
        for expires in (False, False, True, True):
            if expires:
                viewcache.expire(path="/a/")
            with backend.counting() as sent:
                get("/a/")
            counted.append(sent.total())
        conf.inventory.cache_clear()
        viewcache.expire(path="/a/")
        with backend.counting() as sent:
            get("/a/")
        return [*counted, sent.total()]

    without, with_it = commands(0), commands(1000)
    more = [b - a for a, b in zip(without, with_it, strict=True)]
    # The first store: add. A hit and a store anew: nothing. Another process: add, read, touch.
    assert more == [1, 0, 0, 0, 3]


@redis
def test_a_url_whose_places_are_taken_is_left_alone(backend: Backend, settings: Any) -> None:
    def commands(inventory: int) -> int:
        settings.VIEWCACHE = {"INVENTORY": inventory, "WAIT_SECONDS": 0}
        backend.cache.clear()

        def store(number: int) -> None:
            get("/page/", cache_page(60)(themed), Cookie=f"theme={number}")

        for number in range(34):
            store(number)
        with backend.counting() as sent:
            store(100)
        return sent.total()

    assert commands(0) == commands(1000)


# -- Many writers ---------------------------------------------------------------------------------

PROCESSES, SHARED = 8, 40


def _store(number: int, urls: int, begin: Any) -> None:
    conf.inventory.cache_clear()
    caches.close_all()
    page = cache_page(600)(view)
    begin.wait()
    for shared in range(SHARED):
        get(f"/shared/{shared}/", page)
    for own in range(number, urls - SHARED, PROCESSES):
        get(f"/{own}/", page)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize(
    ("backend", "urls"), [("redis", 10_000), ("memcached", 2000)], indirect=["backend"]
)
def test_eight_processes_storing_thousands_of_urls_at_once(
    backend: Backend, urls: int, settings: Any
) -> None:
    # Nobody waits here for another's render: this is about the inventory.
    settings.VIEWCACHE = {"WAIT_SECONDS": 0}
    context = multiprocessing.get_context("fork")
    begin = context.Barrier(PROCESSES)
    workers = [
        context.Process(target=_store, args=(number, urls, begin)) for number in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(300)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    wanted = {f"/shared/{shared}/" for shared in range(SHARED)}
    wanted |= {f"/{own}/" for own in range(urls - SHARED)}
    found = inventory.read()
    assert len(found.pages) == urls
    assert {page.local for page in found.pages} == wanted
    assert found.taken == urls, "each page has one place, whoever stores it"


@types.coroutine
def _turn() -> Generator[None, None, None]:
    """Wait until the test says it is this coroutine's turn."""
    yield


class _Table:
    """A cache whose commands are atomic, and wait for their turn."""

    def __init__(self) -> None:
        self.entries: dict[str, bytes] = {}

    async def aadd(self, key: str, value: bytes, timeout: int) -> bool:
        await _turn()
        return self.entries.setdefault(key, value) is value

    async def aget(self, key: str) -> bytes | None:
        await _turn()
        return self.entries.get(key)

    async def aget_many(self, keys: list[str]) -> dict[str, bytes]:
        await _turn()
        return {key: self.entries[key] for key in keys if key in self.entries}

    async def atouch(self, key: str, timeout: int) -> bool:
        await _turn()
        return key in self.entries


@given(
    places=st.lists(st.permutations(["a", "b", "c"]), min_size=3, max_size=3),
    same=st.booleans(),
    turns=st.lists(st.integers(0, 3), max_size=40),
)
def test_in_whatever_order_writers_take_turns(
    places: list[list[str]], same: bool, turns: list[int]
) -> None:
    """Three pages, three places, four writers: two of them store the same page."""
    table = _Table()
    store = Store.__new__(Store)
    store.generations = store.pages = table  # type: ignore[assignment]
    pages = [b"first", b"first" if same else b"second", b"third", b"third"]
    places = [*places, places[2]]
    if same:
        places[1] = places[0]

    def enlist(number: int) -> Coroutine[Any, Any, None]:
        # Another object for each: the table tells writers apart by it.
        return store.aenlist(places[number], bytes(bytearray(pages[number])), 60)

    with mock.patch.object(Store, "_native", True):
        writers: list[Any] = [enlist(number) for number in range(4)]
        for turn in turns:
            _step(writers, turn)
        while any(writers):
            for turn in range(4):
                _step(writers, turn)
    assert sorted(table.entries.values()) == sorted(set(pages))


def _step(writers: list[Any], turn: int) -> None:
    if writers[turn] is not None:
        try:
            writers[turn].send(None)
        except StopIteration:
            writers[turn] = None


@redis
def test_tasks_of_one_process(backend: Backend) -> None:
    @cache_page(600)
    async def page(request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")

    async def run() -> None:
        requests = [RequestFactory().get(f"/{number}/") for number in range(100)]
        await asyncio.gather(*(page(request) for request in requests))

    asyncio.run(run())
    assert sorted(listed(), key=lambda url: int(url.strip("/"))) == [f"/{n}/" for n in range(100)]


def test_a_page_is_listed_as_it_is_asked_for() -> None:
    def secure(url: str, view: Any) -> None:
        view(RequestFactory().get(url, secure=True))

    secure("/a/?x=1&y=2", ten_minutes)
    secure("/b/?x=1&y=2", cache_page(600, query=["x"])(view))
    found = inventory.read().pages
    assert [page.origin for page in found] == ["https://testserver"] * 2
    assert [page.local for page in found] == ["/a/?x=1&y=2", "/b/?x=1"]
