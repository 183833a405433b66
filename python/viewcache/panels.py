"""
A panel for Django Debug Toolbar: what the page cache did for this request, and why::

    DEBUG_TOOLBAR_PANELS = [..., "viewcache.panels.ViewcachePanel"]
    INSTALLED_APPS = [..., "debug_toolbar", "viewcache"]

The toolbar's middleware stands before ``UpdateCacheMiddleware``. After it, the toolbar would be
part of the pages that are stored. Requests with the panel do not wait for each other's renders.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from debug_toolbar.panels import Panel
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from . import activated, telling
from .explanation import Recipe
from .inputs import inputs
from .store import Store
from .visit import STORE, Visit, visit_of

#: The steps of a store that are commands to the cache.
_STEPS = ("fetch", "claim", "renew", "take_turn", "give_back", "put")


class _TimedStore(Store):
    """Notes each round trip: what it was, how many keys it named, and milliseconds."""

    #: The steps below, also where the backend has an async client.
    _native = False

    def __init__(self, trips: list[tuple[str, int, float]], alias: str | None = None) -> None:
        super().__init__(alias)
        for name in _STEPS:
            setattr(self, name, partial(_timed, trips, name, getattr(self, name)))


def _timed(
    trips: list[tuple[str, int, float]], name: str, step: Callable[..., Any], *args: Any
) -> Any:
    began = time.perf_counter()
    try:
        return step(*args)
    finally:
        keys = sum(1 if isinstance(item, str) else len(item) for item in args if _is_keys(item))
        trips.append((name, keys, (time.perf_counter() - began) * 1000))


def _is_keys(item: object) -> bool:
    return isinstance(item, str | Sequence | dict)


class ViewcachePanel(Panel):
    """Hit or miss and why, what is in the key, by what the page expires, and the round trips."""

    title = "Page cache"
    is_async = True

    def process_request(self, request: HttpRequest) -> Any:
        self.trips: list[tuple[str, int, float]] = []
        #: Language and time zone, as they were when the cache was asked.
        self.local: tuple[str | None, str | None] = (None, None)

        def store(alias: str | None) -> Store:
            self.local = activated.language(request), activated.zone()
            return _TimedStore(self.trips, alias)

        request.__dict__.setdefault(STORE, store)
        go_on: Callable[[HttpRequest], Any] = super().process_request
        return go_on(request)

    @property
    def _stats(self) -> dict[str, Any]:
        get: Callable[[], dict[str, Any]] = self.get_stats
        return get()

    @property
    def nav_subtitle(self) -> str:
        """Hit, miss, or what else became of the request."""
        return str(self._stats.get("status", ""))

    def generate_stats(self, request: HttpRequest, response: HttpResponseBase) -> None:
        """Keep what the panel shows, as plain values: the toolbar may store them."""
        visit = visit_of(request)
        stats: dict[str, Any] = {"status": "bypass", "why": "nothing asked the cache"}
        if visit is not None and visit.area.alias is not None:
            stats = {"status": visit.status, "why": _why(visit), **self._details(request, visit)}
        record: Callable[[dict[str, Any]], None] = self.record_stats
        record({**stats, "trips": [list(trip) for trip in self.trips]})

    def _details(self, request: HttpRequest, visit: Visit) -> dict[str, Any]:
        lookup = visit.lookup
        if lookup is None:
            return {}
        recipe = None if lookup.recipe is None else _recipe(lookup.recipe)
        found = inputs(request, visit.area, recipe, *self.local)
        return {
            "inputs": [
                [
                    " ".join(filter(None, (item.kind, item.name))),
                    item.value or "",
                    {True: "yes", False: "no", None: "not known yet"}[item.in_key],
                    item.why,
                ]
                for item in found
            ],
            "scopes": [[scope, "yes" if has else "no"] for scope, has in lookup.scopes],
        }

    @property
    def content(self) -> SafeString:
        """The panel."""
        stats = self._stats
        return format_html(
            "<h4>{}</h4><p>{}</p>{}{}{}",
            stats["status"],
            stats["why"],
            _table("Key", ("", "value", "in the key", "why"), stats.get("inputs", ())),
            _table("Scopes", ("scope", "has a generation"), stats.get("scopes", ())),
            _table(
                "Round trips",
                ("step", "keys", "milliseconds"),
                [(step, keys, f"{spent:.2f}") for step, keys, spent in stats["trips"]],
            ),
        )


def _why(visit: Visit) -> str:
    """As ``explain`` tells it."""
    missed = visit.lookup.miss if visit.lookup is not None else None
    if missed is not None and visit.status in ("miss", "stored"):
        code, scope = missed
        told = telling.MISSES.get(code, code).format(scope=telling.scope_name(scope))
        is_refused = visit.status == "miss" and not visit.reason.startswith(code)
        refused = visit.reason if is_refused else ""
        return f"{told} Not stored: {telling.refusal(refused)}" if refused else told
    return telling.refusal(visit.reason) if visit.reason else "the page was fresh."


def _recipe(known: tuple[list[str], list[str] | None, list[str]]) -> Recipe:
    headers, cookies, tags = known
    return Recipe(tuple(headers), None if cookies is None else tuple(cookies), tuple(tags))


def _table(title: str, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> SafeString:
    if not rows:
        return SafeString("")
    cells = format_html_join(
        "",
        "<tr>{}</tr>",
        ((format_html_join("", "<td>{}</td>", ((cell,) for cell in row)),) for row in rows),
    )
    head = format_html_join("", "<th>{}</th>", ((name,) for name in names))
    return format_html(
        "<h4>{}</h4><table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", title, head, cells
    )
