"""Early hits: the same bytes as Django sends, for what is proven; all else goes to Django."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import viewcache
from asgiref.sync import iscoroutinefunction
from django.contrib import messages
from django.core.asgi import get_asgi_application
from django.core.cache.backends.locmem import LocMemCache
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection, transaction
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import AsyncRequestFactory, RequestFactory, override_settings
from django.utils import translation
from early.applications import DEFAULT, FETCH, UPDATE, Answer, Asgi, Wsgi
from viewcache import _core, activated, asgi, conf, expire, signals, wsgi
from viewcache.decorators import cache_page
from viewcache.early import bounds, rules
from viewcache.installed import DJANGO

pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


def page(request: HttpRequest, anything: str = "") -> HttpResponse:
    return HttpResponse(f"<p>{request.GET.get('q', '')}é</p>", headers={"X-Own": "a"})


def _warm(site: Any, url: str = "/page/", **meta: Any) -> Answer:
    """Stored, and then hit twice by Django."""
    for _ in range(3):
        answer: Answer = site.get(url, **meta)
    return answer


def _is_early(site: Any, url: str = "/page/", **meta: Any) -> bool:
    """Is this request answered early? And if it is, as Django would have?"""
    before = site.fallen
    answer = site.get(url, **meta)
    early = bool(site.fallen == before)
    if early:
        assert answer == site.get(url, early=False, **meta)
        assert answer.is_hit
    return early


# -- The same bytes --------------------------------------------------------------------------------

WAYS = [
    {},
    {"HTTP_COOKIE": "_ga=1; theme=dark"},
    {"HTTP_COOKIE": f"csrftoken={'a' * 32}; sessionid={'b' * 32}"},
    {"HTTP_COOKIE": "csrftoken=short"},
    {"HTTP_COOKIE": "sessionid=x"},
    {"HTTP_COOKIE": 'sessionid="1234567"'},
    {"HTTP_COOKIE": f"csrftoken={'-' * 32}"},
    {"HTTP_ACCEPT_LANGUAGE": "fr", "HTTP_ACCEPT_ENCODING": "gzip"},
    {"HTTP_HOST": "blog.example.com"},
    {"HTTP_HOST": "evil.example"},
    {"HTTP_AUTHORIZATION": "Basic x"},
    {"HTTP_IF_NONE_MATCH": "*"},
    {"wsgi.url_scheme": "https"},
    {"method": "HEAD"},
    {"method": "POST"},
    {"method": "OPTIONS"},
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("kind", [Wsgi, Asgi])
def test_the_example_site_sends_the_same(kind: Any, settings: Any, still: None) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": f"early-{kind.__name__}",
        }
    }
    settings.DEBUG = False
    call_command("seed", verbosity=0)
    site = kind()
    urls = ["/en/", "/fr/", "/en/posts/", "/en/posts/?page=2", "/fr/about/", "/en/archive/2026/"]
    urls += ["/en/search/?q=a", "/en/login/", "/en/account/", "/sitemap.xml", "/en/none/", "/"]
    urls += ["/en/feeds/rss/", "/en//posts/", "/en/posts/../", "/en/language/"]
    early = 0
    for url in urls:
        for way in WAYS:
            for _ in range(2):
                site.get(url, early=False, **way)
            for _ in range(3):
                before = site.fallen
                answer = site.get(url, **way)
                if site.fallen == before:
                    early += 1
                    assert answer == site.get(url, early=False, **way), (url, way)
    assert early > 10


@pytest.mark.parametrize("way", WAYS)
def test_what_differs_by_visitor_is_the_same(serve: Any, way: dict[str, Any]) -> None:
    site = serve(page, SECURE_HSTS_SECONDS=60, ALLOWED_HOSTS=["testserver", "blog.example.com"])
    for _ in range(2):
        _warm(site, **way)
        _warm(site)
    _is_early(site, **way)
    assert _is_early(site)


def test_queries_paths_and_ages_are_told_apart(serve: Any) -> None:
    site = serve(page)
    for url in ("/page/", "/page/?q=1", "/page/?q=2&utm_source=x", "/é/?q=é", "/%25/"):
        _warm(site, url)
        assert _is_early(site, url)
    assert _is_early(site, "/page/?q=2&utm_source=other")
    assert site.get("/page/?q=1").body == "<p>1é</p>".encode()


def test_the_status_of_the_cache_is_said(serve: Any) -> None:
    site = serve(page, VIEWCACHE={"CACHE_STATUS": True})
    _warm(site)
    assert _is_early(site)
    assert ("Cache-Status", "viewcache; hit; ttl=600") in [
        (name, value if name != "Cache-Status" else "viewcache; hit; ttl=600")
        for name, value in site.get("/page/").headers
    ]


def test_headers_of_a_language_in_the_path(serve: Any) -> None:
    from django.conf.urls.i18n import i18n_patterns
    from django.urls import path

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(translation.get_language()))

    site = serve(page, *DEFAULT, "django.middleware.locale.LocaleMiddleware", USE_I18N=True)
    from django.conf import settings

    settings.ROOT_URLCONF.urlpatterns = [*i18n_patterns(path("page/", view)), path("free/", view)]
    for language in ("en", "fr"):
        _warm(site, f"/{language}/page/", HTTP_ACCEPT_LANGUAGE="en")
        assert _is_early(site, f"/{language}/page/", HTTP_ACCEPT_LANGUAGE="fr")
        assert site.get(f"/{language}/page/").body == language.encode()
    _warm(site, "/free/")
    assert not _is_early(site, "/free/")


# -- Still checked ---------------------------------------------------------------------------------


def test_an_expired_page_is_not_served(serve: Any) -> None:
    count = []

    def view(request: HttpRequest, anything: str) -> HttpResponse:
        count.append(request)
        return HttpResponse(str(len(count)))

    site = serve(view)
    _warm(site)
    assert _is_early(site)
    expire(path="/page/")
    assert site.get("/page/").body == b"2"
    _warm(site)
    assert _is_early(site)
    assert site.get("/page/").body == b"2"


def test_another_record_of_the_same_page_is_proven_anew(serve: Any) -> None:
    made = iter(["a", "b"])

    def view(request: HttpRequest, anything: str) -> HttpResponse:
        return HttpResponse("page", headers={"X-Made": next(made)})

    site = serve(view)
    _warm(site)
    expire(path="/page/")
    site.get("/page/", early=False)
    assert not _is_early(site)
    assert ("X-Made", "b") in site.get("/page/").headers


def test_a_record_is_proven_by_two_hits_of_its_own(serve: Any) -> None:
    site = serve(page)
    _warm(site)
    assert _is_early(site)
    expire(path="/page/")
    # Stored, and then hit twice.
    assert [_is_early(site) for _ in range(4)] == [False, False, False, True]


def test_what_get_has_shown_says_nothing_of_head(serve: Any) -> None:
    site = serve(page)
    _warm(site)
    assert _is_early(site)
    assert [_is_early(site, method="HEAD") for _ in range(3)] == [False, False, True]


def test_what_another_process_has_learnt_of_the_url_is_fetched_too(serve: Any) -> None:
    def view(request: HttpRequest, anything: str) -> HttpResponse:
        theme = request.COOKIES.get("theme", "light")
        viewcache.tag(request, theme)
        return HttpResponse(theme)

    site = serve(view)
    _warm(site, HTTP_COOKIE="theme=dark")
    with pytest.MonkeyPatch.context() as patch:
        # It remembers nothing of what this one does.
        other = conf.site.__wrapped__()
        patch.setattr(conf, "site", lambda: other)
        assert site.get("/page/", early=False, HTTP_COOKIE="theme=light").body == b"light"
    # The page is where it was, and is asked for once more to know so.
    assert _is_early(site, HTTP_COOKIE="theme=dark")
    expire(tag="dark")
    assert not _is_early(site, HTTP_COOKIE="theme=dark")


def test_a_host_is_judged_by_the_settings_of_the_moment(serve: Any, settings: Any) -> None:
    site = serve(page, ALLOWED_HOSTS=["testserver", "gone.example"])
    _warm(site, HTTP_HOST="gone.example")
    assert _is_early(site, HTTP_HOST="gone.example")
    settings.ALLOWED_HOSTS.remove("gone.example")
    assert site.get("/page/", HTTP_HOST="gone.example").status.startswith("400")


def test_the_cache_fails(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    site = serve(page)
    _warm(site)

    def get(*args: Any) -> Any:
        raise OSError("down")

    monkeypatch.setattr(LocMemCache, "get", get)
    assert not _is_early(site)
    assert site.get("/page/").status.startswith("200")


def test_settings_that_nobody_has_read_yet_are_read(serve: Any) -> None:
    site = serve(page)
    _warm(site)
    names = ["ALLOWED_HOSTS", "DEBUG", "SECURE_PROXY_SSL_HEADER", "USE_X_FORWARDED_HOST"]
    for name in [*names, "USE_I18N", "USE_TZ"]:
        conf.CACHED.pop(name, None)
    assert _is_early(site)


# -- What is Django's to answer --------------------------------------------------------------------


def _session(request: HttpRequest, anything: str) -> HttpResponse:
    return HttpResponse(str(request.session.get("name")))


def _user(request: HttpRequest, anything: str) -> HttpResponse:
    return HttpResponse(str(getattr(request, "user", None)))


def _token(request: HttpRequest, anything: str) -> HttpResponse:
    return HttpResponse(f'<input value="{get_token(request)}">')


def _messages(request: HttpRequest, anything: str) -> HttpResponse:
    return HttpResponse(str([*messages.get_messages(request)]))


def _all_cookies(request: HttpRequest, anything: str) -> HttpResponse:
    return HttpResponse(str([*request.COOKIES]))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("view", [_session, _user, _token, _messages, _all_cookies])
def test_pages_that_depend_on_the_visitor(serve: Any, view: Any) -> None:
    site = serve(view)
    for _ in range(3):
        _warm(site)
    assert not _is_early(site)


def test_cookies_accounted_for_by_name(serve: Any) -> None:
    def view(request: HttpRequest, anything: str) -> HttpResponse:
        return HttpResponse(request.COOKIES.get("theme", "light"))

    site = serve(view)
    for theme in ("dark", "light"):
        _warm(site, HTTP_COOKIE=f"theme={theme}")
        assert _is_early(site, HTTP_COOKIE=f"_ga=1; theme={theme}")
        assert site.get("/page/", HTTP_COOKIE=f"theme={theme}").body == theme.encode()


def test_cookies_that_are_not_ascii_are_djangos_to_read(serve: Any) -> None:
    site = serve(page)
    for cookie in ("a=1", "a=é"):
        _warm(site, HTTP_COOKIE=cookie)
        assert _is_early(site, HTTP_COOKIE=cookie) == cookie.isascii()


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"SESSION_SAVE_EVERY_REQUEST": True}, "SESSION_SAVE_EVERY_REQUEST"),
        ({"CSRF_USE_SESSIONS": True}, "CSRF_USE_SESSIONS"),
        ({"DISALLOWED_USER_AGENTS": [1]}, "DISALLOWED_USER_AGENTS"),
        ({"MESSAGE_STORAGE": "my.Storage"}, "MESSAGE_STORAGE"),
        ({"VIEWCACHE": {"CACHE_STATUS": "debug"}}, "CACHE_STATUS"),
        ({"FORCE_SCRIPT_NAME": "/app"}, "FORCE_SCRIPT_NAME"),
        ({"DEFAULT_CHARSET": "latin-1"}, "DEFAULT_CHARSET"),
        ({"MIDDLEWARE": DEFAULT}, "MIDDLEWARE has no"),
        ({"MIDDLEWARE": ["my.Middleware", UPDATE, FETCH]}, "my.Middleware"),
        ({"MIDDLEWARE": [UPDATE, "django.middleware.locale.LocaleMiddleware", FETCH]}, "path"),
        ({"MIDDLEWARE": ["django.middleware.gzip.GZipMiddleware", UPDATE, FETCH]}, "GZip"),
    ],
)
def test_settings_that_forbid_it(more: dict[str, Any], why: str, settings: Any) -> None:
    settings.USE_I18N, settings.ROOT_URLCONF = True, "urls_without_languages"
    settings.MIDDLEWARE = [UPDATE, *DEFAULT, FETCH]
    assert not rules.get().refusal
    with (
        pytest.MonkeyPatch.context() as patch,
        override_settings(**more),
    ):
        patch.setattr(rules, "is_language_prefix_patterns_used", lambda urls: (False, True))
        assert why in rules.get().refusal
        [found] = rules.obstacles()
        assert why in found.what
        assert found.advice.endswith(".")


def listens(**kwargs: Any) -> None:
    """A receiver of the site's own."""


