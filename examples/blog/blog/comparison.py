"""The same blog without viewcache, to compare with: ``BLOG_CACHE=stock`` or ``off``.

Not part of the example: a site of your own needs nothing like it. The settings choose the
middleware; here the names that the views import are replaced before the views are imported.
"""

from inspect import iscoroutinefunction

import viewcache.decorators
import viewcache.mixins
from django.views.decorators import cache


class NoCacheMixin:
    """A class-based view that is not cached on its own."""


class StockCacheMixin:
    """A class-based view under Django's cache_page."""

    cache_timeout = None

    def dispatch(self, *args, **kwargs):
        return cache.cache_page(self.get_cache_timeout())(super().dispatch)(*args, **kwargs)

    def get_cache_timeout(self):
        return self.cache_timeout


def swap(mode):
    viewcache.tag = lambda request, *names: None
    viewcache.tagged = lambda *names: unchanged
    if mode == "stock":
        viewcache.decorators.cache_page = stock_cache_page
        viewcache.mixins.CacheMixin = StockCacheMixin
    else:
        viewcache.decorators.cache_page = lambda *args, **kwargs: unchanged
        viewcache.mixins.CacheMixin = NoCacheMixin


def stock_cache_page(*args, **kwargs):
    """Django's cache_page, which does not know async views: the middleware caches those."""

    def decorate(view):
        if iscoroutinefunction(view):
            return view
        return cache.cache_page(*args, **kwargs)(view)

    return decorate


def unchanged(view):
    return view
