"""
The ``VIEWCACHE`` setting: one dictionary, compiled once into typed settings.
"""

from __future__ import annotations

import difflib
import json
import math
import sys
from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.crypto import salted_hmac

from . import _core, breaker, stampede

# What advertisers append to links; no view reads them. Settings may extend or replace the list.
TRACKING_PARAMETERS = (
    "utm_*",
    "fbclid",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "mc_cid",
    "mc_eid",
    "igshid",
    "ttclid",
    "twclid",
    "yclid",
    "li_fat_id",
    "_ga",
    "_gl",
)


_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Settings:
    """
    What ``VIEWCACHE`` may contain, with the defaults. A plain class: making one of another kind of
    so many fields takes longer than all else here.
    """

    #: ``"app.Model"`` to a callable (or its dotted path) that takes an instance and returns the
    #: paths, tags and ``tree:/…/`` scopes to expire, or one of these; ``None``: its URL. The tags
    #: of the instance and of its model are expired in any case.
    EXPIRE_ON_SAVE: Mapping[str, Any] = _NOTHING
    #: Hosts, beyond those of ``ALLOWED_HOSTS`` and the Sites table, whose pages stock Django
    #: stored and ``expire_view_cache()`` deletes.
    HOSTS: tuple[str, ...] = ()
    #: Cookies that no page depends on, as names in which ``*`` stands for anything.
    IGNORE_COOKIES: tuple[str, ...] = ()
    #: Query parameters that no page depends on, likewise.
    IGNORE_QUERY: tuple[str, ...] = TRACKING_PARAMETERS
    #: Ignore the order of query parameters: are ``?a=1&b=2`` and ``?b=2&a=1`` one page? The order
    #: of one name's values always counts.
    SORT_QUERY: bool = False
    #: Does a page vary on the cookies that were read while it rendered (True), or on the whole
    #: Cookie header wherever the response says ``Vary: Cookie`` (False)?
    VARY_ON_READ: bool = True
    #: Note which rows and tables each page reads, and expire it when they change? True, or the
    #: labels of the apps and models for which that is done.
    TRACK: bool | frozenset[str] = False
    #: Rows that a page may name; where it reads more, it depends on the whole of their table.
    TRACK_ROWS: int = 64
    #: Tables (``None``) or columns of them whose changes are on no page, beyond the sessions, the
    #: admin's log and ``{"auth_user": ["last_login"]}``.
    QUIET: Mapping[str, list[str] | None] = _NOTHING
    #: How many expiries to keep on record, for ``manage.py viewcache why-expired`` and the admin,
    #: such as 1000; 0 records none, and so does ``SETTLE_SECONDS``.
    RECORD_EXPIRIES: int = 0
    #: Count the hits of each page, for the admin's list and ``manage.py viewcache list``? Requests
    #: send no command for it; every ten seconds a thread of each process sends what it counted.
    COUNT_HITS: bool = False
    #: Say on each response what the cache did (RFC 9211)? ``"debug"`` adds keys and scopes while
    #: ``DEBUG`` is on.
    CACHE_STATUS: bool | Literal["debug"] = False
    #: Middleware that does nothing with a cached page and changes nothing that its key is made of,
    #: and receivers of ``request_started`` of which the same is true, as dotted paths: pages that
    #: pass them may be served before Django builds a request (``viewcache.wsgi.early()``).
    EARLY_SAFE: tuple[str, ...] = ()
    #: Warn, where a page is stored, of what was read while it was made and is not in its key
    #: (headers, cookies, ignored query parameters, the visitor's address), at the line that read
    #: it? For development and tests.
    AUDIT: bool = False
    #: Sign pages, and what URLs vary on, with ``SECRET_KEY`` (HMAC-SHA-256)? Entries that neither
    #: it nor one of ``SECRET_KEY_FALLBACKS`` has signed are misses: for a cache that others can
    #: write to.
    SIGN: bool = False
    #: Functions of the database, beyond its own, that read and write no table: statements that
    #: call any other are not understood.
    PURE_FUNCTIONS: tuple[str, ...] = ()
    #: Pages of another release are not served: a string such as the revision of the code.
    RELEASE: str = ""
    #: How many seconds a request waits for another that renders the same page; 0 is not at all.
    WAIT_SECONDS: float = 3.0
    #: How many seconds a request waits, at most, for a cache that has failed and may be back.
    FAULT_SECONDS: float = 0.05
    #: Write down in the database, in the transaction of a change, what it expires, so that no
    #: process that is killed and no cache that is down loses it? Needs ``manage.py migrate``.
    DURABLE: bool = False
    #: Seconds after an expiry in which pages of its scopes are served and not stored: as long as a
    #: replica that pages are read from may lag behind. 0 is not at all.
    SETTLE_SECONDS: float = 0.0
    #: How many pages the inventory has places for, by which ``manage.py viewcache list``, the admin
    #: and patterns find what is cached; 0 switches it off. It is on because it costs one command
    #: when a process first stores a page, and none after that, and what was never listed cannot
    #: be found later.
    INVENTORY: int = 50_000
    #: For how many seconds a page may be served when its time is over, while one request renders it
    #: anew (RFC 5861). A view or the response's ``Cache-Control`` may say otherwise.
    STALE_WHILE_REVALIDATE: int = 0
    #: For how many seconds a page may be served when its time is over, where its view fails
    #: (RFC 5861). A view or the response's ``Cache-Control`` may say otherwise.
    STALE_IF_ERROR: int = 0
    #: For how many seconds, from its rendering on, browsers and proxies may keep a page without
    #: asking, where the response does not say it itself; an expiry does not reach their copies. 0:
    #: they ask each time. ``None``: as long as the cache keeps it, which is what Django tells them.
    BROWSER_SECONDS: int | None = None
    #: How many entries each memory of a process holds, at most: what URLs vary on, the keys that
    #: are made of a URL, scopes and the generations that were seen of them, what early hits send,
    #: pages in local memory whose checksum was right.
    MEMORY_ENTRIES: int = 10_000
    #: About how many bytes each of these memories may take.
    MEMORY_BYTES: int = 8 * 1024 * 1024

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.__dict__.update(given)


