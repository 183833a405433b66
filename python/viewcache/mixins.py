"""
``CacheMixin`` for class-based views.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, cast

from django.conf import settings
from django.db.models import Model
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from . import conf, reads, scopes, tags
from .decorators import cache_page
from .policy import Area


class CacheMixin:
    """
    Caches the pages of a class-based view, for ``cache_timeout`` seconds.

    On Django's generic views it tags them by itself: a detail view's with its object
    (``blog.post:12``), a list view's with its model (``blog.post``). Stands left of the view class.
    """

    #: Seconds; ``None`` for ``CACHE_MIDDLEWARE_SECONDS``.
    cache_timeout: float | None = None
    #: Cache the pages of logged-in users, too? They vary on the session's cookie then.
    cache_authenticated: bool = False
    #: As for ``cache_page``.
    cache_page_options: ClassVar[dict[str, Any]] = {}
    #: Django REST framework's views can list, and find their one object in the list's queryset.
    _viewcache_finds_one = False

    def get_cache_timeout(self) -> float:
        """How many seconds this request's page is kept."""
        if self.cache_timeout is None:
            return cast(float, settings.CACHE_MIDDLEWARE_SECONDS)
        return self.cache_timeout

    def cache_area(self, request: HttpRequest) -> Area | None:
        """Where the page of this request is kept; ``None`` for users whose pages are not cached."""
        if not (self.cache_authenticated or _is_anonymous(request)):
            return None
        decorate: Any = cache_page(None, **self.cache_page_options)
        return cast(Area, decorate(_not_called).viewcache_area)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        parent = cast(Any, super()).dispatch
        if not (self.cache_authenticated or _is_anonymous(request)):
            # Neither here nor in the middleware around it.
            request.__dict__["_cache_update_cache"] = False
            return parent(request, *args, **kwargs)
        # The decorator asks what kind of function it wraps, which a bound method tells.
        view = _awaited(parent) if getattr(type(self), "view_is_async", False) else parent
        cached = cache_page(self.get_cache_timeout(), **self.cache_page_options)(view)
        return cached(request, *args, **kwargs)

    def get_object(self, *args: Any, **kwargs: Any) -> Any:
        """The object of a detail view; its tag is read before it is."""
        request, model = cast(Any, self).request, self._cache_model()
        pk = cast(Any, self).kwargs.get(getattr(self, "pk_url_kwarg", "pk"))
        if model is not None and pk is not None:
            tags.tag(request, f"{scopes.name_of(model)}:{pk}")
        self._viewcache_finds_one = True
        try:
            found = cast(Any, super()).get_object(*args, **kwargs)
            if isinstance(found, Model) and tags.tag(request, found):
                # Found by a slug, so its tag is read only now, and it may have changed in between.
                found = cast(Any, super()).get_object(*args, **kwargs)
            return found
        finally:
            self._viewcache_finds_one = False

    def get_queryset(self, *args: Any, **kwargs: Any) -> Any:
        """The queryset of a list view; its model's tag is read before it is."""
        is_list = hasattr(self, "paginate_queryset") and not self._viewcache_finds_one
        if is_list and (model := self._cache_model()) is not None:
            tags.tag(cast(Any, self).request, model)
        return cast(Any, super()).get_queryset(*args, **kwargs)

    def _cache_model(self) -> Any:
        model = getattr(self, "model", None)
        if model is None and getattr(self, "queryset", None) is not None:
            model = cast(Any, self).queryset.model
        return model


def _not_called(request: HttpRequest) -> HttpResponseBase:  # pragma: no cover
    raise AssertionError("Only asked where its pages would be kept.")


def _is_anonymous(request: HttpRequest) -> bool:
    # Who asks is not part of the page. What the view itself reads of the user still is.
    if conf.get().VARY_ON_READ:
        reads.watch(request, is_late=True)
    with reads.apart(request):
        return not getattr(getattr(request, "user", None), "is_authenticated", False)


def _awaited(view: Callable[..., Any]) -> Callable[..., Any]:
    async def awaited(*args: Any, **kwargs: Any) -> HttpResponseBase:
        return cast(HttpResponseBase, await view(*args, **kwargs))

    return awaited