def test_all_that_is_in_the_way_is_named_at_once(settings: Any) -> None:
    settings.MIDDLEWARE = ["my.Middleware", UPDATE, *DEFAULT, "my.Other", FETCH]
    settings.FORCE_SCRIPT_NAME, settings.CSRF_USE_SESSIONS = "/app", True
    settings.VIEWCACHE = {"EARLY_SAFE": ["my.Other"]}
    request_started.connect(listens)
    try:
        found = [obstacle.what for obstacle in rules.obstacles()]
    finally:
        request_started.disconnect(listens)
    assert found == [
        "my.Middleware is not declared safe in VIEWCACHE['EARLY_SAFE']",
        "CSRF_USE_SESSIONS is on",
        "FORCE_SCRIPT_NAME is set",
        f"the receiver {__name__}.listens of request_started is not declared safe",
    ]
    assert rules.get().refusal == found[0]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("serve", [Wsgi], indirect=True)
def test_what_this_transaction_is_going_to_expire_is_djangos(serve: Any) -> None:
    site = serve(page)
    _warm(site)
    assert _is_early(site)
    with transaction.atomic():
        expire(path="/page/")
        assert not _is_early(site)


CONDITIONS = ("MATCH", "MODIFIED_SINCE", "NONE_MATCH", "UNMODIFIED_SINCE")