#: Where Django's ``settings`` keeps what was read of it; emptied whenever they change.
CACHED: dict[str, Any] = object.__getattribute__(settings, "__dict__")


def django(name: str) -> Any:
    """
    ``getattr(settings, name)``, without the Python that ``LazyObject`` runs for each attribute:
    a key needs ten settings, and would spend half its time on them.
    """
    try:
        return CACHED[name]
    except KeyError:
        return getattr(settings, name)


#: Seconds are less than these, as far as RFC 9111 section 1.2.2 has caches count, and so is
#: whatever is counted.
BEYOND = 2**31


def _check(name: str, value: Any) -> Any:
    """The value in the form that ``Settings`` promises, or ``ImproperlyConfigured``."""
    expected: str
    match name:
        case "EXPIRE_ON_SAVE":
            expected = "a dictionary such as {'blog.Post': 'blog.caching.urls_for_post'}"
            if isinstance(value, Mapping) and all(
                isinstance(key, str) and key.count(".") == 1 for key in value
            ):
                return {label.lower(): given for label, given in value.items()}
        case "HOSTS" | "IGNORE_COOKIES" | "IGNORE_QUERY" | "PURE_FUNCTIONS" | "EARLY_SAFE":
            expected = "a list of strings"
            if isinstance(value, list | tuple | set | frozenset) and all(
                isinstance(item, str) for item in value
            ):
                return tuple(value)
        case "SORT_QUERY" | "VARY_ON_READ" | "DURABLE" | "AUDIT" | "SIGN" | "COUNT_HITS":
            expected = "True or False"
            if isinstance(value, bool):
                return value
        case "CACHE_STATUS":
            expected = "True, False or 'debug'"
            if isinstance(value, bool) or value == "debug":
                return value
        case "TRACK":
            expected = "True, False, or a list of app and model labels"
            if isinstance(value, bool):
                return value
            if isinstance(value, list | tuple | set | frozenset) and all(
                isinstance(item, str) for item in value
            ):
                return frozenset(value)
        case "QUIET":
            expected = "a dictionary such as {'auth_user': ['last_login'], 'audit_log': None}"
            if isinstance(value, Mapping) and all(
                columns is None or isinstance(columns, list | tuple) for columns in value.values()
            ):
                return {
                    str(table): None if columns is None else [str(name) for name in columns]
                    for table, columns in value.items()
                }
        case "WAIT_SECONDS" | "SETTLE_SECONDS" | "FAULT_SECONDS":
            expected = "a number of seconds, 0 or more"
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and 0 <= value < math.inf:
                return float(value)
        case (
            "INVENTORY"
            | "MEMORY_ENTRIES"
            | "MEMORY_BYTES"
            | "TRACK_ROWS"
            | "RECORD_EXPIRIES"
            | "STALE_WHILE_REVALIDATE"
            | "STALE_IF_ERROR"
        ):
            largest = sys.maxsize if name == "MEMORY_BYTES" else BEYOND - 1
            expected = f"a whole number, 0 or more and at most {largest}"
            if type(value) is int and 0 <= value <= largest:
                return value
        case "BROWSER_SECONDS":
            expected = "a whole number of seconds, 0 or more, or None"
            if value is None or (type(value) is int and 0 <= value < BEYOND):
                return value
        case _:
            expected = "a string"
            if isinstance(value, str):
                return value
    raise ImproperlyConfigured(f"VIEWCACHE[{name!r}] is {value!r}; expected {expected}.")


