"""
A stale page in place of an error (``stale-if-error``, RFC 5861 section 4).

The cache is asked once more, when the view has failed: what has been expired while it ran, hard,
is not served, and where another request has stored the page meanwhile, that one is.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from asgiref.sync import sync_to_async
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.signals import got_request_exception
from django.db import connections
from django.http import Http404, HttpRequest, HttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.response import HttpResponseBase

from . import _core, commit, hit_counts, page, pipeline
from .visit import Visit, fault, visit_of

logger = logging.getLogger("viewcache")

#: Those that section 4 names.
_ERRORS = frozenset({500, 502, 503, 504})
#: What Django answers with a status below 500: the visitor's fault, and no error of the view's.
_NO_ERRORS = (Http404, PermissionDenied, MultiPartParserError, BadRequest, SuspiciousOperation)


def instead(request: HttpRequest, failed: HttpResponseBase | Exception) -> HttpResponse | None:
    """
    The page that answers in place of this response or exception; ``None`` when it is no error, or
    when there is no page that may.
    """
    visit = _failed(request, failed)
    if visit is None or visit.lookup is None or visit.store is None:
        return None
    try:
        lookup = visit.lookup.again()
        visit.store.answer(lookup)
    except Exception as error:
        fault(visit, "look up a stale page", error)
        return None
    response = _answer(request, visit, lookup, failed)
    if response is not None:
        pipeline.abandon(request)
    return response


async def ainstead(
    request: HttpRequest, failed: HttpResponseBase | Exception
) -> HttpResponse | None:
    """As ``instead``."""
    visit = _failed(request, failed)
    if visit is None or visit.lookup is None or visit.store is None:
        return None
    try:
        lookup = visit.lookup.again()
        await visit.store.aanswer(lookup)
    except Exception as error:
        fault(visit, "look up a stale page", error)
        return None
    # What fills the slots is the site's code, and transactions belong to its thread.
    response = await sync_to_async(_answer)(request, visit, lookup, failed)
    if response is not None:
        await pipeline.aabandon(request)
    return response


def guard_rendering(request: HttpRequest, response: Any) -> None:
    """The same for a response that renders later, by itself, and may fail then."""
    if _visit_with_page(request) is None:
        return
    render = response.render

    def guarded() -> Any:
        response.__dict__.pop("render", None)
        try:
            return render()
        except Exception as error:
            if (found := instead(request, error)) is None:
                raise
            return found

    response.__dict__["render"] = guarded


def _failed(request: HttpRequest, failed: HttpResponseBase | Exception) -> Visit | None:
    """The visit whose stale page may stand in for this, if it is an error."""
    if isinstance(failed, Exception):
        is_error = not isinstance(failed, _NO_ERRORS)
    else:
        # A view may return what is no response at all; Django says so, later.
        is_error = getattr(failed, "status_code", None) in _ERRORS
    return _visit_with_page(request) if is_error else None


def _visit_with_page(request: HttpRequest) -> Visit | None:
    innermost = visit_of(request)
    for visit in innermost.around if innermost is not None else ():
        lookup = visit.lookup if visit.status in ("miss", "bypass") else None
        if lookup is not None and lookup.stale(on_error=True) is not None:
            return visit
    return None


def _answer(
    request: HttpRequest,
    visit: Visit,
    lookup: _core.LookUp,
    failed: HttpResponseBase | Exception,
) -> HttpResponse | None:
    stale = lookup.stale(on_error=True)
    hit = lookup.hit or stale
    if hit is None:
        return None
    if (dirty := commit.dirty()) and not dirty.isdisjoint(
        [*hit.tags, *(scope for scope, _ in lookup.scopes)]
    ):
        return None
    try:
        response = page.response(hit, request, time.time(), lookup.stale_since)
    except Exception:
        logger.exception("viewcache could not make a response of a stale page; the error stands.")
        return None
    hit.let_go()
    visit.lookup, visit.stale = lookup, stale
    visit.failed = 500 if isinstance(failed, Exception) else failed.status_code
    visit.settle("stale" if stale else "hit", "stale-if-error")
    hit_counts.add(visit)
    _report(request, failed)
    _undo(request)
    return response


def _report(request: HttpRequest, failed: HttpResponseBase | Exception) -> None:
    """The visitor sees no error; whoever looks after the site does."""
    said = "viewcache answers %s with the page that it has: the view failed (%s)."
    if isinstance(failed, Exception):
        logger.error(said, request.path, type(failed).__name__, exc_info=failed)
        got_request_exception.send(sender=None, request=request)
    else:
        logger.error(said, request.path, failed.status_code)


def _undo(request: HttpRequest) -> None:
    """What an error undoes, and a response without one would not: Django sees none now."""
    for connection in connections.all(initialized_only=True):
        if connection.settings_dict["ATOMIC_REQUESTS"] and connection.in_atomic_block:
            connection.set_rollback(True)
    session = request.__dict__.get("session")
    if session is not None:
        # SessionMiddleware saves nothing after a 500.
        session.modified = False
