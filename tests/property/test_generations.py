"""
Several visitors and writers at once, one cache command at a time, in any order: nobody is served a
page that is older than an expiry that had returned before the request began.

The real async code runs, from ``cache_page`` down to the backend. Its coroutines are not given to
an event loop but stepped by hand: each command to the cache waits for its turn, and Hypothesis
says whose turn it is. To show that the machine can see, each of the two rules that it guards is
switched off in turn, and then it must find the old page.
"""

from __future__ import annotations

import types
from collections.abc import Coroutine, Generator
from contextlib import contextmanager
from functools import cache as remembered
from itertools import count
from typing import Any

import pytest
import viewcache
from backends import Backend
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from viewcache import conf, pipeline
from viewcache.decorators import cache_page

# -- One command at a time ------------------------------------------------------------------------


@types.coroutine
def turn() -> Generator[None, None, None]:
    """Wait until the machine says it is this coroutine's turn."""
    yield


@remembered
def stepwise(kind: Any) -> Any:
    """The class of a backend whose async commands wait for their turn."""

    class Stepwise(kind):  # type: ignore[misc]
        #: What an absent generation is taken for; ``None`` is the truth.
        absent_is: int | None = None

        def __init__(self) -> None:
            raise TypeError("The class of a backend that is there already.")

        def note(self, *keys: str) -> None:
            for key in keys:
                self.known.pop(key, None)
                self.known[key] = None

        async def aget_many(self, keys: Any, version: Any = None) -> dict[str, Any]:
            await turn()
            found: dict[str, Any] = self.get_many(keys)
            if self.absent_is is not None:
                generations = [key for key in keys if key.startswith("viewcache.g1.")]
                found = dict.fromkeys(generations, self.absent_is) | found
            return found

        async def aadd(
            self, key: str, value: Any, timeout: Any = None, version: Any = None
        ) -> bool:
            await turn()
            self.note(key)
            added: bool = self.add(key, value, timeout)
            return added

        async def aset(
            self, key: str, value: Any, timeout: Any = None, version: Any = None
        ) -> None:
            await turn()
            self.note(key)
            self.set(key, value, timeout)

        async def aset_many(self, data: Any, timeout: Any = None, version: Any = None) -> list[Any]:
            await turn()
            self.note(*data)
            failed: list[Any] = self.set_many(data, timeout)
            return failed

    return Stepwise


@contextmanager
def stepping(cache: Any) -> Any:
    kind = type(cache)
    cache.__class__ = stepwise(kind)
    #: Every key that was ever set, the latest last; what the machine evicts is one of these.
    cache.known = {}
    try:
        yield cache
    finally:
        cache.__class__ = kind


# -- The site -------------------------------------------------------------------------------------

#: A path of few scopes, one of many, and one whose pages carry tags.
SHALLOW, DEEP, TAGGED = "/a/b/", "/a/c/d/e/f/g/", "/t/"
PATHS = [SHALLOW, DEEP, TAGGED]

#: What can be expired: keyword arguments of aexpire(), and the paths that it reaches.
EXPIRIES: list[tuple[dict[str, Any], list[str]]] = [
    ({"path": SHALLOW}, [SHALLOW]),
    ({"path": [SHALLOW, DEEP]}, [SHALLOW, DEEP]),
    ({"tree": "/a/"}, [SHALLOW, DEEP]),
    ({"tag": "early"}, [TAGGED]),
    ({"tag": "late"}, [TAGGED]),
    ({"everything": True}, PATHS),
]

names = iter(count())