@cache
def get() -> Settings:
    """
    The settings of this site.

    Raises ``ImproperlyConfigured`` for an unknown name or a value of the wrong kind.
    """
    given = getattr(settings, "VIEWCACHE", {})
    if not isinstance(given, Mapping):
        raise ImproperlyConfigured(f"VIEWCACHE is {given!r}; expected a dictionary.")
    known = [*Settings.__annotations__]
    checked = {}
    for name, value in given.items():
        if name not in known:
            close = difflib.get_close_matches(str(name).upper(), known, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known)}."
            raise ImproperlyConfigured(f"VIEWCACHE has no setting {name!r}.{hint}")
        checked[name] = _check(name, value)
    return Settings(checked)


@cache
def site() -> _core.Site:
    """What all keys of this site share, compiled from the settings."""
    conf = get()
    return _core.Site(
        str(settings.CACHE_MIDDLEWARE_KEY_PREFIX),
        release=_release(conf),
        ignore_cookies=conf.IGNORE_COOKIES,
        ignore_query=conf.IGNORE_QUERY,
        sort_query=conf.SORT_QUERY,
        memory_entries=conf.MEMORY_ENTRIES,
        memory_bytes=conf.MEMORY_BYTES,
        sign_with=_sign_with() if conf.SIGN else (),
        session_cookie=settings.SESSION_COOKIE_NAME if conf.VARY_ON_READ else None,
    )


def _release(conf: Settings) -> str:
    """
    What tells pages of other settings apart. One that was made without ``TRACK`` says nothing of
    what it has read: where it is on, no write would expire it.
    """
    if conf.TRACK is False:
        return conf.RELEASE
    models = conf.TRACK if isinstance(conf.TRACK, bool) else sorted(conf.TRACK)
    tracked = json.dumps([models, sorted(conf.QUIET.items()), sorted(conf.PURE_FUNCTIONS)])
    return f"{conf.RELEASE}\n{tracked}"


def _sign_with() -> list[bytes]:
    """The keys to sign with, the current one first; derived as ``django.core.signing`` does."""
    secrets = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return [
        salted_hmac("viewcache.SIGN", "record", secret, algorithm="sha256").digest()
        for secret in secrets
    ]


@cache
def inventory() -> _core.Inventory:
    """The inventory of this site, compiled from the settings."""
    conf = get()
    return _core.Inventory(site(), places=conf.INVENTORY, remembered=conf.MEMORY_ENTRIES)


def _forget(*, setting: str, **kwargs: Any) -> None:
    if setting == "VIEWCACHE" or setting.startswith(("CACHE", "SECRET_KEY", "SESSION_")):
        get.cache_clear()
        site.cache_clear()
        inventory.cache_clear()
        breaker.reset()
        stampede.passes.clear()


setting_changed.connect(_forget, dispatch_uid="viewcache.conf")
