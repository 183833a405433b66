"""
The example blog with TRACK, without a receiver: ``blog_changes.py`` has the list of the changes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from servers import Server

CHANGES = Path(__file__).with_name("blog_changes.py")


@pytest.fixture(scope="module")
def told(redis_server: Server, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    redis_server.flush()
    environment = {
        **os.environ,
        "BLOG_TRACK": "1",
        "BLOG_DATABASE": str(tmp_path_factory.mktemp("blog") / "blog.sqlite3"),
        "CACHE_URL": redis_server.location,
        "BLOG_CACHE": "viewcache",
    }
    for name in ("DATABASE_URL", "BLOG_CACHE_PREFIX", "DEBUG"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, str(CHANGES)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_no_page_is_old_after_any_kind_of_change(told: dict[str, Any]) -> None:
    changes = told["changes"]
    assert len(changes) >= 20
    assert {name: found["old"] for name, found in changes.items() if found["old"]} == {}
    # Pages were there to be old.
    assert sum(found.get("hit", 0) for found in changes.values()) > 1000


def test_editing_a_post_keeps_the_pages_of_the_others(told: dict[str, Any]) -> None:
    kept = told["kept"]
    sys.stdout.write(f"\n{kept['hits']} of {kept['others']} pages of other posts kept\n")
    assert kept["hits"] >= 0.9 * kept["others"] > 50
