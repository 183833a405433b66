"""
The lease: from a miss to the entries of its page.

While the view runs, what it comes to read is added: a generation is read before the data that it
guards. Then the response is judged and becomes what is set in the cache.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import cast

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from . import commit, page, reads, sessions, shared, slots
from .policy import Area, Permission
from .store import Entry
from .visit import Visit, fault, visit_of

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
    except Exception as error:
        fault(visit, "read the generation of a tag", error)
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
    except Exception as error:
        fault(visit, "read the generation of a tag", error)
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
        lease.claim(store.fetch([], lease.unknown()))
        if absent := lease.renewals():
            lease.claim(store.renew(absent))
            return 2
    except Exception as error:
        fault(visit, "read the generations of a query", error)
    return 1


# -- What is stored -------------------------------------------------------------------------------


def visit_to_store(request: HttpRequest, area: Area) -> Visit | None:
    """The visit whose lease this middleware or decorator stores with."""
    innermost = visit_of(request)
    if request.__dict__.get("_cache_update_cache") is False:
        if innermost is not None and innermost.status == "miss":
            innermost.reason = "left out"
        return None
    for visit in innermost.around if innermost is not None else ():
        if visit.is_for(area):
            return visit if visit.lease is not None else None
    return None


def entries(
    visit: Visit, request: HttpRequest, response: HttpResponseBase, permission: Permission | str
) -> list[Entry] | None:
    """What to set for this response; ``None``, with the reason on the visit, for nothing."""
    if isinstance(permission, str):
        visit.reason = permission or cast(Visit, visit_of(request)).reason
        return None
    lease = visit.lease
    if lease is None or not isinstance(response, HttpResponse):
        return None
    if (reason := sessions.bind(request, visit, permission.cookies)) is not None:
        visit.reason = reason
        return None
    if (dirty := commit.dirty()) and not dirty.isdisjoint(scope for scope, _ in lease.scopes):
        visit.reason = "written in this transaction"
        return None
    cut = shared.cut(response, permission)
    if isinstance(cut, str):
        visit.reason = cut
        return None
    body, places = cut
    visit.timeout = permission.timeout
    try:
        made, why = lease.store(
            status=response.status_code,
            reason=page.reason(response),
            marks=page.marks(response),
            headers=page.headers(response, permission, has_slots=bool(places)),
            body=body,
            slots=places,
            public=permission.public,
            vary=set(permission.vary),
            cookies=None if permission.cookies is None else set(permission.cookies),
            timeout=permission.timeout,
            windows=permission.windows,
            now=time.time(),
        )
    except UnicodeError:
        made, why = None, "text that is no text"
    if why is not None:
        visit.reason = why
    return made
