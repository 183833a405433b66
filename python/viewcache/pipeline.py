"""
The read path: look up a request, store its response. Each step once, sync and async.

``visit.py`` is what one request carries along, ``lease.py`` what happens in between, while the
view runs.

A fault of the cache never reaches the visitor: it is logged, the view answers, and nothing is
stored.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import Resolver404, resolve

from . import (
    commit,
    conf,
    hit_counts,
    lease,
    listing,
    page,
    policy,
    reads,
    signals,
    slots,
    stampede,
    stores,
)
from . import request as canonical
from .policy import Area, Permission
from .store import Entry
from .visit import AUDIT, HITS, STORE, Visit, begin, fault, looks_up, miss, visit_of

logger = logging.getLogger("viewcache")

_Made = TypeVar("_Made")

#: Where the response of a hit carries the body that it began with, and its request that middleware
#: has changed that.
_BODY, CHANGED = "_viewcache_body", "_viewcache_changed"

# -- Look up --------------------------------------------------------------------------------------


def look_up(request: HttpRequest, area: Area) -> HttpResponse | None:
    """The cached response for this request; ``None`` when the view has to answer."""
    visit = _begin(request, area, conf.get().FAULT_SECONDS)
    if visit is None or visit.lookup is None or visit.store is None:
        return None
    lookup, store = visit.lookup, visit.store
    wait = None
    try:
        while True:
            store.answer(lookup)
            if lookup.hit is not None:
                break
            if absent := lookup.unclaimed():
                lookup.claim(store.claim(absent))
            stale = lookup.stale(on_error=False)
            if stale is None and not _takes_turns(request, visit):
                break
            turn = lookup.turn_key
            if not store.is_dry and store.take_turn(turn, stampede.owner(), visit.turn_seconds):
                visit.turn = turn
                break
            if stale is not None:
                visit.stale = stale
                break
            wait = wait or stampede.Wait(conf.get().WAIT_SECONDS)
            if (pause := wait.pause(store.holder(turn), lookup.recipe_key)) is None:
                break
            time.sleep(pause)
            lookup = visit.look_again()
        if absent := _hoped_for(visit):
            lookup.claim(store.renew(absent))
    except UnicodeEncodeError:
        # A header's, of the request. What a backend cannot decode is none of these.
        visit.refuse("text that is no text")
        return None
    except Exception as error:
        fault(visit, "look up a page", error)
        return None
    if store.breaker.is_failing:
        store.breaker.answered()
    response = _answer(request, visit)
    signals.looked_up(request, visit)
    return response


async def alook_up(request: HttpRequest, area: Area) -> HttpResponse | None:
    """As ``look_up``."""
    visit = _begin(request, area, 0)  # the event loop waits for nobody
    if visit is None or visit.lookup is None or visit.store is None:
        return None
    lookup, store = visit.lookup, visit.store
    wait = None
    try:
        while True:
            await store.aanswer(lookup)
            if lookup.hit is not None:
                break
            if absent := lookup.unclaimed():
                lookup.claim(await store.aclaim(absent))
            stale = lookup.stale(on_error=False)
            if stale is None and not _takes_turns(request, visit):
                break
            turn, owner = lookup.turn_key, stampede.owner()
            if not store.is_dry and await store.atake_turn(turn, owner, visit.turn_seconds):
                visit.turn = turn
                break
            if stale is not None:
                visit.stale = stale
                break
            wait = wait or stampede.Wait(conf.get().WAIT_SECONDS)
            if (pause := wait.pause(await store.aholder(turn), lookup.recipe_key)) is None:
                break
            await asyncio.sleep(pause)
            lookup = visit.look_again()
        if absent := _hoped_for(visit):
            lookup.claim(await store.arenew(absent))
    except UnicodeEncodeError:
        # A header's, of the request. What a backend cannot decode is none of these.
        visit.refuse("text that is no text")
        return None
    except Exception as error:
        fault(visit, "look up a page", error)
        return None
    if store.breaker.is_failing:
        store.breaker.answered()
    hit = lookup.hit or visit.stale
    if hit is not None and any(hit.slots):
        # What fills them is the site's code, which may ask the database.
        response = await sync_to_async(_answer)(request, visit)
    else:
        response = _answer(request, visit)
    await signals.alooked_up(request, visit)
    return response


def _begin(request: HttpRequest, area: Area, patience: float) -> Visit | None:
    """
    A visit that is ready to look up; ``None`` where the lease of the one around it serves. A cache
    that has failed is waited for so many seconds.
    """
    outer = visit_of(request)
    if outer is not None and outer.lease is not None and outer.is_for(area):
        return None
    visit = begin(request, area, outer)
    request.__dict__["_cache_update_cache"] = False
    refusal = policy.refuses_request(request)
    if refusal is not None:
        visit.reason = refusal
        return visit
    site = conf.get()
    if site.VARY_ON_READ or site.AUDIT:
        reads.watch(request, is_late=True)
    visit.store = request.__dict__.get(STORE, stores.of)(area.alias)
    try:
        visit.lookup = canonical.begin(request, key_prefix=area.key_prefix, only=area.query)
    except UnicodeError:
        visit.reason = "text that is no text"
        return visit
    if visit.lookup is None:
        visit.reason = "path too long"
    elif visit.store.breaker.is_failing and not visit.store.is_allowed(patience):
        visit.lookup, visit.reason = None, "cache fault a moment ago"
    else:
        looks_up(visit)
        if visit.tags:
            visit.lookup.read(visit.tags)
    return visit


def _hoped_for(visit: Visit) -> dict[str, int]:
    """
    The generations, each with a new one to set, that are absent and that the page is expected to
    need: where the view's queries see a snapshot, they come too late to make one.
    """
    assert visit.lookup is not None
    if not conf.get().TRACK or visit.lookup.hit is not None or visit.stale is not None:
        return {}
    return visit.lookup.renewals()


def _takes_turns(request: HttpRequest, visit: Visit) -> bool:
    """Does one request at a time render this page?"""
    assert visit.lookup is not None
    return (
        conf.get().WAIT_SECONDS > 0
        and visit.lookup.recipe_key not in stampede.passes
        and STORE not in request.__dict__
        and (visit.outer is None or visit.outer.turn is None)
    )


def _answer(request: HttpRequest, visit: Visit) -> HttpResponse | None:
    assert visit.lookup is not None
    hit = visit.lookup.hit or visit.stale
    if hit is None:
        code, scope = visit.lookup.miss or ("", None)
        if code == "unsigned" and not (visit.store and visit.store.is_dry):
            logger.warning(
                "viewcache found a page of %s that this site has not signed, and overwrites it. "
                "Was SIGN or SECRET_KEY changed? If not, somebody else writes to the cache.",
                request.path,
            )
        miss(request, visit, f"{code} {scope}" if scope else code)
        return None
    if (dirty := commit.dirty()) and not dirty.isdisjoint(
        [*hit.tags, *(scope for scope, _ in visit.lookup.scopes)]
    ):
        visit.refuse("written in this transaction")
        return None
    try:
        response = page.response(hit, request, time.time(), visit.lookup.stale_since)
    except slots.SlotGoneError as error:
        logger.info("viewcache makes a page anew: %s", error)
        visit.lookup.own()
        miss(request, visit, "slot-gone")
        return None
    except Exception:
        logger.exception("viewcache could not make a response of a page; the view answers.")
        visit.refuse("page not usable")
        return None
    hit_counts.add(visit)
    if visit.stale is not None:
        visit.settle("stale", "stale-while-revalidate")
    else:
        visit.settle("hit")
        # Of one piece, so this is the body itself and no copy.
        response.__dict__[_BODY] = response.content
        if (hits := HITS.get()) is not None:
            # Who has asked for the hits compares the body with what is sent.
            hits.append(visit)
            return response
    hit.let_go()
    return response


# -- Store ----------------------------------------------------------------------------------------


def store(request: HttpRequest, response: HttpResponseBase, area: Area) -> HttpResponseBase:
    """Store this response if it may be; it comes back with the headers of one that is cached."""
    slots.take_out(request, response)
    reads.leave(request, response)
    visit = lease.visit_to_store(request, area)
    if visit is None or visit.store is None:
        abandon(request)
        return response

    def put(permission: Permission | str) -> None:
        entries = lease.entries(visit, request, response, permission)
        _put(visit, entries)
        listing.enlist(visit, request, entries)
        signals.made(request, visit)
        if entries:
            _audit(request, visit, permission)

    return policy.judge(request, response, area, put)


async def astore(request: HttpRequest, response: HttpResponseBase, area: Area) -> HttpResponseBase:
    """As ``store``."""
    slots.take_out(request, response)
    reads.leave(request, response)
    visit = lease.visit_to_store(request, area)
    if visit is None or visit.store is None:
        await aabandon(request)
        return response
    if getattr(response, "is_rendered", True) is False:
        # It renders in a thread, after the middleware of the view; there it is stored, too.
        return store(request, response, area)
    told: list[Permission | str] = []
    response = policy.judge(request, response, area, told.append)
    entries = lease.entries(visit, request, response, told[0]) if told else None
    await _aput(visit, entries)
    await listing.aenlist(visit, request, entries)
    if told:
        await signals.amade(request, visit)
        if entries:
            _audit(request, visit, told[0])
    return response


def _audit(request: HttpRequest, visit: Visit, permission: Permission | str) -> None:
    if AUDIT in request.__dict__:
        # It is for development and tests, and takes long to load.
        from . import audit

        audit.judge(request, visit, permission)


def is_from_cache(request: HttpRequest) -> bool:
    """Is this a hit, and nobody around it to be told? Then there is nothing to store."""
    visit = visit_of(request)
    return visit is not None and visit.status == "hit" and visit.outer is None


def is_changed_since(request: HttpRequest, response: HttpResponseBase) -> bool:
    """
    Has middleware changed the body of this hit? Then it has changed that of the stored page, too,
    and does it again with each hit.
    """
    # Another response, such as 304, has none.
    body = response.__dict__.pop(_BODY, None)
    if body is None or (sent := cast(HttpResponse, response).content) is body:
        return False
    return (
        sent != body
        # Nor the same in a coding for this client.
        and "Content-Encoding" not in response.headers
        and not _is_kept_by_view(request)
    )


def _is_kept_by_view(request: HttpRequest) -> bool:
    """Does the view's decorator store the page, before any middleware has changed it?"""
    view = view_for(request)
    kind = getattr(view, "view_class", None)
    return hasattr(view, "viewcache_area") or hasattr(kind, "cache_area")


