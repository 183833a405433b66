"""What a cache that hangs costs the visitors of a site: added latency, after the first failure.

    python benches/hanging.py [--seconds 20] [--limit 50]

A small site on a real Redis and a real Memcached, behind a proxy that takes every question and
answers none. The clients wait as long as they do by themselves: seconds. Ends with 1 when the 99th
percentile of what the cache added is above the limit, ``VIEWCACHE["FAULT_SECONDS"]``.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import types
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import django
from django.conf import settings


def site(kind: str, port: int) -> Any:
    """A client of a site that keeps its pages in this server."""
    from django.http import HttpRequest, HttpResponse
    from django.test import Client, override_settings
    from django.urls import path
    from faults.conftest import through
    from viewcache.decorators import cache_page

    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("page")

    module = types.ModuleType("urls")
    module.urlpatterns = [path("plain/", view), path("page/", cache_page(600)(view))]
    cache = through(kind, port)
    del cache["OPTIONS"]
    override_settings(ROOT_URLCONF=module, CACHES={"default": cache}).enable()
    return Client()


def took(client: Any, url: str) -> float:
    """Milliseconds of one request."""
    begun = time.perf_counter()
    assert client.get(url).status_code == 200
    return (time.perf_counter() - begun) * 1000


def measure(kind: str, seconds: float) -> tuple[float, float, float, float, int]:
    """
    What the cache adds: at the first failure; median, 99th percentile and maximum after it; and the
    number of requests.
    """
    from faults.proxy import between
    from servers import running

    with running(kind) as server, between(server.port) as proxy:
        client = site(kind, proxy.port)
        for _ in range(2):
            took(client, "/page/")
        plain = statistics.median(took(client, "/plain/") for _ in range(500))
        proxy.mode = "hang"
        first = took(client, "/page/") - plain
        ends = time.monotonic() + seconds
        added = []
        while time.monotonic() < ends:
            added.append(took(client, "/page/") - plain)
            # As from visitors, one after the other: a closed loop would hide the tries in numbers.
            time.sleep(0.005)
        cuts = statistics.quantiles(added, n=100)
        return first, statistics.median(added), cuts[98], max(added), len(added)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--seconds", type=float, default=20)
    words.add_argument("--limit", type=float, default=50, help="milliseconds")
    asked = words.parse_args()
    settings.configure(SECRET_KEY="x", ALLOWED_HOSTS=["*"], USE_I18N=False, LOGGING_CONFIG=None)
    django.setup()
    failed = False
    for kind in ("redis", "memcached"):
        first, median, ninety_nine, most, count = measure(kind, asked.seconds)
        failed |= ninety_nine > asked.limit
        print(
            f"{kind}: the first failure added {first:.0f} ms. {count} requests after it, while the "
            f"cache hangs; added: median {median:.2f} ms, 99th percentile {ninety_nine:.2f} ms, "
            f"most {most:.1f} ms"
        )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
