"""A database and a cache for processes that are killed."""

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
sys.path.insert(0, str(HERE.parent / "queries"))

import databases  # noqa: E402

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
def killing(
    request: pytest.FixtureRequest, redis_server: Server, tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """Kill a writer at each of its steps (see ``killing.py``); what it prints."""

    def run(kind: str, *arguments: str) -> dict[str, Any]:
        url = f"sqlite://{tmp_path / f'killed_{next(_numbers)}.sqlite3'}"
        if kind == "postgresql":
            server = request.getfixturevalue("postgresql_server")
            name = f"killed_{next(_numbers)}"
            databases.run(server, f"CREATE DATABASE {name}")
            url = f"{server}/{name}"
        redis_server.flush()
        done = subprocess.run(
            [
                *(sys.executable, "-m", "killing", "--database", url),
                *("--cache", redis_server.location, *arguments),
            ],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told

    return run
