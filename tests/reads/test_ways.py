"""Each way to read a cookie is seen, whatever came of it."""

from __future__ import annotations

import _thread
import asyncio
import copy
import dataclasses
import inspect
import json
import pickle
import re
import threading
import time
from contextlib import suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.messages.storage.cookie import CookieStorage
from django.contrib.sessions.backends import signed_cookies
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.cache import SessionStore
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest
from django.http.request import HttpHeaders
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.middleware.locale import LocaleMiddleware
from django.template import Context, Template
from django.utils.translation import get_language_from_request
from viewcache import reads


def suppressed(read: Any) -> None:
    with suppress(KeyError):
        read()


@dataclasses.dataclass
class Holder:
    held: Any


NAMED = {
    "item": lambda r: r.COOKIES["a"],
    "get": lambda r: r.COOKIES.get("a"),
    "in": lambda r: "a" in r.COOKIES,
    "pop": lambda r: r.COOKIES.pop("a", None),
    "setdefault": lambda r: r.COOKIES.setdefault("a", ""),
    "absent": lambda r: r.COOKIES.get("a", "x"),
    "signed": lambda r: r.get_signed_cookie("a", default=None),
    "template": lambda r: Template("{{ request.COOKIES.a }}").render(Context({"request": r})),
    "format": lambda r: "{a}".format_map(r.COOKIES),
    "percent": lambda r: "%(a)s" % r.COOKIES,  # noqa: UP031
}
ALL = {
    "iter": lambda r: list(r.COOKIES),
    "items": lambda r: list(r.COOKIES.items()),
    "keys": lambda r: list(r.COOKIES.keys()),
    "values": lambda r: list(r.COOKIES.values()),
    "reversed": lambda r: list(reversed(r.COOKIES)),
    "dict": lambda r: dict(r.COOKIES),
    "unpacked": lambda r: {**r.COOKIES},
    "arguments": lambda r: dict(**r.COOKIES),
    "or": lambda r: r.COOKIES | {},
    "or it": lambda r: {} | r.COOKIES,
    "update": lambda r: {}.update(r.COOKIES),
    "copied": lambda r: r.COOKIES.copy(),
    "copy": lambda r: copy.copy(r.COOKIES),
    "deepcopy": lambda r: copy.deepcopy(r.COOKIES),
    "pickle": lambda r: pickle.dumps(r.COOKIES),
    "json": lambda r: json.dumps(r.COOKIES),
    "json of more": lambda r: json.dumps({"cookies": r.COOKIES}),
    "json indented": lambda r: json.dumps(r.COOKIES, indent=1),
    "repr": lambda r: repr(r.COOKIES),
    "str": lambda r: f"{r.COOKIES}",
    "bool": lambda r: bool(r.COOKIES),
    "not": lambda r: not r.COOKIES,
    "len": lambda r: len(r.COOKIES),
    "equal": lambda r: r.COOKIES == {},
    "unequal": lambda r: r.COOKIES != {},
    "popitem": lambda r: r.COOKIES.popitem() if r.COOKIES else None,
    "template": lambda r: Template("{% for c in request.COOKIES.items %}{% endfor %}").render(
        Context({"request": r})
    ),
    "META item": lambda r: suppressed(lambda: r.META["HTTP_COOKIE"]),
    "META get": lambda r: r.META.get("HTTP_COOKIE"),
    "META in": lambda r: "HTTP_COOKIE" in r.META,
    "META pop": lambda r: r.META.pop("HTTP_COOKIE", None),
    "META setdefault": lambda r: r.META.setdefault("HTTP_COOKIE", ""),
    "META items": lambda r: list(r.META.items()),
    "META dict": lambda r: dict(r.META),
    "META repr": lambda r: repr(r.META),
    "META json": lambda r: json.dumps(r.META, default=str, skipkeys=True),
    "headers item": lambda r: suppressed(lambda: r.headers["Cookie"]),
    "headers get": lambda r: r.headers.get("cookie"),
    "headers in": lambda r: "COOKIE" in r.headers,
    "headers items": lambda r: list(r.headers.items()),
    "headers dict": lambda r: dict(r.headers),
    "headers len": lambda r: len(r.headers),
    "headers repr": lambda r: repr(r.headers),
    "headers copy": lambda r: copy.copy(r.headers),
    "headers deepcopy": lambda r: copy.deepcopy(r.headers),
    "headers pickle": lambda r: pickle.dumps(r.headers),
    "headers asdict": lambda r: dataclasses.asdict(Holder(r.headers)),
}