class Visits(RuleBasedStateMachine):
    """Visitors, writers, evictions; a database that holds one number, which every page shows."""

    #: Where the machine runs; a test makes a subclass with its own.
    backend: Backend
    #: Generation before data; when off, the lease reads its generations after the render.
    rule_1 = True
    #: Absent is stale; when off, an absent generation is taken for a constant.
    rule_2 = True

    def __init__(self) -> None:
        super().__init__()
        self.cache: Any = caches["default"]
        # Emptying a server takes time; a name that nobody has used is as good.
        self.cache.key_prefix = f"{next(names)}"
        self.cache.known.clear()
        self.cache.absent_is = None if self.rule_2 else 1
        conf.site.cache_clear()
        # Two processes: what one remembers of a recipe the other has to learn.
        self.sites = [conf.site.__wrapped__(), conf.site.__wrapped__()]
        self.value = 0
        #: The value that a page of this path shows at least.
        self.acknowledged = dict.fromkeys(PATHS, 0)
        self.tasks: list[tuple[int, Coroutine[Any, Any, None]]] = []
        #: The paths whose data has been read, and which nobody has stored yet.
        self.rendering: list[str] = []
        self.served = 0
        self.hits = 0

    # -- What happens ------------------------------------------------------------------------------

    @initialize()
    def a_page_is_known(self) -> None:
        self.visit(SHALLOW, "", 0, at_once=True)

    @precondition(lambda self: len(self.tasks) < 4)
    @rule(
        path=st.sampled_from(PATHS),
        cookie=st.sampled_from(["", "theme=dark"]),
        process=st.sampled_from([0, 1]),
        at_once=st.booleans(),
    )
    def visit(self, path: str, cookie: str, process: int, at_once: bool) -> None:
        self.start(process, self.one_visit(path, cookie), at_once)

    @precondition(lambda self: len(self.tasks) < 4)
    @rule(which=st.sampled_from(EXPIRIES), process=st.sampled_from([0, 1]), at_once=st.booleans())
    def write(self, which: tuple[dict[str, Any], list[str]], process: int, at_once: bool) -> None:
        self.start(process, self.one_write(*which), at_once)

    @precondition(lambda self: self.rendering)
    @rule(data=st.data())
    def write_what_is_rendered(self, data: st.DataObject) -> None:
        """The race that page caches lose: the data is read, the page is not stored yet."""
        path = data.draw(st.sampled_from(self.rendering))
        reaching = [which for which in EXPIRIES if path in which[1]]
        self.write(data.draw(st.sampled_from(reaching)), 0, at_once=True)

    @precondition(lambda self: self.tasks)
    @rule(which=st.integers(0, 3), steps=st.integers(1, 4))
    def step(self, which: int, steps: int) -> None:
        for _ in range(steps):
            if self.tasks:
                self.advance(which % len(self.tasks))

    @precondition(lambda self: self.tasks)
    @rule()
    def finish(self) -> None:
        while self.tasks:
            self.advance(0)

    @precondition(lambda self: self.cache.known)
    @rule(which=st.integers(0, 63))
    def evict(self, which: int) -> None:
        known = list(self.cache.known)
        if which == 63:
            self.cache.delete_many(known)
        else:
            self.cache.delete(known[-1 - which % len(known)])

    @precondition(lambda self: len(self.cache.known) > 1)
    @rule(which=st.integers(0, 63), other=st.integers(0, 63))
    def swap(self, which: int, other: int) -> None:
        """A broken store gives one entry for another."""
        known = [key for key in self.cache.known if not key.startswith("viewcache.g1.")]
        if known:
            one, two = known[which % len(known)], known[other % len(known)]
            found = self.cache.get(one)
            if found is not None:
                self.cache.set(two, found, None)

    def teardown(self) -> None:
        """When all is quiet, an expiry of everything is seen by everyone."""
        self.finish()
        self.write(EXPIRIES[-1], 0, at_once=True)
        for path in PATHS:
            for process in (0, 1):
                self.visit(path, "", process, at_once=True)

    # -- Who does it -------------------------------------------------------------------------------

    async def one_visit(self, path: str, cookie: str) -> None:
        needed = self.acknowledged[path]
        request = RequestFactory().get(path, HTTP_COOKIE=cookie)
        response = await (self.tagged_page if path == TAGGED else self.page)(request)
        shown = int(response.content)
        assert shown >= needed, f"{path} shows {shown}; {needed} was acknowledged"
        self.served += 1
        self.hits += "Age" in response

    async def one_write(self, what: dict[str, Any], reaches: list[str]) -> None:
        self.value += 1
        written = self.value
        await turn()
        await viewcache.aexpire(**what)
        for path in reaches:
            self.acknowledged[path] = max(self.acknowledged[path], written)

    async def render(self, request: HttpRequest) -> HttpResponse:
        await turn()
        shown = self.value
        self.rendering.append(request.path)
        await turn()
        if request.COOKIES.get("theme"):
            await turn()
        self.rendering.remove(request.path)
        if not self.rule_1:
            # The generations are read again, after the data.
            del request.__dict__["_viewcache"]
            await pipeline.alook_up(request, self.area)
        return HttpResponse(str(shown))

    @property
    def area(self) -> Any:
        return pipeline.Area("default", "", 600)

    @property
    def page(self) -> Any:
        async def view(request: HttpRequest) -> HttpResponse:
            return await self.render(request)

        return cache_page(600)(view)

    @property
    def tagged_page(self) -> Any:
        async def view(request: HttpRequest) -> HttpResponse:
            await viewcache.atag(request, "early")
            response = await self.render(request)
            # As a detail view that finds its object by a slug: the tag is known only then.
            if await viewcache.atag(request, "late"):
                response = await self.render(request)
            return response

        return cache_page(600)(view)

    # -- Steps -------------------------------------------------------------------------------------

    def start(self, process: int, task: Coroutine[Any, Any, None], at_once: bool) -> None:
        self.tasks.append((process, task))
        last = len(self.tasks)
        while self.advance(last - 1) and at_once:
            pass

    def advance(self, at: int) -> bool:
        """One step of one task; False when that was its last."""
        process, task = self.tasks[at]
        self.process[0] = self.sites[process]
        try:
            task.send(None)
        except StopIteration:
            del self.tasks[at]
            return False
        except BaseException:
            del self.tasks[at]
            raise
        return True

    #: The Site of the process whose turn it is.
    process: list[Any]


