"""What is not looked up and what is not stored, each with its reason."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib import messages
from django.core.handlers.asgi import ASGIRequest
from django.http import FileResponse, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.http.response import ResponseHeaders
from django.test import RequestFactory
from django.views.decorators.cache import never_cache
from viewcache.decorators import cache_page


def get_twice(get: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
    return get(*args, **kwargs), get(*args, **kwargs)


def headed(**headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda request, count: HttpResponse(str(count), headers=named)


def with_status(status: int) -> Any:
    return lambda request, count: HttpResponse(str(count), status=status)


def with_cookie(request: Any, count: int) -> HttpResponse:
    response = HttpResponse(str(count))
    response.set_cookie("a", "1")
    return response


REFUSED = [
    pytest.param(headed(Cache_Control="private"), "Cache-Control: private", id="private"),
    pytest.param(headed(Cache_Control="Max-Age=9, PRIVATE"), "Cache-Control: private", id="case"),
    pytest.param(headed(Cache_Control="no-store"), "Cache-Control: no-store", id="no-store"),
    pytest.param(headed(Cache_Control="no-cache"), "Cache-Control: no-cache", id="no-cache"),
    pytest.param(
        headed(Cache_Control='no-cache="x"'), "Cache-Control: no-cache", id="no-cache-field"
    ),
    pytest.param(headed(Cache_Control="max-age=0"), "Cache-Control: max-age=0", id="max-age-0"),
    pytest.param(headed(Vary="*"), "Vary: *", id="vary-star"),
    pytest.param(headed(Vary=" * "), "Vary: *", id="vary-star-spaces"),
    pytest.param(headed(Vary="Accept, *"), "Vary: *", id="vary-star-last"),
    pytest.param(headed(Vary="*, Accept"), "Vary: *", id="vary-star-first"),
    pytest.param(headed(Vary=",*"), "Vary: *", id="vary-star-empty"),
    pytest.param(with_cookie, "Set-Cookie", id="cookie"),
    pytest.param(headed(Set_Cookie="sid=1"), "Set-Cookie", id="cookie-as-a-header"),
    pytest.param(headed(set_cookie="sid=1"), "Set-Cookie", id="cookie-as-a-header-in-lower-case"),
    pytest.param(
        lambda request, count: StreamingHttpResponse([str(count)]), "streaming", id="streaming"
    ),
    pytest.param(
        lambda request, count: FileResponse(io.BytesIO(b"file")),
        "streaming",
        id="file",
    ),
    *(
        pytest.param(with_status(status), f"status {status}", id=str(status))
        for status in (201, 203, 204, 206, 301, 302, 304, 400, 404, 410, 500, 503)
    ),
    pytest.param(
        lambda request, count: HttpResponseRedirect("/login/"), "status 302", id="redirect"
    ),
    pytest.param(
        never_cache(lambda request, count: HttpResponse(str(count))),
        None,
        id="never-cache",
    ),
]


@pytest.mark.parametrize(("respond", "why"), REFUSED)
def test_what_is_not_stored(
    cached: Any, counted: Any, visit_of: Any, respond: Any, why: str | None
) -> None:
    view = counted(respond)
    get = cached(view)
    get.client.raise_request_exception = False
    for response in get_twice(get):
        status, reason = visit_of(response)
        assert status in ("miss", "bypass")
        assert "Age" not in response
        assert reason == why or (why is None and reason)
    assert view.count == 2


@pytest.mark.parametrize("way", ["view", "async view"])
@pytest.mark.parametrize("timeout", [0, 0.5, -1])
def test_a_timeout_of_nothing_stores_nothing(
    site: Any, counted: Any, visit_of: Any, way: str, timeout: float
) -> None:
    view = counted()
    served = cache_page(timeout)(view.coroutine() if way == "async view" else view)
    client = site.serve(served)
    for _ in range(2):
        assert visit_of(client.get("/a/")) == ("miss", "timeout 0")
    assert view.count == 2


def changes_session(request: Any, count: int) -> HttpResponse:
    request.session["a"] = count
    return HttpResponse(str(count))


def shows_message(request: Any, count: int) -> HttpResponse:
    messages.info(request, "once")
    return HttpResponse(str(count))


@pytest.mark.parametrize(
    ("respond", "why"),
    [
        (with_cookie, "Set-Cookie"),
        (headed(Set_Cookie="sid=1"), "Set-Cookie"),
        (changes_session, "session modified"),
        (shows_message, "messages"),
    ],
)
@pytest.mark.parametrize("vary_on_read", [True, False])
def test_what_is_for_one_visitor_is_not_stored_whoever_watches(
    site: Any,
    counted: Any,
    visit_of: Any,
    settings: Any,
    respond: Any,
    why: str,
    vary_on_read: bool,
) -> None:
    settings.VIEWCACHE = {"VARY_ON_READ": vary_on_read}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    middleware = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    client = site.serve(cache_page(60)(counted(respond)), middleware=middleware)
    assert [visit_of(client.get("/a/")) for _ in range(2)] == [("miss", why)] * 2


BYPASSED = [
    ("POST", "/page/", {}, "method"),
    ("OPTIONS", "/page/", {}, "method"),
    ("PROPFIND", "/page/", {}, "method"),
    ("GET", "/page/", {"data": b"body"}, "request body"),
    ("HEAD", "/page/", {"data": b"body"}, "request body"),
    ("GET", "/page/", {"headers": {"transfer-encoding": "chunked"}}, "request body"),
    ("GET", "/a/../page/", {}, "dot segments"),
    ("GET", "/a/./page/", {}, "dot segments"),
    ("GET", "/page/..", {}, "dot segments"),
    ("GET", "/a/%2e%2e/page/", {}, "dot segments"),
    ("GET", "/a" * 40, {}, "path too long"),
    ("GET", "/" + "a" * 5000, {}, "path too long"),
]


@pytest.mark.parametrize("is_read", [False, True])
def test_content_without_a_header_that_says_so(visit_of: Any, is_read: bool) -> None:
    """HTTP/2 needs none."""

    def ask(body: bytes) -> Any:
        headers = [(b"host", b"testserver")]
        scope = {"type": "http", "method": "GET", "path": "/search/", "headers": headers}
        request = ASGIRequest({**scope, "query_string": b"", "http_version": "2"}, io.BytesIO(body))
        if is_read:
            assert request.body == body
        response = cache_page(60)(lambda request: HttpResponse(request.body))(request)
        response.asgi_request = request
        return response.content, visit_of(response)

    assert ask(b"evil") == (b"evil", ("bypass", "request body"))
    assert ask(b"") == (b"", ("stored", ""))
    assert ask(b"") == (b"", ("hit", ""))
    assert ask(b"evil") == (b"evil", ("bypass", "request body"))


@pytest.mark.parametrize("length", ["", "0"])
def test_a_length_of_nothing_is_no_body(cached: Any, counted: Any, length: str) -> None:
    get = cached(counted())
    responses = get_twice(get, headers={"content-length": length})
    assert [response.content for response in responses] == [b"1", b"1"]


@pytest.mark.parametrize(("method", "url", "extra", "why"), BYPASSED)
def test_what_is_not_looked_up(
    cached: Any, counted: Any, visit_of: Any, method: str, url: str, extra: Any, why: str
) -> None:
    view = counted()
    get = cached(view)
    # There is a page at that path, if a page there can be.
    get("/page/")
    before = view.count
    for response in get_twice(get, url, method=method, **extra):
        assert visit_of(response) == ("bypass", why)
    assert view.count == before + 2
    assert get("/page/").content == b"1"


def test_a_hidden_dot_is_no_dot_segment(cached: Any, counted: Any, visit_of: Any) -> None:
    get = cached(counted())
    for url in ["/.well-known/x", "/a/...", "/a..b/", "/a/.b"]:
        assert visit_of(get_twice(get, url)[1])[0] == "hit"


def test_authorization_needs_a_public_page(cached: Any, counted: Any, visit_of: Any) -> None:
    view = counted()
    get = cached(view)
    authorized = {"headers": {"authorization": "Basic YTpi"}}
    for response in get_twice(get, **authorized):
        assert visit_of(response)[1] == "Authorization"
    assert view.count == 2
    # A page that is stored for everyone is not for those who say who they are.
    assert [response.content for response in get_twice(get)] == [b"3", b"3"]
    assert get(**authorized).content == b"4"


def test_authorization_is_served_a_public_page(cached: Any, counted: Any) -> None:
    get = cached(counted(headed(Cache_Control="public, max-age=60")))
    authorized = {"headers": {"authorization": "Basic YTpi"}}
    assert [response.content for response in get_twice(get, **authorized)] == [b"1", b"1"]
    assert get().content == b"1"


def test_a_view_can_keep_its_page_out(cached: Any, counted: Any, visit_of: Any) -> None:
    def respond(request: Any, count: int) -> HttpResponse:
        request._cache_update_cache = False
        return HttpResponse(str(count))

    get = cached(counted(respond))
    responses = get_twice(get)
    assert [response.content for response in responses] == [b"1", b"2"]
    assert [visit_of(response) for response in responses] == [("miss", "left out")] * 2


def test_a_host_that_is_not_allowed_is_refused_and_not_cached(
    cached: Any, counted: Any, settings: Any
) -> None:
    settings.ALLOWED_HOSTS = ["testserver"]
    view = counted()
    get = cached(view)
    for host in ["evil.example", "testserver, evil", "a b", "testserver:x"]:
        assert get(headers={"host": host}).status_code == 400
    assert view.count == 0
    assert get().content == b"1"


class Tenant(str):
    """An entry of ALLOWED_HOSTS that knows whether the host is still the site's."""

    gone = False

    def lower(self) -> str:
        return "gone.example" if self.gone else super().lower()


