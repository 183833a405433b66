"""
A page cache for Django whose pages can be expired.

The names below are the public ones. What Django settings point at lives in
``viewcache.middleware``, ``viewcache.decorators``, ``viewcache.mixins`` and
``viewcache.receivers``.
"""

from .depends import adepends_on, depends_on, expires_at
from .expiring import expiring
from .expiry import Expiry, aexpire, expire
from .explain import aexplain, explain
from .explanation import Explanation
from .keys import ExpireResult, expire_view_cache, get_cache_key, learn_cache_key
from .slots import slot
from .tags import atag, tag, tagged

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
