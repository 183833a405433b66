"""
System checks: what in the settings would keep pages from being cached, found or expired.

Each has an id, a hint, and an anchor of the same name in the documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pkgutil import resolve_name
from typing import Any

from django.apps import AppConfig, apps
from django.conf import settings
from django.core import checks
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache, memcache_key_warnings
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.cache.backends.dummy import DummyCache
from django.core.cache.backends.filebased import FileBasedCache
from django.core.cache.backends.locmem import LocMemCache
from django.core.cache.backends.memcached import BaseMemcachedCache, PyMemcacheCache
from django.core.cache.backends.redis import RedisCache
from django.core.exceptions import ImproperlyConfigured
from django.middleware import cache as django_cache
from django.middleware.gzip import GZipMiddleware
from django.middleware.locale import LocaleMiddleware
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils.module_loading import import_string

from . import _core, compat, conf, middleware

DOCUMENTATION = "docs/checks.md"

#: Django's own default, far below the number of pages that even a small site has.
_FEW_ENTRIES = 300
#: The length of our keys, before the cache's prefix and version.
_KEY = "viewcache.p1." + "0" * 64


def register() -> None:
    """Register the checks; called once the models are loaded."""
    checks.register(check, "viewcache")


def check(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[checks.CheckMessage]:
    """All checks."""
    try:
        conf.get()
    except ImproperlyConfigured as error:
        return [_error("E001", str(error), "Correct the VIEWCACHE setting.")]
    return [
        *_check_expire_on_save(),
        *_check_middleware(),
        *_check_caches(),
        *_check_keys(),
        *_check_sessions(),
        *_check_ignored_cookies(),
        *_check_names(),
        *_check_quiet(),
        *_check_wagtail(),
    ]


def _error(number: str, message: str, hint: str) -> checks.CheckMessage:
    return checks.Error(message, hint=_hint(number, hint), id=f"viewcache.{number}")


def _warning(number: str, message: str, hint: str) -> checks.CheckMessage:
    return checks.Warning(message, hint=_hint(number, hint), id=f"viewcache.{number}")


def _hint(number: str, hint: str) -> str:
    return f"{hint} See {DOCUMENTATION}#viewcache-{number.lower()}."


# -- EXPIRE_ON_SAVE -------------------------------------------------------------------------------


def _check_expire_on_save() -> Iterator[checks.CheckMessage]:
    for label, given in conf.get().EXPIRE_ON_SAVE.items():
        name = f"VIEWCACHE['EXPIRE_ON_SAVE'][{label!r}]"
        try:
            apps.get_model(label)
        except (LookupError, ValueError):
            yield _error(
                "E002",
                f"{name} names no model of this project.",
                "Give app label and model name, such as 'blog.Post'.",
            )
        if isinstance(given, str):
            try:
                given = import_string(given)
            except ImportError as error:
                yield _error(
                    "E003", f"{name} cannot be imported: {error}.", "Correct the dotted path."
                )
                continue
        if given is not None and not callable(given):
            yield _error(
                "E003",
                f"{name} is {given!r}, which cannot be called.",
                "Give a function that takes an instance and returns paths and tags, or None.",
            )


# -- Middleware -----------------------------------------------------------------------------------


def _check_middleware() -> Iterator[checks.CheckMessage]:
    kinds = [_imported(name) for name in settings.MIDDLEWARE]
    update = _place(kinds, middleware.UpdateCacheMiddleware)
    fetch = _place(kinds, middleware.FetchFromCacheMiddleware)
    stock = django_cache.UpdateCacheMiddleware, django_cache.FetchFromCacheMiddleware
    if (update is not None or fetch is not None) and _place(kinds, *stock) is not None:
        yield _error(
            "E005",
            "Both Django's and viewcache's cache middleware are in MIDDLEWARE.",
            "Take Django's out: the pages that it serves cannot be expired.",
        )
    if (update is None) != (fetch is None):
        there, missing = ("FetchFromCache", "UpdateCache")[:: 1 if update is None else -1]
        yield _error(
            "E006",
            f"{there}Middleware is in MIDDLEWARE without {missing}Middleware, so no page is "
            "cached by them.",
            "Add viewcache.middleware.UpdateCacheMiddleware as the first and "
            "viewcache.middleware.FetchFromCacheMiddleware as the last.",
        )
    if update is not None:
        yield from _check_seconds()
    if update is None or fetch is None:
        return
    if update > fetch:
        yield _error(
            "E007",
            "UpdateCacheMiddleware stands after FetchFromCacheMiddleware.",
            "Put UpdateCacheMiddleware first and FetchFromCacheMiddleware last.",
        )
        return
    yield from _check_order(kinds, update, fetch)


def _check_seconds() -> Iterator[checks.CheckMessage]:
    seconds = settings.CACHE_MIDDLEWARE_SECONDS
    if not isinstance(seconds, int | float):
        yield _error(
            "E009",
            f"CACHE_MIDDLEWARE_SECONDS is {seconds!r}, which is no number, so no page is cached.",
            "Give a number of seconds; what comes from the environment is text, which int() reads.",
        )


def _check_order(kinds: list[Any], update: int, fetch: int) -> Iterator[checks.CheckMessage]:
    early = [kind.__name__ for kind in kinds[:update] if _reads_visitor(kind)]
    if early:
        yield _warning(
            "W001",
            f"{_and(early)} before UpdateCacheMiddleware: what it adds to a response, such as "
            "Vary, is not part of the page that is stored.",
            "Put UpdateCacheMiddleware before it.",
        )
    late = [kind.__name__ for kind in kinds[fetch + 1 :] if kind and not _chooses(kind)]
    if late:
        yield _warning(
            "W002",
            f"{_and(late)} after FetchFromCacheMiddleware: it does not see requests that are "
            "answered from the cache.",
            "Put FetchFromCacheMiddleware last.",
        )
    choosing = [kind.__name__ for kind in kinds[fetch + 1 :] if _chooses(kind)]
    if choosing:
        yield _warning(
            "W003",
            f"{_and(choosing)} after FetchFromCacheMiddleware: the language or time zone that it "
            "chooses is not in the key, so visitors are served pages in another's.",
            "Put FetchFromCacheMiddleware last.",
        )
    if any(_is(kind, GZipMiddleware) for kind in kinds[update:fetch]):
        yield _warning(
            "W004",
            "GZipMiddleware stands between UpdateCacheMiddleware and FetchFromCacheMiddleware: "
            "pages are stored compressed, so those with a CSRF token or a slot are not cached.",
            "Put GZipMiddleware before UpdateCacheMiddleware.",
        )


def _imported(name: str) -> Any:
    try:
        return import_string(name)
    except ImportError:
        return None  # Django says so itself


def _is(kind: Any, *bases: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, bases)


def _place(kinds: list[Any], *bases: type) -> int | None:
    return next((at for at, kind in enumerate(kinds) if _is(kind, *bases)), None)


def _chooses(kind: Any) -> bool:
    """Does this middleware choose a language or, by its name, a time zone?"""
    name = getattr(kind, "__name__", "").lower()
    return _is(kind, LocaleMiddleware) or "timezone" in name or "locale" in name


def _reads_visitor(kind: Any) -> bool:
    """Does this middleware add to Vary, or cookies?"""
    return _chooses(kind) or getattr(kind, "__name__", "") in (
        "SessionMiddleware",
        "CsrfViewMiddleware",
        "AuthenticationMiddleware",
        "MessageMiddleware",
    )


def _and(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last} stand" if first else f"{last} stands"


# -- Caches ---------------------------------------------------------------------------------------


def _check_caches() -> Iterator[checks.CheckMessage]:
    for alias, user in _aliases().items():
        try:
            cache = caches[alias]
        except Exception as error:
            yield _error(
                "E004",
                f"{user} names the cache {alias!r}, which cannot be had: {error}",
                "Name one of CACHES, and install what its backend needs.",
            )
        else:
            yield from _check_cache(alias, cache)


def _check_cache(alias: str, cache: BaseCache) -> Iterator[checks.CheckMessage]:
    name = f"The cache {alias!r}"
    if isinstance(cache, DummyCache) and not settings.DEBUG:
        yield _warning(
            "W005", f"{name} keeps nothing, so no page is cached.", "Take another backend."
        )
    if isinstance(cache, LocMemCache) and not settings.DEBUG:
        yield _warning(
            "W006",
            f"{name} belongs to one process, so an expiry does not reach the pages of another "
            "worker, and those of a shell reach none.",
            "Take Redis, Valkey or Memcached, unless the site is one process.",
        )
    entries = getattr(cache, "_max_entries", 0)
    if isinstance(cache, LocMemCache | BaseDatabaseCache | FileBasedCache) and (
        entries <= _FEW_ENTRIES and not settings.DEBUG
    ):
        yield _warning(
            "W007",
            f"{name} keeps {entries} entries. Each page takes one or two, and each scope one, so "
            "pages are evicted all the time.",
            "Raise OPTIONS['MAX_ENTRIES'], to 100_000 for example.",
        )
    if isinstance(cache, BaseMemcachedCache):
        problems = list(memcache_key_warnings(cache.make_key(_KEY)))
        if problems:
            yield _warning(
                "W008",
                f"{name} makes keys that Memcached refuses: {problems[0]}",
                "Shorten KEY_PREFIX, and keep spaces and control characters out of it.",
            )
    if isinstance(cache, RedisCache) and len(getattr(cache, "_servers", ())) > 1:
        yield _warning(
            "W009",
            f"{name} reads from replicas, which lag behind: a page may still be served shortly "
            "after it was expired.",
            "Give LOCATION one server.",
        )
    if not settings.DEBUG and (missing := _missing_timeout(cache)):
        yield _warning(
            "W013",
            f"{name} has no {missing}: when the server hangs, the requests that find out, and "
            "every expiry, hang for as long as the client waits.",
            f"Set OPTIONS[{missing!r}], to 0.1 (seconds) for example.",
        )
    if isinstance(cache, BaseDatabaseCache) and conf.get().TRACK:
        yield _warning(
            "W010",
            f"{name} is a database table, and TRACK reads a generation for every query: a miss "
            "costs more queries than the page.",
            "Take Redis, Valkey or Memcached.",
        )


def _missing_timeout(cache: BaseCache) -> str | None:
    """The option that says how long the client waits, where it is not set; by default for ever."""
    options = getattr(cache, "_options", None) or {}
    servers = " ".join(map(str, getattr(cache, "_servers", ())))
    if isinstance(cache, RedisCache):
        name = "socket_timeout"
    elif isinstance(cache, PyMemcacheCache):
        name = "timeout"
    else:
        return None
    return None if options.get(name) or f"{name}=" in servers else name


def _aliases() -> dict[str, str]:
    """The caches that pages are kept in, each with the first that names it."""
    found = {settings.CACHE_MIDDLEWARE_ALIAS: "CACHE_MIDDLEWARE_ALIAS"}
    try:
        patterns = get_resolver().url_patterns
    except Exception:
        return found  # Django's own checks say what is wrong with the URLconf
    for view in _views(patterns):
        area = getattr(view, "viewcache_area", None)
        if area is not None and area.alias is not None:
            name = getattr(view, "__qualname__", repr(view))
            found.setdefault(area.alias, f"cache_page of {view.__module__}.{name}")
    return found


def _views(patterns: Sequence[URLPattern | URLResolver]) -> Iterator[Callable[..., Any]]:
    for item in patterns:
        if isinstance(item, URLResolver):
            yield from _views(item.url_patterns)
        else:
            yield item.callback


# -- The rest -------------------------------------------------------------------------------------


def _check_keys() -> Iterator[checks.CheckMessage]:
    if compat.key_recipe() is None:
        yield _warning(
            "W011",
            "The installed Django makes its cache keys in a way that this viewcache does not "
            "know, so learn_cache_key() and get_cache_key() are Django's own, and "
            "expire_view_cache() does not reach pages that Django's own middleware stored.",
            "Upgrade django-viewcache. Pages of viewcache's own middleware are not affected.",
        )


def _check_sessions() -> Iterator[checks.CheckMessage]:
    if (
        settings.SESSION_SAVE_EVERY_REQUEST
        and not conf.get().VARY_ON_READ
        and any(name.endswith(".SessionMiddleware") for name in settings.MIDDLEWARE)
    ):
        yield _warning(
            "W012",
            "SESSION_SAVE_EVERY_REQUEST sets a cookie on each response to a visitor that has a "
            "session, and without VARY_ON_READ a response that sets a cookie is not cached.",
            "Leave VARY_ON_READ on or SESSION_SAVE_EVERY_REQUEST off, or expect pages to be cached "
            "for visitors without a session only.",
        )


def _check_ignored_cookies() -> Iterator[checks.CheckMessage]:
    name = settings.SESSION_COOKIE_NAME
    if _core.Names(list(conf.get().IGNORE_COOKIES)).matches(name):
        yield _error(
            "E008",
            f"VIEWCACHE['IGNORE_COOKIES'] matches {name!r}, the session's cookie: a page that was "
            "made for one user is served to all others.",
            "Narrow the pattern. A session that no view reads is not in the key anyway.",
        )


def _check_names() -> Iterator[checks.CheckMessage]:
    wanted = conf.get().TRACK
    if not isinstance(wanted, bool):
        known = {config.label for config in apps.get_app_configs()}
        for model in apps.get_models(include_auto_created=True):
            known |= {model._meta.label, model._meta.label_lower}
        for label in sorted(wanted - known):
            yield _warning(
                "W015",
                f"VIEWCACHE['TRACK'] names {label!r}, which is no app or model of this project: "
                "no page finds out that it reads it.",
                "Give an app label, such as 'blog', or a model, such as 'blog.Post'.",
            )
    for name in conf.get().EARLY_SAFE:
        if "<locals>" in name:
            continue  # such a receiver has no name by which it could be found
        try:
            resolve_name(name)
        except (AttributeError, ImportError, ValueError) as error:
            yield _warning(
                "W016",
                f"VIEWCACHE['EARLY_SAFE'] names {name!r}, which cannot be imported: {error}.",
                "Spell the middleware as in MIDDLEWARE, a receiver by its module and name.",
            )


def _check_quiet() -> Iterator[checks.CheckMessage]:
    models = apps.get_models(include_auto_created=True)
    labels = {model._meta.label_lower: model for model in models}
    # Several models may share a table: proxies, and those that Django does not manage.
    tables: dict[str, set[str]] = {}
    for model in models:
        columns = {str(field.column) for field in model._meta.local_concrete_fields}
        tables.setdefault(model._meta.db_table, set()).update(columns)
    for table, quiet in conf.get().QUIET.items():
        if table not in tables and table.lower() in labels:
            yield _warning(
                "W017",
                f"VIEWCACHE['QUIET'] names {table!r}, which is a model and no table, so its writes "
                "expire pages.",
                f"Give the table, {labels[table.lower()]._meta.db_table!r}.",
            )
        elif table in tables:
            known = tables[table]
            for column in sorted({*(quiet or ())} - known):
                yield _warning(
                    "W017",
                    f"VIEWCACHE['QUIET'] names {column!r}, which is no column of {table!r}.",
                    f"Give columns as the database has them: {', '.join(sorted(known))}.",
                )


def _check_wagtail() -> Iterator[checks.CheckMessage]:
    if (
        apps.is_installed("wagtail")
        and not apps.is_installed("viewcache.wagtail")
        and not conf.get().TRACK
    ):
        yield _warning(
            "W014",
            "Wagtail is installed, and nothing expires the pages that its editors change.",
            "Add 'viewcache.wagtail' to INSTALLED_APPS.",
        )
