"""``VIEWCACHE["AUDIT"]``: what it sees, what it leaves alone, and how it tells."""

from __future__ import annotations

import _thread
import copy
import json
import pickle
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import viewcache
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.http import HttpRequest, HttpResponse, QueryDict
from django.middleware.common import CommonMiddleware
from django.middleware.locale import LocaleMiddleware
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import clear_url_caches, path
from django.utils.decorators import decorator_from_middleware
from django.utils.translation import get_language_from_request
from django.views.decorators.http import condition
from viewcache import audited, reads, watched
from viewcache.audit import UnkeyedReadWarning
from viewcache.decorators import cache_page
from viewcache.keys import get_cache_key

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"


@pytest.fixture
def site(settings: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """Serve a view at /page/ behind the per-site cache; what was warned of comes back."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.VIEWCACHE = {"AUDIT": True}
    module: Any = types.ModuleType("urls_of_a_test")
    settings.ROOT_URLCONF = module

    def serve(
        view: Any,
        url: str = "/page/",
        *,
        before: tuple[str, ...] = (),
        middleware: tuple[str, ...] = (),
        client: Any = None,
    ) -> list[str]:
        module.urlpatterns = [path("page/", view, name="page")]
        clear_url_caches()
        settings.MIDDLEWARE = [*before, UPDATE, *middleware, FETCH]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            get = async_to_sync(client.get) if client else Client().get
            assert get(url).status_code == 200
        return [str(warning.message) for warning in caught]

    yield serve
    sys.modules.pop("urls_of_a_test", None)


# -- What is seen ---------------------------------------------------------------------------------

SEEN = {
    "META item": ("header referer", lambda r: r.META.get("HTTP_REFERER")),
    "headers": ("header user-agent", lambda r: r.headers.get("User_Agent")),
    "in headers": ("header x-a", lambda r: "X-A" in r.headers),
    "environ": ("header x-a", lambda r: r.environ.get("HTTP_X_A")),
    "template": (
        "header user-agent",
        lambda r: engines["django"].from_string("{{ r.headers.User_Agent }}").render({"r": r}),
    ),
    "language": ("header accept-language", lambda r: r.headers.get("Accept-Language")),
    "Django's, asked": ("header accept-language", get_language_from_request),
    "every header": ("all headers at once", lambda r: dict(r.headers)),
    "META whole": ("all headers at once", lambda r: list(r.META.items())),
    "REMOTE_USER": ("request.META REMOTE_USER", lambda r: r.META.get("REMOTE_USER")),
    "port": ("request.META SSL_CLIENT_S_DN", lambda r: r.META.get("SSL_CLIENT_S_DN")),
    "query": ("query gclid", lambda r: r.GET.get("gclid")),
    "query list": ("query gclid", lambda r: r.GET.getlist("gclid")),
    "in query": ("query gclid", lambda r: "gclid" in r.GET),
    "query item": ("query gclid", lambda r: r.GET["gclid"]),
    "scheme and host, not their headers": (
        "query string as it was sent",
        lambda r: r.build_absolute_uri(),
    ),
    "query iter": ("query string as it was sent", lambda r: list(r.GET)),
    "query lists": ("query string as it was sent", lambda r: list(r.GET.lists())),
    "query bool": ("query string as it was sent", lambda r: bool(r.GET)),
    "query copy": ("query string as it was sent", lambda r: copy.copy(r.GET)),
    "query pickle": ("query string as it was sent", lambda r: pickle.dumps(r.GET)),
    "query json": ("query string as it was sent", lambda r: json.dumps(r.GET)),
    "query or": ("query string as it was sent", lambda r: r.GET | {}),
    "query unpacked": ("query string as it was sent", lambda r: {**r.GET}),
}


@pytest.mark.parametrize("way", SEEN)
def test_what_a_view_reads_is_seen(site: Any, way: str) -> None:
    name, read = SEEN[way]
    [only] = site(lambda request: HttpResponse(str(read(request))), "/page/?gclid=1&q=2")
    assert f"{name}, which is not in its key" in only
    assert only.startswith("The page of page depends on ")


ASGI = {
    "headers": ("all headers at once", lambda r: r.scope["headers"]),
    "client": ("request.META REMOTE_ADDR", lambda r: r.scope.get("client")),
    "query": ("the query string as it was sent", lambda r: r.scope["query_string"]),
    "META": ("the header user-agent", lambda r: r.META.get("HTTP_USER_AGENT")),
    "GET": ("the query gclid", lambda r: r.GET.get("gclid")),
}


@pytest.mark.parametrize("way", ASGI)
def test_under_asgi_too(site: Any, way: str) -> None:
    name, read = ASGI[way]

    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(read(request)))

    [only] = site(view, "/page/?gclid=1", client=AsyncClient())
    assert f"{name}, which is not in its key" in only


def test_a_template_that_renders_late_is_seen(site: Any) -> None:
    template = engines["django"].from_string("{{ request.META.REMOTE_ADDR }}")

    def view(request: HttpRequest) -> SimpleTemplateResponse:
        return SimpleTemplateResponse(template, {"request": request})

    for each in (view, cache_page(60)(view)):
        viewcache.expire(everything=True)
        [only] = site(each)
        assert "request.META REMOTE_ADDR" in only


def reads_agent(get_response: Any) -> Any:
    """Middleware of the site, whose pages differ by what it has found."""

    def middleware(request: Any) -> Any:
        request.is_phone = "phone" in request.META.get("HTTP_USER_AGENT", "")
        return get_response(request)

    return middleware


def test_what_the_sites_middleware_reads_is_seen(site: Any) -> None:
    [only] = site(
        lambda request: HttpResponse(str(request.is_phone)),
        middleware=[f"{__name__}.reads_agent"],
    )
    assert "the header user-agent" in only


def touches_headers(get_response: Any) -> Any:
    """Middleware before the cache's: what it makes of the request is there already."""

    def middleware(request: Any) -> Any:
        assert request.headers
        return get_response(request)

    return middleware


def test_headers_that_middleware_before_the_cache_has_made_are_watched(site: Any) -> None:
    [only] = site(
        lambda request: HttpResponse(str(request.headers.get("X-A"))),
        before=(f"{__name__}.touches_headers",),
    )
    assert "the header x-a" in only


def test_a_read_that_no_python_code_called_is_seen(site: Any) -> None:
    def view(request: Any) -> HttpResponse:
        done = _thread.allocate_lock()
        done.acquire()
        # A thread that is begun like this has no frame of anybody's.
        calls = (partial(request.META.get, "HTTP_X_A"), partial(done.release))
        _thread.start_new_thread(list, (map(partial.__call__, calls),))
        done.acquire()
        return HttpResponse("page")

    [only] = site(view)
    assert "the header x-a" in only


@pytest.fixture(autouse=True)
def _importable() -> None:
    """Under its name, although pytest imports this file by its path."""
    sys.modules.setdefault(__name__, sys.modules[test_under_asgi_too.__module__])


# -- What is left alone ---------------------------------------------------------------------------


class OwnLocale(LocaleMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        super().process_request(request)


class OwnCommon(CommonMiddleware):
    def process_request(self, request: HttpRequest) -> Any:
        return super().process_request(request)


def tagged_etag(request: HttpRequest) -> str:
    return '"etag"'


QUIET: dict[str, Any] = {
    "host": lambda r: HttpResponse(r.get_host()),
    "scheme": lambda r: HttpResponse(r.scheme + str(r.is_secure())),
    "path": lambda r: HttpResponse(r.path + r.META["PATH_INFO"] + r.META["REQUEST_METHOD"]),
    "host header": lambda r: HttpResponse(str(r.headers.get("Host"))),
    "parameters in the key": lambda r: HttpResponse(r.GET["q"]),
    "whole query in the key": lambda r: HttpResponse(r.get_full_path()),
    "credentials of nobody": lambda r: HttpResponse(str(r.headers.get("Authorization"))),
    "what a server has of its own": lambda r: HttpResponse(str(r.META.get("SERVER_SOFTWARE"))),
    "condition": condition(etag_func=tagged_etag)(lambda r: HttpResponse("x")),
    "Django's middleware as decorator": decorator_from_middleware(CommonMiddleware)(
        lambda r: HttpResponse("x")
    ),
    "cookies": lambda r: HttpResponse(r.COOKIES.get("theme", "")),
    "all cookies": lambda r: HttpResponse(str(dict(r.COOKIES))),
    "session": lambda r: HttpResponse(str(r.session.get("a"))),
}
DJANGOS = (
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    f"{__name__}.OwnLocale",
    f"{__name__}.OwnCommon",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
)


@pytest.mark.parametrize("way", QUIET)
def test_what_every_key_has_is_no_finding(site: Any, way: str) -> None:
    assert site(QUIET[way], "/page/?q=1", middleware=DJANGOS) == []


def test_a_header_that_the_settings_make_the_host_of_is_no_finding(
    site: Any, settings: Any
) -> None:
    settings.USE_X_FORWARDED_HOST = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

    def view(request: HttpRequest) -> HttpResponse:
        names = ("X-Forwarded-Host", "X-Forwarded-Proto")
        return HttpResponse(str([request.headers.get(name) for name in names]))

    assert site(view) == []


def test_credentials_of_a_public_page_are_a_finding(site: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        shown = str(request.headers.get("Authorization"))
        return HttpResponse(shown, headers={"Cache-Control": "public, max-age=60"})

    [only] = site(view)
    assert "the header authorization" in only


def test_a_slot_may_read_what_it_likes(site: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(viewcache.slot(request, "address", shows_address))

    assert site(view) == []


def shows_address(request: HttpRequest) -> str:
    return f"{request.META['REMOTE_ADDR']} {request.headers.get('User-Agent')}"


def test_a_page_that_is_not_stored_is_no_finding(site: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(
            request.META["REMOTE_ADDR"], headers={"Cache-Control": "private, max-age=60"}
        )

    assert site(view) == []


def test_without_the_setting_a_request_is_what_it_was(settings: Any) -> None:
    settings.VIEWCACHE = {}
    request = RequestFactory().get("/?a=1")
    reads.watch(request)
    assert audited.of(request) is None
    assert type(request.META) is watched.Meta
    assert type(request.headers) is watched.Headers
    assert type(request.GET) is QueryDict


def test_the_query_is_otherwise_as_it_was(settings: Any) -> None:
    settings.VIEWCACHE = {"AUDIT": True}
    request = RequestFactory().get("/?a=1&a=2&b=")
    given = copy.copy(request.GET)
    reads.watch(request)
    found = request.GET
    assert isinstance(found, QueryDict)
    assert (found, found["a"], found.getlist("a")) == (given, "2", ["1", "2"])
    assert found.urlencode() == "a=1&a=2&b="
    assert pickle.loads(pickle.dumps(found)) == given
    with pytest.raises(AttributeError, match="immutable"):
        found["c"] = "3"
    changed = found.copy()
    changed["c"] = "3"
    assert type(changed) is QueryDict
    assert changed.urlencode() == "a=1&a=2&b=&c=3"


# -- What is found in Django's caches, where pages find out what they read -------------------------


def flags(request: HttpRequest) -> HttpResponse:
    """As an app does that keeps rows in the cache."""
    found = cache.get("flags")
    if found is None:
        cache.set("flags", found := "made of rows")
    return HttpResponse(found + str(cache.get("flags")))


@pytest.fixture
def tracked(site: Any, settings: Any) -> Any:
    settings.VIEWCACHE = {"AUDIT": True, "TRACK": True}
    return site


def test_what_an_app_keeps_in_the_cache_is_seen_by_the_second_page(tracked: Any) -> None:
    assert tracked(flags) == []  # it has made it
    viewcache.expire(everything=True)
    [only] = tracked(flags)
    assert only.startswith("The page of page shows what was found in the cache under 'flags'. ")
    assert "viewcache.depends_on()" in only


FOUND: dict[str, Any] = {
    "get": lambda: cache.get("a"),
    "get with a default": lambda: cache.get("a", "none"),
    "default by name": lambda: cache.get("a", default="none"),
    "get_many": lambda: cache.get_many(key for key in ("a", "nothing")),
    "get_or_set": lambda: cache.get_or_set("a", 2),
    "template": lambda: (
        engines["django"]
        .from_string("{% load cache %}{% cache 60 a %}x{% endcache %}")
        .render({}, None)
    ),
}


@pytest.mark.parametrize("way", FOUND)
def test_ways_to_find_it(tracked: Any, way: str) -> None:
    cache.set("a", 1)
    FOUND["template"]()
    [only] = tracked(lambda request: HttpResponse(str(FOUND[way]())))
    assert ("template.cache.a." if way == "template" else "'a'") in only


AFOUND: dict[str, Any] = {
    "aget": lambda: cache.aget("a"),
    "aget_many": lambda: cache.aget_many(["a"]),
    "get": sync_to_async(lambda: cache.get("a")),
}


@pytest.mark.parametrize("way", AFOUND)
def test_async_ways_to_find_it(tracked: Any, way: str) -> None:
    async def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(await AFOUND[way]()))

    cache.set("a", 1)
    assert len(tracked(view, client=AsyncClient())) == 1
    viewcache.expire(everything=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async_to_sync(AsyncClient().get)("/page/")
    [warning] = caught
    assert "'a'" in str(warning.message)
    # A backend without an async client asks in a thread, where nobody's frames are.
    line = view.__code__.co_firstlineno + 1
    assert way == "get" or (warning.filename, warning.lineno) == (__file__, line)


def names_it(request: HttpRequest) -> HttpResponse:
    viewcache.depends_on("a")
    return HttpResponse(str(cache.get("a")))


def keeps_it_in_a_slot(request: HttpRequest) -> HttpResponse:
    return HttpResponse(viewcache.slot(request, "found", finds))


def finds(request: HttpRequest) -> str:
    return str(cache.get("a"))


UNTOLD: dict[str, Any] = {
    "nothing there": lambda r: HttpResponse(str(cache.get("b", "none"))),
    "none of many": lambda r: HttpResponse(str(cache.get_many(["b", "c"]))),
    "a session": lambda r: HttpResponse(str(r.session.get("a"))),
    "named": names_it,
    "a slot": keeps_it_in_a_slot,
    "ours": lambda r: HttpResponse(str(get_cache_key(r))),
}


@pytest.mark.parametrize("way", UNTOLD)
@pytest.mark.parametrize("engine", ["cache", "cached_db"])
def test_what_is_found_and_is_no_finding(
    tracked: Any, settings: Any, way: str, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SESSION_ENGINE = f"django.contrib.sessions.backends.{engine}"
    store = import_module(settings.SESSION_ENGINE).SessionStore
    session = store("a" * 32)
    cache.set(session.cache_key, {"a": 1})
    cache.set("a", 1)
    client = partial(Client, headers={"cookie": f"{settings.SESSION_COOKIE_NAME}={'a' * 32}"})
    monkeypatch.setitem(tracked.__globals__, "Client", client)
    assert tracked(UNTOLD[way], middleware=(DJANGOS[1],)) == []


@pytest.mark.parametrize("wanted", [{}, {"AUDIT": True}, {"TRACK": True}])
def test_caches_are_djangos_own_again(tracked: Any, settings: Any, wanted: Any) -> None:
    assert "audited" in LocMemCache.get.__globals__["__name__"]
    settings.VIEWCACHE = wanted
    for name in ("get", "get_many", "aget", "aget_many"):
        assert getattr(LocMemCache, name).__globals__["__name__"].startswith("django.core.cache")
    cache.set("a", 1)
    assert tracked(lambda request: HttpResponse(str(cache.get("a")))) == []


def test_explain_finds_them_whatever_the_setting(tracked: Any, settings: Any) -> None:
    settings.VIEWCACHE = {"TRACK": True}
    cache.set("flags", "a")
    tracked(flags)
    told = viewcache.explain(RequestFactory().get("/page/"), render=True)
    assert told.rendering is not None
    [found] = told.rendering.untracked
    assert found.key == "flags"
    assert found.where == f"{__file__}:{flags.__code__.co_firstlineno + 2}"
    assert "  NOT TRACKED: the cache key 'flags', read at " in str(told)
    assert "audited" not in LocMemCache.get.__globals__["__name__"]


# -- How it is told -------------------------------------------------------------------------------


def shows_agent(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.headers.get("User-Agent", ""))


def test_a_warning_stands_at_the_line_that_read_and_is_given_once(site: Any) -> None:
    site(shows_agent)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            viewcache.expire(everything=True)
            Client().get("/page/")
    [warning] = caught
    assert warning.category is UnkeyedReadWarning
    assert warning.filename == __file__
    assert warning.lineno == shows_agent.__code__.co_firstlineno + 1


def test_a_filter_makes_it_an_error(site: Any) -> None:
    site(shows_agent)
    viewcache.expire(everything=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UnkeyedReadWarning)
        with pytest.raises(UnkeyedReadWarning, match="the header user-agent"):
            Client().get("/page/")


def test_cookies_that_nobody_watches_are_told(site: Any, settings: Any) -> None:
    settings.VIEWCACHE = {"AUDIT": True, "VARY_ON_READ": False}
    [only] = site(lambda request: HttpResponse(request.COOKIES.get("theme", "")))
    assert "the cookie theme," in only
    assert "VARY_ON_READ" in only
    viewcache.expire(everything=True)
    [only] = site(lambda request: HttpResponse(str(dict(request.COOKIES))))
    assert "all cookies at once," in only
    viewcache.expire(everything=True)
    vary = {"Vary": "Cookie"}
    assert site(lambda r: HttpResponse(r.COOKIES.get("theme", ""), headers=vary)) == []


def test_explain_looks_whatever_the_setting(site: Any, settings: Any) -> None:
    site(shows_agent)
    settings.VIEWCACHE = {}
    told = viewcache.explain(RequestFactory().get("/page/"), render=True)
    assert told.rendering is not None
    [found] = told.rendering.unkeyed
    assert (found.kind, found.name) == ("header", "user-agent")
    assert found.where.endswith(f"{__file__}:{shows_agent.__code__.co_firstlineno + 1}")
    assert "NOT IN THE KEY: the header user-agent, read at " in str(told)
    [plain] = told.as_dict()["rendering"]["unkeyed"]
    assert plain["name"] == "user-agent"
    # Who explains is not warned, and the next request is not audited.
    request = RequestFactory().get("/page/")
    reads.watch(request)
    assert audited.of(request) is None


def test_a_process_ends_without_a_word() -> None:
    program = """
import django
from django.conf import settings
settings.configure(VIEWCACHE={"AUDIT": True, "TRACK": True}, INSTALLED_APPS=["viewcache"])
django.setup()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""


@pytest.mark.parametrize("name", ["hijack", "qsessions", "user_sessions", "site"])
def test_what_a_known_package_reads_of_every_request_is_no_fault_of_the_page(
    site: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = types.ModuleType(f"{name}.middleware")
    source = """
def middleware(get_response):
    def answer(request):
        "REMOTE_USER" in request.META, request.META.get("REMOTE_ADDR")
        request.headers.get("User-Agent")
        return get_response(request)
    return answer
"""
    exec(source, vars(module))
    monkeypatch.setitem(sys.modules, f"{name}.middleware", module)
    told = site(lambda request: HttpResponse("page"), middleware=(f"{name}.middleware.middleware",))
    assert bool(told) == (name == "site")
