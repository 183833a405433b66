"""The way to the cache breaks: the view answers, and no page is old after an expiry."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from faults.conftest import through
from faults.proxy import Proxy
from faults.site import Site
from servers import Server
from viewcache import breaker

MODES = ["refuse", "reset", "hang", "half"]


@pytest.mark.parametrize("mode", MODES)
def test_broken_at_the_start(site: Site, proxy: Proxy, mode: Any) -> None:
    proxy.mode = mode
    for _ in range(4):
        assert not site.get()
    assert not site.change()
    assert not site.get()
    proxy.mode = "pass"
    site.recover()


@pytest.mark.parametrize("mode", MODES)
def test_broken_in_the_middle(site: Site, proxy: Proxy, mode: Any) -> None:
    site.get()
    assert site.get()
    proxy.mode = mode
    for _ in range(4):
        # Each time the cache is asked anew.
        breaker.reset()
        assert not site.get()
    # Nothing is taken for expired that the server was not seen to take.
    assert not site.change()
    proxy.mode = "pass"
    site.recover()


@pytest.mark.parametrize("mode", MODES)
def test_broken_while_the_page_renders(
    site: Site, proxy: Proxy, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = site.view

    def breaking(request: Any, **kwargs: Any) -> Any:
        proxy.mode = mode
        return view(request, **kwargs)

    monkeypatch.setattr(site, "view", breaking)
    from django.conf import settings
    from django.urls import path
    from viewcache.decorators import cache_page

    settings.ROOT_URLCONF.urlpatterns[:] = [path("<path:anything>", cache_page(600)(breaking))]
    assert not site.get()
    assert not site.get()
    monkeypatch.undo()
    settings.ROOT_URLCONF.urlpatterns[:] = [path("<path:anything>", cache_page(600)(view))]
    proxy.mode = "pass"
    site.recover()


@pytest.mark.parametrize("mode", MODES)
def test_only_the_first_request_waits(
    site: Site, proxy: Proxy, mode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure the cache is not asked until the pause is over, by nobody."""
    site.get()
    proxy.mode = mode
    site.get()
    asked = []
    for name in ("get_many", "add", "set", "get"):
        from django.core.cache import cache

        kind = type(cache._connections[cache._alias])  # type: ignore[attr-defined]
        monkeypatch.setattr(kind, name, lambda *args, **kwargs: asked.append(args))
    for _ in range(20):
        assert not site.get()
    assert not asked


def test_no_request_waits_for_a_cache_that_hangs_still(
    site: Site, proxy: Proxy, server: Server, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failure it is tried beside the requests, however long its client is patient."""
    patient = through(server.kind, proxy.port)
    for name in patient["OPTIONS"]:
        if name.endswith("timeout") and name != "dead_timeout":
            patient["OPTIONS"][name] = 600
    settings.CACHES = {"default": patient}
    site.get()
    assert site.get()
    proxy.mode = "hang"
    monkeypatch.setattr(breaker, "FIRST_PAUSE", 1e-9)
    for known in breaker._breakers.values():
        known.failed()
    for _ in range(3):
        assert not site.get()
    [trying] = _tries()
    proxy.mode = "pass"
    trying.join()
    for _ in range(50):
        if site.get():
            break
        for each in _tries():
            each.join()
    assert site.get()


def _tries() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == breaker.THREAD]


def test_restarting_empty(site: Site, proxy: Proxy, server: Server) -> None:
    """What a restart loses are misses, whatever was expired before it."""
    site.get()
    for _ in range(3):
        assert site.change()
        site.get()
        assert site.get()
        server.flush()
        proxy.mode = "reset"
        site.get()
        proxy.mode = "pass"
        breaker.reset()
        site.get()
        breaker.reset()
        site.get()
        assert site.get()


def test_answers_that_come_in_pieces_are_whole(site: Site) -> None:
    for size in (0, 10, 70_000, 500_000):
        url = f"/page/?size={size}"
        site.get(url)
        assert site.get(url)
        assert len(site.client.get(url).content) == len(f"{site.data} ") + size
