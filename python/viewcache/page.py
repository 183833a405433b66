"""
``HttpResponse`` to page and back.
"""

from __future__ import annotations

import json
from functools import cache, lru_cache
from http.client import responses as _phrases
from http.cookies import SimpleCookie
from typing import Any

from django.conf import settings
from django.core.signals import setting_changed
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase, ResponseHeaders
from django.middleware.csrf import CsrfViewMiddleware, get_token
from django.template.response import SimpleTemplateResponse
from django.utils.cache import get_conditional_response, patch_cache_control
from django.utils.http import http_date, parse_http_date_safe
from django.utils.module_loading import import_string

from . import _core, compat, slots
from .policy import Permission

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
_NOT_KEPT_WITH_SLOTS = frozenset(
    {"content-length", "content-md5", "digest", "etag", "last-modified"}
)
#: What a hit has of the middleware that makes it, with a nonce of its own.
CSP = frozenset({"content-security-policy", "content-security-policy-report-only"})


def headers(
    response: HttpResponseBase, permission: Permission, *, has_slots: bool
) -> list[tuple[str, str]]:
    """The headers that belong to the page."""
    left_out = _NOT_KEPT | _NOT_KEPT_WITH_SLOTS if has_slots else _NOT_KEPT
    if named := compat.header(response, "connection"):
        left_out |= {name.strip().lower() for name in named.split(",")}
    if permission.nonce is not None:
        # The middleware makes it again, with another nonce.
        left_out |= CSP
    items = compat.header_items(response)
    return [(name, value) for name, value in items if name.lower() not in left_out]


def reason(response: HttpResponseBase) -> str | None:
    """The reason phrase, where it is not the status code's own."""
    phrase = response.reason_phrase
    return None if phrase == _phrases.get(response.status_code) else str(phrase)


def marks(response: HttpResponseBase) -> str:
    """
    What code has left on the response for other code, which asks for it after a hit, too: Django's
    ``xframe_options_exempt``, a charset that was given, and the like; as JSON, or ``""``. Nothing
    that is false, large or no plain value is kept.
    """
    found = {
        name: value
        for name, value in response.__dict__.items()
        if value
        and (type(value) in (bool, int, float) or (type(value) is str and len(value) <= _MARK))
        and name not in _of_every_response()
        and not name.startswith("_viewcache")
    }
    return json.dumps(found) if found else ""


#: Characters of a mark.
_MARK = 100


@cache
def _of_every_response() -> frozenset[str]:
    """The attributes of every response, and those of its rendering, which a page has had."""
    return frozenset(vars(SimpleTemplateResponse(""))) - {"_charset"}


@lru_cache(maxsize=256)
def _marks(text: str) -> dict[str, Any]:
    found = json.loads(text)
    return {name: found[name] for name in found if name not in _of_every_response()}


def response(
    hit: _core.Hit, request: HttpRequest, now: float, stale_since: float | None = None
) -> HttpResponse:
    """The response that a page makes for this request; it may be stale since some moment."""
    meta: Any = request.META
    is_conditional = stale_since is None and not _CONDITIONS.isdisjoint(dict.keys(meta))
    status, phrase, marked, headers, is_plain, stored_at, names, body = hit.ready(
        now, with_body=not is_conditional
    )
    make = _made if is_plain and _is_known() else _constructed
    if is_conditional and not names:
        unchanged = _unchanged(request, make(status, phrase, headers, b""))
        if unchanged is not None:
            return unchanged
    if body is None:
        body = hit.fill(_fillings(names, request)) if names else hit.body
    result = make(status, phrase, headers, body)
    if marked is not None:
        result.__dict__.update(_marks(marked))
    if stale_since is not None:
        _end(result, stored_at, stale_since)
    if TOKEN in names:
        _set_token_cookie(request, result)
    return result


def _end(result: HttpResponse, stored_at: float, moment: float) -> None:
    """
    A page that is stale here is stale for every cache on the way (RFC 9111 section 4.2): it was
    fresh until this moment, not for as long as it was meant to be.
    """
    patch_cache_control(result, max_age=max(0, int(moment - stored_at)))
    if "Expires" in result.headers:
        result.headers["Expires"] = http_date(moment)


