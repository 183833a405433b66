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

from viewcache import _core, activated, commit, conf, hit_counts, uri
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

    status: int
    phrase: str
    headers: list[tuple[str, str]]
    body: bytes
    visit: Visit
    store: Store


#: What makes an answer conditional is left to Django.
_CONDITIONS = frozenset(
    {"HTTP_IF_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_IF_UNMODIFIED_SINCE"}
)


def asked(
    meta: dict[str, Any], *, kind: type[HttpRequest], scheme: str, path: str, query: str
) -> Asked | None:
    """
    A request with this ``META``, of which Django would make one of this class; ``None`` if it is
    Django's to answer. ``path`` and ``query`` are decoded as Django decodes them.
    """
    wanted, method = rules.get(), meta["REQUEST_METHOD"]
    if (
        wanted.refusal
        or method not in ("GET", "HEAD")
        or meta.get("CONTENT_LENGTH") not in (None, "", "0")
        or "HTTP_TRANSFER_ENCODING" in meta
        or not meta.keys().isdisjoint(_CONDITIONS)
        # A charset of the request's own.
        or ";" in meta.get("CONTENT_TYPE", "")
        or "/." in path
        or not path.startswith("/")
    ):
        return None
    host, scheme = uri.judged_host(meta, kind), uri.seen_scheme(meta, scheme)
    if (
        host is None
        or (wanted.needs_https and scheme != "https")
        or (wanted.needs_www and not host.startswith("www."))
        or not _are_cookies_plain(meta.get("HTTP_COOKIE", ""), wanted)
        or not rules.are_receivers_safe()
        or commit.dirty()
    ):
        return None
    language = _language(path) if wanted.has_locale else activated.active_language()
    if language == _UNKNOWN:
        return None
    lookup = conf.site().look_up(
        meta,
        method=method,
        key_prefix=wanted.area.key_prefix,
        scheme=scheme,
        host=host,
        path=path,
        query=query,
        raw_query=False,
        utf8_cookies=kind is WSGIRequest,
        only=None,
        language=language,
        zone=activated.zone(),
    )
    key = None if lookup is None else lookup.key
    if lookup is None or key is None:
        return None
    return Asked(key, method, lookup, wanted, proofs.known().get(key, method))


_UNKNOWN = "\0"


def _language(path: str) -> str | None:
    """The language that ``LocaleMiddleware`` takes from this path; ``_UNKNOWN`` if it does not."""
    if code := get_language_from_path(path):
        return str(to_language(code))
    _, is_default_prefixed = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
    return _UNKNOWN if is_default_prefixed else str(to_language(settings.LANGUAGE_CODE))


#: ``SessionBase`` takes shorter keys for none, and then the cookie is deleted.
_SESSION_KEY = 8
#: A CSRF secret or a token; for another Django sets a new cookie.
_SECRETS = (32, 64)


def _are_cookies_plain(header: str, wanted: Rules) -> bool:
    """Has the visitor none of the cookies that Django answers with ``Set-Cookie``?"""
    if not header.isascii():
        return False
    name = wanted.session_cookie
    value = _core.cookie_value(header, name) if name in header else None
    if value is not None and (len(value) < _SESSION_KEY or '"' in value):
        return False
    name = wanted.secret_cookie
    value = _core.cookie_value(header, name) if name in header else None
    return value is None or (len(value) in _SECRETS and value.isalnum())


# -- Its answer ------------------------------------------------------------------------------------


def look_up(it: Asked) -> Answer | None:
    """The page for this request, if it is one that may be served early."""
    visit = _visit(it)
    if visit is None or visit.store is None:
        return None
    try:
        while it.lookup.receive(visit.store.fetch(*it.lookup.wanted()), time.time()):
            pass
    except Exception as error:
        fault(visit, "look up a page", error)
        return None
    return _answer(it, visit)


async def alook_up(it: Asked) -> Answer | None:
    """As ``look_up``."""
    visit = _visit(it)
    if visit is None or visit.store is None:
        return None
    try:
        while it.lookup.receive(await visit.store.afetch(*it.lookup.wanted()), time.time()):
            pass
    except Exception as error:
        fault(visit, "look up a page", error)
        return None
    return _answer(it, visit)


def _visit(it: Asked) -> Visit | None:
    if it.proof is None or not it.proof.is_proven:
        return None
    visit = Visit(it.rules.area)
    visit.lookup, visit.store = it.lookup, Store(it.rules.area.alias)
    return visit if visit.store.is_allowed(0) else None


def _answer(it: Asked, visit: Visit) -> Answer | None:
    assert visit.store is not None
    visit.store.breaker.answered()
    hit, known = it.lookup.hit, it.proof
    if known is None or hit is None or it.lookup.key != it.key:
        return None
    again = hit.again(known.identity)
    if again is None:
        return None
    visit.settle("hit")
    hit_counts.add(visit)
    stored_at, expires_at, body = again
    headers = known.headers_at(time.time(), stored_at, expires_at)
    return Answer(known.status, known.phrase, headers, body, visit, visit.store)


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
