"""
The host and the absolute URI of a request, as Django gives them, without Django's cost.

Whatever of Django's has been replaced (a subclass, a patch, the like) is asked itself.
"""

from __future__ import annotations

from copy import copy
from types import FunctionType
from typing import Any, NamedTuple, cast

from django.conf import settings
from django.http import HttpRequest
from django.http import request as django_request

from . import _core, conf

# What a request's host and URI are made of, as it was when this was imported.
_HOST = ("get_host", "_get_raw_host")
_URI = ("build_absolute_uri", "get_full_path", "_get_full_path", "_current_scheme_host")
_METHODS: dict[str, Any] = {name: HttpRequest.__dict__.get(name) for name in (*_HOST, *_URI)}
_GET_HOST, _RAW_HOST, _BUILD, _FULL, _FULL_OF, _ORIGIN = _METHODS.values()
_VALIDATE = getattr(django_request, "validate_host", None)
_SCHEME = HttpRequest.__dict__["scheme"]


def _is_of_django(made: object) -> bool:
    """Nobody has patched it before this was imported."""
    function = getattr(made, "func", None) or getattr(made, "fget", None) or made
    return (
        isinstance(function, FunctionType)
        and function.__globals__["__name__"] == HttpRequest.__module__
    )


_IS_KNOWN = all(map(_is_of_django, [*_METHODS.values(), _VALIDATE, _SCHEME]))


def _has_djangos_host(request: HttpRequest, kind: Any) -> bool:
    """Does this request, of this class, take its host as Django does?"""
    return (
        _IS_KNOWN
        and kind.get_host is _GET_HOST
        and kind._get_raw_host is _RAW_HOST
        and django_request.validate_host is _VALIDATE
        and request.__dict__.keys().isdisjoint(_HOST)
    )


def _has_djangos_uri(request: HttpRequest, kind: Any) -> bool:
    return (
        kind.build_absolute_uri is _BUILD
        and kind.get_full_path is _FULL
        and kind._get_full_path is _FULL_OF
        and kind._current_scheme_host is _ORIGIN
        # A request that was asked before keeps the origin that it had then.
        and request.__dict__.keys().isdisjoint(_URI)
    )


class _Judged(NamedTuple):
    """Hosts that ``get_host()`` has let through, and the settings by which it did so."""

    allowed: Any
    debug: Any
    hosts: set[str]


#: Replaced whole when the settings are others.
_judged = _Judged(None, None, set())
_HOSTS_LIMIT = 256
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


def judged_host(meta: dict[str, Any], kind: Any) -> str | None:
    """
    The host of a request with this ``META``, of which Django would make one of this class, if it
    is one that ``get_host()`` has let through.
    """
    raw = meta.get("HTTP_HOST")
    if conf.django("USE_X_FORWARDED_HOST"):
        raw = meta.get("HTTP_X_FORWARDED_HOST", raw)
    is_djangos = (
        _IS_KNOWN
        and kind.get_host is _GET_HOST
        and kind._get_raw_host is _RAW_HOST
        and kind.scheme is _SCHEME
        and django_request.validate_host is _VALIDATE
    )
    return raw if is_djangos and type(raw) is str and is_judged(raw) else None


def seen_scheme(meta: dict[str, Any], scheme: str) -> str:
    """``request.scheme`` of a request with this ``META``, which came by this scheme."""
    header = conf.django("SECURE_PROXY_SSL_HEADER")
    value = None if header is None else meta.get(header[0])
    if value is None:
        return scheme
    return "https" if value.partition(",")[0].strip() == header[1] else "http"


def is_judged(raw: str) -> bool:
    """Has ``get_host()`` let this very host through, by the settings as they are now?"""
    judged = _judged
    return (
        raw in judged.hosts
        # The setting may have been changed in place.
        and conf.django("ALLOWED_HOSTS") == judged.allowed
        and conf.django("DEBUG") is judged.debug
    )


def _judge(request: HttpRequest, raw: str) -> str:
    global _judged
    allowed, debug = settings.ALLOWED_HOSTS, settings.DEBUG
    judged = _judged
    if judged.allowed != allowed or judged.debug is not debug:
        judged = _Judged(copy(allowed), debug, set())
    given = request.get_host()
    if (
        given == raw
        and len(raw) <= _HOST_LENGTH
        and isinstance(allowed, list | tuple)
        # An object in ALLOWED_HOSTS may answer otherwise the next time.
        and all(type(item) is str for item in allowed)
        # Another thread has not changed it meanwhile.
        and allowed == judged.allowed
    ):
        if len(judged.hosts) >= _HOSTS_LIMIT:
            judged.hosts.clear()
        judged.hosts.add(raw)
        _judged = judged
    return given


def absolute_uri(request: HttpRequest) -> str:
    """``request.build_absolute_uri()``; raises what that raises."""
    query, path, kind = request.META.get("QUERY_STRING", ""), request.path, type(request)
    if type(query) is str and type(path) is str and _has_djangos_uri(request, kind):
        uri = _core.absolute_uri(f"{scheme(request)}://{host(request)}", path, query)
        if uri is not None:
            return uri
    return request.build_absolute_uri()


def scheme(request: HttpRequest) -> str:
    """``request.scheme``."""
    kind: Any = type(request)
    if _IS_KNOWN and kind.scheme is _SCHEME and not conf.django("SECURE_PROXY_SSL_HEADER"):
        # What the property comes down to.
        return cast(str, cast(Any, request)._get_scheme())
    return str(request.scheme)
