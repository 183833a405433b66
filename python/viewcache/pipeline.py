"""
The read path: look up a request, store its response. Each step once, sync and async.

A request's way through the cache is its ``Visit``, at ``request._viewcache``. It begins with the
look-up; on a miss it is the lease, which carries what the store step needs: the generations that
were read before the view was, and the language and time zone that the key was made with.

A fault of the cache never reaches the visitor: it is logged, the view answers, and nothing is
stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from . import _core, commit, conf, page, policy, reads, signals, slots, stampede
from . import request as canonical
from .policy import Area, Permission
from .store import Entry, Store

logger = logging.getLogger("viewcache")

_ATTRIBUTE = "_viewcache"
#: Where a request may carry what makes the store of its visits, for ``explain()``.
STORE = "_viewcache_store"


class Visit:
    """One request's way through the cache."""

    __slots__ = (
        "area",
        "lookup",
        "outer",
        "reason",
        "status",
        "store",
        "tags",
        "takes_turns",
        "teaches",
        "turn",
    )

    def __init__(self, area: Area, outer: Visit | None = None) -> None:
        self.area = area
        #: The look-up, which is the lease after a miss; ``None`` when there was none.
        self.lookup: _core.LookUp | None = None
        self.store: Store | None = None
        #: The visit of the middleware around this view, if it has one.
        self.outer = outer
        #: ``"hit"``, ``"miss"``, ``"stored"`` or ``"bypass"``; and why.
        self.status = "bypass"
        self.reason = ""
        #: The page is not stored, but the scopes that it read are, for the next render.
        self.teaches = False
        #: This request renders the page that others wait for, with this turn of theirs.
        self.turn: str | None = None
        self.takes_turns = False
        #: Scopes named before there was a look-up.
        self.tags: list[str] = list(outer.tags) if outer else []

    @property
    def turn_seconds(self) -> int:
        """How long a turn to render this page lasts."""
        area = self.area
        return stampede.seconds(
            area.cache_timeout if area.page_timeout is None else area.page_timeout
        )

    def look_again(self, request: HttpRequest) -> _core.LookUp:
        """A new look-up in place of one that has missed."""
        area, begun = self.area, self.lookup
        self.lookup = canonical.begin(request, key_prefix=area.key_prefix, only=area.query)
        assert begun is not None
        assert self.lookup is not None
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
        for visit in self.around:
            if visit is self or visit.status == "miss":
                visit.status, visit.reason = status, reason


def visit_of(request: HttpRequest) -> Visit | None:
    """The innermost visit of this request."""
    return cast("Visit | None", request.__dict__.get(_ATTRIBUTE))


#: Told of each miss: whoever has to know what the page that is made now will read.
_on_lease: Callable[[Visit], None] | None = None


def on_lease(told: Callable[[Visit], None] | None) -> None:
    """Have this function told of each miss, once there is a lease."""
    global _on_lease
    _on_lease = told


def expect(request: HttpRequest) -> Visit:
    """A visit that has not begun: what is tagged before the look-up is kept on it."""
    visit = Visit(Area(None, "", None))
    request.__dict__[_ATTRIBUTE] = visit
    return visit


# -- Look up --------------------------------------------------------------------------------------


def look_up(request: HttpRequest, area: Area) -> HttpResponse | None:
    """The cached response for this request; ``None`` when the view has to answer."""
    visit = _begin(request, area)
    if visit is None or visit.lookup is None or visit.store is None:
        return None
    lookup, store = visit.lookup, visit.store
    wait = None
    try:
        while True:
            while lookup.receive(store.fetch(*lookup.wanted()), time.time()):
                pass
            if lookup.hit is not None:
                break
            if absent := lookup.unclaimed():
                lookup.claim(store.claim(absent))
            if not visit.takes_turns:
                break
            holder = store.take_turn(lookup.turn_key, stampede.owner(), visit.turn_seconds)
            if holder is None:
                visit.turn = lookup.turn_key
                break
            wait = wait or stampede.Wait(conf.get().WAIT_SECONDS)
            if (pause := wait.pause(holder, lookup.recipe_key)) is None:
                break
            time.sleep(pause)
            lookup = visit.look_again(request)
    except UnicodeError:
        visit.refuse("text that is no text")
        return None
    except Exception as fault:
        _fault(visit, "look up a page", fault)
        return None
    store.breaker.answered()
    response = _answer(request, visit)
    signals.looked_up(request, visit)
    return response