@pytest.mark.parametrize("cookie", ["a=1; b=2", "a=1", "b=2", "", None])
@pytest.mark.parametrize("way", NAMED)
def test_ways_that_name_the_cookie(seen: Any, way: str, cookie: str | None) -> None:
    def read(request: Any) -> None:
        with suppress(KeyError):
            NAMED[way](request)

    assert seen(read, cookie) == ({"a"}, False)


@pytest.mark.parametrize("cookie", ["a=1; b=2", "", None])
@pytest.mark.parametrize("way", ALL)
def test_ways_that_read_all(seen: Any, way: str, cookie: str | None) -> None:
    assert seen(ALL[way], cookie)[1]


def test_deleting_is_reading(seen: Any) -> None:
    def read(request: Any) -> None:
        del request.COOKIES["a"]

    assert seen(read) == ({"a"}, False)


@pytest.mark.parametrize("way", ["environ", "environ items"])
def test_the_environ(seen_wsgi: Any, way: str) -> None:
    ways: Any = {
        "environ": lambda r: r.environ.get("HTTP_COOKIE"),
        "environ items": lambda r: list(r.environ.items()),
    }
    assert seen_wsgi(ways[way])[1]


def test_the_scope(seen_asgi: Any) -> None:
    assert seen_asgi(lambda r: r.scope["headers"])[1]
    assert seen_asgi(lambda r: r.scope.get("headers"))[1]
    assert seen_asgi(lambda r: dict(r.scope))[1]
    assert seen_asgi(lambda r: r.scope.pop("headers"))[1]
    assert seen_asgi(lambda r: r.scope.popitem())[1]
    assert seen_asgi(lambda r: r.scope["path"]) == (set(), False)


def test_an_empty_mapping_of_cookies_is_empty(rf: Any) -> None:
    request = rf.get("/")
    reads.watch(request)
    cookies = request.COOKIES
    assert not cookies
    assert (len(cookies), list(cookies), dict(cookies), repr(cookies)) == (0, [], {}, "{}")
    assert json.dumps(cookies) == "{}"
    assert json.loads(json.dumps(cookies, indent=1)) == {}
    assert cookies == {}
    assert cookies | {"a": "1"} == {"a": "1"}
    assert copy.copy(cookies) == {}
    with pytest.raises(KeyError):
        cookies.popitem()
    cookies["a"] = "1"
    assert dict(cookies) == {"a": "1"}


COPIES: dict[str, Any] = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
}


@pytest.mark.parametrize("way", COPIES)
@pytest.mark.parametrize("cookie", ["a=1", None])
def test_copies_are_djangos_own_and_hold_the_same(seen: Any, way: str, cookie: str | None) -> None:
    def read(request: Any) -> None:
        copied = COPIES[way](request.headers)
        assert type(copied) is HttpHeaders
        assert copied == request.headers
        assert copied.get("Cookie") == request.headers.get("Cookie")
        copied = COPIES[way](request.COOKIES)
        assert type(copied) is dict
        assert copied == request.COOKIES
        # Django 5.2 joins the cookies of an ASGI request by commas.
        assert ("a" in copied) is bool(cookie)
        if way == "copy":
            assert type(COPIES[way](request.META)) is dict

    assert seen(read, cookie)[1]


def test_a_deep_copy_is_read_for_the_same_page(rf: Any) -> None:
    watched = reads.watch(rf.get("/"))
    assert copy.copy(watched) is copy.deepcopy(watched) is watched


