"""``Cache-Status`` (RFC 9211) on responses."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from unittest import mock

import pytest
import viewcache
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import AsyncClient, Client, override_settings
from surfaces.conftest import MIDDLEWARE, WITHOUT
from viewcache import cache_status, conf
from viewcache.middleware import UpdateCacheMiddleware

pytestmark = pytest.mark.usefixtures("site")

ON = override_settings(VIEWCACHE={"CACHE_STATUS": True})


def status(path: str, method: str = "GET", **headers: str) -> str | None:
    response = Client().generic(method, path, headers=headers)
    found: str | None = response.headers.get("Cache-Status")
    return found


def test_nothing_is_said_unless_asked_for() -> None:
    assert status("/plain/") is None
    assert status("/plain/") is None


@ON
def test_stored_then_hit() -> None:
    assert status("/plain/") == "viewcache; fwd=uri-miss; stored"
    assert re.fullmatch(r"viewcache; hit; ttl=3(600|599)", status("/plain/") or "")


@ON
def test_why_it_went_forward() -> None:
    assert status("/plain/", "POST") == "viewcache; fwd=method"
    assert status("/varying/", accept="a") == "viewcache; fwd=uri-miss; stored"
    assert status("/varying/", accept="b") == "viewcache; fwd=vary-miss; stored"
    assert status("/tagged/") == "viewcache; fwd=uri-miss; stored"
    viewcache.expire(tag="a")
    assert status("/tagged/") == 'viewcache; fwd=stale; stored; detail="expired"'
    cache.delete(conf.site().generation_keys(["tag:a"])[0])
    assert status("/tagged/") == 'viewcache; fwd=stale; stored; detail="generation-gone"'
    assert status("/plain/", content_length="3") == 'viewcache; fwd=bypass; detail="request body"'


@ON
@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/private/", "Cache-Control: private"),
        ("/with-cookie/", "Set-Cookie"),
        ("/away/", "status 302"),
        ("/nothing/", "status 404"),
    ],
)
def test_the_rule_that_refused(path: str, detail: str) -> None:
    assert status(path) == f'viewcache; fwd=uri-miss; detail="{detail}"'


@ON
def test_a_cache_that_is_down() -> None:
    backend = type(cache._connections[cache._alias])  # type: ignore[attr-defined]
    with mock.patch.object(backend, "get_many", side_effect=OSError):
        assert status("/plain/") == 'viewcache; fwd=bypass; detail="cache fault"'


@ON
@pytest.mark.parametrize("path", ["/decorated/", "/dispatch/", "/mixed/", "/template/"])
@pytest.mark.parametrize("middleware", [True, False])
def test_views_say_it_once(path: str, middleware: bool) -> None:
    with override_settings(**({} if middleware else {"MIDDLEWARE": WITHOUT})):
        assert status(path) == "viewcache; fwd=uri-miss; stored"
        assert (status(path) or "").startswith("viewcache; hit; ttl=")


@ON
@override_settings(MIDDLEWARE=[*WITHOUT, "viewcache.middleware.CacheMiddleware"])
def test_both_halves_in_one() -> None:
    assert status("/decorated/") == "viewcache; fwd=uri-miss; stored"
    assert (status("/decorated/") or "").startswith("viewcache; hit; ttl=")


@ON
@pytest.mark.parametrize("path", ["/plain/", "/elsewhere/"])
def test_async(path: str) -> None:
    async def twice() -> list[Any]:
        client = AsyncClient()
        return [(await client.get(path)).headers["Cache-Status"] for _ in range(2)]

    first, second = asyncio.run(twice())
    assert first == "viewcache; fwd=uri-miss; stored"
    assert second.startswith("viewcache; hit; ttl=")


@ON
@override_settings(MIDDLEWARE=WITHOUT)
def test_what_nothing_caches_says_nothing() -> None:
    assert status("/plain/") is None
    assert status("/tagged/") is None


@ON
@override_settings(
    SECURE_SSL_REDIRECT=True,
    MIDDLEWARE=[
        MIDDLEWARE[0],
        "django.middleware.security.SecurityMiddleware",
        *MIDDLEWARE[1:],
    ],
)
def test_what_is_answered_before_the_cache_is_asked_says_nothing() -> None:
    assert status("/plain/") is None


class UpdatesAnother(UpdateCacheMiddleware):
    """It stores what another look-up has missed."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self.cache_alias = "other"


@ON
@override_settings(MIDDLEWARE=[f"{__name__}.UpdatesAnother", *MIDDLEWARE[1:]])
def test_a_miss_that_nothing_stores() -> None:
    for _ in range(2):
        assert status("/plain/") == "viewcache; fwd=uri-miss"


@ON
def test_what_others_said_stands_first_and_is_kept() -> None:
    assert status("/behind/") == "Origin; hit, viewcache; fwd=uri-miss; stored"
    again = status("/behind/") or ""
    assert again.startswith("Origin; hit, viewcache; hit; ttl=")
    assert again.count("viewcache") == 1


@pytest.mark.parametrize("debug", [True, False])
def test_keys_and_scopes_in_debug_only(debug: bool) -> None:
    with override_settings(VIEWCACHE={"CACHE_STATUS": "debug"}, DEBUG=debug):
        stored, hit = status("/tagged/") or "", status("/tagged/") or ""
        viewcache.expire(tag="a")
        expired = status("/tagged/") or ""
    if not debug:
        assert stored == "viewcache; fwd=uri-miss; stored"
        assert "key" not in hit
        return
    scopes = 'viewcache.scopes="tree:/ path:/tagged/ tag:a"'
    assert stored.endswith(scopes)
    assert hit.endswith(scopes)
    [key] = re.findall(r'key="(viewcache\.p1\.[0-9a-f]{64})"', stored)
    assert key in hit
    assert cache.get(key) is not None
    assert 'detail="expired tag:a"' in expired


@override_settings(VIEWCACHE={"CACHE_STATUS": "debug"}, DEBUG=True)
def test_a_page_that_has_no_key_names_none() -> None:
    told = status("/private/") or ""
    assert 'viewcache.scopes="tree:/ path:/private/"' in told
    assert "key=" not in told


def test_a_string_is_ascii_and_escaped() -> None:
    assert cache_status._string('a "b" \\ é\n') == '"a \\"b\\" \\\\ ??"'
    long = cache_status._string("tag:a " * 1000)
    assert len(long) < 1100
    assert long.endswith('..."')


@override_settings(VIEWCACHE={"CACHE_STATUS": "loud"})
def test_another_value_is_refused() -> None:
    with pytest.raises(ImproperlyConfigured, match="expected True, False or 'debug'"):
        conf.get()
