"""Databases that several processes share, and a search for old pages in one of them."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import Server, ServerMissingError

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import databases  # noqa: E402
import tracking  # noqa: E402
from viewcache import queries  # noqa: E402

IN_CI = os.environ.get("CI") == "true"
_numbers = itertools.count()


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL: the URL of the server."""
    try:
        with databases.postgresql() as url:
            yield url
    except ServerMissingError as missing:
        if IN_CI:
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture
def database_of(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[str], str]:
    """The URL of a new database of this kind: ``sqlite``, ``postgresql`` or ``repeatable``."""

    def make(kind: str) -> str:
        if kind == "sqlite":
            return f"sqlite://{tmp_path / 'shop.sqlite3'}"
        server = request.getfixturevalue("postgresql_server")
        name = f"shop_{next(_numbers)}"
        databases.run(server, f"CREATE DATABASE {name}")
        return f"{server}/{name}" + ("?repeatable_read" if kind == "repeatable" else "")

    return make


@pytest.fixture
def in_shop(
    redis_server: Server, database_of: Callable[[str], str]
) -> Callable[..., dict[str, Any]]:
    """Run a module of the shop in a process of its own; what it prints, as JSON."""

    def run(module: str, kind: str, *arguments: str, url: str | None = None) -> dict[str, Any]:
        command = [sys.executable, "-m", module, "--database", url or database_of(kind)]
        done = subprocess.run(
            [*command, "--cache", redis_server.location, *arguments],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    return run


@pytest.fixture
def tracked(
    settings: Any, request: pytest.FixtureRequest, transactional_db: None
) -> Iterator[tracking.Site]:
    """A site that tracks; its cache is the ``backend`` of the test, else memory of its own."""
    if "backend" not in request.fixturenames:
        settings.CACHES = {
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "LOCATION": request.node.nodeid,
            }
        }
    site = tracking.Site(settings)
    site.track()
    yield site
    queries.disconnect()