def test_the_scope_of_a_copy(seen_asgi: Any) -> None:
    def read(request: Any) -> None:
        copied = COPIES["pickle"](request.scope)
        assert type(copied) is dict
        assert (b"cookie", b"a=1") in copied["headers"]

    assert seen_asgi(read, "a=1")[1]


def test_what_dictionaries_have_of_their_class(seen: Any) -> None:
    def read(request: Any) -> None:
        for mapping in (request.COOKIES, request.META, getattr(request, "scope", {})):
            assert mapping.fromkeys(["a"], "b") == {"a": "b"}
        assert request.GET.fromkeys(["a"], "b").getlist("a") == ["b"]
        assert type(request.headers.copy()).__name__ == "HttpHeaders"

    assert seen(read) == (set(), False)


def ior(mapping: Any) -> None:
    mapping |= {"REMOTE_ADDR": "::1"}


WRITTEN: dict[str, Any] = {
    "item": lambda m: m.__setitem__("APP_USER", "anna"),
    "del": lambda m: m.__delitem__("path"),
    "pop": lambda m: m.pop("path"),
    "pop of nothing": lambda m: m.pop("nothing", None),
    "popitem": lambda m: m.popitem(),
    "setdefault": lambda m: m.setdefault("route", "page"),
    "setdefault of what is there": lambda m: m.setdefault("path", "other"),
    "update": lambda m: m.update({"REMOTE_ADDR": "::1"}, APP_USER="anna"),
    "or": ior,
    "clear": lambda m: m.clear(),
    "after our own": lambda m: (dict.__setitem__(m, "ours", 1), m.__delitem__("ours")),
}


@pytest.mark.parametrize("way", WRITTEN)
@pytest.mark.parametrize("audit", [False, True])
def test_what_is_written_reaches_the_server(
    rf: Any, async_rf: Any, settings: Any, way: str, audit: bool
) -> None:
    settings.VIEWCACHE = {"AUDIT": audit}
    for request, name in ((rf.get("/"), "environ"), (async_rf.get("/"), "scope")):
        servers = getattr(request, name)
        servers["path"] = "/"
        expected = dict(servers)
        result = WRITTEN[way](expected)
        reads.watch(request)
        mapping = getattr(request, name)
        assert WRITTEN[way](mapping) == result
        assert type(servers) is dict
        assert servers == expected == dict(mapping)
        assert getattr(request, name) is mapping


def test_meta_is_the_environ(seen_wsgi: Any) -> None:
    def read(request: Any) -> None:
        assert request.environ is request.META

    assert seen_wsgi(read) == (set(), False)


OTHER: dict[str, Any] = {
    "nothing": lambda r: None,
    "path": lambda r: r.get_full_path(),
    "method": lambda r: r.method,
    "GET": lambda r: r.GET.get("a"),
    "another header": lambda r: (r.headers.get("Accept"), r.META.get("HTTP_ACCEPT")),
    "host": lambda r: (r.get_host(), r.build_absolute_uri(), r.is_secure()),
    "headers exist": lambda r: r.headers is not None,
    "cookies exist": lambda r: r.COOKIES is not None,
    "written": lambda r: r.COOKIES.update({"c": "1"}),
    "copied request": lambda r: copy.copy(r),
    "repr": repr,
}


@pytest.mark.parametrize("way", OTHER)
def test_what_reads_no_cookie(seen: Any, way: str) -> None:
    assert seen(OTHER[way]) == (set(), False)


def test_a_copy_of_the_request_is_watched_too(seen: Any) -> None:
    assert seen(lambda r: copy.copy(r).COOKIES.get("a")) == ({"a"}, False)
    assert seen(lambda r: (r.COOKIES, copy.copy(r).COOKIES.get("a"))) == ({"a"}, False)


def test_a_thread_is_seen(seen: Any) -> None:
    def read(request: Any) -> None:
        thread = threading.Thread(target=lambda: request.COOKIES.get("a"))
        thread.start()
        thread.join()

    assert seen(read) == ({"a"}, False)


