"""
What is known of pages: what a hit of them sends, by what hits have sent.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

from django.core.signals import setting_changed

from viewcache import conf
from viewcache.visit import Visit

from .rules import Rules


class Sent(NamedTuple):
    """What Django has sent."""

    status: int
    #: ``""`` under ASGI, which has none.
    phrase: str
    headers: list[tuple[str, str]]
    body: bytes


@dataclass(frozen=True)
class Proof:
    """What a hit of one record sends. Without headers: it is not to be served early."""

    identity: bytes
    status: int = 0
    phrase: str = ""
    #: Without what changes with time, which stands at these places.
    headers: tuple[tuple[str, str], ...] = ()
    age_at: int = -1
    ttl_at: int = -1
    #: Two hits have shown it.
    is_proven: bool = False

    @property
    def is_refused(self) -> bool:
        """Is this record not to be served early?"""
        return not self.headers

    @property
    def weight(self) -> int:
        """About how many bytes it takes."""
        return 512 + sum(len(name) + len(value) + 160 for name, value in self.headers)

    def after(self, earlier: Proof | None) -> Proof:
        """This proof, if one for the same record came before."""
        if self.is_refused or earlier is None or earlier.identity != self.identity:
            return self
        if replace(earlier, is_proven=False) == self:
            return replace(self, is_proven=True)
        return Proof(self.identity)

    def headers_at(self, age: int, ttl: int) -> list[tuple[str, str]]:
        """The headers of a hit, so many seconds after the page was stored and before it ends."""
        headers = [*self.headers]
        headers[self.age_at] = ("Age", f"{age}")
        if self.ttl_at >= 0:
            name, value = headers[self.ttl_at]
            headers[self.ttl_at] = (name, f"{value}{ttl}")
        return headers


_TTL = re.compile(r"((?:.*, )?viewcache; hit; ttl=)-?\d+")


def of(visit: Visit, sent: Sent, rules: Rules) -> Proof:
    """What this hit has shown."""
    assert visit.lookup is not None
    hit, recipe = visit.lookup.hit, visit.lookup.recipe
    assert hit is not None
    refused = Proof(hit.identity)
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
    headers, age_at, ttl_at = list(sent.headers), names.index("age"), -1
    headers[age_at] = ("Age", "")
    if conf.get().CACHE_STATUS:
        ttl_at = names.index("cache-status") if "cache-status" in names else -1
        found = _TTL.fullmatch(headers[ttl_at][1])
        if found is None:
            return refused
        headers[ttl_at] = (headers[ttl_at][0], found[1])
    return Proof(hit.identity, sent.status, sent.phrase, tuple(headers), age_at, ttl_at)


class Proofs:
    """The proofs of this process, by key and method; all are forgotten when they are too many."""

    def __init__(self, entries: int, size: int) -> None:
        self._entries, self._bytes = entries, size
        self._lock = threading.Lock()
        self._weight = 0
        self._known: dict[tuple[str, str], Proof] = {}
        #: What is known of a page, by its key and the request's method.
        self.get = self._known.get

    def put(self, key: str, method: str, proof: Proof) -> None:
        """This is known of this page from here on."""
        with self._lock:
            known = self._known
            if old := known.pop((key, method), None):
                self._weight -= old.weight
            if len(known) >= self._entries or self._weight + proof.weight > self._bytes:
                known.clear()
                self._weight = 0
            if self._entries and proof.weight <= self._bytes:
                known[key, method] = proof
                self._weight += proof.weight

    def __len__(self) -> int:
        return len(self._known)


@cache
def known() -> Proofs:
    """The proofs of this process, bounded like its recipes."""
    return Proofs(conf.get().MEMORY_ENTRIES, conf.get().MEMORY_BYTES)


def _forget(**kwargs: Any) -> None:
    known.cache_clear()


setting_changed.connect(_forget, dispatch_uid="viewcache.early.proof")