@pytest.mark.parametrize("name", [f"HTTP_IF_{name}" for name in CONDITIONS])
def test_what_depends_on_a_condition_is_djangos(serve: Any, name: str) -> None:
    site = serve(page)
    _warm(site)
    assert _is_early(site)
    assert not _is_early(site, **{name: "Sun, 06 Nov 1994 08:49:37 GMT"})


@pytest.mark.parametrize("serve", [Wsgi], indirect=True)
@pytest.mark.parametrize(
    "meta",
    [
        {"CONTENT_LENGTH": "3"},
        {"CONTENT_LENGTH": 3},
        {"HTTP_TRANSFER_ENCODING": "chunked"},
        {"CONTENT_TYPE": "text/html; charset=latin-1"},
    ],
)
def test_what_has_content_or_a_charset_is_djangos(serve: Any, meta: dict[str, Any]) -> None:
    site = serve(page)
    _warm(site)
    assert _is_early(site, CONTENT_LENGTH="0")
    assert not _is_early(site, **meta)


@pytest.mark.parametrize("serve", [Wsgi], indirect=True)
@pytest.mark.parametrize("name", ["SCRIPT_NAME", "SCRIPT_URL", "REDIRECT_URL"])
def test_below_a_prefix_of_the_server_all_is_djangos(serve: Any, name: str) -> None:
    site = serve(page)
    _warm(site)
    assert _is_early(site)
    # It is another URL, of which this environ says the same path.
    below = {name: "/app" if name == "SCRIPT_NAME" else "/app/page/"}
    _warm(site, **below)
    assert not _is_early(site, **below)


