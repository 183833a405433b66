"""
``HttpResponse`` to page and back.
"""

from __future__ import annotations

from http.client import responses as _phrases
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware, get_token

from . import _core

#: The slot of the CSRF token.
TOKEN = ""

#: Headers that belong to one connection or one rendering, not to the page (RFC 9110 section 7.6.1).
_NOT_KEPT = frozenset(
    {
        "age",
        "connection",
        "date",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "server-timing",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
#: What a body with slots has another of for each visitor.
_NOT_KEPT_WITH_SLOTS = frozenset({"content-length", "etag", "content-md5", "digest"})


def cut(response: HttpResponse, secret: str | None) -> tuple[bytes, list[tuple[int, str]]] | str:
    """The body with its slots taken out, and where they stood; or why it cannot be shared."""
    body = response.content
    if secret is None:
        return body, []
    if response.headers.get("Content-Encoding"):
        return "CSRF token in an encoded body"
    found = _core.cut_tokens(body, secret)
    if found is None:
        return "CSRF token not found in the body"
    body, places = found
    return body, [(place, TOKEN) for place in places]


def headers(response: HttpResponseBase, *, slots: bool) -> list[tuple[str, str]]:
    """The headers that belong to the page."""
    named = {name.strip().lower() for name in response.headers.get("Connection", "").split(",")}
    left_out = _NOT_KEPT | named | (_NOT_KEPT_WITH_SLOTS if slots else frozenset())
    return [(name, value) for name, value in response.items() if name.lower() not in left_out]


def reason(response: HttpResponseBase) -> str | None:
    """The reason phrase, where it is not the status code's own."""
    phrase = response.reason_phrase
    return None if phrase == _phrases.get(response.status_code) else str(phrase)


def response(hit: _core.Hit, request: HttpRequest, now: float) -> HttpResponse:
    """The response that a page makes for this request."""
    status, phrase, header_list, body, stored_at, _ = hit.parts()
    slots = hit.slots
    if slots:
        token = get_token(request).encode()
        body = hit.fill([token] * len(slots))
    result = HttpResponse(body, status=status, reason=phrase)
    # The page's headers and no others: the default Content-Type is not one of them.
    del result.headers["Content-Type"]
    for name, value in header_list:
        result.headers[name] = value
    result.headers["Age"] = str(max(0, int(now - stored_at)))
    if slots:
        _set_token_cookie(request, result)
    return result


def _set_token_cookie(request: HttpRequest, result: HttpResponse) -> None:
    """
    What ``CsrfViewMiddleware`` does with a response whose token was asked for; here, because a
    view may be protected by the decorator alone, which a hit does not reach.
    """
    _csrf.process_response(request, result)


def _not_called(request: HttpRequest) -> Any:  # pragma: no cover
    raise AssertionError("Only the response half of the CSRF middleware is used.")


_csrf = CsrfViewMiddleware(_not_called)
