"""A server of the test's own, with a proxy in front of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from backends import close_connections
from faults.proxy import Proxy, between
from faults.site import Site
from servers import Server, installed, running
from viewcache import breaker, stampede

#: Seconds that a client waits for an answer. A server on a busy machine must not be taken for one
#: that hangs, and a test that lets it hang waits so long each time.
TIMEOUT = 0.5


def through(kind: str, port: int) -> dict[str, Any]:
    """An entry of CACHES whose client gives up soon, and does not try again by itself."""
    if kind == "memcached":
        options: dict[str, Any] = {"timeout": TIMEOUT, "connect_timeout": TIMEOUT}
        # pymemcache leaves a server that has failed alone for a minute; then so would expiries.
        options |= {"retry_attempts": 0, "dead_timeout": 0}
        backend, where = "memcached.PyMemcacheCache", f"127.0.0.1:{port}"
    else:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        options = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT}
        options["retry"] = Retry(NoBackoff(), 0)
        backend, where = "redis.RedisCache", f"redis://127.0.0.1:{port}"
    name = f"django.core.cache.backends.{backend}"
    return {"BACKEND": name, "LOCATION": where, "OPTIONS": options}


@pytest.fixture(params=["redis", "memcached"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of this test's own."""
    if not installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    with running(request.param) as found:
        yield found


@pytest.fixture
def proxy(server: Server, settings: Any) -> Iterator[Proxy]:
    """The default cache is that server, through this proxy."""
    with between(server.port) as found:
        settings.CACHES = {"default": through(server.kind, found.port)}
        yield found
        close_connections()


@pytest.fixture
def site(proxy: Proxy, settings: Any) -> Iterator[Site]:
    stampede.passes.clear()
    breaker.reset()
    # A page that is evicted at once is waited for, so long.
    settings.VIEWCACHE = {"WAIT_SECONDS": 0.02}
    with contextlib.ExitStack() as after:
        after.callback(breaker.reset)
        after.callback(stampede.passes.clear)
        yield Site(settings)
