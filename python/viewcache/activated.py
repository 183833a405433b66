"""
The language and the time zone that are active, as they enter the keys.
"""

from __future__ import annotations

from datetime import tzinfo
from functools import lru_cache

from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import get_language, trans_real

from . import conf
from .installed import DJANGO, is_unset


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
    if is_unset(trans_real):
        return str(conf.django("LANGUAGE_CODE"))
    return str(get_language())


def zone() -> str | None:
    """The time zone that enters the key; ``None`` without ``USE_TZ``."""
    if not conf.django("USE_TZ"):
        return None
    if is_unset(timezone):
        default = timezone.get_default_timezone()
        # Django's is a ZoneInfo, which never changes its name.
        name = _name_of_default(default)
        DJANGO.default_zone(default, name)
        return name
    return str(timezone.get_current_timezone_name())


@lru_cache(maxsize=8)
def _name_of_default(default: tzinfo) -> str:
    """Django's name of the default zone, while no other is active."""
    return str(timezone.get_current_timezone_name())


def active() -> tuple[str | None, str | None]:
    """The two of a request that no middleware has seen."""
    return active_language(), zone()