def test_a_host_that_an_object_answers_for_is_judged_each_time(
    cached: Any, counted: Any, settings: Any
) -> None:
    tenant = Tenant("a.example")
    settings.ALLOWED_HOSTS = [tenant]
    get = cached(counted())
    assert [get(headers={"host": "a.example"}).content for _ in range(2)] == [b"1", b"1"]
    tenant.gone = True
    assert get(headers={"host": "a.example"}).status_code == 400


def test_headers_of_one_connection_are_not_kept(cached: Any, counted: Any) -> None:
    view = counted(
        Date="now",
        Age="3",
        Server_Timing="db;dur=1",
        X_Hop="hop",
        Connection="close, X-Hop",
        X_Kept="1",
    )
    _, second = get_twice(cached(view))
    assert second.content == b"1"
    assert second["Age"] == "0"
    assert second["X-Kept"] == "1"
    for name in ["Date", "Server-Timing", "X-Hop", "Connection"]:
        assert name not in second


class OwnHeaders(ResponseHeaders):
    """A mapping of somebody's own, that adds what it is not given."""

    def get(self, key: str, default: Any = None) -> Any:
        return "X-Kind" if key.lower() == "vary" else super().get(key, default)

    def items(self) -> Any:
        return [*super().items(), ("X-Own", "yes")]