@contextmanager
def machine(backend: Backend, monkeypatch: pytest.MonkeyPatch, **rules: bool) -> Any:
    # Nobody waits for another's render: a coroutine that is stepped by hand cannot sleep.
    # No inventory: it remembers pages of other orders of steps, and no page is checked by it.
    with override_settings(VIEWCACHE={"WAIT_SECONDS": 0, "INVENTORY": 0}), stepping(backend.cache):
        process: list[Any] = [None]
        seen = {"served": 0, "hits": 0}

        class Machine(Visits):
            def teardown(self) -> None:
                try:
                    super().teardown()
                finally:
                    for _, task in self.tasks:
                        task.close()
                    seen["served"] += self.served
                    seen["hits"] += self.hits

        Machine.process = process
        for name, value in rules.items():
            setattr(Machine, name, value)

        def site() -> Any:
            return process[0]

        site.__wrapped__ = conf.site.__wrapped__  # type: ignore[attr-defined]
        site.cache_clear = lambda: None  # type: ignore[attr-defined]
        monkeypatch.setattr(conf, "site", site)
        yield Machine, seen
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("backend", "examples"),
    [("locmem", 300), ("redis", 100), ("memcached", 100)],
    indirect=["backend"],
)
def test_no_page_is_older_than_an_expiry_that_had_returned(
    backend: Backend, examples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine(backend, monkeypatch) as (visits, seen):
        run_state_machine_as_test(
            visits, settings=settings(max_examples=examples, stateful_step_count=40)
        )
        # It was a cache all the while.
        assert seen["hits"] > seen["served"] / 50


@pytest.mark.parametrize("backend", ["locmem", "redis", "memcached"], indirect=True)
@pytest.mark.parametrize("rule", ["rule_1", "rule_2"])
def test_without_either_rule_an_old_page_is_found(
    backend: Backend, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        machine(backend, monkeypatch, **{rule: False}) as (visits, _),
        pytest.raises(AssertionError, match=r"shows \d+; \d+ was acknowledged"),
    ):
        run_state_machine_as_test(
            visits,
            settings=settings(
                max_examples=2000,
                stateful_step_count=40,
                phases=[Phase.generate],
                derandomize=True,
                database=None,
            ),
        )
