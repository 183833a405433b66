"""
Signals of what the cache does, and the same in the log at debug level. They cost next to nothing
while nobody listens.

Connect without a sender::

    @receiver(viewcache.signals.page_missed)
    def count(request, visit, **kwargs):
        misses.labels(visit.reason).inc()

``visit`` is the request's way through the cache: ``visit.status``, ``visit.reason``. A request
whose view keeps its pages elsewhere than the middleware around it is looked up twice. A receiver
that raises is logged by ``django.dispatch`` and harms nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.dispatch import Signal
from django.http import HttpRequest

#: ``visit.Visit``, which stands above this module.
Visit = Any

#: A page answered, a stale one (``visit.status`` is ``"stale"``) included. Arguments: ``request``,
#: ``visit``.
page_hit = Signal()
#: It was looked up, and no page answered. Arguments: ``request``, ``visit``, whose status is
#: ``"bypass"`` where a page that is found or made may not be used.
page_missed = Signal()
#: A page was stored. Arguments: ``request``, ``visit``.
page_stored = Signal()
#: Scopes were expired, and the cache has confirmed it. Argument: ``scopes``, such as
#: ``("path:/blog/", "tag:blog.post:12")``.
pages_expired = Signal()

_ANSWERED = ("hit", "stale")

_requests = logging.getLogger("viewcache.requests")
_expiry = logging.getLogger("viewcache.expiry")


def looked_up(request: HttpRequest, visit: Visit) -> None:
    """A request was looked up."""
    if _requests.isEnabledFor(logging.DEBUG):
        _log(request, visit)
    signal = page_hit if visit.status in _ANSWERED else page_missed
    if signal.receivers and _is_heard(visit):
        signal.send_robust(type(visit), request=request, visit=visit)


async def alooked_up(request: HttpRequest, visit: Visit) -> None:
    """As ``looked_up``."""
    if _requests.isEnabledFor(logging.DEBUG):
        _log(request, visit)
    signal = page_hit if visit.status in _ANSWERED else page_missed
    if signal.receivers and _is_heard(visit):
        await signal.asend_robust(type(visit), request=request, visit=visit)


def is_anybody_told() -> bool:
    """Would a hit be logged, or a receiver hear of it?"""
    return bool(page_hit.receivers) or _requests.isEnabledFor(logging.DEBUG)


def made(request: HttpRequest, visit: Visit) -> None:
    """A page was made, and stored or not."""
    if _requests.isEnabledFor(logging.DEBUG):
        _log(request, visit)
    if page_stored.receivers and visit.status == "stored" and _is_heard(visit):
        page_stored.send_robust(type(visit), request=request, visit=visit)


async def amade(request: HttpRequest, visit: Visit) -> None:
    """As ``made``."""
    if _requests.isEnabledFor(logging.DEBUG):
        _log(request, visit)
    if page_stored.receivers and visit.status == "stored" and _is_heard(visit):
        await page_stored.asend_robust(type(visit), request=request, visit=visit)


def expired(scopes: Iterable[str]) -> None:
    """The cache has confirmed that these scopes are expired."""
    _expiry.debug("Expired %s", scopes)
    if pages_expired.receivers:
        pages_expired.send_robust(None, scopes=tuple(scopes))


async def aexpired(scopes: Iterable[str]) -> None:
    """As ``expired``."""
    _expiry.debug("Expired %s", scopes)
    if pages_expired.receivers:
        await pages_expired.asend_robust(None, scopes=tuple(scopes))


def _is_heard(visit: Visit) -> bool:
    # What explain() looks up and makes is nobody's request.
    return not (visit.store and visit.store.is_dry)


def _log(request: HttpRequest, visit: Visit) -> None:
    if _is_heard(visit):
        reason = f" ({visit.reason})" if visit.reason else ""
        _requests.debug("%s %s: %s%s", request.method, request.path, visit.status, reason)
