"""
The host and the absolute URI of a request, as Django gives them, without Django's cost.

Whatever of Django's has been replaced (a subclass, a patch, the like) is asked itself.
"""

from __future__ import annotations

from copy import copy
from typing import Any, cast

from django.conf import settings
from django.http import HttpRequest
from django.http import request as django_request

from . import _core, conf
from .installed import DJANGO, HOST, IS_KNOWN, URI, VALIDATE


def _has_djangos_host(request: HttpRequest, kind: Any) -> bool:
    """Does this request, of this class, take its host as Django does?"""
    return (
        IS_KNOWN
        and getattr(kind, "get_host", None) is HOST["get_host"]
        and getattr(kind, "_get_raw_host", None) is HOST["_get_raw_host"]
        and django_request.validate_host is VALIDATE
        and request.__dict__.keys().isdisjoint(HOST)
    )


def _has_djangos_uri(request: HttpRequest, kind: Any) -> bool:
    return (
        # Of what is around a request, such as Django REST framework's, the class has none.
        all(getattr(kind, name, None) is original for name, original in URI.items())
        # A request that was asked before keeps the origin that it had then.
        and request.__dict__.keys().isdisjoint(URI)
    )


#: Longer ones are not remembered.
_HOST_LENGTH = 255


def host(request: HttpRequest) -> str:
    """``request.get_host()``, which judges each host once; raises what that raises."""
    meta = request.META
    raw = meta.get("HTTP_HOST")
    if conf.django("USE_X_FORWARDED_HOST"):
        raw = meta.get("HTTP_X_FORWARDED_HOST", raw)
    if type(raw) is not str or not _has_djangos_host(request, type(request)):
        return request.get_host()
    return raw if is_judged(raw) else _judge(request, raw)


def is_judged(raw: str) -> bool:
    """Has ``get_host()`` let this very host through, by the settings as they are now?"""
    try:
        return DJANGO.is_judged(raw)
    except UnicodeError:
        return False


def _judge(request: HttpRequest, raw: str) -> str:
    allowed, debug = settings.ALLOWED_HOSTS, settings.DEBUG
    before = copy(allowed)
    given = request.get_host()
    if (
        given == raw
        and len(raw) <= _HOST_LENGTH
        and isinstance(allowed, list | tuple)
        # An object in ALLOWED_HOSTS may answer otherwise the next time.
        and all(type(item) is str for item in allowed)
        # Another thread has not changed it meanwhile.
        and allowed == before
    ):
        DJANGO.let_through(raw, before, debug)
    return given


def absolute_uri(request: HttpRequest) -> str:
    """``request.build_absolute_uri()``; raises what that raises."""
    kind = type(request)
    if not _has_djangos_uri(request, kind):
        return request.build_absolute_uri()
    query, path = request.META.get("QUERY_STRING", ""), request.path
    if type(query) is str and type(path) is str:
        uri = _core.absolute_uri(f"{scheme(request)}://{host(request)}", path, query)
        if uri is not None:
            return uri
    return request.build_absolute_uri()


def scheme(request: HttpRequest) -> str:
    """``request.scheme``."""
    kind: Any = type(request)
    is_djangos = IS_KNOWN and getattr(kind, "scheme", None) is HOST["scheme"]
    if is_djangos and not conf.django("SECURE_PROXY_SSL_HEADER"):
        # What the property comes down to.
        made: str = cast(Any, request)._get_scheme()
        return made
    return str(request.scheme)
