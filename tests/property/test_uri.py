"""The URI that Django's keys are made of: ours over odd requests is Django's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from functools import partial
from typing import Any
from unittest import mock

import pytest
from django.core.exceptions import DisallowedHost
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse
from django.http import request as django_request
from django.test import RequestFactory, override_settings
from django.utils import timezone, translation
from hypothesis import example, given
from hypothesis import strategies as st
from viewcache import activated, conf, uri
from viewcache.decorators import cache_page
from viewcache.early import rules

ODD = "/.;=?#%[]@:&+$,!~*'()\"<>\\^`{|} \t\n\x00\x7fé☃😀aA0"
odd = st.text(st.sampled_from(ODD) | st.characters(), max_size=12)
paths = odd | st.lists(st.sampled_from([".", "..", "", "a", "é", "a;b"]), max_size=6).map("/".join)
hosts = st.sampled_from(
    [
        "testserver",
        "example.com",
        "example.com:80",
        "EXAMPLE.com:8000",
        "[::1]:80",
        "b.example.org",
        "evil.com",
        "",
        "a b",
        "example.com:x",
        "example.com.",
        "☃.example.org",
        None,
    ]
)


def _outcome(make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        return type(error)


def _request(path: str, query: Any, host: str | None, scheme: str = "http") -> HttpRequest:
    request = RequestFactory().get("/")
    request.path = path
    request.META.update(QUERY_STRING=query, HTTP_HOST=host)
    request.environ["wsgi.url_scheme"] = scheme
    if host is None:
        del request.META["HTTP_HOST"]
    return request


@override_settings(ALLOWED_HOSTS=["testserver", "example.com", ".example.org", "[::1]"])
@given(paths.map("/{}".format) | paths, odd | st.none() | st.just(b"a"), hosts, st.booleans())
@example("//evil.com/a", "", "example.com", True)
@example("/a/..", "b=/../", "example.com", True)
@example("/a/../b", "", "example.com", True)
@example("/\ud800", "", "example.com", True)
def test_the_uri_is_djangos(path: str, query: Any, host: str | None, secure: bool) -> None:
    scheme = "https" if secure else "http"
    theirs = _outcome(_request(path, query, host, scheme).build_absolute_uri)
    for _ in range(2):
        mine = _outcome(lambda: uri.absolute_uri(_request(path, query, host, scheme)))
        assert mine == theirs


@given(hosts)
def test_a_host_is_judged_by_the_settings_of_the_moment(host: str | None) -> None:
    for allowed in (["*"], [], ["example.com"], [".example.org"]):
        for more in ({"DEBUG": True}, {"USE_X_FORWARDED_HOST": True}, {}):
            with override_settings(**{"ALLOWED_HOSTS": allowed, "DEBUG": False, **more}):
                request = _request("/", "", host)
                request.META["HTTP_X_FORWARDED_HOST"] = "b.example.org"
                assert _outcome(partial(uri.host, request)) == _outcome(request.get_host)


def test_the_settings_count_however_they_are_changed() -> None:
    allowed = ["example.com"]
    with override_settings(ALLOWED_HOSTS=allowed):
        assert uri.host(_request("/", "", "example.com")) == "example.com"
        allowed.clear()
        with pytest.raises(DisallowedHost):
            uri.host(_request("/", "", "example.com"))


def test_what_a_request_makes_of_its_own_uri_counts() -> None:
    class Request(HttpRequest):
        def get_host(self) -> str:
            return "other"

    request = Request()
    request.path = "/"
    assert uri.absolute_uri(request) == "http://other/"
    request = _request("/a", "b", "testserver")
    request.get_full_path = lambda: "/c"  # type: ignore[method-assign]
    assert uri.absolute_uri(request) == "http://testserver/c"
    request = _request("/a", "b", "testserver")
    assert request._current_scheme_host == "http://testserver"
    request.META["HTTP_HOST"] = "example.com"
    assert uri.absolute_uri(request) == "http://testserver/a?b"
    with mock.patch.object(HttpRequest, "build_absolute_uri", return_value="patched"):
        assert uri.absolute_uri(_request("/a", "b", "testserver")) == "patched"


def test_asgi_and_forwarded_schemes() -> None:
    scope = {"type": "http", "method": "GET", "path": "/é", "query_string": b"a=%41", "headers": []}
    scope |= {"scheme": "https", "server": ("testserver", 443)}
    request = ASGIRequest(scope, None)
    assert uri.absolute_uri(request) == request.build_absolute_uri()
    with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_PROTO", "https")):
        forwarded = _request("/", "", "testserver")
        forwarded.META["HTTP_X_PROTO"] = "https, http"
        assert uri.absolute_uri(forwarded) == "https://testserver/"


def test_language_and_zone_are_those_of_the_moment() -> None:
    request = HttpRequest()

    def same() -> tuple[str | None, str | None]:
        theirs = str(translation.get_language()), str(timezone.get_current_timezone_name())
        assert (activated.language(request), activated.zone()) == theirs
        return theirs

    with override_settings(USE_TZ=True, TIME_ZONE="Europe/Berlin", LANGUAGE_CODE="fr"):
        seen = {same()}
        for zone in ("Asia/Tokyo", "UTC", UTC):
            with timezone.override(zone), translation.override("de"):
                seen.add(same())
        seen.add(same())
        with timezone.override(None), translation.override(None):
            seen.add(same())
    with override_settings(USE_TZ=True, TIME_ZONE="America/Lima", LANGUAGE_CODE="de"):
        seen.add(same())
    assert len(seen) >= 4


class Own(WSGIRequest):
    """A request class that has something of its own, and all else of Django's."""


@pytest.mark.parametrize("replaced", ["", "get_host", "_get_raw_host", "scheme", "validate_host"])
@override_settings(ALLOWED_HOSTS=["example.com"], USE_I18N=False)
def test_a_host_is_known_beforehand_where_it_is_djangos_to_give(
    monkeypatch: pytest.MonkeyPatch, replaced: str
) -> None:
    request = RequestFactory().get("/", HTTP_HOST="example.com")
    known = RequestFactory().get("/", HTTP_HOST="example.com")
    cache_page(60)(lambda request: HttpResponse())(known)
    assert uri.host(request) == "example.com"
    if replaced == "validate_host":
        monkeypatch.setattr(django_request, "validate_host", lambda host, allowed: True)
    elif replaced:
        monkeypatch.setattr(Own, replaced, "its own", raising=False)
    begun = rules.get().early.ask_wsgi(conf.site(), request.META, Own)
    assert (begun is None) == bool(replaced)


@pytest.mark.parametrize("where", ["class", "request", "module"])
@pytest.mark.parametrize("replaced", ["get_host", "_get_raw_host"])
@override_settings(ALLOWED_HOSTS=[".example.com"])
def test_a_host_that_another_gives_is_the_others(
    monkeypatch: pytest.MonkeyPatch, where: str, replaced: str
) -> None:
    request = Own(RequestFactory().get("/", HTTP_HOST="a.example.com").environ)
    assert uri.host(request) == "a.example.com"
    if where == "module":
        monkeypatch.setattr(django_request, "validate_host", lambda host, allowed: False)
    elif where == "class":
        monkeypatch.setattr(Own, replaced, lambda self: "b.example.com", raising=False)
    else:
        monkeypatch.setattr(request, replaced, lambda: "b.example.com")
    expected = DisallowedHost if where == "module" else "b.example.com"
    assert _outcome(lambda: uri.host(request)) == expected
