"""
``VIEWCACHE["AUDIT"]``: what was read of a request while its page was made, and is not in its key.

Such a page is shared by visitors who differ in what was read. The audit watches more of a request
than :mod:`viewcache.reads` does: headers, the query, the visitor's address. What was read is held
against the key once the page is stored. ``explain(render=True)`` always looks, whatever the
setting.

It sees what goes through the request and, with ``TRACK``, what is found in Django's caches, and
nothing else: not the time, not the database (that is ``TRACK``'s), not a service that a view calls.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from . import _core, compat, conf, reads
from .audited import Audit, of
from .policy import Permission
from .visit import Visit


class UnkeyedReadWarning(RuntimeWarning):
    """A page shows what its key does not have, or may: visitors who differ in it share it."""


class UntrackedReadWarning(RuntimeWarning):
    """A page shows what an app keeps in Django's cache, and may be old when that changes."""


@dataclass(frozen=True)
class Untracked:
    """With ``TRACK``: what was found in one of Django's caches while the page was made."""

    key: str
    #: File and line of the first read.
    where: str
    #: What to do about it.
    advice: str = (
        "What it was made of is not known: name it with viewcache.depends_on() before it is read, "
        "and expire that tag when it changes."
    )


@dataclass(frozen=True)
class Unkeyed:
    """Something that was read while the page was made, and is not in its key."""

    #: ``"header"``, ``"META"``, ``"query"`` or ``"cookie"``.
    kind: str
    #: Empty for all at once: every header, the raw query, every cookie.
    name: str
    #: File and line of the first read.
    where: str
    #: What to do about it.
    advice: str

    @property
    def what(self) -> str:
        """As a sentence names it."""
        if self.name:
            return f"{'request.META' if self.kind == 'META' else f'the {self.kind}'} {self.name}"
        return {"query": "the query string as it was sent", "header": "all headers at once"}.get(
            self.kind, "all cookies at once"
        )


#: A request with these is refused, or answered by a status that is never stored, or is told apart
#: by other means.
_JUDGED = frozenset(
    {
        "cookie",
        "host",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
        "transfer-encoding",
    }
)
_CREDENTIALS = frozenset({"authorization", "proxy-authorization"})

_VARY = (
    "Name it in Vary (django.views.decorators.vary.vary_on_headers), or say that the page is "
    "private (cache_control(private=True))."
)
_LANGUAGE = (
    "The language that Django chose is in the key instead: use request.LANGUAGE_CODE, or say that "
    "the page is private (cache_control(private=True))."
)
_PRIVATE = (
    "No Vary can name it. Make what it is needed for in a slot (viewcache.slot), or say that the "
    "page is private (cache_control(private=True))."
)
_QUERY = "Name it in cache_page(query=[…]), or take it out of VIEWCACHE['IGNORE_QUERY']."
_COOKIE = "Name it in cache_page(cookies=[…]), or take it out of VIEWCACHE['IGNORE_COOKIES']."
_NOT_WATCHED = "Let the response say Vary: Cookie, or switch VIEWCACHE['VARY_ON_READ'] on."


def judge(request: HttpRequest, visit: Visit, permission: Permission | str) -> None:
    """
    A page was stored. Note what it depends on that its key does not have, and warn of it with
    ``UnkeyedReadWarning``, at the line that read it. With ``TRACK`` warn of what it found in
    Django's caches, too, unless it names a tag. A warning that a filter makes an error is raised.
    """
    audit = of(request)
    if audit is None or isinstance(permission, str) or visit.lookup is None:
        return
    recipe = visit.lookup.recipe
    headers, cookies = (set(recipe[0]), recipe[1]) if recipe else (set(), [])
    audit.unkeyed = tuple(
        _unkeyed(request, audit, visit, headers, cookies, is_public=permission.public)
    )
    if visit.store is None or visit.store.is_dry:
        return
    match = request.resolver_match
    page = f"The page of {match.view_name}" if match else f"The page at {request.path}"
    for found in audit.unkeyed:
        _warn(
            UnkeyedReadWarning,
            f"{page} depends on {found.what}, which is not in its key, so visitors who differ in "
            f"it share the page. {found.advice}",
            found.where,
        )
    if any(scope.startswith("tag:") for scope, _ in visit.lookup.scopes):
        return  # somebody has thought about what expires it
    for each in untracked(request):
        _warn(
            UntrackedReadWarning,
            f"{page} shows what was found in the cache under {each.key!r}. {each.advice}",
            each.where,
        )


