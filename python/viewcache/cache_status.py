"""
The ``Cache-Status`` header of RFC 9211: what the cache did with a request, on its response.

``VIEWCACHE["CACHE_STATUS"]`` switches it on. ``"debug"`` adds the page's key and its scopes, while
``DEBUG`` is on: they say more of a site than its visitors should know.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from . import conf
from .visit import Visit, visit_of

_OUTER = "_viewcache_cache_status"
#: Scopes may be many, and proxies refuse long headers.
_SCOPES_LENGTH = 1000

#: Section 2.2: why the request went forward. What is not named is ``miss``.
_FORWARDED = {
    "uri-miss": "uri-miss",
    "vary-miss": "vary-miss",
    "expired": "stale",
    "soft-expired": "stale",
    "timed-out": "stale",
    "generation-gone": "stale",
    "closed": "stale",
    "not-public": "request",
}


def leave_to_me(request: HttpRequest) -> None:
    """The middleware that says this sees the response last; the decorators within leave it be."""
    if conf.get().CACHE_STATUS:
        request.__dict__[_OUTER] = True


def add(
    request: HttpRequest, response: HttpResponseBase, *, outermost: bool = True
) -> HttpResponseBase:
    """The response, with our member at the end of its ``Cache-Status`` where that is wanted."""
    wanted = conf.get().CACHE_STATUS
    if not wanted or (not outermost and _OUTER in request.__dict__):
        return response
    visit = visit_of(request)
    if visit is None or visit.area.alias is None:
        return response
    member = "; ".join(_parts(visit, debug=wanted == "debug" and settings.DEBUG))
    earlier = response.headers.get("Cache-Status")
    response.headers["Cache-Status"] = f"{earlier}, {member}" if earlier else member
    return response


def _parts(visit: Visit, *, debug: bool) -> Iterator[str]:
    yield "viewcache"
    lookup = visit.lookup
    hit = lookup.hit if lookup else None
    if visit.status in ("hit", "stale") and visit.failed is not None:
        # It went forward, so it is no hit, although a page of the cache answers.
        yield "fwd=stale"
        yield f"fwd-status={visit.failed}"
        yield 'detail="stale-if-error"'
    elif visit.status == "hit" and hit is not None:
        yield "hit"
        yield f"ttl={int(hit.head()[4] - time.time())}"
    elif visit.status == "stale" and lookup is not None and lookup.stale_since is not None:
        # Section 2.1: hit and fwd exclude each other; a hit whose time is over has a negative ttl.
        yield "hit"
        yield f"ttl={min(-1, int(lookup.stale_since - time.time()))}"
        yield f"detail={_string(visit.reason)}"
    elif hit is not None and visit.status in ("miss", "stored"):
        # A page was found, but what makes one of its slots is gone, so the view ran.
        yield "fwd=miss"
        if visit.status == "stored":
            yield "stored"
        yield 'detail="slot-gone"'
    elif lookup is None or lookup.miss is None:
        yield "fwd=method" if visit.reason == "method" else "fwd=bypass"
        if visit.reason != "method":
            yield f"detail={_string(visit.reason)}"
    else:
        code, scope = lookup.miss
        yield f"fwd={_FORWARDED.get(code, 'miss')}"
        if visit.status == "stored":
            yield "stored"
        elif visit.reason not in ("", f"{code} {scope}" if scope else code):
            yield f"detail={_string(visit.reason)}"
            code = ""
        if code not in ("", "uri-miss", "vary-miss"):
            yield f"detail={_string(f'{code} {scope}' if debug and scope else code)}"
    if debug and lookup is not None:
        if lookup.key is not None:
            yield f"key={_string(lookup.key)}"
        scopes = [scope for scope, _ in lookup.scopes]
        scopes += [scope for scope in (hit.tags if hit else ()) if scope not in scopes]
        yield f"viewcache.scopes={_string(' '.join(scopes))}"


def _string(text: str) -> str:
    """A String of structured fields (RFC 9651 section 3.3.3), which is ASCII."""
    if len(text) > _SCOPES_LENGTH:
        text = text[:_SCOPES_LENGTH].rpartition(" ")[0] + " ..."
    plain = "".join(char if " " <= char <= "~" else "?" for char in text)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"') + '"'
