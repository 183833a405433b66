"""
One request's way through the cache: its ``Visit``, at ``request._viewcache``.

It begins with the look-up; on a miss it is the lease, which carries what the store step needs: the
generations that were read before the view was, and the language and time zone that the key was
made with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar

from django.http import HttpRequest

from . import _core, reads, stampede
from .policy import Area
from .store import Entry, Store

logger = logging.getLogger("viewcache")

_ATTRIBUTE = "_viewcache"
#: Where a request may carry what makes the store of its visits, for ``explain()``.
STORE = "_viewcache_store"
#: Where a request that is audited carries what was read of it.
AUDIT = "_viewcache_audit"


class Visit:
    """One request's way through the cache."""

    #: The look-up, which is the lease after a miss; ``None`` when there was none.
    lookup: _core.LookUp | None = None
    store: Store | None = None
    #: The stale page that answers, if one does.
    stale: _core.Hit | None = None
    #: The status of the error that it stands in for.
    failed: int | None = None
    #: ``"hit"``, ``"stale"``, ``"miss"``, ``"stored"`` or ``"bypass"``; and why.
    status = "bypass"
    reason = ""
    #: How many seconds the page is fresh that was stored; it may be kept for longer.
    timeout: int | None = None
    #: The page is not stored, but the scopes that it read are, for the next render.
    teaches = False
    #: This request renders the page that others wait for, with this turn of theirs.
    turn: str | None = None

    def __init__(self, area: Area, outer: Visit | None = None) -> None:
        self.area = area
        #: The visit of the middleware around this view, if it has one.
        self.outer = outer
        #: Scopes named before there was a look-up.
        self.tags: list[str] = list(outer.tags) if outer else []

    @property
    def turn_seconds(self) -> int:
        """How long a turn to render this page lasts."""
        area = self.area
        return stampede.seconds(
            area.cache_timeout if area.page_timeout is None else area.page_timeout
        )

    def look_again(self) -> _core.LookUp:
        """A new look-up in place of one that has missed."""
        assert self.lookup is not None
        self.lookup = self.lookup.again()
        self.lookup.read(self.tags)
        return self.lookup

    @property
    def lease(self) -> _core.LookUp | None:
        """The lease, while it may still be used to store a page."""
        return self.lookup if self.status == "miss" else None

    def is_for(self, area: Area) -> bool:
        """Are pages of this area kept where this visit looked?"""
        mine = self.area
        return (mine.alias, mine.key_prefix) == (area.alias, area.key_prefix) and (
            area.query is None or area.query is mine.query
        )

    def refuse(self, reason: str, *, teach: bool = False) -> None:
        """Nothing of this visit is stored; at most what it taught of its URL."""
        self.status, self.reason, self.teaches = "bypass", reason, teach

    def taught(self) -> list[Entry]:
        """What this visit teaches of its URL although its page is not stored."""
        if not self.teaches or self.lookup is None:
            return []
        self.teaches = False
        return [self.lookup.teach(time.time())]

    def turn_with_page(self, entries: list[Entry]) -> str | None:
        """
        The turn to give back although it has led to a page, once: it would outlive the page. Any
        other ends by itself, because whoever comes to it finds the page.
        """
        turn, self.turn = self.turn, None
        _, _, seconds = entries[0]  # the page's own
        return turn if seconds < self.turn_seconds else None

    def turn_without_page(self) -> str | None:
        """The turn to give back, once; a URL whose page is not stored is not waited for."""
        turn, self.turn = self.turn, None
        if turn is None or self.lookup is None:
            return None
        stampede.passes.add(self.lookup.recipe_key)
        return turn

    @property
    def around(self) -> Iterator[Visit]:
        """This visit and those around it, from the inside out."""
        visit: Visit | None = self
        while visit is not None:
            yield visit
            visit = visit.outer

    @property
    def leases(self) -> list[tuple[_core.LookUp, Store]]:
        """The leases of this visit and of those around it: one of them stores the page."""
        return [
            (visit.lease, visit.store)
            for visit in self.around
            if visit.lease is not None and visit.store is not None
        ]

    def settle(self, status: str, reason: str = "") -> None:
        """The visit is over, and so is the one around it: a page is stored and served once."""
        self.status, self.reason = status, reason
        visit = self.outer
        while visit is not None:
            if visit.status == "miss":
                visit.status, visit.reason = status, reason
            visit = visit.outer


def visit_of(request: HttpRequest) -> Visit | None:
    """The innermost visit of this request."""
    visit: Visit | None = request.__dict__.get(_ATTRIBUTE)
    return visit


def begin(request: HttpRequest, area: Area, outer: Visit | None = None) -> Visit:
    """A visit of this request to this area, within another."""
    visit = Visit(area, outer)
    request.__dict__[_ATTRIBUTE] = visit
    return visit


def expect(request: HttpRequest) -> Visit:
    """A visit that has not begun: what is tagged before the look-up is kept on it."""
    request.__dict__.pop(_ATTRIBUTE, None)
    return begin(request, Area(None, "", None))


def attach(request: HttpRequest, visit: Visit) -> None:
    """This request is that of this visit."""
    request.__dict__[_ATTRIBUTE] = visit


#: Where hits are noted, for whoever serves a request and wants to know of them.
HITS: ContextVar[list[Visit] | None] = ContextVar("viewcache_hits", default=None)


class Follower:
    """
    Whoever knows what a page has read and will read: told of each request as it comes to the
    middleware, before each look-up, and of each miss, once there is a lease.
    """

    def __init__(
        self,
        comes: Callable[[HttpRequest], None],
        looks_up: Callable[[Visit], None],
        misses: Callable[[Visit], None],
    ) -> None:
        self.comes, self.looks_up, self.misses = comes, looks_up, misses


_follower: Follower | None = None


def follow(follower: Follower | None) -> None:
    """Have this one told from here on."""
    global _follower
    _follower = follower


def comes(request: HttpRequest) -> None:
    """A request comes to the middleware."""
    if _follower is not None:
        _follower.comes(request)


def looks_up(visit: Visit) -> None:
    """The look-up is about to begin."""
    if _follower is not None:
        _follower.looks_up(visit)


def miss(request: HttpRequest, visit: Visit, reason: str) -> None:
    """The view answers, and the look-up is the lease to store its page with."""
    visit.status, visit.reason = "miss", reason
    # Django's own name for it; code that sets it to False keeps its page out of the cache.
    request.__dict__["_cache_update_cache"] = True
    if (seen := reads.of(request)) is not None:
        # Not before: a visit that holds the request's META holds the reads, too, and would be held
        # by what it holds. A lease has a META of its own.
        seen.visit = visit
    if _follower is not None:
        _follower.misses(visit)


def fault(visit: Visit, what: str, fault: Exception) -> None:
    """The cache failed: one line in the log, and it is left alone for a moment."""
    logger.warning(
        "viewcache could not %s (%s: %s); the view answers.", what, type(fault).__name__, fault
    )
    if visit.store is not None:
        visit.store.breaker.failed()
    for fallen in visit.around:
        fallen.refuse("cache fault")
