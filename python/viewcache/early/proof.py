"""
What a hit has shown of its page, by what Django has sent. ``_core.Early`` keeps it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from viewcache import _core, conf
from viewcache.visit import Visit

from .rules import Rules


class Sent(NamedTuple):
    """What Django has sent."""

    status: int
    #: ``""`` under ASGI, which has none.
    phrase: str
    headers: list[tuple[str, str]]
    body: bytes


_TTL = re.compile(r"((?:.*, )?viewcache; hit; ttl=)-?\d+")


def of(visit: Visit, sent: Sent | None, rules: Rules) -> _core.Proof:
    """What this hit has shown."""
    assert visit.lookup is not None
    hit, recipe = visit.lookup.hit, visit.lookup.recipe
    assert hit is not None
    refused = _core.Proof(hit.identity)
    if sent is None:
        return refused
    cookies = recipe[1] if recipe else None
    # What is a matter of who asks is a matter of these cookies, or of a slot.
    theirs = {rules.session_cookie, rules.secret_cookie, "messages"}
    if cookies is None or not theirs.isdisjoint(cookies) or hit.slots:
        return refused
    if sent.status != hit.head()[0] or sent.body != hit.body:
        return refused
    names = [name.lower() for name, _ in sent.headers]
    if names.count("age") != 1 or "set-cookie" in names or len(set(names)) < len(names):
        return refused
    headers, age_at, ttl_at = list(sent.headers), names.index("age"), None
    headers[age_at] = ("Age", "")
    if conf.get().CACHE_STATUS:
        if "cache-status" not in names:
            return refused
        ttl_at = names.index("cache-status")
        found = _TTL.fullmatch(headers[ttl_at][1])
        if found is None:
            return refused
        headers[ttl_at] = (headers[ttl_at][0], found[1])
    return _core.Proof(hit.identity, sent.status, sent.phrase, headers, age_at, ttl_at)