@pytest.mark.parametrize(
    ("read", "where"),
    [
        (lambda r: (r.COOKIES.get, ("a",)), "unknown"),
        (lambda r: (r.get_signed_cookie, ("a", None)), inspect.getsourcefile(HttpRequest)),
    ],
)
def test_a_thread_with_nothing_of_the_sites_in_it_is_seen(rf: Any, read: Any, where: str) -> None:
    request = rf.get("/", headers={"cookie": "a=1"})
    watched = reads.watch(request)
    # No frame of Python's calls it, as where a thread is begun in C.
    _thread.start_new_thread(*read(request))
    until = time.monotonic() + 60
    while "a" not in watched.names and time.monotonic() < until:
        time.sleep(0.001)
    assert re.fullmatch(rf"{re.escape(where)}(:\d+)?", watched.names["a"])


def test_async_code_is_seen(seen: Any) -> None:
    async def read(request: Any) -> None:
        await asyncio.gather(
            sync_to_async(lambda: request.COOKIES.get("a"))(),
            asyncio.create_task(asyncio.sleep(0)),
        )

    assert seen(async_to_sync(read)) == ({"a"}, False)


def test_a_thread_beside_what_is_apart_is_seen(seen: Any) -> None:
    def read(request: Any) -> None:
        with reads.apart(request):
            request.COOKIES.get("b")
            thread = threading.Thread(target=lambda: request.COOKIES.get("a"))
            thread.start()
            thread.join()

    assert seen(read) == ({"a"}, False)


def test_what_is_apart_is_not_seen(seen: Any) -> None:
    def read(request: Any) -> None:
        request.theirs = "the site's"
        with reads.apart(request):
            request.COOKIES.get("b")
            request.headers.get("Cookie")
            request.mine = 1
            request.theirs = "another visitor's"
        assert not hasattr(request, "mine")
        assert request.theirs == "the site's"

    assert seen(read) == (set(), False)


# -- Django's own middleware -----------------------------------------------------------------------


def through(middleware: Any, view: Any) -> Any:
    return lambda request: middleware(lambda inner: view(inner) or _Response())(request)


class _Response(dict):  # type: ignore[type-arg]
    """Enough of one for the middleware."""

    status_code = 200
    streaming = False
    cookies: dict[str, str] = {}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.headers = self

    def delete_cookie(self, *args: Any, **kwargs: Any) -> None:
        pass

    set_cookie = delete_cookie
    has_header = dict.__contains__


@pytest.mark.parametrize("middleware", [SessionMiddleware, CsrfViewMiddleware, LocaleMiddleware])
def test_djangos_middleware_is_judged_by_what_came_of_it(
    seen_wsgi: Any, middleware: Any, settings: Any
) -> None:
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    cookie = f"sessionid=x; csrftoken={'a' * 32}; django_language=fr"
    assert seen_wsgi(through(middleware, lambda r: None), cookie) == (set(), False)


def test_what_a_view_reads_of_the_same_cookies_counts(seen_wsgi: Any) -> None:
    cookie = f"sessionid=x; csrftoken={'a' * 32}; django_language=fr"
    assert seen_wsgi(lambda r: get_language_from_request(r), cookie)[0] == {"django_language"}
    assert seen_wsgi(through(CsrfViewMiddleware, lambda r: r.META.get("CSRF_COOKIE")), cookie) == (
        {"csrftoken"},
        False,
    )
    assert seen_wsgi(through(CsrfViewMiddleware, lambda r: get_token(r) and None), cookie) == (
        set(),
        False,
    )


class MySessions(SessionMiddleware):
    def process_request(self, request: Any) -> None:
        request.COOKIES.get("device")
        super().process_request(request)


def test_a_middleware_made_of_djangos_is_the_sites_own(seen_wsgi: Any) -> None:
    assert seen_wsgi(through(MySessions, lambda r: None)) == ({"device"}, False)


