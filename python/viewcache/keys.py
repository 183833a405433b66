"""
Drop-in ``learn_cache_key()`` and ``get_cache_key()``, and the ``expire_view_cache()`` that Django
projects paste from blog posts. Thin doors to the functions of the extension module: the settings
are read here, the work is done there.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from itertools import product
from typing import Any, NamedTuple

from django.apps import apps
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.base import BaseCache
from django.core.exceptions import SynchronousOnlyOperation
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.encoding import escape_uri_path
from django.utils.functional import Promise
from django.utils.timezone import get_current_timezone_name

from . import _core, commit, compat, conf, history, scopes, signals
from .activated import language, zone
from .installed import DJANGO
from .store import Store
from .uri import absolute_uri

logger = logging.getLogger("viewcache.expiry")


def get_cache_key(
    request: HttpRequest,
    key_prefix: str | None = None,
    method: str = "GET",
    cache: BaseCache | None = None,
) -> str | None:
    """
    ``django.utils.cache.get_cache_key`` with the cookies in canonical order.

    Returns the key of the page that this request gets from Django's cache, or ``None`` when
    nothing has been learnt about its URL. Raises what Django's raises.
    """
    recipe = compat.key_recipe()
    if recipe is None:
        return compat.django_get_cache_key(request, key_prefix, method, cache)
    if key_prefix is None:
        key_prefix = conf.django("CACHE_MIDDLEWARE_KEY_PREFIX")
    if cache is None:
        cache = caches[conf.django("CACHE_MIDDLEWARE_ALIAS")]
    method = str(method)  # Django formats it, whatever it is
    key: str | None = _core.get_cache_key(DJANGO, request, key_prefix, method, cache, recipe)
    if key is not NotImplemented:
        return key
    url, code, name = absolute_uri(request), language(request), zone()
    return _core.get_cache_key_of(request, key_prefix, method, cache, recipe, url, code, name)


def learn_cache_key(
    request: HttpRequest,
    response: HttpResponseBase,
    cache_timeout: float | None = None,
    key_prefix: str | None = None,
    cache: BaseCache | None = None,
) -> str:
    """
    ``django.utils.cache.learn_cache_key`` with the cookies in canonical order.

    Stores which headers the response varies on, for ``cache_timeout`` seconds, and returns the key
    of its page. Raises what Django's raises.
    """
    recipe = compat.key_recipe()
    if recipe is None:
        return compat.django_learn_cache_key(request, response, cache_timeout, key_prefix, cache)
    if key_prefix is None:
        key_prefix = conf.django("CACHE_MIDDLEWARE_KEY_PREFIX")
    if cache_timeout is None:
        cache_timeout = conf.django("CACHE_MIDDLEWARE_SECONDS")
    if cache is None:
        cache = caches[conf.django("CACHE_MIDDLEWARE_ALIAS")]
    vary = compat.header(response, "vary")
    # A list of its own: the cache may keep the very object.
    names = [] if vary is None else [*_listed(vary, bool(conf.django("USE_I18N")))]
    key: str = _core.learn_cache_key(
        DJANGO, request, names, cache_timeout, key_prefix, cache, recipe
    )
    if key is not NotImplemented:
        return key
    url, code, zone_name = absolute_uri(request), language(request), zone()
    return _core.learn_cache_key_of(
        request, names, cache_timeout, key_prefix, cache, recipe, url, code, zone_name
    )


@lru_cache(maxsize=256)
def _listed(vary: str, is_i18n: bool) -> tuple[str, ...]:
    """What Django lists for this ``Vary`` header, of which a site has few."""
    return tuple(_core.vary_list(compat.split_vary(vary), is_i18n))


class ExpireResult(NamedTuple):
    """Whether the pages are expired, and what was done or why not."""

    expired: bool
    reason: str


def expire_view_cache(path: str | Promise, key_prefix: str | None = None) -> ExpireResult:
    """
    Expire every cached variant of one path, at once.

    Also deletes what stock Django code stored for it: the header lists, for every host and scheme
    that ``ALLOWED_HOSTS``, the Sites table and ``VIEWCACHE["HOSTS"]`` name, every language, both
    methods, and the site's ``key_prefix`` or the one given.

    It is done at once, and inside a transaction once more after its commit.

    ``path`` is a path or a full URL, encoded or not. Returns ``(True, what was done)``, or
    ``(False, why not)`` when the cache failed; never raises for a fault of the cache. Raises
    ``ValueError`` for an empty or relative path, or what is no path.
    """
    given = scopes.text(path)
    written = scopes.of_path(given)
    paths = [scope.removeprefix("path:") for scope in written]
    # Django formats it, whatever it is.
    prefix = str(settings.CACHE_MIDDLEWARE_KEY_PREFIX if key_prefix is None else key_prefix)
    try:
        store = Store()
        # Not by the core: the store knows which backends do not say that they took nothing.
        store.write(history.expiry(written))
        deleted = _core.expire_view_cache(
            store.generations,
            recipe=compat.key_recipe(),
            # The decorator's pages have no prefix unless it was given one.
            key_prefixes=list(dict.fromkeys([prefix, ""])),
            urls=[
                f"{origin}{escape_uri_path(decoded)}"
                for origin in _origins(given)
                for decoded in paths
            ],
            suffixes=list(product(_languages(), _zones())),
        )
        connection = transaction.get_connection()
        if connection.in_atomic_block:
            # Until the commit others still see the old rows, and may store pages of them.
            commit.gather(written, connection, _write_again)
    except SynchronousOnlyOperation:
        return ExpireResult(
            False,
            "A coroutine cannot ask the database, which has the hosts of the Sites table. "
            "Use sync_to_async(expire_view_cache).",
        )
    except Exception as fault:
        return ExpireResult(False, f"The cache failed: {type(fault).__name__}: {fault}")
    signals.expired(written)
    stock = f"; {deleted} entries of stock Django deleted" if deleted else ""
    return ExpireResult(True, f"every variant of {paths[0]} expired{stock}")


def _write_again(written: list[str]) -> bool:
    """After the commit there is nobody to whom an exception would be of use."""
    try:
        Store().write(history.expiry(written))
    except Exception:
        logger.exception("viewcache could not expire %s after the commit.", ", ".join(written))
        return False
    return True


def _origins(given: str) -> list[str]:
    """``scheme://host`` of all that stock Django may have stored a page of this path under."""
    hosts = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if "*" not in host]
    hosts += conf.get().HOSTS
    if settings.DEBUG and not settings.ALLOWED_HOSTS:
        hosts += ["localhost", "127.0.0.1", "[::1]", "localhost:8000", "127.0.0.1:8000"]
    if apps.is_installed("django.contrib.sites"):
        sites: Any = apps.get_model("sites", "Site")
        hosts += sites.objects.values_list("domain", flat=True)
    origins = [f"{scheme}://{host}" for host in hosts for scheme in ("http", "https")]
    if "://" in given:
        scheme, _, rest = given.partition("://")
        origins.append(f"{scheme.lower()}://{rest.split('/')[0].split('?')[0]}")
    return list(dict.fromkeys(origins))


def _languages() -> list[str | None]:
    return [*scopes.languages()] if settings.USE_I18N else [None]


def _zones() -> list[str | None]:
    if not settings.USE_TZ:
        return [None]
    return list(dict.fromkeys([settings.TIME_ZONE, str(get_current_timezone_name())]))