async def alook_up(request: HttpRequest, area: Area) -> HttpResponse | None:
    """As ``look_up``."""
    visit = _begin(request, area)
    if visit is None or visit.lookup is None or visit.store is None:
        return None
    lookup, store = visit.lookup, visit.store
    wait = None
    try:
        while True:
            while lookup.receive(await store.afetch(*lookup.wanted()), time.time()):
                pass
            if lookup.hit is not None:
                break
            if absent := lookup.unclaimed():
                lookup.claim(await store.aclaim(absent))
            if not visit.takes_turns:
                break
            owner = stampede.owner()
            holder = await store.atake_turn(lookup.turn_key, owner, visit.turn_seconds)
            if holder is None:
                visit.turn = lookup.turn_key
                break
            wait = wait or stampede.Wait(conf.get().WAIT_SECONDS)
            if (pause := wait.pause(holder, lookup.recipe_key)) is None:
                break
            await asyncio.sleep(pause)
            lookup = visit.look_again(request)
    except UnicodeError:
        visit.refuse("text that is no text")
        return None
    except Exception as fault:
        _fault(visit, "look up a page", fault)
        return None
    store.breaker.answered()
    if lookup.hit is not None and any(lookup.hit.slots):
        # What fills them is the site's code, which may ask the database.
        response = await sync_to_async(_answer)(request, visit)
    else:
        response = _answer(request, visit)
    await signals.alooked_up(request, visit)
    return response


def _begin(request: HttpRequest, area: Area) -> Visit | None:
    """A visit that is ready to look up; ``None`` where the lease of the one around it serves."""
    outer = visit_of(request)
    if outer is not None and outer.lease is not None and outer.is_for(area):
        return None
    visit = Visit(area, outer)
    request.__dict__[_ATTRIBUTE] = visit
    request.__dict__["_cache_update_cache"] = False
    refusal = policy.refuses_request(request)
    if refusal is not None:
        visit.reason = refusal
        return visit
    if conf.get().VARY_ON_READ:
        reads.watch(request, is_late=True)
    visit.store = request.__dict__.get(STORE, Store)(area.alias)
    try:
        visit.lookup = canonical.begin(request, key_prefix=area.key_prefix, only=area.query)
    except UnicodeError:
        visit.reason = "text that is no text"
        return visit
    if visit.lookup is None:
        visit.reason = "path too long"
    elif not visit.store.breaker.allows():
        visit.lookup, visit.reason = None, "cache fault a moment ago"
    else:
        visit.lookup.read(visit.tags)
        visit.takes_turns = (
            conf.get().WAIT_SECONDS > 0
            and visit.lookup.recipe_key not in stampede.passes
            and STORE not in request.__dict__
            and (outer is None or outer.turn is None)
        )
    return visit


def _answer(request: HttpRequest, visit: Visit) -> HttpResponse | None:
    assert visit.lookup is not None
    hit = visit.lookup.hit
    if hit is None:
        code, scope = visit.lookup.miss or ("", None)
        _miss(request, visit, f"{code} {scope}" if scope else code)
        return None
    if (dirty := commit.dirty()) and not dirty.isdisjoint(
        [*hit.tags, *(scope for scope, _ in visit.lookup.scopes)]
    ):
        visit.refuse("written in this transaction")
        return None
    try:
        response = page.response(hit, request, time.time())
    except slots.SlotGoneError as error:
        logger.info("viewcache makes a page anew: %s", error)
        _miss(request, visit, "slot-gone")
        return None
    except Exception:
        logger.exception("viewcache could not make a response of a page; the view answers.")
        visit.refuse("page not usable")
        return None
    visit.settle("hit")
    return response


