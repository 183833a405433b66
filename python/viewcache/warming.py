"""
Rendering pages into the cache before a visitor asks for them.

The requests go through the site's own middleware and views, in this process. What may be stored
is decided as for a visitor's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from xml.etree import ElementTree

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.core.signals import request_started
from django.db import connections
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.locale import LocaleMiddleware
from django.urls import NoReverseMatch, reverse
from django.utils.module_loading import import_string
from django.utils.translation import get_language_from_path

from .visit import visit_of
from .visitor import afresh, request_for

STORED = "stored"
FRESH = "fresh already"
NOT_STORED = "not stored"

#: Sitemaps that a sitemap's index may lead to, one from another.
_DEPTH = 3


@dataclass(frozen=True)
class Warmed:
    """What became of one request."""

    url: str
    #: The language asked for, where the URL does not name it.
    language: str | None
    status: int
    #: ``STORED``, ``FRESH`` or ``NOT_STORED``; and why.
    outcome: str
    reason: str


def warm(requests: Iterable[WSGIRequest], workers: int = 1) -> Iterator[Warmed]:
    """Render these requests, so many at once; what became of each, as it is known."""
    handler = BaseHandler()
    handler.load_middleware()

    def render(request: WSGIRequest) -> Warmed:
        return _warmed(request, _respond(handler, request))

    def render_in_thread(request: WSGIRequest) -> Warmed:
        try:
            return render(request)
        finally:
            connections.close_all()

    if workers == 1:
        yield from map(render, requests)
    else:
        with ThreadPoolExecutor(workers) as pool:
            yield from pool.map(render_in_thread, requests)


def requests_for(
    url: str,
    languages: Iterable[str] | None = None,
    *,
    headers: Iterable[str] = (),
    host: str | None = None,
) -> list[WSGIRequest]:
    """The requests of a URL: one for each language, unless it names its own."""
    first = request_for(url, headers=headers, host=host)
    if not _asks_language() or get_language_from_path(first.path_info):
        return [first]
    codes = [code for code, _ in settings.LANGUAGES]
    if languages is not None:
        codes = list(languages)
        unknown = sorted(set(codes) - {code for code, _ in settings.LANGUAGES})
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of LANGUAGES.")
    return [
        request_for(url, headers=[*headers, f"Accept-Language: {code}"], host=host)
        for code in codes
    ]


def sitemap_path() -> str:
    """Where the site's sitemap is."""
    for name in ("django.contrib.sitemaps.views.sitemap", "sitemap"):
        try:
            return reverse(name)
        except NoReverseMatch:
            continue
    return "/sitemap.xml"


def urls_of_sitemap(path: str, *, host: str | None = None, depth: int = _DEPTH) -> list[str]:
    """
    The URLs that a sitemap of this site names, and those of the sitemaps that its index names.

    Raises ``ValueError`` when there is none.
    """
    handler = BaseHandler()
    handler.load_middleware()
    response = _respond(handler, request_for(path, host=host))
    if response.status_code != 200 or not isinstance(response, HttpResponse):
        raise ValueError(f"There is no sitemap at {path}: status {response.status_code}.")
    try:
        # The site's own document, not a stranger's.
        root = ElementTree.fromstring(response.content)
    except ElementTree.ParseError as error:
        raise ValueError(f"{path} is no sitemap: {error}.") from error
    locations = [
        element.text.strip()
        for entry in root
        for element in entry
        if element.tag.rpartition("}")[2] == "loc" and element.text
    ]
    if root.tag.rpartition("}")[2] != "sitemapindex":
        return locations
    if depth == 0:
        raise ValueError(f"{path} names an index of sitemaps within {_DEPTH} others.")
    return [url for each in locations for url in urls_of_sitemap(each, host=host, depth=depth - 1)]


def _respond(handler: BaseHandler, request: WSGIRequest) -> HttpResponseBase:
    """The response, as a server would have it made and sent."""
    request.get_host()  # says at once when the host is not the site's
    with afresh():
        request_started.send(type(handler), environ=request.META)
        response: HttpResponseBase = handler.get_response(request)
        response.close()
    return response


def _warmed(request: WSGIRequest, response: HttpResponseBase) -> Warmed:
    visit = visit_of(request)
    status, reason = (visit.status, visit.reason) if visit else ("", "nothing asks the cache")
    outcome = {"stored": STORED, "hit": FRESH}.get(status, NOT_STORED)
    if visit is not None and outcome == NOT_STORED and visit.lookup and visit.lookup.miss:
        code, scope = visit.lookup.miss
        if reason == (f"{code} {scope}" if scope else code):
            reason = "nothing stores it"
    asked = request.META.get("HTTP_ACCEPT_LANGUAGE")
    return Warmed(
        url=request.build_absolute_uri(),
        language=asked if asked in dict(settings.LANGUAGES) else None,
        status=response.status_code,
        outcome=outcome,
        reason="" if outcome != NOT_STORED else reason,
    )


def _asks_language() -> bool:
    """Does the site choose a language by what the visitor asks for?"""
    if not settings.USE_I18N:
        return False
    for name in settings.MIDDLEWARE:
        kind = import_string(name)
        if isinstance(kind, type) and issubclass(kind, LocaleMiddleware):
            return True
    return False
