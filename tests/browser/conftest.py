"""The example blog in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BLOG = Path(__file__).parents[2] / "examples" / "blog"
CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The browser; a skip where it is not installed, a failure where CI=true."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        sync_playwright = None
    if CHROMIUM is None or sync_playwright is None:
        told = "chromium or playwright is not installed (`make servers`, `make build`)"
        if os.environ.get("CI") == "true":
            pytest.fail(told, pytrace=False)
        pytest.skip(told)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def server(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """
    The URL of a running blog with an administrator, ann, and one author. It is a process of its
    own: Playwright keeps an event loop in this one, in which Django does without its database.
    """
    home = tmp_path_factory.mktemp("browser")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "browser_settings",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), str(BLOG)]),
        "BLOG_DATABASE": str(home / "db.sqlite3"),
        "BROWSER_CACHE": str(home / "cache"),
        "DJANGO_SUPERUSER_PASSWORD": "secret",
    }
    manage = [sys.executable, "manage.py"]
    for words in (
        ["migrate", "-v0"],
        ["createsuperuser", "--noinput", "--username=ann", "--email=ann@example.com"],
        [
            "shell",
            "-v0",
            "-c",
            "from blog.models import *; Author.objects.create(name='Bo', slug='bo')",
        ],
    ):
        subprocess.run([*manage, *words], cwd=BLOG, env=environment, check=True, timeout=PATIENCE)
    process = subprocess.Popen(
        [*manage, "runserver", "--noreload", str(port)],
        cwd=BLOG,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE)