def _miss(request: HttpRequest, visit: Visit, reason: str) -> None:
    """The view answers, and the look-up is the lease to store its page with."""
    visit.status, visit.reason = "miss", reason
    # Django's own name for it; code that sets it to False keeps its page out of the cache.
    request.__dict__["_cache_update_cache"] = True
    if _on_lease is not None:
        _on_lease(visit)


def _fault(visit: Visit, what: str, fault: Exception) -> None:
    """The cache failed: one line in the log, and it is left alone for a moment."""
    logger.warning(
        "viewcache could not %s (%s: %s); the view answers.", what, type(fault).__name__, fault
    )
    if visit.store is not None:
        visit.store.breaker.failed()
    for fallen in visit.around:
        fallen.refuse("cache fault")


# -- While the view runs --------------------------------------------------------------------------


def recording(request: HttpRequest) -> AbstractContextManager[None]:
    """Around the view, or whatever makes the response: slots are marked if it may be stored."""
    visit = visit_of(request)
    return nullcontext() if visit is None or visit.lease is None else slots.recording(request)


def record_rendering(request: HttpRequest, response: HttpResponseBase) -> None:
    """The same for a response that renders later, by itself."""
    visit = visit_of(request)
    if visit is not None and visit.lease is not None:
        slots.record_rendering(request, response)


