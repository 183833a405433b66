"""Where viewcache does on purpose what Django's own tests forbid: each test, and why.

The list is strict both ways: a test that fails and is not here fails the run, and so does a
test that is here and passes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    """Some of Django's tests that viewcache fails on purpose."""

    tests: tuple[str, ...]
    modes: tuple[str, ...]
    reason: str
    # The same tests pass when a look-up comes first, as it does on a site: mode "leased".
    leased: bool = False


PAGES = ("pages", "both")

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        tests=(
            "cache.tests.CacheHEADTest.test_head_caches_correctly",
            "cache.tests.CacheHEADTest.test_head_with_cached_get",
            "cache.tests.CacheI18nTest.test_middleware",
            "cache.tests.PrefixedCacheI18nTest.test_middleware",
        ),
        modes=PAGES,
        reason="The store half is called with no fetch half before it: without a look-up there is "
        "no lease, and what has no lease is not stored.",
        leased=True,
    ),
    Deviation(
        tests=tuple(
            f"cache.tests.{backend}.test_cache_write_unpicklable_object"
            for backend in (
                "DBCacheTests",
                "DBCacheWithTimeZoneTests",
                "FileBasedCachePathLibTests",
                "FileBasedCacheTests",
                "LocMemCacheTests",
            )
        ),
        modes=PAGES,
        reason="The response sets a cookie, and viewcache stores none that does: a cookie is for "
        "one visitor. (Django stores it unless it varies on Cookie.)",
    ),
    Deviation(
        tests=("cache.tests.CacheMiddlewareTest.test_sensitive_cookie_not_cached",),
        modes=PAGES,
        reason="The only cookie that the response sets is the CSRF token's. viewcache stores the "
        "page without the cookie and without the token, and gives each visitor their own.",
    ),
)

# What mode "leased" runs.
LEASED = tuple(test for deviation in DEVIATIONS if deviation.leased for test in deviation.tests)


def expected(mode: str) -> dict[str, str]:
    """The tests that must fail in this mode, with the reason."""
    return {
        test: deviation.reason
        for deviation in DEVIATIONS
        if mode in deviation.modes
        for test in deviation.tests
    }
