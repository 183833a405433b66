"""
Views that branch on cookies, read in every way there is, behind the cache: whoever asks, in
whatever order, sees what the view alone would have shown.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.urls import path
from hypothesis import given, settings
from hypothesis import strategies as st
from viewcache import conf, watched
from viewcache.decorators import cache_page

NAMES = ["a", "b", "c", "d"]
VALUES = ["0", "1", "2"]
TEMPLATE = "{{% load viewcache %}}{{{{ request.COOKIES.{} }}}}"


def by_get(request: Any, name: str) -> str | None:
    return request.COOKIES.get(name)  # type: ignore[no-any-return]


def by_item(request: Any, name: str) -> str | None:
    return request.COOKIES[name] if name in request.COOKIES else None  # noqa: SIM401


def by_iteration(request: Any, name: str) -> str | None:
    return next((value for key, value in request.COOKIES.items() if key == name), None)


def by_copy(request: Any, name: str) -> str | None:
    return dict(request.COOKIES).get(name)


def by_headers(request: Any, name: str) -> str | None:
    return _parsed(request.headers.get("Cookie", ""), name)


def by_meta(request: Any, name: str) -> str | None:
    return _parsed(request.META.get("HTTP_COOKIE", ""), name)


def by_template(request: Any, name: str) -> str | None:
    template = engines["django"].from_string(TEMPLATE.format(name))
    return template.render(request=request) or None


def by_thread(request: Any, name: str) -> str | None:
    found: list[str | None] = []
    thread = threading.Thread(target=lambda: found.append(request.COOKIES.get(name)))
    thread.start()
    thread.join()
    return found[0]


def by_async(request: Any, name: str) -> str | None:
    async def read() -> str | None:
        return await sync_to_async(request.COOKIES.get)(name)  # type: ignore[no-any-return]

    def run() -> None:
        found.append(asyncio.run(read()))

    found: list[str | None] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found[0]


def by_middleware(request: Any, name: str) -> str | None:
    return request.told.get(name)  # type: ignore[no-any-return]


def _parsed(header: str, name: str) -> str | None:
    pairs = dict(pair.strip().split("=", 1) for pair in header.split(";") if "=" in pair)
    return pairs.get(name)


WAYS: dict[str, Callable[[Any, str], str | None]] = {
    "get": by_get,
    "item": by_item,
    "iteration": by_iteration,
    "copy": by_copy,
    "headers": by_headers,
    "meta": by_meta,
    "template": by_template,
    "thread": by_thread,
    "async": by_async,
    "middleware": by_middleware,
}
#: What each way goes through; without it, the way is not seen.
BLINDED = {
    "get": ("Cookies", "get"),
    "headers": ("Headers", "__getitem__"),
    "meta": ("Meta", "get"),
    "copy": ("Cookies", "keys"),
    "iteration": ("Cookies", "items"),
    "template": ("Cookies", "__getitem__"),
    "thread": ("Cookies", "get"),
    "async": ("Cookies", "get"),
    "middleware": ("Cookies", "get"),
}

#: A view: text; or a cookie, the way it is read, and what to do for each value and for none.
Tree = Any


def trees(ways: list[str]) -> st.SearchStrategy[Tree]:
    leaves = st.integers(0, 99).map(str)

    def grow(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
        branches = st.fixed_dictionaries(dict.fromkeys([*VALUES, "-"], inner))
        return st.tuples(st.sampled_from(NAMES), st.sampled_from(ways), branches)

    return st.recursive(leaves, grow, max_leaves=12)


def shown(tree: Tree, request: Any) -> str:
    path = []
    while not isinstance(tree, str):
        name, way, branches = tree
        value = WAYS[way](request, name)
        path.append(f"{name}={value}")
        tree = branches[value if value in branches else "-"]
    return " ".join([*path, tree])


def read_early(tree: Tree) -> set[str]:
    if isinstance(tree, str):
        return set()
    name, way, branches = tree
    found = {name} if way == "middleware" else set()
    return found.union(*map(read_early, branches.values()))


visitors = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from([*NAMES, "_ga"]), st.sampled_from(VALUES)),
        st.randoms(use_true_random=False),
    ),
    min_size=2,
    max_size=10,
)


def header(cookies: dict[str, str], random: Any) -> str:
    pairs = [f"{name}={value}" for name, value in cookies.items()]
    random.shuffle(pairs)
    return "; ".join(pairs)


def differences(tree: Tree, wanted: list[tuple[dict[str, str], Any]], site: str) -> list[str]:
    """What the site shows otherwise than the view alone."""
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler

    early = sorted(read_early(tree))

    def view(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return HttpResponse(shown(tree, request))

    async def aview(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return HttpResponse(shown(tree, request))

    made: Any = aview if site == "async" else view
    if site == "view":
        made = cache_page(60)(made)
    module: Any = types.ModuleType("urls_of_a_test")
    module.urlpatterns = [path("<path:any>", made)]
    inner = [f"{__name__}.Tells"]
    between = ["viewcache.middleware.UpdateCacheMiddleware", *inner]
    middleware = [*between, "viewcache.middleware.FetchFromCacheMiddleware"]
    Tells.names = early
    caches["default"].clear()
    conf.site.cache_clear()
    wrong = []
    with override_settings(ROOT_URLCONF=module, MIDDLEWARE=middleware):
        factory: Any = AsyncRequestFactory() if site == "async" else RequestFactory()
        handler: Any = ASGIHandler() if site == "async" else WSGIHandler()
        for cookies, random in wanted:
            extra = {"cookie": header(cookies, random)} if cookies else {}
            request = factory.get("/page/", headers=extra)
            get = (
                async_to_sync(handler.get_response_async)
                if site == "async"
                else handler.get_response
            )
            body = get(request).content.decode()
            alone = factory.get("/page/", headers=extra)
            alone.told = {name: alone.COOKIES.get(name) for name in early}
            expected = shown(tree, alone)
            if body != expected:
                wrong.append(f"{cookies}: {body!r} instead of {expected!r}")
    return wrong


class Tells:
    """Middleware that reads the cookies that the tree wants to be told."""

    names: list[str] = []  # noqa: RUF012

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.told = {name: request.COOKIES.get(name) for name in self.names}
        return self.get_response(request)


@pytest.fixture(autouse=True)
def site(request: pytest.FixtureRequest) -> Iterator[None]:
    with override_settings(
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": request.node.nodeid,
            }
        },
        USE_I18N=False,
        DEBUG=False,
        VIEWCACHE={},
    ):
        yield
    sys.modules.pop("urls_of_a_test", None)


@pytest.mark.parametrize("where", ["site", "view", "async"])
def test_nobody_is_shown_what_the_view_alone_would_not_show(where: str) -> None:
    @settings(max_examples=100 if where == "async" else 300)
    @given(tree=trees(list(WAYS)), wanted=visitors)
    def check(tree: Tree, wanted: Any) -> None:
        assert differences(tree, wanted, where) == []

    check()


@pytest.mark.parametrize("way", BLINDED)
def test_a_way_that_is_not_seen_shows(way: str) -> None:
    # The test above would find it: the same, with one of the eyes closed.
    kind, method = BLINDED[way]
    mapping: Any = getattr(watched, kind)
    plain = dict if issubclass(mapping, dict) else mapping.__mro__[1]

    def unseen(self: Any, *args: Any) -> Any:
        if method == "get" and kind == "Cookies":
            return dict.get(self, *args)
        return getattr(plain, method)(self, *args)

    # As a view reads it, a cookie for the first visitor and another for the second.
    tree = ("a", way, {"0": "zero", "1": "one", "2": "two", "-": "none"})
    wanted = [({"a": value}, mock.Mock(shuffle=lambda pairs: None)) for value in VALUES]
    assert differences(tree, wanted, "site") == []
    with mock.patch.object(mapping, method, unseen):
        if way == "copy":
            # dict() asks for the items, too, one by one.
            with mock.patch.object(mapping, "__getitem__", dict.__getitem__):
                assert differences(tree, wanted, "site") != []
        else:
            assert differences(tree, wanted, "site") != []
