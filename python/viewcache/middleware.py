"""
Drop-in for Django's per-site cache middleware, with pages that can be expired::

    MIDDLEWARE = [
        "viewcache.middleware.UpdateCacheMiddleware",
        ...
        "viewcache.middleware.FetchFromCacheMiddleware",
    ]

As with Django's: ``UpdateCacheMiddleware`` first, so that it sees the response last, and
``FetchFromCacheMiddleware`` last, so that it sees the request when language and session are known.
The settings are Django's, too: ``CACHE_MIDDLEWARE_ALIAS``, ``CACHE_MIDDLEWARE_SECONDS`` and
``CACHE_MIDDLEWARE_KEY_PREFIX``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS, caches
from django.core.cache.backends.base import BaseCache
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from . import cache_status, conf, lease, pipeline, reads, session_engines, stale
from .policy import Area
from .visit import STORE, comes

logger = logging.getLogger("viewcache")

GetResponse = Callable[[HttpRequest], Any]


class _Middleware:
    """What the three have in common: where pages are kept, and how a request goes through."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        if get_response is None:
            raise ValueError("get_response must be provided.")
        # A site that has not installed the app has pages, too.
        session_engines.connect()
        self.get_response = get_response
        self.cache_timeout: float | None = settings.CACHE_MIDDLEWARE_SECONDS
        self.page_timeout: float | None = None
        self.key_prefix: str = settings.CACHE_MIDDLEWARE_KEY_PREFIX
        self.cache_alias: str = settings.CACHE_MIDDLEWARE_ALIAS
        self.async_mode = iscoroutinefunction(get_response)
        if self.async_mode:
            markcoroutinefunction(cast(Any, self))
            self._find_hooks()

    def __repr__(self) -> str:
        name = getattr(self.get_response, "__qualname__", type(self.get_response).__name__)
        return f"<{type(self).__qualname__} get_response={name}>"

    def _find_hooks(self) -> None:
        """
        A subclass may have hooks of its own, as with Django's. The one that is nearest counts: the
        async one, or the sync one, which runs in a thread then, as Django has it run.
        """
        for name in ("process_request", "process_response"):
            for kind in type(self).__mro__:
                if f"a{name}" in vars(kind):
                    break
                if name in vars(kind):
                    hook = sync_to_async(getattr(self, name), thread_sensitive=True)
                    setattr(self, f"a{name}", hook)
                    break

    @property
    def cache(self) -> BaseCache:
        """The cache of the pages, as Django has it for this thread."""
        return caches[self.cache_alias]

    @property
    def area(self) -> Area:
        """What the pipeline has to know of this middleware."""
        # Django formats it, whatever it is.
        key_prefix = str(self.key_prefix)
        return Area(self.cache_alias, key_prefix, self.cache_timeout, self.page_timeout)


class UpdateCacheMiddleware(_Middleware):
    """
    The response half: stores the page if it may be stored.

    It must be the first in ``MIDDLEWARE``, so that it sees the response that is sent.
    """

    #: It has warned of middleware that changes pages.
    _has_warned = False

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.async_mode:
            return self.__acall__(request)
        self.watch(request)
        return self.process_response(request, self.get_response(request))

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        self.watch(request)
        return await pipeline.served(request, self._aserve(request))

    async def _aserve(self, request: HttpRequest) -> HttpResponseBase:
        return await self.aprocess_response(request, await self.get_response(request))

    def watch(self, request: HttpRequest) -> None:
        """Note which cookies and rows are read from here on, by middleware and by the view."""
        site = conf.get()
        comes(request)
        if site.CACHE_STATUS:
            cache_status.leave_to_me(request)
        if (site.VARY_ON_READ or site.AUDIT) and request.method in ("GET", "HEAD"):
            reads.watch(request)

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """Store the page if it may be stored, and give it the headers of one that is cached."""
        if pipeline.is_from_cache(request):
            self._look_for_changes(request, response)
        else:
            response = pipeline.store(request, response, self.area)
        return cache_status.add(request, response)

    async def aprocess_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        """As ``process_response``."""
        if pipeline.is_from_cache(request):
            self._look_for_changes(request, response)
        else:
            response = await pipeline.astore(request, response, self.area)
        return cache_status.add(request, response)

    def _look_for_changes(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """
        The page was stored as it was sent, after all middleware, and a hit passes them again:
        whatever one of them inserts is then there twice. Once is enough to be told of it.
        """
        if self._has_warned or not pipeline.is_changed_since(request, response):
            return
        self._has_warned = True
        request.__dict__[pipeline.CHANGED] = True
        if STORE in request.__dict__:
            return  # whoever explains tells it
        logger.warning(
            "A hit of %s has left the middleware with another body than the cached page's: a "
            "middleware between UpdateCacheMiddleware and FetchFromCacheMiddleware changes pages, "
            "and changes each hit again. Put it before UpdateCacheMiddleware, or have it leave "
            "responses alone that have an Age header.",
            request.build_absolute_uri(),
        )


class FetchFromCacheMiddleware(_Middleware):
    """
    The request half: answers with the page if there is one.

    It must be the last in ``MIDDLEWARE``, so that whatever a key depends on is known.
    """

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.async_mode:
            return self.__acall__(request)
        response: HttpResponseBase | None = self.process_request(request)
        if response is None:
            with lease.recording(request):
                response = self.get_response(request)
            lease.leave(request, response)
            response = stale.instead(request, response) or response
        return response

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase | None = await self.aprocess_request(request)
        if response is None:
            with lease.recording(request):
                response = cast(HttpResponseBase, await self.get_response(request))
            lease.leave(request, response)
            response = await stale.ainstead(request, response) or response
        return response

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """The cached page, or ``None``."""
        return pipeline.look_up(request, self.area)

    async def aprocess_request(self, request: HttpRequest) -> HttpResponse | None:
        """As ``process_request``."""
        return await pipeline.alook_up(request, self.area)


class CacheMiddleware(UpdateCacheMiddleware, FetchFromCacheMiddleware):
    """
    Both halves in one, for sites whose other middleware does not affect the page; and what
    ``cache_page`` is made of.

    Takes Django's arguments: ``cache_timeout`` and ``page_timeout`` in seconds, ``cache_alias``,
    ``key_prefix``.
    """

    def __init__(
        self,
        get_response: GetResponse,
        cache_timeout: float | None = None,
        page_timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(get_response)
        # As Django's: an argument that is given as None means the default, not the setting.
        if "key_prefix" in kwargs:
            self.key_prefix = kwargs["key_prefix"] or ""
        if "cache_alias" in kwargs:
            self.cache_alias = kwargs["cache_alias"] or DEFAULT_CACHE_ALIAS
        if cache_timeout is not None:
            self.cache_timeout = cache_timeout
        self.page_timeout = page_timeout

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.async_mode:
            return self.__acall__(request)
        cache_status.leave_to_me(request)
        response = self.process_request(request)
        if response is not None:
            return cache_status.add(request, response)
        with lease.recording(request):
            made = self.get_response(request)
        return self.process_response(request, stale.instead(request, made) or made)

    async def __acall__(self, request: HttpRequest) -> HttpResponseBase:
        cache_status.leave_to_me(request)
        return await pipeline.served(request, self._aserve(request))

    async def _aserve(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase | None = await self.aprocess_request(request)
        if response is not None:
            return cache_status.add(request, response)
        with lease.recording(request):
            made = await self.get_response(request)
        made = await stale.ainstead(request, made) or made
        return await self.aprocess_response(request, made)
