"""
What differs between the Djangos that are supported, and between sites.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, cast

from django.dispatch import Signal
from django.http import HttpRequest
from django.http.response import HttpResponseBase, ResponseHeaders
from django.utils import cache as django_cache

from . import _core


def is_of(value: object, module: str, name: str) -> bool:
    """
    Is this an instance of that class? A module that nobody has imported has no instances, and need
    not be loaded to say so.
    """
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, getattr(loaded, name))


# Taken when this module is imported: the names in django.utils.cache may be replaced by ours.
_generate_cache_key = getattr(django_cache, "_generate_cache_key", None)
django_get_cache_key = django_cache.get_cache_key
django_learn_cache_key = django_cache.learn_cache_key

_PROBES = (
    ("HTTP_A", "HTTP_B", "HTTP_C"),
    ("HTTP_ABSENT", "HTTP_A"),
    ("HTTP_B", "HTTP_ABSENT", "HTTP_EMPTY"),
    (),
)
_VALUES = {"HTTP_A": "a", "HTTP_B": "bc", "HTTP_C": "-,", "HTTP_EMPTY": ""}


@cache
def key_recipe() -> str | None:
    """
    The name of the recipe by which the installed Django makes keys, found by asking it.

    ``None`` when it is none of the known ones; viewcache then uses Django's own functions.
    """
    request = HttpRequest()
    request.META = {**_VALUES, "SERVER_NAME": "localhost", "SERVER_PORT": "80"}
    request.build_absolute_uri = lambda location=None: "http://localhost/"  # type: ignore[method-assign]
    probes = []
    for names in _PROBES:
        try:
            # Where it is gone, calling it fails as one of another shape does.
            key = cast(Any, _generate_cache_key)(request, "GET", list(names), "")
        except Exception:
            return None
        # "views.decorators.cache.cache_page.<prefix>.<method>.<url>.<headers>[.language.zone]"
        parts = key.split(".")
        if len(parts) < 8:
            return None
        probes.append(([_VALUES.get(name) for name in names], parts[7]))
    return _core.detect_recipe(probes)


def split_vary(header: str) -> list[str]:
    """The members of a ``Vary`` header as the installed ``learn_cache_key()`` splits them."""
    split: Any = getattr(django_cache, "split_header_value", None)
    if split is None:
        split = getattr(django_cache, "cc_delim_re").split  # noqa: B009 - gone in Django 6.1
    return list(split(header))


def header(response: HttpResponseBase, name: str) -> str | None:
    """
    ``response.headers.get(name)``, of a lower-case name. ``CaseInsensitiveMapping`` answers that in
    two layers of Python, and with an exception where there is none.
    """
    headers: Any = response.headers
    if _HAS_STORE and type(headers) is ResponseHeaders:
        pair = headers._store.get(name)
        return None if pair is None else str(pair[1])
    return cast("str | None", headers.get(name))


def header_items(response: HttpResponseBase) -> list[tuple[str, str]]:
    """``list(response.items())``."""
    headers: Any = response.headers
    if _HAS_STORE and type(headers) is ResponseHeaders:
        return list(headers._store.values())
    return list(response.items())


def _has_store() -> bool:
    """Does Django keep headers by their lower-case names, as far as a probe can tell?"""
    probe: Any = ResponseHeaders({})
    probe["X-A"] = "b"
    return getattr(probe, "_store", None) == {"x-a": ("X-A", "b")}


_HAS_STORE = _has_store()


def is_connected(signal: Signal, receiver: Callable[..., Any], sender: type) -> bool:
    """Is this receiver connected to the signal for this sender?"""
    senders = (id(sender), id(None))
    for (_, sender_id), reference, *_ in signal.receivers or ():
        if sender_id in senders and receiver in (reference, _resolved(reference)):
            return True
    return False


def _resolved(reference: Any) -> Any:
    return (
        reference() if type(reference).__name__ in ("ReferenceType", "WeakMethod", "ref") else None
    )
