"""What an import of viewcache brings along: a site waits for it whenever a process starts."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest
import viewcache

#: What every Django site has loaded by the time that its middleware is.
_SITE = """
import sys
import django
from django.conf import settings
settings.configure(CACHES={"default": {
    "BACKEND": "django.core.cache.backends.locmem.LocMemCache"
}})
django.setup()
import django.core.handlers.wsgi, django.http, django.middleware.cache, django.middleware.csrf
import django.urls
before = set(sys.modules)
"""

#: What the middleware is made of; ``explain()``, the admin, the commands and what settings switch
#: on are not among it.
_MIDDLEWARE = (
    *("_core", "activated", "asking", "backends", "breaker", "cache_status", "causes", "commit"),
    *("compat", "conf", "generations", "history", "hit_counts", "illegible", "installed", "kinds"),
    *("lease", "listing", "middleware", "outbox", "page", "pipeline", "policy", "reads", "request"),
    *("session_engines", "sessions", "shared", "signals", "slots", "stale", "stampede"),
    *("store", "stores", "uri", "visit", "watched"),
)


def _loaded(module: str) -> list[str]:
    program = f"{_SITE}import {module}\nprint(*sorted(set(sys.modules) - before))"
    return subprocess.check_output([sys.executable, "-c", program], text=True).split()


def test_the_package_loads_nothing_before_it_is_asked() -> None:
    assert _loaded("viewcache") == ["viewcache"]


def test_the_middleware_loads_what_a_request_needs_and_no_more() -> None:
    loaded = _loaded("viewcache.middleware")
    ours = {name.partition(".")[2] for name in loaded if name.startswith("viewcache.")}
    assert ours == set(_MIDDLEWARE)
    others = {name.partition(".")[0] for name in loaded} - {"viewcache", "django"}
    assert others <= sys.stdlib_module_names
    assert not [name for name in loaded if name.startswith("django.contrib.")]


@pytest.mark.parametrize("name", viewcache.__all__)
def test_each_public_name_is_there_and_listed(name: str) -> None:
    assert getattr(viewcache, name).__module__.startswith("viewcache.")
    assert name in dir(viewcache)


def test_a_module_that_is_named_in_full_needs_no_import_of_its_own() -> None:
    assert "viewcache.receivers" in _loaded("viewcache; viewcache.receivers.expire_instance")


def test_no_module_takes_the_place_of_a_public_name() -> None:
    modules = {module.name for module in pkgutil.iter_modules(viewcache.__path__)}
    assert modules.isdisjoint(viewcache.__all__)
    # They are listed where they live, and nowhere else.
    assert set(viewcache._HOMES) == set(viewcache.__all__)  # type: ignore[attr-defined]


def test_an_unknown_name_is_an_error_as_in_any_module() -> None:
    with pytest.raises(AttributeError, match="module 'viewcache' has no attribute 'purge'"):
        viewcache.purge  # type: ignore[attr-defined]  # noqa: B018
