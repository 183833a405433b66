"""A short storm on each server; ``make storm`` is the long one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from servers import installed

TESTS = Path(__file__).parents[1]


def run(kind: str, *words: str) -> subprocess.CompletedProcess[str]:
    """``python -m storm`` on a server of this kind."""
    if not installed(kind):
        pytest.skip(f"{kind} is not installed")
    return subprocess.run(
        [sys.executable, "-m", "storm", "--server", kind, *words],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS), "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("kind", ["redis", "memcached"])
def test_no_page_is_old_and_none_is_anothers(kind: str) -> None:
    done = run(kind, "--steps", "4000", "--seed", "5")
    assert done.returncode == 0, done.stderr
    assert "0 old pages, 0 leaks" in done.stdout


def test_a_seed_replays() -> None:
    first, second = (run("redis", "--steps", "800", "--seed", "7") for _ in range(2))
    assert first.returncode == 0, first.stderr
    # The last line is how long it took.
    assert first.stdout.splitlines()[:-1] == second.stdout.splitlines()[:-1]


def test_an_old_page_would_be_found() -> None:
    done = run("redis", "--steps", "2000", "--seed", "5", "--break")
    assert done.returncode == 1
    assert "AssertionError: older than" in done.stderr
    assert "seed 5, step" in done.stderr