#: What a request is conditional by (RFC 9110 section 13.1); a page is never changed by one.
_CONDITIONS = frozenset({"HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE"})


def _unchanged(request: HttpRequest, head: HttpResponse) -> HttpResponse | None:
    """The 304 for a visitor who has this page, by its ``ETag`` or ``Last-Modified``."""
    etag, modified = head.headers.get("ETag"), head.headers.get("Last-Modified")
    if head.status_code != 200 or not (etag or modified):
        return None
    since = parse_http_date_safe(modified) if modified else None
    answer = get_conditional_response(request, etag=etag, last_modified=since, response=head)
    if answer is None or answer.status_code != 304:
        return None
    answer.headers["Age"] = head.headers["Age"]
    return answer


#: By their lower-case names.
Headers = dict[str, tuple[str, str]]


def _constructed(status: int, phrase: str | None, headers: Headers, body: bytes) -> HttpResponse:
    """The response with these headers and no others."""
    result = HttpResponse(body, status=status, reason=phrase)
    del result.headers["Content-Type"]
    for name, value in headers.values():
        result.headers[name] = value
    return result


def _made(status: int, phrase: str | None, headers: Headers, body: bytes) -> HttpResponse:
    """
    As ``_constructed``, a quarter of its time: each header has passed Django's checks before it was
    stored, and the core has looked for what a record of ours would not have.
    """
    mapping = _new(ResponseHeaders)
    mapping.__dict__["_store"] = headers
    result: HttpResponse = _new(HttpResponse)
    values = result.__dict__
    values["_charset"] = values["_handler_class"] = values["_reason_phrase"] = None
    values["_container"] = [body]
    values["_resource_closers"] = []
    values["closed"] = False
    # What its __init__() would load of nothing is nothing.
    values["cookies"] = dict.__new__(SimpleCookie)
    values["headers"] = mapping
    values["status_code"] = status
    return result


_new: Any = object.__new__


@cache
def _is_known() -> bool:
    """Does the installed Django make of these arguments what ``_made()`` does?"""
    made = []
    for make in (_constructed, _made):
        headers = {"content-type": ("Content-Type", "text/html"), "x-a": ("X-A", "b")}
        made.append(dict(vars(make(200, None, headers, b"body"))))
    theirs, ours = made
    return vars(theirs.pop("headers")) == vars(ours.pop("headers")) and theirs == ours


def _fillings(names: list[str], request: HttpRequest) -> list[bytes]:
    """What fills these slots. The token comes last: making a piece may change the secret."""
    pieces = iter(slots.fillings([name for name in names if name != TOKEN], request))
    token = _token(request) if TOKEN in names else b""
    return [token if name == TOKEN else next(pieces) for name in names]


def _token(request: HttpRequest) -> bytes:
    """``get_token()``, with the masking done in Rust."""
    meta: dict[str, Any] = request.META
    secret = dict.get(meta, "CSRF_COOKIE")
    token = _core.mask_token(secret) if isinstance(secret, str) else None
    if token is None:
        # The visitor has none yet: Django makes one.
        return get_token(request).encode()
    dict.__setitem__(meta, "CSRF_COOKIE_NEEDS_UPDATE", True)
    return token.encode()


def _set_token_cookie(request: HttpRequest, result: HttpResponse) -> None:
    """
    What ``CsrfViewMiddleware`` does with a response whose token was asked for; here, because a
    view may be protected by the decorator alone, which a hit does not reach.
    """
    _csrf().process_response(request, result)


def _not_called(request: HttpRequest) -> Any:  # pragma: no cover
    raise AssertionError("Only the response half of the CSRF middleware is used.")


@cache
def _csrf() -> CsrfViewMiddleware:
    """The site's own middleware, which may choose the cookie's domain; else Django's."""
    kinds = map(import_string, settings.MIDDLEWARE)
    of_site = (kind for kind in kinds if isinstance(kind, type))
    kind = next((kind for kind in of_site if issubclass(kind, CsrfViewMiddleware)), None)
    return (kind or CsrfViewMiddleware)(_not_called)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "MIDDLEWARE":
        _csrf.cache_clear()


setting_changed.connect(_forget, dispatch_uid="viewcache.page")
