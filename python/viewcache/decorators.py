"""
``cache_page`` for single views.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from . import _core, cache_status, conf, lease, pipeline, stale
from .middleware import CacheMiddleware
from .policy import Area
from .request import djangos

View = TypeVar("View", bound=Callable[..., Any])

#: Seconds, less than these: ``Expires`` is a date, and there is none after the year 9999.
_LONGEST = 10**11


def cache_page(
    timeout: float | None,
    *,
    cache: str | None = None,
    key_prefix: str | None = None,
    cookies: Iterable[str] | None = None,
    query: Iterable[str] | None = None,
    stale_while_revalidate: int | None = None,
    stale_if_error: int | None = None,
) -> Callable[[View], View]:
    """
    Cache the pages of a view, sync or async, for ``timeout`` seconds.

    The first three arguments are those of ``django.views.decorators.cache.cache_page``.
    ``cookies`` names the cookies that the pages depend on, instead of those that the view is seen
    reading; ``query`` the query parameters (``*`` stands for anything), instead of all but the
    ignored ones. What is not named is not in the key, so the view must not depend on it.

    For ``stale_while_revalidate`` seconds after its time a page is served while one request renders
    it anew, and for ``stale_if_error`` seconds where the view fails: it raises, or answers with
    500, 502, 503 or 504 (RFC 5861). ``None`` leaves them to ``VIEWCACHE``; what the response's own
    ``Cache-Control`` says of them comes first.

    Raises ``TypeError`` or ``ValueError`` for an argument of the wrong kind.
    """
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise TypeError(
            f"timeout is {timeout!r}; expected a number of seconds, or None, as in "
            "@cache_page(600)."
        )
    if timeout is not None and not abs(timeout) < _LONGEST:
        raise ValueError(f"timeout is {timeout!r}; expected less than {_LONGEST} seconds, or None.")
    cookies, query = _names("cookies", cookies), _names("query", query)
    for name, seconds in (
        ("stale_while_revalidate", stale_while_revalidate),
        ("stale_if_error", stale_if_error),
    ):
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int)):
            raise TypeError(f"{name} is {seconds!r}; expected a whole number of seconds, or None.")
        if seconds is not None and not 0 <= seconds < conf.BEYOND:
            raise ValueError(f"{name} is {seconds!r}; expected 0 to {conf.BEYOND - 1} seconds.")
    names = None if cookies is None else frozenset(cookies)
    allowed = None if query is None else _core.Names(query)

    def decorate(view: View) -> View:
        middleware = CacheMiddleware(
            view, page_timeout=timeout, cache_alias=cache, key_prefix=key_prefix
        )
        return _wrap(
            view,
            middleware.area._replace(
                query=allowed,
                cookies=names,
                stale_while_revalidate=stale_while_revalidate,
                stale_if_error=stale_if_error,
            ),
        )

    return decorate


def _names(argument: str, given: Iterable[str] | None) -> list[str] | None:
    """This argument as a list. Raises ``TypeError`` for anything but names."""
    if given is None:
        return None
    names = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else given
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise TypeError(f"{argument} is {names!r}; expected a list of names, such as ['page'].")
    return names


def _wrap(view: View, area: Area) -> View:
    async def awrapper(given: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request = djangos(given, "cache_page()")
        return await pipeline.served(request, aserve(request, given, *args, **kwargs))

    async def aserve(
        request: HttpRequest, given: HttpRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        cached = await pipeline.alook_up(request, area)
        if cached is not None:
            return cache_status.add(request, cached, outermost=False)
        try:
            with lease.recording(request):
                response = await view(given, *args, **kwargs)
        except Exception as error:
            found = await stale.ainstead(request, error)
            if found is None:
                await pipeline.aabandon(request)
                raise
            return cache_status.add(request, found, outermost=False)
        if not isinstance(response, HttpResponseBase):
            # Django says what a view has to return.
            await pipeline.aabandon(request)
            return cast(HttpResponseBase, response)
        if _renders_later(response):
            return _store_once_rendered(request, response, area)
        response = await stale.ainstead(request, response) or response
        response = await pipeline.astore(request, response, area)
        return cache_status.add(request, response, outermost=False)

    def wrapper(given: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        request = djangos(given, "cache_page()")
        cached = pipeline.look_up(request, area)
        if cached is not None:
            return cache_status.add(request, cached, outermost=False)
        try:
            with lease.recording(request):
                response = view(given, *args, **kwargs)
        except Exception as error:
            found = stale.instead(request, error)
            if found is None:
                pipeline.abandon(request)
                raise
            return cache_status.add(request, found, outermost=False)
        if not isinstance(response, HttpResponseBase):
            # Django says what a view has to return.
            pipeline.abandon(request)
            return cast(HttpResponseBase, response)
        if _renders_later(response):
            return _store_once_rendered(request, response, area)
        response = stale.instead(request, response) or response
        response = pipeline.store(request, response, area)
        return cache_status.add(request, response, outermost=False)

    wrapping: Any = wraps(view)(awrapper if iscoroutinefunction(view) else wrapper)
    # Decorators around this one copy it, and so does as_view().
    wrapping.viewcache_area = area
    return cast(View, wrapping)


def _renders_later(response: Any) -> bool:
    """Is this a TemplateResponse, whose content template response middleware may still change?"""
    return callable(getattr(response, "render", None))


def _store_once_rendered(request: HttpRequest, response: Any, area: Area) -> HttpResponseBase:
    def store(rendered: HttpResponse) -> HttpResponseBase:
        rendered = stale.instead(request, rendered) or rendered
        return cache_status.add(request, pipeline.store(request, rendered, area), outermost=False)

    lease.record_rendering(request, response)
    stale.guard_rendering(request, response)
    response.add_post_render_callback(store)
    return cast(HttpResponseBase, response)