def test_headers_of_another_class_are_asked_as_django_asks_them(cached: Any, counted: Any) -> None:
    def respond(request: Any, count: int) -> HttpResponse:
        response = HttpResponse(str(count))
        response.headers = OwnHeaders(dict(response.headers))
        return response

    get = cached(counted(respond))
    for kind, body in (("a", b"1"), ("b", b"2"), ("a", b"1"), ("b", b"2")):
        response = get(headers={"x-kind": kind})
        assert response.content == body
    assert response["Age"] == "0"
    assert response["X-Own"] == "yes"


def test_binary_and_odd_pages_come_back_as_they_were(cached: Any, counted: Any) -> None:
    body = bytes(range(256)) * 50

    def respond(request: Any, count: int) -> HttpResponse:
        response = HttpResponse(body, content_type="application/x-odd", reason="Very Well")
        response["X-Text"] = "ümlaut"
        return response

    first, second = get_twice(cached(counted(respond)))
    assert second["Age"] == "0"
    assert second.content == body == first.content
    assert second.reason_phrase == "Very Well"
    assert second["Content-Type"] == "application/x-odd"
    assert second["X-Text"] == first["X-Text"]


def test_an_empty_page_is_a_page(cached: Any, counted: Any, visit_of: Any) -> None:
    _, second = get_twice(cached(counted(lambda request, count: HttpResponse(b""))))
    assert visit_of(second)[0] == "hit"
    assert second.content == b""


@pytest.mark.parametrize(
    "url",
    ["/%00/", "/%ff/", "/%c0%af/", "/a%2Fb/", "/a;jsessionid=1/", "/page/?a=%00&%ff=%zz"],
)
def test_odd_urls_are_cached_like_any(cached: Any, counted: Any, url: str) -> None:
    get = cached(counted())
    assert [response.content for response in get_twice(get, url)] == [b"1", b"1"]
    assert get("/else/").content == b"2"


def test_queries_of_another_charset_are_told_apart(
    cached: Any, counted: Any, settings: Any
) -> None:
    settings.DEFAULT_CHARSET = "latin-1"
    get = cached(counted(lambda request, count: HttpResponse(request.GET["q"])))
    # As UTF-8 these two are the same: no text.
    for _ in range(2):
        assert get("/page/?q=%E9").content == "é".encode("latin-1")
        assert get("/page/?q=%E8").content == "è".encode("latin-1")


