"""
What the settings leave of early hits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.conf import settings
from django.conf.urls.i18n import is_language_prefix_patterns_used
from django.core.cache.backends.db import BaseDatabaseCache
from django.core.signals import request_started, setting_changed
from django.utils.translation import get_language_from_path, to_language

from viewcache import _core, activated, commit, conf, outbox
from viewcache.installed import DJANGO
from viewcache.policy import Area
from viewcache.store import Store

SECURITY = "django.middleware.security.SecurityMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"
COMMON = "django.middleware.common.CommonMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"
BOTH = "viewcache.middleware.CacheMiddleware"

#: Of these it is known what they do with a hit: what depends on the settings is asked in
#: ``_of_settings()``, what depends on the request by ``_core.Early``.
_KNOWN = frozenset(
    {
        SECURITY,
        SESSION,
        LOCALE,
        COMMON,
        CSRF,
        MESSAGES,
        GZIP,
        UPDATE,
        FETCH,
        BOTH,
        "django.contrib.admindocs.middleware.XViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.auth.middleware.LoginRequiredMiddleware",
        "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware",
        "django.contrib.redirects.middleware.RedirectFallbackMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django.middleware.common.BrokenLinkEmailsMiddleware",
        "django.middleware.csp.ContentSecurityPolicyMiddleware",
        "django.middleware.http.ConditionalGetMiddleware",
    }
)


@dataclass(frozen=True)
class Rules:
    """What the settings leave of early hits."""

    area: Area
    #: Why there are none, or ``""``.
    refusal: str
    session_cookie: str
    secret_cookie: str
    is_durable: bool
    counts_hits: bool
    #: What each request is asked, and what is known of pages.
    early: _core.Early


@cache
def get() -> Rules:
    """The rules of this site, by its settings."""
    before = _before_view(list(settings.MIDDLEWARE))
    session, secret = settings.SESSION_COOKIE_NAME, settings.CSRF_COOKIE_NAME
    key_prefix = str(settings.CACHE_MIDDLEWARE_KEY_PREFIX)
    return Rules(
        area=Area(settings.CACHE_MIDDLEWARE_ALIAS, key_prefix, settings.CACHE_MIDDLEWARE_SECONDS),
        # The first: a request only needs to know that there is one.
        refusal=next((found.what for found in _obstacles(before)), ""),
        session_cookie=session,
        secret_cookie=secret,
        is_durable=conf.get().DURABLE,
        counts_hits=conf.get().COUNT_HITS,
        early=_core.Early(
            DJANGO,
            activated.active,
            language=_language if LOCALE in before and settings.USE_I18N else None,
            key_prefix=key_prefix,
            needs_https=SECURITY in before and bool(settings.SECURE_SSL_REDIRECT),
            needs_www=COMMON in before and bool(settings.PREPEND_WWW),
            session_cookie=session,
            secret_cookie=secret,
            # Bounded like its recipes.
            memory_entries=conf.get().MEMORY_ENTRIES,
            memory_bytes=conf.get().MEMORY_BYTES,
        ),
    )


def now() -> Rules | None:
    """The same, if a request that comes now may be answered early at all."""
    rules = get()
    if rules.refusal or not are_receivers_safe(rules) or commit.dirty():
        return None
    return rules


def _language(path: str) -> str | None:
    """The language that ``LocaleMiddleware`` takes from this path; ``None`` if it does not."""
    if code := get_language_from_path(path):
        return str(to_language(code))
    _, is_default_prefixed = is_language_prefix_patterns_used(settings.ROOT_URLCONF)
    return None if is_default_prefixed else str(to_language(settings.LANGUAGE_CODE))


def _before_view(middleware: list[str]) -> list[str]:
    """What a hit passes; nothing where the site has no middleware of ours."""
    ends = [at for at, name in enumerate(middleware) if name in (FETCH, BOTH)]
    return middleware[: ends[0] + 1] if ends else []


@dataclass(frozen=True)
class Obstacle:
    """Why no page of this site is served early, and what to do about it."""

    what: str
    advice: str


def obstacles() -> list[Obstacle]:
    """All that stands in the way of early hits, for whoever asks. A request asks ``now()``."""
    receivers = [
        receiver_name(entry[1]) for entry in request_started.receivers if not _is_safe(entry[1])
    ]
    return [
        *_obstacles(_before_view(list(settings.MIDDLEWARE))),
        *(
            Obstacle(
                f"the receiver {name} of request_started is not declared safe",
                "If it changes nothing that a page or its key is made of, name it in "
                "VIEWCACHE['EARLY_SAFE'].",
            )
            for name in receivers
        ),
    ]


def _obstacles(before: list[str]) -> Iterator[Obstacle]:
    """Those of the settings."""
    if not before:
        yield Obstacle(
            "MIDDLEWARE has no viewcache.middleware.FetchFromCacheMiddleware",
            "Add viewcache.middleware.UpdateCacheMiddleware as the first and it as the last; what "
            "cache_page keeps alone is Django's to answer.",
        )
    for name in before:
        if name not in _KNOWN and name not in conf.get().EARLY_SAFE:
            yield Obstacle(
                f"{name} is not declared safe in VIEWCACHE['EARLY_SAFE']",
                "Name it there, if it changes no cached page and nothing that its key is made of.",
            )
    for obstacle, holds in _of_settings(before):
        if holds():
            yield obstacle


def _of_settings(before: list[str]) -> list[tuple[Obstacle, Callable[[], bool]]]:
    """Settings by which a hit depends on more than is checked for each request."""
    stores = [at for at, name in enumerate(before) if name in (UPDATE, BOTH)]
    return [
        (
            Obstacle(
                "GZipMiddleware stands before UpdateCacheMiddleware",
                "Take it out, and let the server in front of Django compress.",
            ),
            lambda: GZIP in before and (not stores or before.index(GZIP) < stores[0]),
        ),
        (
            Obstacle(
                "SESSION_SAVE_EVERY_REQUEST is on",
                "Switch it off, or do without: it writes the session at each hit.",
            ),
            lambda: SESSION in before and bool(settings.SESSION_SAVE_EVERY_REQUEST),
        ),
        (
            Obstacle(
                "CSRF_USE_SESSIONS is on",
                "Switch it off: the secret is then in a cookie of its own.",
            ),
            lambda: CSRF in before and bool(settings.CSRF_USE_SESSIONS),
        ),
        (
            Obstacle(
                "DISALLOWED_USER_AGENTS is set",
                "Have the server in front of Django refuse them, and empty it.",
            ),
            lambda: COMMON in before and bool(settings.DISALLOWED_USER_AGENTS),
        ),
        (
            Obstacle(
                "MESSAGE_STORAGE is not one of Django's",
                "Take one of django.contrib.messages.storage.",
            ),
            lambda: (
                MESSAGES in before
                and not settings.MESSAGE_STORAGE.startswith("django.contrib.messages.storage.")
            ),
        ),
        (
            Obstacle(
                "the language is not taken from the path",
                "Put the URLs into i18n_patterns(), or take LocaleMiddleware out.",
            ),
            lambda: (
                LOCALE in before
                and bool(settings.USE_I18N)
                and not is_language_prefix_patterns_used(settings.ROOT_URLCONF)[0]
            ),
        ),
        (
            Obstacle(
                "the pages are in the database",
                "Have CACHE_MIDDLEWARE_ALIAS name a cache that is not a table.",
            ),
            # Django may have to close its connection first, as the request begins.
            lambda: isinstance(Store(settings.CACHE_MIDDLEWARE_ALIAS).pages, BaseDatabaseCache),
        ),
        (
            Obstacle("VIEWCACHE['CACHE_STATUS'] is 'debug'", "Set it to True."),
            lambda: conf.get().CACHE_STATUS == "debug",
        ),
        (
            Obstacle(
                "FORCE_SCRIPT_NAME is set", "Serve the site at the root of its host, without it."
            ),
            lambda: settings.FORCE_SCRIPT_NAME is not None,
        ),
        (
            Obstacle("DEFAULT_CHARSET is not UTF-8", "Leave it at 'utf-8'."),
            lambda: settings.DEFAULT_CHARSET.lower() not in ("utf-8", "utf8"),
        ),
    ]


# -- Signals ---------------------------------------------------------------------------------------

#: The receivers of ``request_started`` when they were last found to be safe.
_safe: list[Any] = []


def are_receivers_safe(rules: Rules) -> bool:
    """
    May ``request_started`` be sent after the look-up? A receiver that is not Django's might have
    changed what is looked up, and an early hit is only known to be one when it is there.
    """
    global _safe
    if rules.is_durable and outbox.is_due():
        return False  # what is owed is delivered first
    now: Any = request_started.receivers
    if now == _safe:
        return True
    if all(_is_safe(entry[1]) for entry in now):
        _safe = list(now)
        return True
    return False


def _is_safe(reference: Any) -> bool:
    name = receiver_name(reference)
    return name.startswith(("django.", "viewcache.")) or name in {"", *conf.get().EARLY_SAFE}


def receiver_name(reference: Any) -> str:
    """The dotted path of a receiver, as a signal holds it; ``""`` for one that is gone."""
    is_weak = type(reference).__name__ in ("ReferenceType", "WeakMethod", "ref")
    receiver = reference() if is_weak else reference
    if receiver is None:
        return ""
    module, name = (getattr(receiver, name, "") for name in ("__module__", "__qualname__"))
    return f"{module}.{name}"


def _forget(**kwargs: Any) -> None:
    global _safe
    get.cache_clear()
    _safe = []


setting_changed.connect(_forget, dispatch_uid="viewcache.early.rules")
