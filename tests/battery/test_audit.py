"""What views read that is not in their keys: the cases for which ``AUDIT`` is the answer."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from battery.served import Served, Site
from django.http import HttpRequest, HttpResponse
from viewcache.audit import UnkeyedReadWarning


@contextmanager
def told() -> Iterator[list[str]]:
    """What was warned of within, each with the file that read it."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield found
    for warning in caught:
        assert warning.category is UnkeyedReadWarning
        assert warning.filename == __file__
        found.append(str(warning.message))


@pytest.fixture
def audited(served: Served) -> Callable[..., Site]:
    """Sites that are audited; ``viewcache`` is more of that setting."""

    def make(respond: Any, *, viewcache: dict[str, Any] | None = None, **options: Any) -> Site:
        served.settings.VIEWCACHE = {"AUDIT": True, **(viewcache or {})}
        return served(respond, **options)

    return make


HEADERS: dict[str, Callable[[HttpRequest], Any]] = {
    "user-agent": lambda request: request.META.get("HTTP_USER_AGENT"),
    "accept": lambda request: request.accepts("application/json"),
    "x-forwarded-for": lambda request: "X-Forwarded-For" in request.headers,
    "x-forwarded-host": lambda request: request.headers.get("X-Forwarded-Host"),
}


@pytest.mark.case(14)
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_no_vary_names_is_told(audited: Any, name: str) -> None:
    site = audited(lambda request, number: HttpResponse(f"{number} {HEADERS[name](request)}"))
    with told() as found:
        site.get()
    [only] = found
    assert f"depends on the header {name}, which is not in its key" in only
    with told() as found:
        site.get()  # a hit reads nothing
    assert found == []


@pytest.mark.case(14)
@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_vary_names_is_not(audited: Any, name: str) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        return HttpResponse(f"{number} {HEADERS[name](request)}", headers={"Vary": name})

    site = audited(view)
    with told() as found:
        site.get()
    assert found == []


@pytest.mark.case(14)
def test_the_visitors_address_is_told(audited: Any) -> None:
    site = audited(lambda request, number: HttpResponse(request.META["REMOTE_ADDR"]))
    with told() as found:
        site.get()
    [only] = found
    assert "depends on request.META REMOTE_ADDR" in only
    assert "viewcache.slot" in only


@pytest.mark.case(15)
def test_an_origin_that_is_sent_back_without_vary_is_told(audited: Any) -> None:
    def allows(request: HttpRequest, number: int) -> HttpResponse:
        origin = request.headers.get("Origin", "")
        return HttpResponse(str(number), headers={"Access-Control-Allow-Origin": origin})

    site = audited(allows)
    with told() as found:
        first = site.get(headers={"Origin": "https://a.example"})
    [only] = found
    assert "the header origin" in only
    assert "Name it in Vary" in only
    # What the warning is about: the second site is told that the first may read.
    second = site.get(headers={"Origin": "https://b.example"})
    assert second["Access-Control-Allow-Origin"] == first["Access-Control-Allow-Origin"]


@pytest.mark.case(30)
def test_an_ignored_parameter_that_is_read_is_told(audited: Any) -> None:
    site = audited(lambda request, number: HttpResponse(request.GET.get("utm_source", "-")))
    with told() as found:
        site.get("/page/?utm_source=ann&page=2")
    [only] = found
    assert "the query utm_source" in only
    assert "IGNORE_QUERY" in only


@pytest.mark.case(30)
def test_a_parameter_that_the_view_does_not_name_is_told(audited: Any) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        return HttpResponse("".join(request.GET.getlist(name)[0] for name in ("page", "q")))

    site = audited(view, query=["page"])
    with told() as found:
        site.get("/page/?page=1&q=2")
    [only] = found
    assert "the query q," in only


RAW: dict[str, Callable[[HttpRequest], Any]] = {
    "META": lambda request: request.META["QUERY_STRING"],
    "full path": lambda request: request.get_full_path(),
    "absolute URI": lambda request: request.build_absolute_uri(),
    "urlencode": lambda request: request.GET.urlencode(),
    "copy": lambda request: request.GET.copy(),
    "dict": lambda request: dict(request.GET),
}


@pytest.mark.case(34)
@pytest.mark.parametrize("way", RAW)
def test_a_raw_query_with_what_the_key_leaves_out_is_told(audited: Any, way: str) -> None:
    site = audited(lambda request, number: HttpResponse(f"{number} {RAW[way](request)}"))
    with told() as found:
        site.get("/page/?q=1&utm_source=ann")
    [only] = found
    assert "the query string as it was sent" in only
    assert "It holds utm_source" in only
    with told() as found:
        site.get("/page/?q=2")  # all of it is in the key
    assert found == []


@pytest.mark.case(45)
def test_a_cookie_that_the_view_does_not_name_is_told(audited: Any) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        return HttpResponse(request.COOKIES.get("theme", "-") + request.COOKIES.get("ab", "-"))

    site = audited(view, cookies=["theme"])
    with told() as found:
        site.get(headers={"Cookie": "theme=dark; ab=b"})
    [only] = found
    assert "the cookie ab," in only
    assert "cache_page(cookies=[…])" in only


@pytest.mark.case(45)
def test_an_ignored_cookie_that_is_read_is_told(audited: Any) -> None:
    site = audited(
        lambda request, number: HttpResponse(request.COOKIES.get("ab", "-")),
        viewcache={"IGNORE_COOKIES": ["ab"]},
    )
    with told() as found:
        site.get()
    [only] = found
    assert "the cookie ab," in only


@pytest.mark.case(45)
def test_a_session_that_the_view_does_not_name_is_told(served: Served, audited: Any) -> None:
    served.settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    site = audited(
        lambda request, number: HttpResponse(request.session.get("name", "-")),
        middleware=["django.contrib.sessions.middleware.SessionMiddleware"],
        cookies=[],
    )
    with told() as found:
        site.get()
    [only] = found
    assert "the cookie sessionid," in only
