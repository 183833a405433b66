"""Two Memcached servers, of which one is away for a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from backends import close_connections
from faults.conftest import through
from faults.proxy import Proxy, between
from faults.site import Site
from pymemcache.client.rendezvous import RendezvousHash
from pymemcache.exceptions import MemcacheError
from servers import installed, running
from viewcache import backends, breaker, conf, stampede
from viewcache.store import Store

#: pymemcache's way to leave a server alone that has failed, in less time than by itself.
SOON = {"retry_attempts": 2, "retry_timeout": 0.01, "dead_timeout": 0.2}


@pytest.fixture(params=[{}, SOON, {**SOON, "hasher": RendezvousHash}], ids=["plain", "soon", "own"])
def proxy(
    request: pytest.FixtureRequest, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Proxy]:
    """The default cache is two servers, one of them through this proxy."""
    if not installed("memcached"):
        pytest.skip("memcached is not installed")
    with running("memcached") as one, running("memcached") as other, between(one.port) as found:
        cache = through("memcached", found.port)
        cache["LOCATION"] = [cache["LOCATION"], other.location]
        for name in SOON:
            cache["OPTIONS"].pop(name, None)
        cache["OPTIONS"] |= request.param
        settings.CACHES = {"default": cache}
        settings.VIEWCACHE = {"WAIT_SECONDS": 0.02}
        stampede.passes.clear()
        breaker.reset()
        left: list[Any] = []
        renewed = backends.renewed

        def noted(alias: str, failed: Any) -> Any:
            left.append(failed)
            return renewed(alias, failed)

        monkeypatch.setattr(backends, "renewed", noted)
        yield found
        breaker.reset()
        stampede.passes.clear()
        for backend in left:
            # The connections to the server that has not failed.
            backend.close()
        close_connections()


def _is_behind(proxy: Proxy, key: str) -> bool:
    cache: Any = backends.of("default")
    return str(cache._cache.hasher.get_node(cache.make_key(key))).endswith(f":{proxy.port}")


def _url_behind(proxy: Proxy, site: Site) -> str:
    """A page that is on the server behind the proxy, and its generation is, too."""
    for number in range(100):
        url = f"/page/{number}/"
        page = site.client.get(url).wsgi_request._viewcache.lookup.key  # type: ignore[attr-defined]
        if all(_is_behind(proxy, key) for key in [page, *conf.site().expiry([f"path:{url}"])]):
            return url
    raise AssertionError("No page is on that server.")


@pytest.mark.parametrize("mode", ["refuse", "reset"])
def test_no_expiry_goes_to_another_server(proxy: Proxy, settings: Any, mode: Any) -> None:
    site = Site(settings)
    url = _url_behind(proxy, site)
    assert site.get(url)
    proxy.mode = mode
    for _ in range(10):
        # It would be lost where that server comes back with the generation of before.
        assert not site.change(url)
        time.sleep(0.02)
    assert not site.get(url)
    breaker.reset()
    proxy.mode = "pass"
    # pymemcache would find it again by now.
    time.sleep(0.3)
    site.recover(url)


def test_the_cache_is_tried_with_each_server(proxy: Proxy) -> None:
    keys = backends.tried(backends.of("default"))
    assert sorted(_is_behind(proxy, key) for key in keys) == [False, True]
    Store()._try()
    proxy.mode = "refuse"
    for _ in range(5):
        with pytest.raises((OSError, MemcacheError)):
            Store()._try()
        time.sleep(0.02)
    proxy.mode = "pass"
    Store()._try()
