"""
The language and the time zone that are active, as they enter the keys.
"""

from __future__ import annotations

from contextvars import ContextVar
from datetime import tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from asgiref.local import Local
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language, trans_real

from . import conf


def language(request: HttpRequest) -> str | None:
    """The language that enters the key, as Django takes it; ``None`` without ``USE_I18N``."""
    if not conf.django("USE_I18N"):
        return None
    # An attribute that is there counts, whatever it holds.
    if hasattr(request, "LANGUAGE_CODE"):
        return str(request.LANGUAGE_CODE)
    return active_language()


def active_language() -> str | None:
    """The language that enters the key of a request that no middleware has seen."""
    if not conf.django("USE_I18N"):
        return None
    if _is_unset(trans_real):
        return str(conf.django("LANGUAGE_CODE"))
    return str(get_language())


def zone() -> str | None:
    """The time zone that enters the key; ``None`` without ``USE_TZ``."""
    if not conf.django("USE_TZ"):
        return None
    if _is_unset(timezone):
        default = timezone.get_default_timezone()
        # A ZoneInfo never changes; other classes may have a name for each season.
        if type(default) is ZoneInfo:
            return _name_of_default(default)
    return str(timezone.get_current_timezone_name())


@lru_cache(maxsize=8)
def _name_of_default(default: tzinfo) -> str:
    """Django's name of the default zone, while no other is active."""
    return str(timezone.get_current_timezone_name())


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


_UNDERSTOOD = _is_understood()


def _is_unset(module: object) -> bool:
    """Was nothing ever activated here? Read anew: Django's tests replace the ``Local``."""
    local = getattr(module, "_active", None)
    if not _UNDERSTOOD or not isinstance(local, Local):
        return False
    variable = _variable(local)
    return variable is not None and variable.get(None) is None
