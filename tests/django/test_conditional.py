"""Conditional requests: a 304 from the page in the cache, HEAD, and Age."""

from __future__ import annotations

from typing import Any

import pytest
from backends import Backend
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from viewcache import expire, middleware

BODY = b"<p>page</p>"
ETAG, MODIFIED = '"one"', "Mon, 23 Nov 2026 10:00:00 GMT"


@pytest.fixture
def calls() -> list[HttpRequest]:
    return []


@pytest.fixture
def site(calls: list[HttpRequest]) -> Any:
    def view(request: HttpRequest) -> HttpResponse:
        calls.append(request)
        return HttpResponse(BODY, headers={"ETag": ETAG, "Last-Modified": MODIFIED, "X-Own": "é"})

    return middleware.CacheMiddleware(view)


def _get(site: Any, method: str = "get", **headers: str) -> HttpResponse:
    answer: HttpResponse = site(getattr(RequestFactory(), method)("/page/", headers=headers))
    return answer


def test_a_visitor_who_has_the_page_is_told_so(backend: Backend, site: Any, calls: Any) -> None:
    assert _get(site).content == BODY
    for headers in (
        {"if-none-match": ETAG},
        {"if-none-match": f'"other", W/{ETAG}'},
        {"if-modified-since": MODIFIED},
    ):
        for method in ("get", "head"):
            answer = _get(site, method, **headers)
            assert (answer.status_code, answer.content) == (304, b"")
            assert (answer.headers["ETag"], answer.headers["Age"]) == (ETAG, "0")
    assert len(calls) == 1


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_others_get_the_page(backend: Backend, site: Any, calls: Any) -> None:
    _get(site)
    for headers in (
        {},
        {"if-none-match": '"other"'},
        {"if-none-match": '"other"', "if-modified-since": MODIFIED},
        {"if-modified-since": "Mon, 23 Nov 2026 09:00:00 GMT"},
        {"if-modified-since": "yesterday"},
        {"if-match": '"other"'},
    ):
        answer = _get(site, **headers)
        assert (answer.status_code, answer.content) == (200, BODY)
        assert (answer.headers["X-Own"], answer.headers["Age"]) == ("é", "0")
    assert len(calls) == 1


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_an_expired_page_is_not_the_one_that_the_visitor_has(
    backend: Backend, site: Any, calls: Any
) -> None:
    _get(site)
    expire(path="/page/")
    assert _get(site, **{"if-none-match": ETAG}).content == BODY
    assert len(calls) == 2


@pytest.mark.parametrize("backend", ["locmem"], indirect=True)
def test_a_page_without_validators_is_sent_whole(backend: Backend) -> None:
    site = middleware.CacheMiddleware(lambda request: HttpResponse(BODY))
    _get(site)
    assert _get(site, **{"if-none-match": "*"}).status_code == 200
