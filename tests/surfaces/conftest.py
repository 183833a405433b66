"""A small site of its own for what surrounds the cache: its views count their calls."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from django.test import override_settings

MIDDLEWARE = [
    "viewcache.middleware.UpdateCacheMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "viewcache.middleware.FetchFromCacheMiddleware",
]
WITHOUT = [name for name in MIDDLEWARE if not name.startswith("viewcache.")]


class Terminal(io.StringIO):
    """Where a person looks on."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[None]:
    """The views of site.py behind the per-site cache, which is empty."""
    from surfaces import site

    cache = {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": request.node.nodeid,
    }
    with override_settings(
        ROOT_URLCONF=site.__name__,
        MIDDLEWARE=MIDDLEWARE,
        CACHES={"default": cache, "other": {**cache, "LOCATION": f"{request.node.nodeid}-2"}},
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        VIEWCACHE={},
        ALLOWED_HOSTS=["testserver", "www.example.com", ".example.org"],
        DEBUG=False,
    ):
        site.calls.clear()
        yield
        site.calls.clear()
