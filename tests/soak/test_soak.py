"""Thirty seconds of it; ``make soak`` is the long one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from servers import installed

TESTS = Path(__file__).parents[1]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """``python -m soak`` on Redis."""
    if not installed("redis"):
        pytest.skip("redis is not installed")
    return subprocess.run(
        [sys.executable, "-m", "soak", *words],
        cwd=TESTS,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_no_page_is_old_and_none_is_anothers() -> None:
    done = run("--minutes", "0.5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 violations" in done.stdout
    for what in ("requests", "hits", "expiries", "evictions", "restarts of the cache"):
        assert re.search(rf"redis: [1-9]\d* {what}\n", done.stdout), what


def test_an_old_page_would_be_found() -> None:
    done = run("--minutes", "5", "--break")  # it ends with the first
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"post \d+ in version \d+, and \d+ was expired", done.stderr)
