"""Settings for Django's own test-suite, with viewcache in Django's place.

`runtests.py --settings=shim` reads them; suite.py runs it.

PARITY_MODE says what is replaced while the tests are imported:

* stock: nothing; what the installed Django does by itself.
* keys: learn_cache_key and get_cache_key, in the tests and in Django's own middleware.
* pages: the middleware and cache_page, in the tests.
* both: both.
* leased: the middleware, with a look-up before each store, as on a site. Only the tests that call
  the store half alone are run.

Only the names that the tests and Django's middleware hold are replaced. django.utils.cache itself
stays what it is, since viewcache asks it for the recipe of the keys.

PARITY_REPORT names a file for the outcome of each test, as JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import unittest
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from django.test.runner import DiscoverRunner
from test_sqlite import *  # noqa: F403

TEST_RUNNER = "shim.Runner"

# (module, name, what takes its place)
KEYS = [
    (module, name, f"viewcache.{name}")
    for module in ("django.utils.cache", "django.middleware.cache")
    for name in ("learn_cache_key", "get_cache_key")
]
PAGES = [
    ("django.middleware.cache", name, f"viewcache.middleware.{name}")
    for name in ("CacheMiddleware", "FetchFromCacheMiddleware", "UpdateCacheMiddleware")
] + [("django.views.decorators.cache", "cache_page", "viewcache.decorators.cache_page")]
LEASED = [("django.middleware.cache", "UpdateCacheMiddleware", "shim.looked_up_first")]
REPLACED = {
    "stock": [],
    "keys": KEYS,
    "pages": PAGES,
    "both": KEYS + PAGES,
    "leased": PAGES[:2] + LEASED,
}


def looked_up_first(get_response: Any) -> Any:
    """viewcache's UpdateCacheMiddleware around its FetchFromCacheMiddleware, as in MIDDLEWARE."""
    from viewcache.middleware import FetchFromCacheMiddleware, UpdateCacheMiddleware

    return UpdateCacheMiddleware(FetchFromCacheMiddleware(get_response))


def _named(dotted: str) -> Any:
    module, _, name = dotted.rpartition(".")
    return getattr(importlib.import_module(module), name)


@contextlib.contextmanager
def in_djangos_place(mode: str) -> Iterator[None]:
    """What is imported from Django inside the block is viewcache's."""
    # All of viewcache first: it must itself import the real ones.
    found = [(module, name, _named(place)) for module, name, place in REPLACED[mode]]
    with contextlib.ExitStack() as stack:
        for module, name, place in found:
            stack.enter_context(mock.patch(f"{module}.{name}", place))
        yield
    for module, name, place in found:
        # Django's own middleware goes on calling viewcache's keys.
        if module == "django.middleware.cache" and name.endswith("_cache_key"):
            setattr(importlib.import_module(module), name, place)


class _Result(unittest.TextTestResult):
    """Remembers each test's outcome; a subtest that fails fails its test."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: dict[str, str] = {}
        self.details: dict[str, str] = {}

    def _failed(self, test: unittest.TestCase, err: Any) -> None:
        self.outcomes[test.id()] = "failed"
        detail = self._exc_info_to_string(err, test)
        self.details[test.id()] = self.details.get(test.id(), "") + detail

    def addSuccess(self, test: unittest.TestCase) -> None:  # noqa: N802
        super().addSuccess(test)
        self.outcomes.setdefault(test.id(), "passed")

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addFailure(test, err)
        self._failed(test, err)

    def addError(self, test: unittest.TestCase, err: Any) -> None:  # noqa: N802
        super().addError(test, err)
        self._failed(test, err)

    def addSubTest(self, test: unittest.TestCase, subtest: Any, err: Any) -> None:  # noqa: N802
        super().addSubTest(test, subtest, err)
        if err is not None:
            self._failed(test, err)

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:  # noqa: N802
        super().addSkip(test, reason)
        self.outcomes.setdefault(test.id(), "skipped")


class Runner(DiscoverRunner):
    """Django's runner, that imports the tests with viewcache in Django's place."""

    def build_suite(self, *args: Any, **kwargs: Any) -> Any:
        mode = os.environ["PARITY_MODE"]
        with in_djangos_place(mode):
            suite = super().build_suite(*args, **kwargs)
        tests = sys.modules["cache.tests"]
        for _, name, place in REPLACED[mode]:
            assert getattr(tests, name) is _named(place), f"the tests use another {name}"
        return suite

    def get_resultclass(self) -> type[_Result]:
        return _Result

    def suite_result(self, suite: Any, result: _Result, **kwargs: Any) -> Any:
        report = {"outcomes": result.outcomes, "details": result.details}
        Path(os.environ["PARITY_REPORT"]).write_text(json.dumps(report))
        return super().suite_result(suite, result, **kwargs)
