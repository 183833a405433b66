"""
Why is this page the cached one, or not? And what tells two visitors apart?

The request goes through the site's own middleware, so that language, session and user are as for
a visitor, up to where the cache is asked. The cache is read and never written; the view does not
run, unless a rendering is asked for, and then what it makes is not stored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from inspect import unwrap
from io import BytesIO
from typing import Any, cast

from asgiref.sync import sync_to_async
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIRequest
from django.db import connections
from django.http import HttpRequest, HttpResponse, parse_cookie
from django.http.response import HttpResponseBase

from . import (
    _core,
    activated,
    audit,
    audited,
    bindings,
    conf,
    databases,
    pipeline,
    policy,
    reads,
    slots,
)
from .by_value import Sought
from .explanation import (
    Explanation,
    Input,
    Page,
    Read,
    Recipe,
    Rendering,
    Scope,
    SetCookie,
    Written,
)
from .inputs import inputs
from .mixins import CacheMixin
from .request import djangos
from .store import Entry, Store
from .visit import STORE, Visit, visit_of
from .visitor import afresh


def explain(request: HttpRequest, *, render: bool = False) -> Explanation:
    """
    Why this request gets a cached page, or why not.

    A request of its own is made from it and goes through the site's middleware, up to where the
    cache is asked. With ``render`` the view runs as on a miss, to see which cookies are read, and
    where, and whether the page may be stored. The cache is not changed either way.

    Raises ``DisallowedHost`` for a host that the site does not answer to, ``ValueError`` when
    something other than GET or HEAD is to be rendered, and what the cache raises.
    """
    request = djangos(request, "explain()")
    if render and request.method not in ("GET", "HEAD"):
        raise ValueError(f"A {request.method} is not rendered: it may change something.")
    # Is the cache there? In the middleware a fault of it would not be heard.
    Store().fetch([], conf.site().generation_keys(["tree:/"]))
    environ = _environ(request)
    run = _Run(environ, render=False)
    rendered = _Run(environ, render=True) if render else None
    return _explanation(run, rendered)


async def aexplain(request: HttpRequest, *, render: bool = False) -> Explanation:
    """As ``explain``."""
    return await sync_to_async(explain)(request, render=render)


# -- A request of its own -------------------------------------------------------------------------


def _environ(request: HttpRequest) -> dict[str, Any]:
    # Not .items(): a watched request notes who reads all of it.
    meta = {name: value for name, value in dict.items(request.META) if isinstance(value, str)}
    path = request.path_info or "/"
    return {
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "443" if request.scheme == "https" else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "QUERY_STRING": "",
        **{name: value for name, value in meta.items() if not name.startswith("CSRF_COOKIE")},
        "REQUEST_METHOD": request.method or "GET",
        # WSGI hands over bytes as latin-1; the request has decoded them.
        "PATH_INFO": path.encode().decode("latin-1"),
        "SCRIPT_NAME": meta.get("SCRIPT_NAME", "").encode().decode("latin-1"),
        "wsgi.url_scheme": request.scheme or "http",
        "wsgi.input": BytesIO(),
    }


class _DryStore(Store):
    """The cache, read only. What would be written is noted."""

    is_dry = True
    #: The steps below, even where the backend has an async client.
    _native = False

    def __init__(self, alias: str | None, *, blind: bool) -> None:
        super().__init__(alias)
        #: It does not see pages and recipes, so that every look-up is a miss.
        self.blind = blind
        self.asked: list[str] = []
        #: Where generations were asked for, by their keys.
        self.places: dict[str, str | None] = {}
        self.entries: list[Entry] = []

    def fetch(self, pages: Sequence[str], generations: Sequence[str]) -> dict[str, Any]:
        self.asked += pages
        if not pages:
            place = reads.place_of_caller()
            for key in generations:
                self.places.setdefault(key, place)
        return super().fetch([] if self.blind else pages, generations)

    def claim(self, entries: Mapping[str, int]) -> dict[str, Any]:
        return dict(entries)

    def renew(self, entries: Mapping[str, int]) -> dict[str, Any]:
        return dict(entries)

    def put(self, entries: Sequence[Entry]) -> None:
        self.entries += entries

    def enlist(self, keys: Sequence[str], entry: bytes, seconds: int) -> bool:
        return True

    def write(self, entries: Mapping[str, Any]) -> None:
        raise AssertionError("Explaining expires nothing.")


@dataclass(frozen=True)
class _Write:
    """A statement that writes, with its scopes and its place."""

    sql: str
    scopes: Sequence[str]
    place: str | None
    is_uncommitted: bool


class _Run:
    """One way of a request through the site's middleware."""

    def __init__(self, environ: Mapping[str, Any], *, render: bool) -> None:
        self.render = render
        self.request = WSGIRequest({**environ, "wsgi.input": BytesIO()})
        self.request.get_host()  # says at once when the host is not the site's
        cast(Any, self.request)._dont_enforce_csrf_checks = True
        self.request.__dict__[STORE] = self._store
        if render:
            audited.ask(self.request)
        self.view: Callable[..., Any] | None = None
        self.asked_by: list[str] = []
        self.language: str | None = None
        self.zone: str | None = None
        self.refused: str | None = None
        self.error: Exception | None = None
        #: The first query that read each scope, and its place.
        self.read: dict[str, tuple[str, str | None]] = {}
        #: What it has written although it reads it.
        self.written: list[Written] = []
        #: The statements that write.
        self.writes: list[_Write] = []
        with bindings.aside(), afresh(), self._watching():
            bindings.begin()
            handler = BaseHandler()
            handler.load_middleware()
            cast(Any, handler)._view_middleware.append(self._at_view)
            self.response: HttpResponseBase = cast(Any, handler)._middleware_chain(self.request)
        for write in self.writes:
            self._note_whether_read(write)
        # Not response.close(): it says that the request is over, and closes the connections.
        for close in cast(Any, self.response)._resource_closers:
            close()
        if self.error is not None:
            raise self.error
        self.visit = visit_of(self.request)
        if self.visit is not None and self.visit.area.alias is None:
            self.visit = None  # a tag was named, and nothing asked the cache

    @contextmanager
    def _watching(self) -> Iterator[None]:
        """Note what each query reads, and what of Django's caches is read beside them."""
        with ExitStack() as stack:
            if self.render and conf.get().TRACK:
                stack.enter_context(audited.listening())
                for connection in connections.all():
                    stack.enter_context(connection.execute_wrapper(self._note))
            yield

    def _note(self, execute: Any, sql: Any, params: Any, many: bool, context: Any) -> Any:
        if isinstance(sql, str) and not many:
            place = reads.place_of_caller()
            vendor = context["connection"].vendor
            found = databases.analyse(sql, vendor, params, many)
            sought = [Sought(*each) for each in found[6]]
            for scope in [*found[0], *(scope for each in sought for scope in each.scopes)]:
                # A page that reads too many rows reads their table.
                for name in (scope, *bindings.coarse([scope])):
                    self.read.setdefault(name, (sql, place))
            for each in sought:
                # Which row has the value, the database knows.
                self.read.setdefault(each.any_row, (sql, place))
            self._note_writes(context["connection"], sql, found[1], place)
        return execute(sql, params, many, context)

    def _note_writes(
        self, connection: Any, sql: str, scopes: Sequence[str], place: str | None
    ) -> None:
        """
        Does the page expire itself? It does by a write to what it has read, or later reads: once
        it is stored the URL's recipe names that, and it is read before the view begins.
        """
        visit = visit_of(self.request)
        if visit is None or visit.lookup is None:
            return
        if scopes:
            write = _Write(sql, scopes, place, is_uncommitted=connection.in_atomic_block)
            self.writes.append(write)
            self._note_whether_read(write)
        elif visit.reason == bindings.READ_ITS_OWN:
            for write in self.writes:
                if write.is_uncommitted:
                    self._expires_itself(write, write.scopes)

    def _note_whether_read(self, write: _Write) -> None:
        visit = visit_of(self.request)
        if visit is not None and visit.lookup is not None:
            read = {scope for scope, _ in visit.lookup.scopes}
            self._expires_itself(write, [scope for scope in write.scopes if scope in read])

    def _expires_itself(self, write: _Write, scopes: Sequence[str]) -> None:
        for table in dict.fromkeys(map(_table, scopes)):
            written = Written(table, _columns(write.sql), write.place)
            if written not in self.written:
                self.written.append(written)

    def _store(self, alias: str | None) -> _DryStore:
        """Where the cache is asked."""
        self.asked_by.append("middleware" if self.view is None else "view")
        self.language, self.zone = activated.language(self.request), activated.zone()
        try:
            return _DryStore(alias, blind=self.render)
        except Exception as error:
            self.error = error
            raise

    def _at_view(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        self.view = view
        if self.render:
            return None
        area = getattr(view, "viewcache_area", None)
        kind = getattr(view, "view_class", None)
        if area is None and isinstance(kind, type) and issubclass(kind, CacheMixin):
            instance: Any = kind(**getattr(view, "view_initkwargs", {}))
            instance.setup(request, *args, **kwargs)
            area = instance.cache_area(request)
            self.refused = "logged-in user" if area is None else None
        if area is not None:
            pipeline.look_up(request, area)
        request.__dict__["_cache_update_cache"] = False
        return HttpResponse()


# -- What it shows --------------------------------------------------------------------------------


def _explanation(run: _Run, rendered: _Run | None) -> Explanation:
    request, visit = run.request, run.visit
    lookup = visit.lookup if visit else None
    store = cast("_DryStore | None", visit.store if visit else None)
    hit = (lookup.hit or lookup.stale(on_error=False)) if lookup else None
    # One that only stands in for errors is no answer yet; the page is told all the same.
    kept = hit or (lookup.stale(on_error=True) if lookup else None)
    recipe = _recipe(lookup)
    rendering = _rendering(rendered) if rendered else None
    keys = store.asked if store else []
    recipe_keys = [key for key in keys if key.startswith("viewcache.r")]
    page_keys = tuple(dict.fromkeys(key for key in keys if _is_page(key)))
    verdict, reason, scope = _verdict(visit)
    if run.refused:
        verdict, reason, scope = "bypass", run.refused, None
    view = run.view or (rendered.view if rendered else None) or pipeline.view_for(request)
    return Explanation(
        method=request.method or "GET",
        url=request.build_absolute_uri(),
        view=_name(view) if view else None,
        asked_by=tuple(dict.fromkeys(run.asked_by)),
        verdict=verdict,
        reason=reason,
        scope=scope,
        recipe=recipe,
        inputs=_inputs(run, _union(recipe, rendering.recipe if rendering else None)),
        scopes=_scopes(lookup, hit, recipe, rendered, store),
        recipe_key=recipe_keys[-1] if recipe_keys else None,
        page_keys=page_keys if recipe else (),
        page=_page(kept, lookup) if lookup and kept else None,
        rendering=rendering,
        answered=_answered(run),
        cookie_order=tuple(parse_cookie(dict.get(request.META, "HTTP_COOKIE", ""))),
        is_changed=pipeline.CHANGED in request.__dict__,
    )


def _verdict(visit: Visit | None) -> tuple[str, str, str | None]:
    if visit is None:
        return "bypass", "nothing asks the cache", None
    if visit.status == "hit":
        return "hit", "", None
    if visit.status == "stale" and visit.lookup is not None and visit.lookup.miss is not None:
        return "stale", *visit.lookup.miss
    if visit.lookup is None or visit.lookup.miss is None:
        return "bypass", visit.reason, None
    return "miss", *visit.lookup.miss


def _inputs(run: _Run, recipe: Recipe | None) -> tuple[Input, ...]:
    if run.visit is None or run.visit.lookup is None:
        return ()
    return tuple(inputs(run.request, run.visit.area, recipe, run.language, run.zone))


def _recipe(lookup: _core.LookUp | None) -> Recipe | None:
    found = lookup.recipe if lookup else None
    if found is None:
        return None
    headers, cookies, tags = found
    return Recipe(tuple(headers), None if cookies is None else tuple(cookies), tuple(tags))


def _union(one: Recipe | None, other: Recipe | None) -> Recipe | None:
    """The recipe as it will be once the page is stored."""
    if one is None or other is None:
        return one or other
    whole = one.cookies is None or other.cookies is None
    return Recipe(
        tuple(sorted({*one.headers, *other.headers})),
        None if whole else tuple(sorted({*(one.cookies or ()), *(other.cookies or ())})),
        tuple(sorted({*one.tags, *other.tags})),
    )


def _page(hit: _core.Hit, lookup: _core.LookUp) -> Page:
    status, _, _, stored_at, expires_at = hit.head()
    names = tuple(slots.readable(name) for name in hit.slots)
    return Page(
        lookup.key or "",
        status,
        stored_at,
        expires_at,
        hit.size,
        names,
        *hit.windows,
        stale_since=lookup.stale_since,
    )


def _scopes(
    lookup: _core.LookUp | None,
    hit: _core.Hit | None,
    recipe: Recipe | None,
    rendered: _Run | None,
    store: _DryStore | None,
) -> tuple[Scope, ...]:
    """Those of the path, then those of the pages of this URL; are their generations there?"""
    if lookup is None or store is None:
        return ()
    names = [scope for scope, _ in lookup.scopes]
    names += hit.tags if hit else (recipe.tags if recipe else ())
    made = rendered.visit if rendered else None
    if made is not None and made.lookup is not None:
        names += [scope for scope, _ in made.lookup.scopes]
    names = list(dict.fromkeys(names))
    keys = conf.site().generation_keys(names)
    found = Store.fetch(store, [], keys)
    places = cast(_DryStore, made.store).places if made and made.store else {}
    read = rendered.read if rendered else {}
    scopes = []
    for name, key in zip(names, keys, strict=True):
        any_row = f"{name.rpartition(':')[0]}:"
        query, where = read.get(name) or read.get(any_row) or (None, None)
        if name.startswith("tag:"):
            where = places.get(key)
        scopes.append(Scope(name, key in found, where, query))
    return tuple(scopes)


def _rendering(run: _Run) -> Rendering:
    visit, seen, audited_as = run.visit, reads.of(run.request), audited.of(run.request)
    unkeyed = audited_as.unkeyed if audited_as else ()
    entries: list[Entry] = []
    refusal = timeout = None
    if visit is None:
        refusal = "nothing asks the cache"
    elif visit.status == "stored":
        # The visit that stored may be one around the innermost.
        around: Visit | None = visit
        while around is not None and not entries:
            entries, timeout = cast(_DryStore, around.store).entries, around.timeout
            around = around.outer
    else:
        _, code, scope = _verdict(visit)
        unchanged = visit.reason == (f"{code} {scope}" if scope else code)
        refusal = "nothing stores it" if visit.status == "miss" and unchanged else visit.reason
        unkeyed = unkeyed or audit.of_refused(run.request, run.response, visit)
    return Rendering(
        status=run.response.status_code,
        timeout=timeout,
        refusal=refusal,
        recipe=_recipe(visit.lookup) if visit and entries else None,
        cookies=tuple(Read(name, where) for name, where in seen.names.items()) if seen else (),
        all_cookies=seen.all if seen else None,
        session=seen.session if seen else None,
        csrf_token=seen.token if seen else None,
        unkeyed=unkeyed,
        untracked=audit.untracked(run.request),
        written=tuple(run.written),
        sets=tuple(_sets(run)) if refusal == "Set-Cookie" else (),
    )


def _table(scope: str) -> str:
    kind, _, rest = scope.partition(":")
    return rest.rpartition(":")[0] if kind in ("row", "value") else rest


#: What an UPDATE sets, up to its condition; and each column of that, without what it is set to.
_SET = re.compile(r"\s*UPDATE\s.*?\sSET\s(.*?)(?:\sWHERE\s.*)?", re.IGNORECASE | re.DOTALL)
_COLUMN = re.compile(r"(?:^|,)\s*[\"`\[]?(\w+)[\"`\]]?\s*=")
_IN_BRACKETS = re.compile(r"\([^()]*\)")


def _columns(sql: str) -> tuple[str, ...]:
    """The columns that an UPDATE sets, as Django writes it; of anything else none."""
    found = _SET.fullmatch(sql)
    if found is None:
        return ()
    text, count = found[1], 1
    while count:
        text, count = _IN_BRACKETS.subn("", text)
    return tuple(_COLUMN.findall(text))


def _sets(run: _Run) -> Iterator[SetCookie]:
    """The cookies by which the response is one visitor's."""
    seen = reads.of(run.request)
    brought = parse_cookie(dict.get(run.request.META, "HTTP_COOKIE", ""))
    by_view = seen.left[0] if seen is not None and seen.left is not None else None
    for name in policy.cookies_for_one(run.request, run.response):
        set_by = None
        if by_view is not None:
            set_by = "the view" if name in by_view else "middleware"
        yield SetCookie(name, name not in brought, set_by)


def _is_page(key: str) -> bool:
    return key.startswith("viewcache.p")


def _answered(run: _Run) -> tuple[int, str | None] | None:
    hit = run.visit is not None and run.visit.status in ("hit", "stale")
    if hit or run.view is not None:
        return None
    return run.response.status_code, run.response.headers.get("Location")


def _name(view: Callable[..., Any]) -> str:
    view = getattr(view, "view_class", None) or unwrap(view)
    name = getattr(view, "__qualname__", type(view).__qualname__)
    return f"{getattr(view, '__module__', '')}.{name}"
