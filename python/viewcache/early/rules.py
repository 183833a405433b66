"""
What the settings leave of early hits.
"""

from __future__ import annotations

from collections.abc import Callable
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
#: ``_refusals()``, what depends on the request by ``_core.Early``.
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
        refusal=_refusal(before),
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


def _refusal(before: list[str]) -> str:
    """Why no page of this site may be served early, or ``""``."""
    if not before:
        return "MIDDLEWARE has no viewcache.middleware.FetchFromCacheMiddleware"
    for name in before:
        if name not in _KNOWN and name not in conf.get().EARLY_SAFE:
            return f"{name} is not declared safe in VIEWCACHE['EARLY_SAFE']"
    return next((why for why, holds in _refusals(before).items() if holds()), "")


def _refusals(before: list[str]) -> dict[str, Callable[[], bool]]:
    """Settings by which a hit depends on more than is checked for each request."""
    stores = [at for at, name in enumerate(before) if name in (UPDATE, BOTH)]
    return {
        "GZipMiddleware stands before UpdateCacheMiddleware": lambda: (
            GZIP in before and (not stores or before.index(GZIP) < stores[0])
        ),
        "SESSION_SAVE_EVERY_REQUEST is on": lambda: (
            SESSION in before and bool(settings.SESSION_SAVE_EVERY_REQUEST)
        ),
        "CSRF_USE_SESSIONS is on": lambda: CSRF in before and bool(settings.CSRF_USE_SESSIONS),
        "DISALLOWED_USER_AGENTS is set": lambda: (
            COMMON in before and bool(settings.DISALLOWED_USER_AGENTS)
        ),
        "MESSAGE_STORAGE is not one of Django's": lambda: (
            MESSAGES in before
            and not settings.MESSAGE_STORAGE.startswith("django.contrib.messages.storage.")
        ),
        "the language is not taken from the path": lambda: (
            LOCALE in before
            and bool(settings.USE_I18N)
            and not is_language_prefix_patterns_used(settings.ROOT_URLCONF)[0]
        ),
        # Django may have to close its connection first, as the request begins.
        "the pages are in the database": lambda: isinstance(
            Store(settings.CACHE_MIDDLEWARE_ALIAS).pages, BaseDatabaseCache
        ),
        "VIEWCACHE['CACHE_STATUS'] is 'debug'": lambda: conf.get().CACHE_STATUS == "debug",
        "FORCE_SCRIPT_NAME is set": lambda: settings.FORCE_SCRIPT_NAME is not None,
        "DEFAULT_CHARSET is not UTF-8": lambda: (
            settings.DEFAULT_CHARSET.lower() not in ("utf-8", "utf8")
        ),
    }


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
