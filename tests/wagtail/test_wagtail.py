"""Runs the tests of site/ and site_of_pages/, Django projects of their own, each in a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("wagtail", reason="Wagtail is not installed")

HERE = Path(__file__).parent


@pytest.mark.parametrize("site", ["site", "site_of_pages"])
def test_a_site_of_wagtails(site: str) -> None:
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DJANGO", "PYTEST"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini", "."],
        cwd=HERE / site,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-5000:]