def _warn(category: type[Warning], text: str, where: str) -> None:
    """At the line that read it: the site's own, where it called another's."""
    file, _, line = where.rpartition(", for ")[2].rpartition(":")
    at = int(line) if line.isdecimal() else 0
    warnings.warn_explicit(text, category, file or where, at, registry=_warned)


def untracked(request: HttpRequest) -> tuple[Untracked, ...]:
    """What was found in Django's caches while this request's page was made."""
    audit = of(request)
    return tuple(Untracked(*found) for found in audit.cached.items()) if audit else ()


#: Python's own note of what it has warned of: once for each text and line, by default.
_warned: dict[Any, Any] = {}


#: A response that is refused by these is stored for nobody, whoever asks.
_FOR_NOBODY = ("Cache-Control: ", "Vary: ", "status ", "streaming")


def of_refused(
    request: HttpRequest, response: HttpResponseBase, visit: Visit
) -> tuple[Unkeyed, ...]:
    """
    What the page would depend on beyond its key, where only this response of it may not be stored:
    it sets a cookie, perhaps, and the next visitor's does not.
    """
    audit = of(request)
    if audit is None or visit.lookup is None or visit.reason.startswith(_FOR_NOBODY):
        return ()
    vary = set(_core.read_vary(compat.header(response, "vary") or "")[0] or ())
    _, public, _ = _core.read_cache_control(compat.header(response, "cache-control") or "")
    cookies: list[str] | None = None
    if visit.area.cookies is not None:
        cookies = sorted(visit.area.cookies)
    elif not conf.get().VARY_ON_READ and "cookie" not in vary:
        cookies = []
    return tuple(_unkeyed(request, audit, visit, vary, cookies, is_public=public))


def _unkeyed(
    request: HttpRequest,
    audit: Audit,
    visit: Visit,
    headers: set[str],
    cookies: list[str] | None,
    *,
    is_public: bool,
) -> Iterator[Unkeyed]:
    """What was read and is neither of these headers nor these cookies, all where ``None``."""
    resolved = _resolved_headers()
    for name, where in audit.headers.items():
        if name in headers or name in _JUDGED or name in resolved:
            continue
        if name in _CREDENTIALS and not is_public:
            continue
        is_language = name == "accept-language" and settings.USE_I18N
        yield Unkeyed("header", name, where, _LANGUAGE if is_language else _VARY)
    if audit.all_headers is not None:
        yield Unkeyed("header", "", audit.all_headers, "Read those that are needed by their names.")
    for name, where in audit.meta.items():
        yield Unkeyed("META", name, where, _PRIVATE)
    yield from _query(request, audit, visit.area.query)
    yield from _cookies(audit.reads, cookies)


def _resolved_headers() -> set[str]:
    """Headers whose outcome is in every key by the settings: as the host, or as the scheme."""
    names = {"x-forwarded-host"} if settings.USE_X_FORWARDED_HOST else set()
    if settings.SECURE_PROXY_SSL_HEADER:
        names.add(settings.SECURE_PROXY_SSL_HEADER[0].removeprefix("HTTP_").replace("_", "-"))
    return {name.lower() for name in names}


def _query(request: HttpRequest, audit: Audit, only: _core.Names | None) -> Iterator[Unkeyed]:
    ignored = _core.Names(list(conf.get().IGNORE_QUERY))

    def enters(name: str) -> bool:
        return not ignored.matches(name) if only is None else only.matches(name)

    for name, where in audit.query.items():
        # Who takes the whole looks up each, too.
        if not enters(name) and where != audit.raw_query:
            yield Unkeyed("query", name, where, _QUERY)
    if audit.raw_query is not None:
        pairs = _core.query_pairs(dict.get(request.META, "QUERY_STRING", ""))
        left_out = sorted({name for name, _ in pairs if not enters(name)})
        if left_out:
            advice = f"It holds {', '.join(left_out)}, which the key leaves out."
            yield Unkeyed("query", "", audit.raw_query, f"{advice} {_QUERY}")


def _cookies(seen: reads.Reads, keyed: list[str] | None) -> Iterator[Unkeyed]:
    ignored = _core.Names(list(conf.get().IGNORE_COOKIES))
    advice = _COOKIE if conf.get().VARY_ON_READ else _NOT_WATCHED
    read = dict(seen.names)
    if seen.session:
        read.setdefault(reads.session_cookie(), seen.session)
    for name, where in read.items():
        if ignored.matches(name) or (keyed is not None and name not in keyed):
            yield Unkeyed("cookie", name, where, advice)
    if seen.all is not None and keyed is not None:
        yield Unkeyed("cookie", "", seen.all, advice)
