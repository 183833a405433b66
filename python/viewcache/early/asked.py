"""
A request that may be answered early: its look-up, its answer, and what Django's answer to it shows.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest
from django.utils.translation import get_language_from_path, to_language

from viewcache import _core, commit, conf, hit_counts, stores
from viewcache.store import Store
from viewcache.visit import HITS, Visit, fault

from . import proof as proofs
from . import rules
from .proof import Proof, Sent
from .rules import Rules

logger = logging.getLogger("viewcache")


class Asked(NamedTuple):
    """A request that may be answered early."""

    key: str
    method: str
    lookup: _core.LookUp
    rules: Rules
    proof: Proof | None


class Answer(NamedTuple):
    """What to send."""

    proof: Proof
    headers: list[tuple[str, str]]
    body: bytes
    asked: Asked
    store: Store

    def visit(self) -> Visit:
        """The request's way through the cache, for whoever wants to know of it."""
        visit = _visit(self.asked, self.store)
        visit.settle("hit")
        return visit


def asked(
    meta: dict[str, Any], *, kind: type[HttpRequest], scheme: str, path: str, query: str
) -> Asked | None:
    """
    A request with this ``META``, of which Django would make one of this class; ``None`` if it is
    Django's to answer. ``path`` and ``query`` are decoded as Django decodes them.
    """
    wanted = rules.get()
    if wanted.refusal or not rules.are_receivers_safe(wanted) or commit.dirty():
        return None
    language = _language(path) if wanted.has_locale else None
    if language == _UNKNOWN:
        return None
    lookup = wanted.early.look_up(
        conf.site(),
        meta,
        kind,
        scheme,
        path,
        query,
        kind is WSGIRequest,
        language,
    )
    key = None if lookup is None else lookup.key
    if lookup is None or key is None:
        return None
    method = meta["REQUEST_METHOD"]
    return Asked(key, method, lookup, wanted, proofs.known().get((key, method)))


_UNKNOWN = "\0"


def _language(path: str) -> str | None:
    """The language that ``LocaleMiddleware`` takes from this path; ``_UNKNOWN`` if it does not."""
    if code := get_language_from_path(path):
        return str(to_language(code))
    _, is_default_prefixed = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
    return _UNKNOWN if is_default_prefixed else str(to_language(settings.LANGUAGE_CODE))


# -- Its answer ------------------------------------------------------------------------------------


def look_up(it: Asked) -> Answer | None:
    """The page for this request, if it is one that may be served early."""
    proof = it.proof
    if proof is None or not proof.is_proven:
        return None
    store = stores.of(it.rules.area.alias)
    if store.breaker.is_failing and not store.is_allowed(0):
        return None
    try:
        store.answer(it.lookup)
    except Exception as error:
        fault(_visit(it, store), "look up a page", error)
        return None
    return _answer(it, proof, store)


async def alook_up(it: Asked) -> Answer | None:
    """As ``look_up``."""
    proof = it.proof
    if proof is None or not proof.is_proven:
        return None
    store = stores.of(it.rules.area.alias)
    if store.breaker.is_failing and not store.is_allowed(0):
        return None
    try:
        await store.aanswer(it.lookup)
    except Exception as error:
        fault(_visit(it, store), "look up a page", error)
        return None
    return _answer(it, proof, store)


def _answer(it: Asked, proof: Proof, store: Store) -> Answer | None:
    if store.breaker.is_failing:
        store.breaker.answered()
    again = it.lookup.repeat(proof.identity, time.time())
    if again is None:
        return None
    age, ttl, body = again
    answer = Answer(proof, proof.headers_at(age, ttl), body, it, store)
    if it.rules.counts_hits:
        hit_counts.add(answer.visit())
    return answer


def _visit(it: Asked, store: Store) -> Visit:
    visit = Visit(it.rules.area)
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


def learn(it: Asked, hits: list[Visit], sent: Callable[[], Sent | None]) -> None:
    """Learn of what Django has sent for this request; raises nothing."""
    try:
        if len(hits) == 1 and _is_the_same(it, visit := hits[0]):
            made = sent()
            assert visit.lookup is not None
            assert visit.lookup.hit is not None
            shown = Proof(visit.lookup.hit.identity)
            if made is not None:
                shown = proofs.of(visit, made, it.rules).after(it.proof)
            proofs.known().put(it.key, it.method, shown)
    except Exception:
        logger.exception("viewcache could not learn of a hit; it is served by Django.")


def _is_the_same(it: Asked, visit: Visit) -> bool:
    """Did the middleware find the page that was asked for here, one that is not yet refused?"""
    hit = visit.lookup.hit if visit.lookup is not None else None
    return (
        visit.lookup is not None
        and hit is not None
        and visit.outer is None
        and visit.lookup.key == it.key
        and visit.area[:2] == it.rules.area[:2]
        and not (it.proof and it.proof.is_refused and it.proof.identity == hit.identity)
    )
