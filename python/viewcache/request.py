"""
``HttpRequest`` to the canonical request.
"""

from __future__ import annotations

from os import SEEK_END
from typing import Any, cast

from django.http import HttpRequest

from . import _core, conf
from .activated import language, zone
from .installed import DJANGO
from .uri import host, scheme


def djangos(given: Any, whose: str) -> HttpRequest:
    """
    Django's request of this one, which Django REST framework may have wrapped.

    Raises ``TypeError`` for what is no request, and says ``whose`` argument it was.
    """
    if not hasattr(given, "META"):
        raise TypeError(
            f"{whose} didn't receive an HttpRequest, but {given!r}. To decorate a method, use "
            "@method_decorator."
        )
    return cast(HttpRequest, getattr(given, "_request", given))


def has_body(request: HttpRequest) -> bool:
    """Does the request carry content (RFC 9110 section 6.4)? A GET that does is nobody's twin."""
    meta = request.META
    # Past the watch: this is no read of the page's.
    length = dict.get(meta, "CONTENT_LENGTH")
    if (bool(length) and length != "0") or dict.__contains__(meta, "HTTP_TRANSFER_ENCODING"):
        return True
    return "scope" in request.__dict__ and _has_received(request)


def _has_received(request: HttpRequest) -> bool:
    """
    Under ASGI: content that no header announced, as it need not be from HTTP/2 on (RFC 9113 section
    8.1). Django has received it by now.
    """
    known: dict[str, Any] = request.__dict__
    if "_body" in known:
        return bool(known["_body"])
    stream = known.get("_stream")
    try:
        at: int = stream.tell()  # type: ignore[union-attr]
        stream.seek(0, SEEK_END)  # type: ignore[union-attr]
        end: int = stream.tell()  # type: ignore[union-attr]
        stream.seek(at)  # type: ignore[union-attr]
    except (AttributeError, OSError, ValueError):
        # Closed, or the test client's, which is read once.
        return False
    return end > 0


def begin(
    request: HttpRequest, *, key_prefix: str, only: _core.Names | None
) -> _core.LookUp | None:
    """
    Begin the look-up of this request; ``None`` when its path is beyond the limits.

    Raises ``DisallowedHost`` as ``request.get_host()`` does, ``UnicodeEncodeError`` for text
    that is no text.
    """
    seen: _core.LookUp | None = conf.site().look_up_of(DJANGO, request, key_prefix, only)
    if seen is not NotImplemented:
        return seen
    meta: dict[str, Any] = request.META
    query, charset = _query(request, meta.get("QUERY_STRING") or "")
    return conf.site().look_up(
        meta,
        method=request.method or "GET",
        key_prefix=key_prefix,
        scheme=scheme(request) or "http",
        host=host(request),
        path=request.path,
        query=query,
        charset=charset,
        utf8_cookies=hasattr(request, "environ"),
        only=only,
        language=language(request),
        zone=zone(),
    )


def listing(
    request: HttpRequest,
    lease: _core.LookUp,
    *,
    key_prefix: str,
    only: _core.Names | None,
    alias: str | None,
) -> tuple[list[str], bytes]:
    """The page that was stored, for the inventory: the keys that its entry may have, the entry."""
    query, charset = _query(request, request.META.get("QUERY_STRING") or "")
    return conf.inventory().listing(
        lease,
        scheme=scheme(request) or "http",
        host=host(request),
        query=query,
        charset=charset,
        only=only,
        key_prefix=key_prefix,
        alias=alias,
    )


def _query(request: HttpRequest, query: str) -> tuple[str, str | None]:
    """The query as ``request.GET`` decodes it; or as it stands, and the charset to do it by."""
    encoding = (request.encoding or conf.django("DEFAULT_CHARSET")).lower()
    if encoding not in ("utf-8", "utf8"):
        return query, encoding
    if not query.isascii() and hasattr(request, "environ"):
        # WSGI hands over bytes as latin-1; QueryDict reads them as UTF-8, or else as latin-1.
        try:
            return query.encode("latin-1").decode(), None
        except UnicodeError:
            pass
    return query, None
