"""Signals of our own, and the log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest
import viewcache
from django.core.cache import cache
from django.db import transaction
from django.test import AsyncClient, Client, override_settings
from surfaces.conftest import WITHOUT
from viewcache import signals

pytestmark = pytest.mark.usefixtures("site")

Heard = list[tuple[str, Any]]
PAGES = {
    "hit": signals.page_hit,
    "missed": signals.page_missed,
    "stored": signals.page_stored,
}


@pytest.fixture
def heard() -> Iterator[Heard]:
    """What was sent: the signal's name, and path and reason or the scopes."""
    found: Heard = []

    def listen(name: str) -> Any:
        def receiver(request: Any, visit: Any, **kwargs: Any) -> None:
            found.append((name, f"{request.path} {visit.reason}".strip()))

        return receiver

    def expired(scopes: Any, **kwargs: Any) -> None:
        found.append(("expired", scopes))

    receivers = {name: listen(name) for name in PAGES}
    for name, receiver in receivers.items():
        PAGES[name].connect(receiver)
    signals.pages_expired.connect(expired)
    yield found
    for name, receiver in receivers.items():
        PAGES[name].disconnect(receiver)
    signals.pages_expired.disconnect(expired)


def test_a_page_is_missed_stored_and_hit(heard: Heard) -> None:
    Client().get("/plain/")
    Client().get("/plain/")
    assert heard == [
        ("missed", "/plain/ uri-miss"),
        ("stored", "/plain/"),
        ("hit", "/plain/"),
    ]


@pytest.mark.parametrize("path", ["/private/", "/with-cookie/", "/away/"])
def test_what_may_not_be_stored_is_only_missed(heard: Heard, path: str) -> None:
    Client().get(path)
    assert [name for name, _ in heard] == ["missed"]


def test_what_is_not_looked_up_is_not_heard_of(heard: Heard) -> None:
    Client().post("/plain/")
    assert heard == []


@override_settings(MIDDLEWARE=WITHOUT)
@pytest.mark.parametrize("path", ["/decorated/", "/template/", "/mixed/"])
def test_the_decorator(heard: Heard, path: str) -> None:
    for _ in range(2):
        Client().get(path)
    assert [name for name, _ in heard] == ["missed", "stored", "hit"]


@pytest.mark.parametrize("path", ["/plain/", "/decorated/"])
def test_async(heard: Heard, path: str) -> None:
    asynchronous: list[str] = []

    async def receiver(request: Any, **kwargs: Any) -> None:
        asynchronous.append(request.path)

    async def twice() -> None:
        for _ in range(2):
            await AsyncClient().get(path)
        await viewcache.aexpire(path=path)

    signals.page_stored.connect(receiver)
    try:
        asyncio.run(twice())
    finally:
        signals.page_stored.disconnect(receiver)
    assert asynchronous == [path]
    assert [name for name, _ in heard] == ["missed", "stored", "hit", "expired"]


def test_expiries(heard: Heard) -> None:
    viewcache.expire(tag=["a", "b"])
    viewcache.expire_view_cache("/plain/")
    assert heard[0] == ("expired", ("tag:a", "tag:b"))
    assert heard[1][1][0] == "path:/plain/"


@pytest.mark.django_db(transaction=True)
def test_an_expiry_is_heard_of_once_it_is_done(heard: Heard) -> None:
    with transaction.atomic():
        viewcache.expire(tag="a")
        viewcache.expire(tag="b")
        assert heard == []
    assert heard == [("expired", ("tag:a", "tag:b"))]


def test_an_expiry_that_failed_is_not_heard_of(heard: Heard) -> None:
    backend = type(cache._connections[cache._alias])  # type: ignore[attr-defined]
    with (
        mock.patch.object(backend, "set", side_effect=OSError),
        mock.patch.object(backend, "set_many", side_effect=OSError),
    ):
        with pytest.raises(OSError):  # noqa: PT011
            viewcache.expire(tag="a")
        assert not viewcache.expire_view_cache("/plain/").expired
    assert heard == []


def test_a_receiver_that_fails_harms_nobody(heard: Heard) -> None:
    def receiver(**kwargs: Any) -> None:
        raise RuntimeError

    for signal in (*PAGES.values(), signals.pages_expired):
        signal.connect(receiver)
    try:
        assert Client().get("/plain/").content == b"plain"
        assert Client().get("/plain/").content == b"plain"
        viewcache.expire(tag="a")
    finally:
        for signal in (*PAGES.values(), signals.pages_expired):
            signal.disconnect(receiver)
    assert [name for name, _ in heard] == ["missed", "stored", "hit", "expired"]


def test_explaining_is_no_request(heard: Heard, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "viewcache"):
        viewcache.explain(Client().get("/plain/").wsgi_request, render=True)
        heard.clear()
        caplog.clear()
        viewcache.explain(Client().get("/private/").wsgi_request, render=True)
    assert [name for name, _ in heard] == ["missed"]
    assert len(caplog.records) == 2


def test_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, "viewcache"):
        Client().get("/plain/")
        Client().get("/plain/")
        Client().get("/private/")
        viewcache.expire(tag="a")
    assert [(record.name, record.getMessage()) for record in caplog.records] == [
        ("viewcache.requests", "GET /plain/: miss (uri-miss)"),
        ("viewcache.requests", "GET /plain/: stored"),
        ("viewcache.requests", "GET /plain/: hit"),
        ("viewcache.requests", "GET /private/: miss (uri-miss)"),
        ("viewcache.requests", "GET /private/: miss (Cache-Control: private)"),
        ("viewcache.expiry", "Expired ['tag:a']"),
    ]


def test_async_requests_are_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    async def twice() -> None:
        for _ in range(2):
            await AsyncClient().get("/plain/")

    with caplog.at_level(logging.DEBUG, "viewcache.requests"):
        asyncio.run(twice())
    assert caplog.messages == [
        "GET /plain/: miss (uri-miss)",
        "GET /plain/: stored",
        "GET /plain/: hit",
    ]