def test_the_charset_of_a_request_tells_queries_apart(site: Any, counted: Any) -> None:
    client = site.serve(
        cache_page(60)(counted(lambda request, count: HttpResponse(request.GET["q"])))
    )

    def get(charset: str) -> str:
        given = {"QUERY_STRING": "q=%F0%E5", "CONTENT_TYPE": f"text/plain; charset={charset}"}
        body: str = client.get("/page/", **given).content.decode()
        return body

    for _ in range(2):
        for charset in ("koi8-r", "cp1251"):
            assert get(charset) == b"\xf0\xe5".decode(charset)


@pytest.mark.parametrize("raw", ["é".encode(), "é".encode("latin-1")], ids=["utf-8", "latin-1"])
def test_a_query_with_bytes_as_they_are_is_read_as_django_reads_it(
    site: Any, counted: Any, raw: bytes
) -> None:
    client = site.serve(cache_page(60)(counted(lambda request, count: HttpResponse(str(count)))))
    # As WSGI hands it over (PEP 3333).
    assert client.get("/page/", QUERY_STRING="q=" + raw.decode("latin-1")).content == b"1"
    assert client.get("/page/?q=%C3%A9").content == b"1"
    assert client.get("/page/?q=%C3%A8").content == b"2"


@pytest.mark.parametrize("cookie", ["é=1", "=;;;=", "a" * 5000, 'a="\\073"; a=2'])
def test_odd_cookies_do_no_harm(cached: Any, counted: Any, cookie: str) -> None:
    get = cached(counted(Vary="Cookie"))
    assert [response.status_code for response in get_twice(get, HTTP_COOKIE=cookie)] == [200, 200]


def test_damaged_entries_are_misses(cached: Any, counted: Any, backend_keys: Any) -> None:
    from django.core.cache import cache

    get = cached(counted())
    get()
    count = 1
    for damage in [b"", b"junk", None, -7, 1 << 64, 1.5, "text", {"a": 1}, [], b"\x00" * 5000]:
        for key in backend_keys():
            cache.set(key, damage)
        count += 1
        assert get().content == b"%d" % count
        assert get().content == b"%d" % count


def test_a_record_that_is_cut_or_changed_is_a_miss(
    cached: Any, counted: Any, backend_keys: Any
) -> None:
    from django.core.cache import cache

    get = cached(counted())
    get()
    [key] = [key for key in backend_keys() if ".p1." in key]
    record = cache.get(key)
    count = 1
    for at in range(0, len(record), max(1, len(record) // 20)):
        for damaged in (record[:at], record[:at] + bytes([record[at] ^ 1]) + record[at + 1 :]):
            cache.set(key, damaged)
            count += 1
            assert get().content == b"%d" % count
            # And a hit: that the checksum of this one was right says nothing of the next.
            assert get().content == b"%d" % count


@pytest.fixture
def backend_keys() -> Any:
    from django.core.cache import cache

    return lambda: [key.removeprefix(":1:") for key in cache._cache]


def test_a_header_that_is_no_text(cached: Any, counted: Any, visit_of: Any) -> None:
    """The view answers, whether it turns out when the page is looked up or when it is stored."""
    get = cached(counted(headed(Vary="X-Kind")))
    response = get(HTTP_X_KIND="\udc80")
    assert (response.content, visit_of(response)) == (b"1", ("miss", "text that is no text"))
    assert get(HTTP_X_KIND="a").content == b"2"
    response = get(HTTP_X_KIND="\udc80")
    assert (response.content, visit_of(response)) == (b"3", ("bypass", "text that is no text"))
    assert get(HTTP_X_KIND="a").content == b"2"


@pytest.mark.parametrize("more", ["", "&y=\xc3\xa9"], ids=["in-the-core", "in-python"])
def test_what_tells_pages_apart_wherever_the_request_is_read(
    counted: Any, settings: Any, more: str
) -> None:
    """Bytes in the query are for Python to read; all else is the core's."""
    settings.USE_I18N = True
    view = cache_page(60, query=["x"])(counted())

    def get(query: str, *, secure: bool = False, language: str = "en") -> bytes:
        extra = {"HTTP_HOST": "testserver", "QUERY_STRING": query + more}
        request = RequestFactory().get("/page/", secure=secure, **extra)
        request.LANGUAGE_CODE = language
        return bytes(view(request).content)

    for _ in range(2):
        assert get("x=1") == get("x=1&z=2") == b"1"
        assert get("x=2") == b"2"
        assert get("x=1", secure=True) == b"3"
        assert get("x=1", language="fr") == b"4"
