"""Serves a view with early hits, under WSGI and ASGI."""

from __future__ import annotations

import gc
import time
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.http import HttpResponse
from django.urls import path
from early.applications import DEFAULT, FETCH, UPDATE, Asgi, Wsgi


@pytest.fixture(params=[Wsgi, Asgi], ids=["wsgi", "asgi"])
def serve(
    request: pytest.FixtureRequest, settings: Any, still: None, no_database: None
) -> Callable[..., Wsgi | Asgi]:
    """Serves a view at every path, behind Django's default middleware."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.USE_I18N = False

    def serve(view: Callable[..., HttpResponse], *middleware: str, **more: Any) -> Wsgi | Asgi:
        for name, value in more.items():
            setattr(settings, name, value)
        urls: Any = ModuleType("urls_of_a_test")
        urls.urlpatterns = [path("<path:anything>", view)]
        settings.ROOT_URLCONF = urls
        settings.MIDDLEWARE = [UPDATE, *(middleware or DEFAULT), FETCH]
        made: Wsgi | Asgi = request.param()
        return made

    return serve


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """
    The connections to SQLite in memory that ASGI's threads leave behind, which Django never closes.
    """
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def no_database() -> Iterator[None]:
    """Connections to the database stay as they are, as with Django's test client."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def still() -> Iterator[None]:
    """Time stands still, so that answers can be compared."""
    now = time.time()
    with mock.patch("time.time", return_value=now):
        yield