def view_for(request: HttpRequest) -> Callable[..., Any] | None:
    """The view that this request would be answered by, if there is one."""
    try:
        return resolve(request.path_info, getattr(request, "urlconf", None)).func
    except Resolver404:
        return None


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


async def served(request: HttpRequest, making: Awaitable[_Made]) -> _Made:
    """
    What is awaited to answer this request. A visitor who leaves meanwhile gives the turn to render
    the page back: nobody else is to wait for what nobody makes.
    """
    try:
        return await making
    except asyncio.CancelledError:
        await asyncio.shield(_agive_back(request))
        raise


async def _agive_back(request: HttpRequest) -> None:
    visit = visit_of(request)
    for each in visit.around if visit is not None else ():
        turn, each.turn = each.turn, None
        if turn is None or each.store is None:
            continue
        try:
            await each.store.agive_back(turn)
        except Exception as error:
            fault(each, "give a turn back", error)


def _put(visit: Visit, entries: list[Entry] | None) -> None:
    """Set the entries of a page; without any, give the turn to render it back."""
    try:
        assert visit.store is not None  # it has looked up
        if written := entries or visit.taught():
            visit.store.put(written)
        if entries:
            visit.settle("stored")
        turn = visit.turn_with_page(entries) if entries else visit.turn_without_page()
        if turn:
            visit.store.give_back(turn)
    except Exception as error:
        fault(visit, "store a page", error)


async def _aput(visit: Visit, entries: list[Entry] | None) -> None:
    """As ``_put``."""
    try:
        assert visit.store is not None  # it has looked up
        if written := entries or visit.taught():
            await visit.store.aput(written)
        if entries:
            visit.settle("stored")
        turn = visit.turn_with_page(entries) if entries else visit.turn_without_page()
        if turn:
            await visit.store.agive_back(turn)
    except Exception as error:
        fault(visit, "store a page", error)
