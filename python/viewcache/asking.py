"""
Django's decision whether a response may be stored, without the key that it makes on the way.

``UpdateCacheMiddleware.process_response()`` decides. Where it stores, ``learn_cache_key()`` makes a
key, which takes longer than the whole decision, and which nobody looks at here: pages are stored
under our own. So the installed function's very code runs with another function under that one name.
Nothing of the decision is copied. Where anything is not as it was when this was imported (a patch,
a function of another shape), Django runs as it is.
"""

from __future__ import annotations

import builtins
from types import FunctionType
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware import cache as middleware
from django.utils import cache as django_cache

_KIND: Any = middleware.UpdateCacheMiddleware
_DECIDE: Any = _KIND.__dict__.get("process_response")
_LEARN: Any = getattr(middleware, "learn_cache_key", None)


def decide(
    asked: middleware.UpdateCacheMiddleware, request: HttpRequest, response: HttpResponseBase
) -> Any:
    """``asked.process_response(request, response)``; its cache's ``set()`` is told no keys."""
    kind: Any = type(asked)
    is_djangos = kind.process_response is _DECIDE and vars(middleware)["learn_cache_key"] is _LEARN
    if _without_key is None or not is_djangos:
        return kind.process_response(asked, request, response)
    return _without_key(asked, request, response)


class _Names(dict[str, Any]):
    """The names of Django's module as they are now, but for those that are given."""

    def __missing__(self, name: str) -> Any:
        return vars(middleware)[name]


def _learn(*args: Any, cache: Any, **kwargs: Any) -> str:
    """In place of ``learn_cache_key()``: it sets the list of headers, and returns the key."""
    cache.set("", [], None)
    return ""


def _is_as_expected(function: Any) -> bool:
    """Is this a plain function of that module, which calls Django's ``learn_cache_key()``?"""
    return (
        type(function) is FunctionType
        and function.__globals__ is vars(middleware)
        and function.__closure__ is None
        and "learn_cache_key" in function.__code__.co_names
        and type(_LEARN) is FunctionType
        and _LEARN is django_cache.learn_cache_key
        and _LEARN.__globals__ is vars(django_cache)
    )


def _made(function: Any) -> FunctionType | None:
    if not _is_as_expected(function):
        return None
    names = _Names(learn_cache_key=_learn, __builtins__=builtins, __name__=middleware.__name__)
    return FunctionType(function.__code__, names, function.__name__, function.__defaults__)


_without_key = _made(_DECIDE)