@pytest.mark.parametrize("serve", [Wsgi], indirect=True)
def test_a_server_may_leave_out_what_is_empty(serve: Any) -> None:
    # PEP 3333: QUERY_STRING may be absent, SCRIPT_NAME, too.
    site = serve(page)
    answer = _warm(site)
    environ = RequestFactory().get("/page/", HTTP_HOST="testserver").environ
    for name in ("QUERY_STRING", "SCRIPT_NAME", "HTTP_COOKIE"):
        del environ[name]
    before, started = site.fallen, []
    body = site.early(environ, lambda *sent: started.append(sent))
    assert (started, b"".join(body)) == ([answer[:2]], answer.body)
    assert site.fallen == before


@pytest.mark.parametrize("serve", [Asgi], indirect=True)
def test_what_asgi_has_shown_is_no_proof_for_wsgi(serve: Any) -> None:
    # It knows no reason phrase.
    site = serve(page)
    _warm(site)
    assert _is_early(site)
    other = Wsgi()
    assert not _is_early(other)
    answer = _warm(other)
    assert _is_early(other)
    assert answer.status == "200 OK"


def test_a_query_that_is_no_ascii_is_no_error_of_ours(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.MIDDLEWARE = [UPDATE, FETCH]
    sent: list[Any] = []

    async def ask() -> None:
        scope = {
            "type": "http",
            "method": "GET",
            "path": "/page/",
            "query_string": b"a=\xff",
            "headers": [(b"host", b"testserver")],
        }

        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            sent.append(message)

        await asgi.early(get_asgi_application())(scope, receive, send)

    asyncio.run(ask())
    assert sent[0]["status"] == 400
    assert not [each for each in caplog.records if each.name == "viewcache"]


@pytest.mark.parametrize("serve", [Wsgi], indirect=True)
@pytest.mark.parametrize("name", ["PATH_INFO", "QUERY_STRING"])
@pytest.mark.parametrize("odd", ["/\xff", "/\u2603", "/\udc80", b"/page/", None])
def test_what_is_no_text_of_a_server_is_djangos(
    serve: Any, monkeypatch: pytest.MonkeyPatch, name: str, odd: Any
) -> None:
    site = serve(page)
    _warm(site)
    assert _is_early(site)
    monkeypatch.setattr(site.early, "application", lambda environ, start: [environ[name]])
    environ = RequestFactory().get("/page/", HTTP_HOST="testserver").environ
    assert site.early({**environ, name: odd}, None) == [odd]


@pytest.mark.parametrize("serve", [Wsgi], indirect=True)
def test_a_phrase_of_the_views_own_is_djangos_to_send(serve: Any) -> None:
    site = serve(lambda request, anything: HttpResponse("page", reason="Very Well"))
    answer = _warm(site)
    assert (answer.is_hit, answer.status) == (True, "200 Very Well")
    assert not _is_early(site)


def test_redirects_are_djangos(serve: Any) -> None:
    site = serve(page, SECURE_SSL_REDIRECT=True)
    _warm(site, **{"wsgi.url_scheme": "https"})
    assert _is_early(site, **{"wsgi.url_scheme": "https"})
    assert site.get("/page/").status.startswith("301")


def test_another_domain_is_djangos(serve: Any) -> None:
    site = serve(page, PREPEND_WWW=True, ALLOWED_HOSTS=["*"])
    _warm(site, HTTP_HOST="www.example.com")
    assert _is_early(site, HTTP_HOST="www.example.com")
    assert site.get("/page/", HTTP_HOST="example.com").status.startswith("301")


def test_a_proxys_headers_count_as_for_django(serve: Any) -> None:
    site = serve(
        page,
        ALLOWED_HOSTS=["testserver", "a.example"],
        SECURE_PROXY_SSL_HEADER=("HTTP_X_PROTO", "https"),
        SECURE_HSTS_SECONDS=60,
        USE_X_FORWARDED_HOST=True,
    )
    ways: list[dict[str, str]] = [
        {},
        {"HTTP_X_PROTO": "https"},
        {"HTTP_X_PROTO": "https, http"},
        {"HTTP_X_PROTO": "http"},
        {"HTTP_X_FORWARDED_HOST": "a.example"},
        {"HTTP_X_FORWARDED_HOST": "evil.example"},
    ]
    for way in ways:
        _warm(site, **way)
    assert [_is_early(site, **way) for way in ways] == [True] * 5 + [False]


def test_middleware_that_is_declared_safe(serve: Any) -> None:
    name = f"{__name__}.harmless"
    assert not _is_early_behind(serve, name, VIEWCACHE={})
    assert _is_early_behind(serve, name, VIEWCACHE={"EARLY_SAFE": [name]})


@pytest.mark.parametrize("what", ["numbered", "stamped", "ageless", "greeting", "restated"])
def test_middleware_that_is_not_harmless_is_seen(
    serve: Any, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{__name__}.{what}"
    assert not _is_early_behind(serve, name, VIEWCACHE={"EARLY_SAFE": [name]})
    # One that changes the body is warned of, whether it is declared safe or not.
    assert len(caplog.records) == (what == "stamped")


def test_a_status_that_others_have_added_to_is_not_repeated(serve: Any, settings: Any) -> None:
    name = f"{__name__}.outermost"
    site = serve(page, VIEWCACHE={"CACHE_STATUS": True, "EARLY_SAFE": [name]})
    settings.MIDDLEWARE = [name, *settings.MIDDLEWARE]
    site = type(site)()
    for _ in range(2):
        answer = _warm(site)
    assert dict(answer.headers)["Cache-Status"].endswith(", outermost")
    assert not _is_early(site)


@pytest.mark.parametrize("serve", [Asgi], indirect=True)
def test_a_visitor_who_leaves_before_the_answer_teaches_nothing(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{__name__}.slow"
    site = serve(page, name, VIEWCACHE={"EARLY_SAFE": [name]})
    for _ in range(2):
        site.get("/page/")

    async def leave() -> None:
        sent: list[Any] = []
        received = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            if received:
                return received.pop()
            await slow.waits.wait()  # type: ignore[attr-defined]
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = AsyncRequestFactory().get("/page/").scope
        scope["headers"] = [(b"host", b"testserver")]
        slow.waits = asyncio.Event()  # type: ignore[attr-defined]
        await site.early(scope, receive, send)
        assert not sent

    asyncio.run(leave())
    slow.waits = None  # type: ignore[attr-defined]
    assert not caplog.records
    site.get("/page/")
    assert _is_early(site)


def _is_early_behind(serve: Any, name: str, **more: Any) -> bool:
    site = serve(page, name, **more)
    for _ in range(2):
        _warm(site)
    return _is_early(site)


def harmless(get_response: Any) -> Any:
    return lambda request: get_response(request)


def numbered(get_response: Any) -> Any:
    def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = get_response(request)
        numbered.count += 1  # type: ignore[attr-defined]
        response.headers["X-Number"] = str(numbered.count)  # type: ignore[attr-defined]
        return response

    return middleware


numbered.count = 0  # type: ignore[attr-defined]


def _changing(change: Any) -> Any:
    """A middleware that does this to each response."""

    def made(get_response: Any) -> Any:
        def middleware(request: HttpRequest) -> HttpResponse:
            response: HttpResponse = get_response(request)
            change(response)
            return response

        return middleware

    return made


stamped = _changing(lambda response: response.write("<!-- seen -->"))
ageless = _changing(lambda response: response.headers.pop("Age", None))
#: A page that sets a cookie itself is never stored.
greeting = _changing(
    lambda response: response.set_cookie("greeting", "hello") if "Age" in response else None
)
restated = _changing(
    lambda response: setattr(response, "status_code", 203) if "Age" in response else None
)
outermost = _changing(
    lambda response: response.headers.__setitem__(
        "Cache-Status", f"{response.headers['Cache-Status']}, outermost"
    )
)


def slow(get_response: Any) -> Any:
    """It keeps an answer back for as long as a test wants it to."""
    if not iscoroutinefunction(get_response):
        return get_response

    async def middleware(request: HttpRequest) -> HttpResponse:
        response: HttpResponse = await get_response(request)
        if slow.waits is not None:  # type: ignore[attr-defined]
            slow.waits.set()  # type: ignore[attr-defined]
            await asyncio.sleep(60)
        return response

    return middleware


slow.async_capable = True  # type: ignore[attr-defined]
slow.waits = None  # type: ignore[attr-defined]


# -- Signals, logs, connections --------------------------------------------------------------------


def test_signals_are_sent_as_late(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    site = serve(page)
    _warm(site)
    heard: list[tuple[str, Any]] = []

    def started(sender: Any, **kwargs: Any) -> None:
        heard.append(("started", sender, *sorted(set(kwargs) - {"signal"})))

    def finished(sender: Any, **kwargs: Any) -> None:
        heard.append(("finished", sender))

    def hit(sender: Any, request: HttpRequest, visit: Any, **kwargs: Any) -> None:
        heard.append(("hit", request.path, visit.status, visit.reason))

    name = "test_early.test_signals_are_sent_as_late.<locals>.started"
    request_started.connect(started)
    request_finished.connect(finished)
    signals.page_hit.connect(hit)
    try:
        with (
            override_settings(VIEWCACHE={"EARLY_SAFE": [started.__module__ + "." + name[11:]]}),
            caplog.at_level(logging.DEBUG, "viewcache.requests"),
        ):
            _warm(site)
            caplog.clear()
            heard.clear()
            before = site.fallen
            site.get("/page/")
            assert site.fallen == before
            early, logged = [*heard], [*caplog.messages]
            heard.clear()
            caplog.clear()
            site.get("/page/", early=False)
            assert early == heard
            assert logged == caplog.messages == ["GET /page/: hit"]
            kind = WSGIHandler if isinstance(site, Wsgi) else ASGIHandler
            assert [what[0] for what in early] == ["started", "hit", "finished"]
            assert early[0][1] is early[2][1] is kind
        # Not declared safe: it may have had a say in what is looked up.
        with override_settings(VIEWCACHE={}):
            _warm(site)
            assert not _is_early(site)
    finally:
        request_started.disconnect(started)
        request_finished.disconnect(finished)
        signals.page_hit.disconnect(hit)


class Closing(LocMemCache):
    """A cache that has something to close."""

    closed = 0

    def close(self, **kwargs: Any) -> None:
        type(self).closed += 1


@pytest.fixture
def djangos_receivers(no_database: None) -> Iterator[None]:
    """All of Django's receivers are connected, as on a server."""
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)


def as_on_a_server(test: Any) -> Any:
    """Under WSGI, where Django's receivers may be left out."""
    wsgi_alone = pytest.mark.parametrize("serve", [Wsgi], indirect=True, ids=["wsgi"])
    return wsgi_alone(pytest.mark.usefixtures("djangos_receivers")(test))


@as_on_a_server
@pytest.mark.parametrize("another", [False, True], ids=["djangos", "and-another"])
@pytest.mark.django_db
def test_connections_are_seen_to_as_late(serve: Any, settings: Any, another: bool) -> None:
    """By Django's own receivers, whether they are told by the signal or not."""
    site = serve(page)
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Closing", "LOCATION": "closing"}}
    heard: list[str] = []

    def other(sender: Any, **kwargs: Any) -> None:
        heard.append("told")

    both = (request_started, request_finished)
    for signal in both if another else ():
        signal.connect(other)
    if another:
        settings.VIEWCACHE = {"EARLY_SAFE": [f"{__name__}.{other.__qualname__}"]}
    try:
        _warm(site)
        heard.clear()
        connection.ensure_connection()
        connection.queries_log.append({"sql": "of the request before"})
        connection.health_check_done = True
        environ = {**RequestFactory().get("/page/").environ, "HTTP_HOST": "testserver"}
        del environ["HTTP_COOKIE"]
        fallen, before = site.fallen, Closing.closed
        answer = site.early(environ, lambda *said: None)
        assert site.fallen == fallen, "early"
        assert not connection.queries_log
        assert not connection.health_check_done, "judged anew"
        # A server sends a list in one piece.
        assert isinstance(answer, list) is not another
        if another:
            connection.health_check_done = True
            answer.close()
            assert not connection.health_check_done
        assert Closing.closed == before + 1
        assert heard == (["told"] * 2 if another else [])
    finally:
        for signal in both:
            signal.disconnect(other)


@as_on_a_server
@pytest.mark.django_db
def test_connections_are_looked_at_where_there_may_be_any(
    serve: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve(page)
    _warm(site)

    def is_seen_to() -> bool:
        connection.health_check_done = True
        fallen = site.fallen
        site.get("/page/")
        assert site.fallen == fallen, "early"
        return not connection.health_check_done

    connection.ensure_connection()
    assert is_seen_to()
    monkeypatch.setattr(bounds._thread, "may_have_connections", False)
    assert not is_seen_to()
    connection_created.send(sender=type(connection), connection=connection)
    assert is_seen_to()
    assert is_seen_to(), "it is open still"


@pytest.mark.usefixtures("djangos_receivers")
@pytest.mark.parametrize("signal", [request_started, request_finished])
def test_who_listens_to_one_end_of_a_request_is_told(signal: Any) -> None:
    def other(sender: Any, **kwargs: Any) -> None: ...

    assert not bounds.has_listeners()
    signal.connect(other)
    try:
        assert bounds.has_listeners()
    finally:
        signal.disconnect(other)
    assert not bounds.has_listeners()


@pytest.mark.parametrize("serve", [Asgi], indirect=True, ids=["asgi"])
@pytest.mark.usefixtures("djangos_receivers")
@pytest.mark.parametrize("backend", [LocMemCache, Closing])
@pytest.mark.parametrize("others", [0, 1, 2], ids=["djangos", "to-the-request", "to-the-hit"])
def test_under_asgi_a_thread_is_used_where_somebody_listens(
    serve: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, backend: type, others: int
) -> None:
    """Else nothing of the request leaves the event loop; what is to be closed is."""
    site = serve(page)
    dotted = f"{backend.__module__}.{backend.__name__}"
    settings.CACHES = {"default": {"BACKEND": dotted, "LOCATION": f"asgi-{others}"}}
    hops: list[object] = []
    hop = asgi.sync_to_async
    monkeypatch.setattr(
        asgi, "sync_to_async", lambda call, **options: hops.append(call) or hop(call, **options)
    )
    heard: list[str] = []
    # The counters for Prometheus listen from the moment that a test has imported them.
    monkeypatch.setattr(signals.page_hit, "receivers", [])

    def other(sender: Any, **kwargs: Any) -> None:
        heard.append("told")

    listened = [(), (request_started, request_finished), (signals.page_hit,)][others]
    settings.VIEWCACHE = {"EARLY_SAFE": [f"{__name__}.{other.__qualname__}"]}
    for signal in listened:
        signal.connect(other)
    try:
        _warm(site)
        heard.clear()
        hops.clear()
        fallen, before = site.fallen, Closing.closed
        site.get("/page/")
        assert site.fallen == fallen, "early"
        assert hops == [request_finished.send] * (others > 0)
        assert heard == ["told"] * len(listened)
        assert Closing.closed == before + (backend is Closing)
    finally:
        for signal in listened:
            signal.disconnect(other)


@pytest.mark.usefixtures("djangos_receivers")
@pytest.mark.django_db
def test_a_cache_that_cannot_be_closed_is_logged(
    serve: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = serve(page)
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.Closing", "LOCATION": "stuck"}}
    _warm(site)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("down")

    fallen = site.fallen
    with monkeypatch.context() as patched:
        patched.setattr(Closing, "close", fail)
        assert site.get("/page/").is_hit
    assert site.fallen == fallen, "early"
    assert [record.getMessage() for record in caplog.records if record.exc_info] == [
        "viewcache could not close the cache of a page that was sent early."
    ]


@as_on_a_server
@pytest.mark.django_db
def test_a_page_that_shows_an_early_hit_is_not_stored(serve: Any, settings: Any) -> None:
    """Nobody knows what the inner page was made of."""
    settings.VIEWCACHE = {"TRACK": True}

    def view(request: HttpRequest, anything: str) -> HttpResponse:
        if anything == "inner/":
            return page(request)
        return HttpResponse(site.get("/inner/").body)

    site = serve(view)
    _warm(site, "/inner/")
    assert _is_early(site, "/inner/")
    assert not _warm(site, "/outer/").is_hit


def test_a_receiver_that_is_gone_changes_nothing(serve: Any) -> None:
    site = serve(page)
    _warm(site)

    def started(sender: Any, **kwargs: Any) -> None: ...

    request_started.connect(started)
    del started
    gc.collect()
    assert _is_early(site)


def test_it_goes_around_djangos_application() -> None:
    class Other(WSGIHandler):
        pass

    for early, wrong in ((wsgi.early, Other()), (wsgi.early, len), (asgi.early, WSGIHandler())):
        with pytest.raises(TypeError, match=r"get_.sgi_application\(\)"):
            early(wrong)  # type: ignore[operator]


# -- Bounds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entries", "size", "kept"),
    [(10, 100_000, range(2, 11)), (1000, 5_000, range(1, 3)), (0, 100_000, [0]), (10, 1_000, [0])],
)
def test_what_is_known_is_bounded(settings: Any, entries: int, size: int, kept: Any) -> None:
    settings.VIEWCACHE = {"MEMORY_ENTRIES": 1000}
    early = _core.Early(
        DJANGO,
        activated.active,
        language=None,
        key_prefix="",
        needs_https=False,
        needs_www=False,
        session_cookie="sessionid",
        secret_cookie="csrftoken",
        memory_entries=entries,
        memory_bytes=size,
    )
    kept_page = cache_page(60)(page)
    for number in range(100):
        request, again = (
            RequestFactory().get(f"/{number}/", HTTP_HOST="testserver") for _ in range(2)
        )
        kept_page(request)
        asked = early.ask_wsgi(conf.site(), again.environ, WSGIRequest)
        assert asked is not None
        early.learn(asked, _core.Proof(b"", 200, "OK", [("a", "b" * 1000)]))
        assert early.known <= max(kept)
    assert early.known in kept
