"""The settings of a process that works in the shop: its database and its cache are arguments."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.cache.backends.redis import RedisCache


class BackError(Exception):
    """Roll back: a write that is given up."""


class Redis(RedisCache):
    """Django's, which makes a client for each command; making one takes longer than a command."""

    @cached_property
    def _cache(self) -> Any:
        client = self._class(self._servers, **self._options)
        client.get_client = cache(client.get_client)
        return client


def database(url: str) -> dict[str, Any]:
    """
    ``sqlite:///path``, ``postgresql://user@host:port/name``, ``mysql://…`` likewise; of the two
    servers with ``?repeatable_read``, too.
    """
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
    if parts.scheme == "mysql":
        import pymysql

        # Django knows no driver in plain Python; this one takes the place of the one it knows.
        pymysql.install_as_MySQLdb()
        options["isolation_level"] = parts.query.replace("_", " ") or "read committed"
    elif parts.query:
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


def configure(
    database_url: str, cache_url: str, apps: Sequence[str] = ("shop",), **more: Any
) -> None:
    """Set Django up, once per process."""
    folder = str(Path(__file__).resolve().parent.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    settings.configure(
        SECRET_KEY="not one",
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=[*apps, "viewcache"],
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
