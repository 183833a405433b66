"""
What ``flame.py`` draws, and py-spy watching it.
"""

from __future__ import annotations

import argparse
import gc
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

#: Samples in a second: so few that most hits are not stopped.
RATE = 250


def hits(backend: str, seconds: int) -> str:
    """What py-spy saw of a program that does nothing but hits, as text."""
    import project
    from servers import running

    with ExitStack() as stack:
        server = project.group_of(backend)
        location = "" if server == "locmem" else stack.enter_context(running(server)).location
        program = [sys.executable, __file__, backend, location, str(seconds)]
        return _seen("--", *program)


def workers(seconds: int) -> str:
    """What py-spy saw of gunicorn's workers, which do nothing but early hits."""
    import throughput

    kind = throughput.SERVERS["gunicorn"]
    with throughput.serving(kind, "viewcache, early hits", "locmem", "") as site:
        asking = subprocess.Popen(
            throughput.asking(site.url, kind.connections, seconds + 5), stdout=subprocess.DEVNULL
        )
        try:
            return _seen("--subprocesses", "--duration", str(seconds), "--pid", str(site.process))
        finally:
            asking.terminate()
            asking.wait()


def _seen(*what: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "stacks")
        # --idle: who waits for a server is not idle.
        spy = [Path(sys.executable).with_name("py-spy"), "record", "--native", "--idle"]
        spy += ["--rate", str(RATE), "--format", "raw", "--output", raw, "--nolineno"]
        subprocess.run([*spy, *what], check=True)
        return raw.read_text()


# -- The program that does nothing but hits --------------------------------------------------------


def hit(handler: Callable[[Any], Any], request: Any, close: Callable[[], None]) -> None:
    """What is drawn: everything below this frame."""
    handler(request)
    close()  # as Django does at the end of each request


def _hits(backend: str, location: str, seconds: int) -> None:
    import project

    project.set_up({project.group_of(backend): location}, CACHE_MIDDLEWARE_ALIAS=backend)
    from django.core.cache import caches

    view = project.View(20)
    handler = project.chains(backend)["viewcache"](view)
    close = caches[backend].close
    end = monotonic() + seconds
    # The requests that are ready would be looked through again and again.
    gc.disable()
    while monotonic() < end:
        for request in [project.request() for _ in range(500)]:
            hit(handler, request, close)
    if view.calls != 1:
        raise SystemExit(f"{view.calls} pages were rendered, so these were no hits")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Nothing but hits.")
    parser.add_argument("backend")
    parser.add_argument("location")
    parser.add_argument("seconds", type=int)
    options = parser.parse_args()
    _hits(options.backend, options.location, options.seconds)
