"""
A request that may be answered early: its answer, and what Django's answer to it shows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from viewcache import _core, hit_counts, stores
from viewcache.store import Store
from viewcache.visit import HITS, Visit, fault

from . import proof
from .proof import Sent
from .rules import Rules

logger = logging.getLogger("viewcache")

#: Where the page was, its headers and its body.
Answer = tuple[Store, list[tuple[str, str]], bytes]


def look_up(it: _core.Asked, rules: Rules) -> Answer | None:
    """The page for this request, if it is one that may be served early."""
    if (store := _store(it, rules)) is None:
        return None
    try:
        store.answer(it.lookup)
    except Exception as error:
        fault(_visit(it, rules, store), "look up a page", error)
        return None
    return _answer(it, rules, store)


async def alook_up(it: _core.Asked, rules: Rules) -> Answer | None:
    """As ``look_up``."""
    if (store := _store(it, rules)) is None:
        return None
    try:
        await store.aanswer(it.lookup)
    except Exception as error:
        fault(_visit(it, rules, store), "look up a page", error)
        return None
    return _answer(it, rules, store)


def _store(it: _core.Asked, rules: Rules) -> Store | None:
    """Where the page is, if it is worth a look."""
    if not it.is_proven:
        return None
    store = stores.of(rules.area.alias)
    return None if store.breaker.is_failing and not store.is_allowed(0) else store


def _answer(it: _core.Asked, rules: Rules, store: Store) -> Answer | None:
    if store.breaker.is_failing:
        store.breaker.answered()
    if (answer := it.answer(time.time())) is None:
        return None
    if rules.counts_hits:
        hit_counts.add(hit(it, rules, store))
    return store, *answer


def hit(it: _core.Asked, rules: Rules, store: Store) -> Visit:
    """The request's way through the cache, for whoever wants to know of it."""
    visit = _visit(it, rules, store)
    visit.settle("hit")
    return visit


def _visit(it: _core.Asked, rules: Rules, store: Store) -> Visit:
    visit = Visit(rules.area)
    visit.lookup, visit.store = it.lookup, store
    return visit


# -- What Django's answer shows --------------------------------------------------------------------


@contextmanager
def observed() -> Iterator[list[Visit]]:
    """The hits of the request that is served within."""
    hits: list[Visit] = []
    token = HITS.set(hits)
    try:
        yield hits
    finally:
        HITS.reset(token)


def learn(
    it: _core.Asked, rules: Rules, hits: list[Visit], sent: Callable[[], Sent | None]
) -> None:
    """Learn of what Django has sent for this request; raises nothing."""
    try:
        if len(hits) == 1 and _is_the_same(it, rules, hits[0]):
            rules.early.learn(it, proof.of(hits[0], sent(), rules))
    except Exception:
        logger.exception("viewcache could not learn of a hit; it is served by Django.")


def _is_the_same(it: _core.Asked, rules: Rules, visit: Visit) -> bool:
    """Did the middleware find the page that was asked for here, one that is not yet refused?"""
    hit = visit.lookup.hit if visit.lookup is not None else None
    return (
        visit.lookup is not None
        and hit is not None
        and visit.outer is None
        and visit.lookup.key == it.key
        and visit.area[:2] == rules.area[:2]
        and not (it.proof and it.proof.is_refused and it.proof.identity == hit.identity)
    )
