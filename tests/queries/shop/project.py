"""The settings of a process that works in the shop: its database and its cache are arguments."""

from __future__ import annotations

import sys
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.cache.backends.redis import RedisCache


class Redis(RedisCache):
    """Django's, which makes a client for each command; making one takes longer than a command."""

    @cached_property
    def _cache(self) -> Any:
        client = self._class(self._servers, **self._options)
        client.get_client = cache(client.get_client)
        return client


def database(url: str) -> dict[str, Any]:
    """``sqlite:///path``, ``postgresql://user@host:port/name``, ``…?repeatable_read``."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": parts.path,
            "OPTIONS": {
                "timeout": 30,
                # Nothing of this outlives the tests, so nothing has to reach the disk.
                "init_command": "PRAGMA synchronous=OFF;"
                + ("PRAGMA journal_mode=WAL;" if parts.query == "wal" else ""),
            },
            "CONN_MAX_AGE": None,
        }
    options: dict[str, Any] = {}
    if parts.query:
        from psycopg import IsolationLevel

        options["isolation_level"] = IsolationLevel[parts.query.upper()]
    return {
        "ENGINE": f"django.db.backends.{parts.scheme}",
        "NAME": parts.path.lstrip("/"),
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
        "HOST": parts.hostname,
        "PORT": parts.port,
        "OPTIONS": options,
        "CONN_MAX_AGE": None,
    }


def configure(database_url: str, cache_url: str, **more: Any) -> None:
    """Set Django up, once per process."""
    folder = str(Path(__file__).resolve().parent.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    settings.configure(
        SECRET_KEY="not one",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["shop", "viewcache"],
        DATABASES={"default": database(database_url)},
        CACHES={
            "default": {
                "BACKEND": "shop.project.Redis",
                "LOCATION": cache_url,
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        USE_TZ=True,
        USE_I18N=False,
        **{"VIEWCACHE": {"TRACK": True}, **more},
    )
    django.setup()