SESSION_READS: dict[str, Any] = {
    "get": lambda s: s.get("a"),
    "item": lambda s: s.setdefault("a", 1),
    "in": lambda s: "a" in s,
    "keys": lambda s: s.keys(),
    "session_key": lambda s: s.session_key,
    "is_empty": lambda s: s.is_empty(),
    "expiry": lambda s: s.get_expiry_age(),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("way", COPIES)
def test_a_copy_of_the_session_is_djangos_own(rf: Any, way: str) -> None:
    request = rf.get("/")
    watched = reads.watch(request)
    request.session = signed_cookies.SessionStore("abcdefgh")
    request.session["a"] = 1
    watched.session = None
    copied = COPIES[way](request.session)
    assert type(copied) is signed_cookies.SessionStore
    assert (copied["a"], copied.accessed, copied.modified) == (1, True, True)
    assert watched.session is not None


def test_a_copy_of_messages_is_djangos_own(rf: Any) -> None:
    request = rf.get("/")
    watched = reads.watch(request)
    request._messages = CookieStorage(request)
    copied = copy.copy(request._messages)
    assert type(copied) is CookieStorage
    assert list(copied) == []
    assert watched.messages is not None


@pytest.mark.parametrize("way", SESSION_READS)
@pytest.mark.parametrize("engine", ["cache", "signed_cookies", "file"])
def test_the_session_is_read_when_it_is_used(rf: Any, settings: Any, way: str, engine: str) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    request = rf.get("/", headers={"cookie": "sessionid=abcdefgh"})
    watched = reads.watch(request)
    SessionMiddleware(lambda request: _Response()).process_request(request)
    assert watched.session is None
    with suppress(AttributeError, TypeError, pickle.PicklingError):  # not promised by all
        SESSION_READS[way](request.session)
    assert watched.session is not None
    assert __file__ in watched.session


def test_a_session_that_is_none_of_djangos_counts_as_read(rf: Any) -> None:
    request = rf.get("/")
    watched = reads.watch(request)
    request.session = {}
    assert watched.session is not None


def test_a_session_is_still_what_it_was(rf: Any) -> None:
    request = rf.get("/")
    assert not hasattr(request, "session")
    reads.watch(request)
    assert not hasattr(request, "session")
    session = SessionStore("abcdefgh")
    request.session = session
    assert request.session is session
    assert isinstance(session, SessionStore)
    assert isinstance(session, SessionBase)
    assert type(session).__qualname__ == "SessionStore"
    assert not session.accessed
    assert not session.modified
    session["a"] = 1
    assert session.accessed
    assert session.modified
    del request.session
    assert not hasattr(request, "session")


def test_a_session_that_is_set_again_is_as_used_as_it_was(rf: Any) -> None:
    request = rf.get("/")
    watched = reads.watch(request)
    session = request.session = SessionStore("abcdefgh")
    session["a"] = 1
    watched.session = watched.modified = None
    request.session = session
    assert session.accessed
    assert session.modified
    # That was no use of it; this is one.
    assert (watched.session, watched.modified) == (None, None)
    session["b"] = 1
    assert watched.session is not None
    assert watched.modified is not None


def test_a_session_that_is_said_to_be_unused_is_not_used_by_that(rf: Any) -> None:
    request = rf.get("/")
    watched = reads.watch(request)
    session = request.session = SessionStore("abcdefgh")
    session.accessed = session.modified = False
    assert not session.accessed
    assert not session.modified
    assert (watched.session, watched.modified) == (None, None)


def test_messages_are_watched_once_whoever_keeps_them(rf: Any) -> None:
    request = rf.get("/")
    watched = reads.watch(request)
    storage = CookieStorage(request)
    request._messages = storage
    kind = type(storage)
    request._messages = storage
    assert type(storage) is kind
    assert watched.messages is None
    assert list(request._messages) == []
    assert watched.messages is not None
    # As tests of views do it.
    request._messages = [1]
    assert list(request._messages) == [1]


def test_a_session_that_was_used_before_it_is_watched(rf: Any) -> None:
    request = rf.get("/")
    request.session = SessionStore()
    request.session["a"] = 1
    watched = reads.watch(request)
    assert watched.session is not None
    assert watched.modified is not None