def leave(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """The response leaves the view, on its way through the middleware."""
    slots.take_out(request, response)
    reads.leave(request, response, again=True)
    return response


def read(visit: Visit, scopes: Iterable[str]) -> bool:
    """
    The page that is being made reads these scopes: their generations, before their data.

    True when one of them was read only now, so that data that was read before is not guarded.
    """
    scopes = list(scopes)
    new = False
    try:
        for lease, store in visit.leases:
            if missing := lease.read(scopes):
                new = True
                lease.claim(store.fetch([], missing))
            if absent := lease.unclaimed():
                lease.claim(store.claim(absent))
    except Exception as fault:
        _fault(visit, "read the generation of a tag", fault)
    if visit.lookup is None:
        visit.tags.extend(scopes)
    return new


async def aread(visit: Visit, scopes: Iterable[str]) -> bool:
    """As ``read``."""
    scopes = list(scopes)
    new = False
    try:
        for lease, store in visit.leases:
            if missing := lease.read(scopes):
                new = True
                lease.claim(await store.afetch([], missing))
            if absent := lease.unclaimed():
                lease.claim(await store.aclaim(absent))
    except Exception as fault:
        _fault(visit, "read the generation of a tag", fault)
    if visit.lookup is None:
        visit.tags.extend(scopes)
    return new


def read_rows(visit: Visit, scopes: Iterable[str]) -> int:
    """
    As ``read``, for the scopes of a query and one visit. They are many: whatever is not known is
    fetched at once, and what is absent is renewed at once. Returns how many commands that took.
    """
    lease, store = visit.lease, visit.store
    if lease is None or store is None or not lease.read(list(scopes)):
        return 0
    try:
        lease.claim(store.fetch([], list(lease.unknown())))
        if absent := lease.unknown():
            lease.claim(store.renew(absent))
            return 2
    except Exception as fault:
        _fault(visit, "read the generations of a query", fault)
    return 1


# -- Store ----------------------------------------------------------------------------------------


def store(request: HttpRequest, response: HttpResponseBase, area: Area) -> HttpResponseBase:
    """Store this response if it may be; it comes back with the headers of one that is cached."""
    slots.take_out(request, response)
    reads.leave(request, response)
    visit = _visit_to_store(request, area)
    if visit is None or visit.store is None:
        abandon(request)
        return response

    def put(permission: Permission | str) -> None:
        _put(visit, _entries(visit, response, permission))
        signals.made(request, visit)

    return policy.judge(request, response, area, put)


async def astore(request: HttpRequest, response: HttpResponseBase, area: Area) -> HttpResponseBase:
    """As ``store``."""
    slots.take_out(request, response)
    reads.leave(request, response)
    visit = _visit_to_store(request, area)
    if visit is None or visit.store is None:
        await aabandon(request)
        return response
    if getattr(response, "is_rendered", True) is False:
        # It renders in a thread, after the middleware of the view; there it is stored, too.
        return store(request, response, area)
    told: list[Permission | str] = []
    response = policy.judge(request, response, area, told.append)
    await _aput(visit, _entries(visit, response, told[0]) if told else None)
    if told:
        await signals.amade(request, visit)
    return response


def abandon(request: HttpRequest) -> None:
    """The page of this request is not going to be stored: nobody need wait for it."""
    visit = visit_of(request)
    for each in visit.around if visit is not None else ():
        if each.teaches or each.turn is not None:
            _put(each, None)


async def aabandon(request: HttpRequest) -> None:
    """As ``abandon``."""
    visit = visit_of(request)
    for each in visit.around if visit is not None else ():
        if each.teaches or each.turn is not None:
            await _aput(each, None)


def _put(visit: Visit, entries: list[Entry] | None) -> None:
    """Set the entries of a page; without any, give the turn to render it back."""
    if visit.store is None:
        return
    try:
        if written := entries or visit.taught():
            visit.store.put(written)
        if entries:
            visit.turn = None  # whoever comes to it finds the page
            visit.settle("stored")
        if turn := visit.turn_without_page():
            visit.store.give_back(turn)
    except Exception as fault:
        _fault(visit, "store a page", fault)


async def _aput(visit: Visit, entries: list[Entry] | None) -> None:
    """As ``_put``."""
    if visit.store is None:
        return
    try:
        if written := entries or visit.taught():
            await visit.store.aput(written)
        if entries:
            visit.turn = None  # whoever comes to it finds the page
            visit.settle("stored")
        if turn := visit.turn_without_page():
            await visit.store.agive_back(turn)
    except Exception as fault:
        _fault(visit, "store a page", fault)


def _visit_to_store(request: HttpRequest, area: Area) -> Visit | None:
    """The visit whose lease this middleware or decorator stores with."""
    if request.__dict__.get("_cache_update_cache") is False:
        return None
    innermost = visit_of(request)
    for visit in innermost.around if innermost is not None else ():
        if visit.is_for(area):
            return visit if visit.lease is not None else None
    return None


def _entries(
    visit: Visit, response: HttpResponseBase, permission: Permission | str
) -> list[Entry] | None:
    """What to set for this response; ``None``, with the reason on the visit, for nothing."""
    if isinstance(permission, str):
        visit.reason = permission
        return None
    lease = visit.lease
    if lease is None or not isinstance(response, HttpResponse):
        return None
    if (dirty := commit.dirty()) and not dirty.isdisjoint(scope for scope, _ in lease.scopes):
        visit.reason = "written in this transaction"
        return None
    cut = page.cut(response, permission)
    if isinstance(cut, str):
        visit.reason = cut
        return None
    body, places = cut
    try:
        entries, why = lease.store(
            status=response.status_code,
            reason=page.reason(response),
            headers=page.headers(response, permission, has_slots=bool(places)),
            body=body,
            slots=places,
            public=permission.public,
            vary=set(permission.vary),
            cookies=None if permission.cookies is None else set(permission.cookies),
            timeout=permission.timeout,
            now=time.time(),
        )
    except UnicodeError:
        entries, why = None, "text that is no text"
    if why is not None:
        visit.reason = why
    return entries
