"""Fixtures that every test may ask for: real servers, and a cache backend of each kind."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextvars import copy_context
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from _pytest.runner import pytest_runtest_protocol as run_test
from backends import BACKENDS, SERVERS, Backend, cache_settings, close_connections
from django.conf import settings
from django.core.cache.backends import locmem
from django.core.management import call_command
from django.test import override_settings
from servers import Server, ServerMissingError, running

IN_CI = os.environ.get("CI") == "true"
#: What tests are skipped without; CI must have it.
_OPTIONAL = ("debug_toolbar", "prometheus_client", "rest_framework", "wagtail")
if IN_CI and (missing := [name for name in _OPTIONAL if find_spec(name) is None]):
    raise pytest.UsageError(
        f"{', '.join(missing)} not installed: run `pip install --group test`, or unset CI."
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """What runs the tests more than once in a process, as mutmut does, finds no pages of before."""
    for entries in (*locmem._caches.values(), *locmem._expire_info.values()):  # type: ignore[attr-defined]
        entries.clear()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """
    Each test runs in a context of its own. Whenever ``CACHES`` change Django makes new context
    variables, and asgiref copies each that there is at every step between tasks and threads: after
    thousands of tests, a request under ASGI took a hundred times as long.
    """
    return bool(copy_context().run(run_test, item, nextitem))


# i18n_patterns() asks USE_I18N when the URLs are imported, and that must be no test's own.
import_module(settings.ROOT_URLCONF)


def _server(kind: str) -> Iterator[Server]:
    try:
        with running(kind) as server:
            yield server
    except ServerMissingError as missing:
        if IN_CI and kind != "valkey":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def redis_server() -> Iterator[Server]:
    """A real redis-server that lives as long as the test session."""
    yield from _server("redis")


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Server]:
    """A real valkey-server; a skip where it is not installed."""
    yield from _server("valkey")


@pytest.fixture(scope="session")
def memcached_server() -> Iterator[Server]:
    """A real memcached that lives as long as the test session."""
    yield from _server("memcached")


#: Real transactions: inside the one that the `db` fixture opens, nothing ever commits. It takes the
#: mark; a fixture that asks for `transactional_db` when the test has begun comes too late.
MARKS = {"db": [pytest.mark.django_db(transaction=True)]}


@pytest.fixture(params=[pytest.param(name, marks=MARKS.get(name, [])) for name in BACKENDS])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backend]:
    """
    Each backend in turn as the default cache, empty.

    Some of them only: `@pytest.mark.parametrize("backend", ["redis"], indirect=True)`.
    """
    name: str = request.param
    server: Server | None = None
    if name in SERVERS:
        server = request.getfixturevalue(f"{SERVERS[name]}_server")
        server.flush()
    if name == "db":
        request.getfixturevalue("transactional_db")
    location = {
        # One of its own: locmem's entries are globals that outlive a test.
        "locmem": request.node.nodeid,
        "file": str(tmp_path / "cache"),
        "db": "viewcache_test_cache",
    }
    where = server.location if server else location[name]
    with override_settings(CACHES={"default": cache_settings(name, where)}):
        if name == "db":
            call_command("createcachetable", verbosity=0)
        found = Backend(name, server)
        try:
            yield found
        finally:
            found.cache.clear()
            close_connections()
