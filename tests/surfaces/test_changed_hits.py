"""Middleware between the halves that changes the body of pages, and so each hit again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import viewcache
from asgiref.sync import async_to_sync
from django.test import AsyncClient, Client, RequestFactory, override_settings
from surfaces import changing
from surfaces.conftest import MIDDLEWARE

pytestmark = pytest.mark.usefixtures("site")

BAR = f"{changing.__name__}.Bar"


def behind(name: str, *, before: bool = False) -> Any:
    update, *rest = MIDDLEWARE
    return override_settings(MIDDLEWARE=[name, update, *rest] if before else [update, name, *rest])


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Any]:
    """What was warned of."""
    with caplog.at_level(logging.WARNING, "viewcache"):
        yield lambda: [record.getMessage() for record in caplog.records]


def ask(url: str = "/plain/", times: int = 3, *, is_async: bool = False) -> list[bytes]:
    """What one process's visitors are sent."""
    client: Any = AsyncClient() if is_async else Client()
    get = async_to_sync(client.get) if is_async else client.get
    return [get(url).getvalue() for _ in range(times)]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_hit_that_is_changed_again_is_warned_of_once(told: Any, is_async: bool) -> None:
    with behind(BAR):
        assert ask(is_async=is_async) == [b"plain|", b"plain||", b"plain||"]
    [only] = told()
    assert "A hit of http://testserver/plain/ has left" in only
    assert "Put it before UpdateCacheMiddleware" in only


def test_where_it_should_stand_it_changes_each_hit_once(told: Any) -> None:
    with behind(BAR, before=True):
        assert ask() == [b"plain|", b"plain|", b"plain|"]
    assert told() == []


@pytest.mark.parametrize("name", ["Same", "Packed", "NotModified", "Streamed", "OncePerPage"])
def test_what_changes_no_page_is_not_warned_of(told: Any, name: str) -> None:
    with behind(f"{changing.__name__}.{name}"):
        ask()
    assert told() == []


@pytest.mark.parametrize("url", ["/decorated/", "/mixed/", "/dispatch/"])
def test_a_page_that_its_view_keeps_is_changed_once(told: Any, url: str) -> None:
    """It is stored before the middleware has seen it."""
    with behind(BAR):
        assert len(set(ask(url))) == 1
    assert told() == []


def test_slots_are_part_of_what_the_middleware_is_given(told: Any) -> None:
    ask("/token/")
    assert told() == []


def test_explain_tells_it_and_warns_nobody(told: Any) -> None:
    with behind(BAR):
        ask("/plain/", times=1)
        found = viewcache.explain(RequestFactory().get("/plain/"))
        assert found.is_changed
        assert "CHANGED AGAIN BY A MIDDLEWARE" in str(found)
    assert told() == []
    found = viewcache.explain(RequestFactory().get("/plain/"))
    assert not found.is_changed
    assert "CHANGED" not in str(found)
