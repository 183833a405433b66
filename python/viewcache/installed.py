"""
The installed Django as the core may read it: where it keeps what a request's keys are made of, and
the functions that have to be its own for that to be what it would say.
"""

from __future__ import annotations

from contextvars import ContextVar
from types import FunctionType
from typing import Any

from asgiref.local import Local
from django.conf import settings
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.http import request as django_request
from django.utils import timezone
from django.utils.translation import trans_real

from . import _core, conf

# What a request's host and URI are made of, as it was when this was imported.
HOST: dict[str, Any] = {
    name: HttpRequest.__dict__.get(name)
    for name in ("get_host", "_get_raw_host", "scheme", "encoding")
}
URI: dict[str, Any] = {
    name: HttpRequest.__dict__.get(name)
    for name in ("build_absolute_uri", "get_full_path", "_get_full_path", "_current_scheme_host")
}
VALIDATE = getattr(django_request, "validate_host", None)


def _is_of_django(made: object) -> bool:
    """Nobody has patched it before this was imported."""
    function = getattr(made, "func", None) or getattr(made, "fget", None) or made
    return (
        isinstance(function, FunctionType)
        and function.__globals__["__name__"] == HttpRequest.__module__
    )


#: Django is as we know it.
IS_KNOWN = all(map(_is_of_django, [*HOST.values(), *URI.values(), VALIDATE]))


# Django keeps what is active in asgiref's ``Local``. As long as nothing ever was, asking it raises
# an ``AttributeError`` in two layers of Python, which costs as much as all the rest of a key. So
# the variable beneath is looked at, where asgiref is found to keep one; else Django is asked.


def _variable(local: object) -> ContextVar[Any] | None:
    """The context variable in which an asgiref ``Local`` keeps its values, if it has one."""
    variable = getattr(getattr(local, "_storage", None), "_data", None)
    return variable if isinstance(variable, ContextVar) else None


def _tells(variable: ContextVar[Any] | None) -> bool:
    return variable is not None and variable.get(None) is not None


def _is_understood() -> bool:
    """Does this asgiref set the variable with the first value? It is asked once."""
    probe: Any = Local()
    before = _tells(_variable(probe))
    probe.value = 1
    return not before and _tells(_variable(probe))


_LOCAL = type(Local())
_UNDERSTOOD = _is_understood()


def is_unset(module: object) -> bool:
    """Was nothing ever activated here? Read anew: Django's tests replace the ``Local``."""
    local = getattr(module, "_active", None)
    if not _UNDERSTOOD or type(local) is not _LOCAL:
        return False
    variable = _variable(local)
    return variable is not None and variable.get(None) is None


#: Reads requests. It reads none where Django is not as we know it: nothing is of this class then.
DJANGO = _core.Django(
    settings=(conf.CACHED, settings),
    host=[*HOST.items()] if IS_KNOWN else [("get_host", None)],
    uri=[*URI.items()],
    wsgi_scheme=WSGIRequest._get_scheme,  # type: ignore[attr-defined]
    validate=(django_request, VALIDATE),
    language=trans_real,
    zone=timezone,
    local=_LOCAL if _UNDERSTOOD else type(None),
    variable=ContextVar,
    getattr=getattr,
)
