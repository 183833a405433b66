"""Many who miss one page at once: one renders it, whoever they are and wherever they run."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from backends import Backend
from django.core.cache import close_caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from viewcache import conf, stampede
from viewcache.decorators import cache_page
from viewcache.store import Store
from viewcache.visit import visit_of

RENDER_SECONDS = 0.3
#: How long a test is patient with a machine that does other things, too. Whoever waits must not
#: give up because the machine was slow.
PATIENCE = 60.0


@pytest.fixture(autouse=True)
def _patient() -> Iterator[None]:
    stampede.passes.clear()
    with override_settings(VIEWCACHE={"WAIT_SECONDS": PATIENCE}):
        yield
    stampede.passes.clear()


def get(view: Any, path: str = "/page/", **headers: str) -> HttpResponse:
    request = RequestFactory().get(path, headers=headers)
    response: HttpResponse = view(request)
    return response


class Slow:
    """A view that counts how often it renders, across threads."""

    def __init__(self, seconds: float = RENDER_SECONDS) -> None:
        self.count = 0
        self._lock = threading.Lock()
        self._seconds = seconds

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with self._lock:
            self.count += 1
            body = str(self.count)
        time.sleep(self._seconds)
        return HttpResponse(body)


def test_a_visitor_who_leaves_keeps_nobody_waiting() -> None:
    begun = asyncio.Event()

    async def view(request: HttpRequest) -> HttpResponse:
        begun.set()
        if "leaves" in request.headers:
            await asyncio.sleep(3600)
        return HttpResponse("page")

    cached = cache_page(60)(view)

    async def visit() -> None:
        request = RequestFactory().get("/page/", headers={"leaves": "yes"})
        leaving = asyncio.create_task(cached(request))
        await begun.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        # Less than the turn lasts, and than anybody waits.
        answer = await asyncio.wait_for(cached(RequestFactory().get("/page/")), 20)
        assert answer.content == b"page"
        # Whoever comes next waits for a render as ever.
        visit = visit_of(request)
        assert visit is not None
        assert visit.lookup is not None
        assert visit.lookup.recipe_key not in stampede.passes

    asyncio.run(visit())


class Together:
    """A view that ends when so many render it at the same time."""

    def __init__(self, number: int, **headers: str) -> None:
        self._meet = threading.Barrier(number, timeout=PATIENCE)
        self._headers = headers

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(self._meet.wait()), headers=self._headers)


def at_once(count: int, call: Any) -> list[bytes]:
    """What so many threads get that begin together."""
    begin = threading.Barrier(count)
    found: list[bytes] = []

    def run() -> None:
        begin.wait()
        found.append(call().content)
        close_caches()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize("backend", ["locmem", "redis", "memcached"], indirect=True)
def test_threads_render_a_page_once(backend: Backend) -> None:
    slow = Slow()
    view = cache_page(600)(slow)
    assert at_once(40, lambda: get(view)) == [b"1"] * 40
    assert slow.count == 1


@pytest.mark.parametrize("backend", ["locmem", "redis"], indirect=True)
def test_after_an_expiry_it_is_rendered_once_more(backend: Backend, db: None) -> None:
    slow = Slow(0.1)
    view = cache_page(600)(slow)
    get(view)

    Store().write(conf.site().expiry(["path:/page/"]))
    assert set(at_once(20, lambda: get(view))) == {b"2"}


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_pages_that_are_not_stored_are_not_waited_for(backend: Backend) -> None:
    private = {"Cache-Control": "private"}
    get(cache_page(600)(Together(1, **private)))
    view = cache_page(600)(Together(8, **private))
    assert len(set(at_once(8, lambda: get(view)))) == 8


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_of_those_that_are_not_waited_for_the_latest_are_remembered(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stampede, "PASSES", 2)
    private = cache_page(600)(Together(1, **{"Cache-Control": "private"}))
    for path in ("/a/", "/b/", "/c/"):
        get(private, path)
    # These two are rendered by all who ask; of the first nobody knows any more, so one renders it.
    for path in ("/b/", "/c/"):
        view = cache_page(600)(Together(3))
        assert len(set(at_once(3, lambda view=view, path=path: get(view, path)))) == 3
    slow = Slow()
    view = cache_page(600)(slow)
    assert at_once(3, lambda: get(view, "/a/")) == [b"1"] * 3


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_whoever_waits_renders_when_the_view_fails(backend: Backend) -> None:
    calls = []

    def failing_once(request: HttpRequest) -> HttpResponse:
        calls.append(1)
        if len(calls) == 1:
            time.sleep(0.1)
            raise RuntimeError("the first one fails")
        return HttpResponse("fine")

    view = cache_page(600)(failing_once)
    found: list[bytes] = []

    def run() -> None:
        try:
            found.append(get(view).content)
        except RuntimeError:
            found.append(b"failed")

    threads = [threading.Thread(target=run) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [b"failed", *[b"fine"] * 4]


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_a_view_that_asks_its_own_site_does_not_wait_for_itself(backend: Backend) -> None:
    def asking(request: HttpRequest) -> HttpResponse:
        if "X-Inner" in request.headers:
            return HttpResponse("inner")
        return HttpResponse(b"outer " + get(view, **{"X-Inner": "1"}).content)

    view = cache_page(600)(asking)
    assert get(view).content == b"outer inner"
    assert not list(stampede.passes._until), "it waited until the end"


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_a_wait_is_bounded(backend: Backend) -> None:
    view = cache_page(600)(Together(3))
    with override_settings(VIEWCACHE={"WAIT_SECONDS": 0.05}):
        assert len(set(at_once(3, lambda: get(view)))) == 3


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_waiting_can_be_switched_off(backend: Backend) -> None:
    view = cache_page(600)(Together(5))
    with override_settings(VIEWCACHE={"WAIT_SECONDS": 0}):
        assert len(set(at_once(5, lambda: get(view)))) == 5


@pytest.mark.parametrize("backend", ["locmem", "redis"], indirect=True)
def test_tasks_render_a_page_once(backend: Backend) -> None:
    count = 0

    @cache_page(600)
    async def view(request: HttpRequest) -> HttpResponse:
        nonlocal count
        count += 1
        await asyncio.sleep(RENDER_SECONDS)
        return HttpResponse(str(count))

    async def run() -> list[HttpResponse]:
        requests = [RequestFactory().get("/page/") for _ in range(50)]
        return await asyncio.gather(*(view(request) for request in requests))

    assert {response.content for response in asyncio.run(run())} == {b"1"}
    assert count == 1


# -- Processes ------------------------------------------------------------------------------------


def _work(threads: int, begin: Any, count: Any, dies: bool) -> None:
    """One process of several: so many threads ask for the page at once."""

    def view(request: HttpRequest) -> HttpResponse:
        with count.get_lock():
            count.value += 1
            first = count.value == 1
        if dies and first:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(RENDER_SECONDS)
        return HttpResponse("page")

    cached = cache_page(600)(view)
    begin.wait()
    assert set(at_once(threads, lambda: get(cached))) == {b"page"}


def _processes(number: int, threads: int, *, dies: bool = False) -> int:
    """How often the page was rendered."""
    context = multiprocessing.get_context("fork")
    begin, count = context.Barrier(number), context.Value("i", 0)
    workers = [
        context.Process(target=_work, args=(threads, begin, count, dies)) for _ in range(number)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(2 * PATIENCE)
    codes = [worker.exitcode for worker in workers]
    assert sorted(codes) == sorted([-signal.SIGKILL if dies else 0, *[0] * (number - 1)])
    return int(count.value)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_a_thousand_misses_over_four_processes_are_one_render(backend: Backend) -> None:
    assert _processes(4, 250) == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_a_leader_that_dies_costs_one_more_render(
    backend: Backend, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long enough for the one after it to render, however busy the machine is.
    monkeypatch.setattr(stampede, "TURN_SECONDS", 5)
    assert _processes(4, 25, dies=True) == 2


def test_owners_differ() -> None:
    mine = stampede.owner()
    theirs: list[str] = []
    thread = threading.Thread(target=lambda: theirs.append(stampede.owner()))
    thread.start()
    thread.join()
    assert mine == stampede.owner() != theirs[0]
