"""
A page cache for Django whose pages can be expired.

The names below are the public ones. What Django settings point at lives in
``viewcache.middleware``, ``viewcache.decorators``, ``viewcache.mixins`` and
``viewcache.receivers``.

Each name is imported when it is first asked for (PEP 562): whoever tags a page need not wait for
what ``explain()`` is made of.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bulk import expiring
    from .depends import adepends_on, depends_on, expires_at
    from .expiry import Expiry, aexpire, expire
    from .explaining import aexplain, explain
    from .explanation import Explanation
    from .keys import ExpireResult, expire_view_cache, get_cache_key, learn_cache_key
    from .slots import slot
    from .tags import atag, tag, tagged
else:
    #: Where they live. No module may have the name of one of them: its import would take its place.
    _MODULES = {
        "bulk": ("expiring",),
        "depends": ("adepends_on", "depends_on", "expires_at"),
        "expiry": ("Expiry", "aexpire", "expire"),
        "explaining": ("aexplain", "explain"),
        "explanation": ("Explanation",),
        "keys": ("ExpireResult", "expire_view_cache", "get_cache_key", "learn_cache_key"),
        "slots": ("slot",),
        "tags": ("atag", "tag", "tagged"),
    }
    _HOMES = {name: module for module, names in _MODULES.items() for name in names}

    #: What is named in full: ``viewcache.receivers.expire_instance``.
    _NAMED_IN_FULL = {"decorators", "middleware", "mixins", "querysets", "receivers", "signals"}

    def __getattr__(name):
        if name in _NAMED_IN_FULL:
            return import_module(f"{__name__}.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        # From here on it is found without this function.
        globals()[name] = value
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES, *_NAMED_IN_FULL})


__all__ = [
    "ExpireResult",
    "Expiry",
    "Explanation",
    "adepends_on",
    "aexpire",
    "aexplain",
    "atag",
    "depends_on",
    "expire",
    "expire_view_cache",
    "expires_at",
    "expiring",
    "explain",
    "get_cache_key",
    "learn_cache_key",
    "slot",
    "tag",
    "tagged",
]
