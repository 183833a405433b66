"""The system checks, by id."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings
from surfaces.conftest import MIDDLEWARE, WITHOUT
from viewcache import checks, compat

pytestmark = pytest.mark.usefixtures("site")

ROOT = Path(__file__).parents[2]
BACKENDS = "django.core.cache.backends"
UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"
GZIP = "django.middleware.gzip.GZipMiddleware"
LOCALE = "django.middleware.locale.LocaleMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
STOCK = "django.middleware.cache.FetchFromCacheMiddleware"

#: A cache that no check minds.
GOOD = {
    "default": {
        "BACKEND": f"{BACKENDS}.redis.RedisCache",
        "LOCATION": "redis://[::1]:1?socket_timeout=1",
    }
}


def ids(**settings: Any) -> list[str]:
    settings = {"CACHES": {**GOOD, "other": GOOD["default"]}, **settings}
    with override_settings(**settings):
        return [str(message.id).removeprefix("viewcache.") for message in checks.check()]


def not_one(request: object) -> str:
    return "a function"


class TimezoneMiddleware:
    pass


NOT_CALLABLE = "a string"


def test_a_good_site_has_none() -> None:
    assert ids() == []


def test_the_example_blog_has_none() -> None:
    command = [sys.executable, "manage.py", "check", "--tag=viewcache", "--fail-level=WARNING"]
    command.append("--settings=mysite.settings")
    done = subprocess.run(command, cwd=ROOT / "examples/blog", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"TRAK": True}, ["E001"]),
        ({"CACHE_STATUS": "loud"}, ["E001"]),
        ("on", ["E001"]),
        ({"EXPIRE_ON_SAVE": {"auth.User": None}}, []),
        ({"EXPIRE_ON_SAVE": {"auth.user": None}}, []),
        ({"EXPIRE_ON_SAVE": {"auth.Nobody": None}}, ["E002"]),
        ({"EXPIRE_ON_SAVE": {"nothing.User": None}}, ["E002"]),
        ({"EXPIRE_ON_SAVE": {"auth.User": f"{__name__}.not_one"}}, []),
        ({"EXPIRE_ON_SAVE": {"auth.User": not_one}}, []),
        ({"EXPIRE_ON_SAVE": {"auth.User": "nowhere.urls"}}, ["E003"]),
        ({"EXPIRE_ON_SAVE": {"auth.User": f"{__name__}.NOT_CALLABLE"}}, ["E003"]),
        ({"EXPIRE_ON_SAVE": {"auth.User": 3}}, ["E003"]),
        ({"IGNORE_COOKIES": ["_ga*"]}, []),
        ({"IGNORE_COOKIES": ["_ga", "sess*"]}, ["E008"]),
        ({"TRACK": ["auth", "auth.User", "auth.group", "auth.User_groups"]}, []),
        ({"TRACK": ["auth", "atuh", "auth.Usr"]}, ["W015", "W015"]),
        ({"EARLY_SAFE": [f"{__name__}.TimezoneMiddleware", f"{__name__}.a.<locals>.b"]}, []),
        ({"EARLY_SAFE": [f"{__name__}.TimzoneMiddleware", "nowhere.Middleware"]}, ["W016"] * 2),
        ({"QUIET": {"auth_user": ["last_login"], "auth_group": None, "a_table": ["a"]}}, []),
        ({"QUIET": {"auth.User": ["last_login"], "auth.group": None}}, ["W017", "W017"]),
        ({"QUIET": {"auth_permission": ["name", "content_type", "codname"]}}, ["W017", "W017"]),
    ],
)
def test_settings(given: Any, expected: list[str]) -> None:
    assert ids(VIEWCACHE=given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"EXPIRE_ON_SAVE": ["blog.Post"]}, "a dictionary such as {'blog.Post': "),
        ({"EXPIRE_ON_SAVE": {"Post": None}}, "a dictionary such as {'blog.Post': "),
        ({"IGNORE_COOKIES": "_ga"}, "a list of strings"),
        ({"HOSTS": [b"a.example"]}, "a list of strings"),
        ({"SORT_QUERY": "no"}, "True or False"),
        ({"TRACK": "blog"}, "True, False, or a list of app and model labels"),
        ({"TRACK": [None]}, "True, False, or a list of app and model labels"),
        ({"QUIET": ["blog_tag"]}, "a dictionary such as {'auth_user': ['last_login'], "),
        ({"QUIET": {"blog_tag": "name"}}, "a dictionary such as {'auth_user': ['last_login'], "),
        ({"WAIT_SECONDS": -1}, "a number of seconds, 0 or more"),
        ({"SETTLE_SECONDS": True}, "a number of seconds, 0 or more"),
        ({"FAULT_SECONDS": float("inf")}, "a number of seconds, 0 or more"),
        ({"MEMORY_BYTES": 2**63}, "a whole number, 0 or more and at most 9223372036854775807"),
        ({"STALE_IF_ERROR": 2**31}, "a whole number, 0 or more and at most 2147483647"),
        ({"INVENTORY": -1}, "a whole number, 0 or more"),
        ({"TRACK_ROWS": 1.5}, "a whole number, 0 or more"),
        ({"RECORD_EXPIRIES": True}, "a whole number, 0 or more"),
        ({"BROWSER_SECONDS": -1}, "a whole number of seconds, 0 or more, or None"),
        ({"RELEASE": 7}, "a string"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_was_expected(
    given: dict[str, Any], expected: str
) -> None:
    [(name, value)] = given.items()
    with override_settings(VIEWCACHE=given, CACHES={**GOOD, "other": GOOD["default"]}):
        [message] = checks.check()
    assert message.id == "viewcache.E001"
    assert message.msg.startswith(f"VIEWCACHE[{name!r}] is {value!r}; expected {expected}")


@pytest.mark.parametrize(
    ("seconds", "expected"), [(0, []), (0.5, []), ("60", ["E009"]), (None, ["E009"])]
)
def test_seconds(seconds: Any, expected: list[str]) -> None:
    assert ids(CACHE_MIDDLEWARE_SECONDS=seconds) == expected
    assert ids(CACHE_MIDDLEWARE_SECONDS=seconds, MIDDLEWARE=WITHOUT) == []


@pytest.mark.parametrize(
    ("middleware", "expected"),
    [
        (WITHOUT, []),
        ([UPDATE, FETCH], []),
        (["viewcache.middleware.CacheMiddleware"], []),
        ([*MIDDLEWARE, STOCK], ["E005", "W002"]),
        ([*WITHOUT, STOCK], []),
        ([UPDATE, *WITHOUT], ["E006"]),
        ([*WITHOUT, FETCH], ["E006"]),
        ([FETCH, *WITHOUT, UPDATE], ["E007"]),
        ([SESSION, UPDATE, FETCH], ["W001"]),
        (["django.middleware.security.SecurityMiddleware", UPDATE, FETCH], []),
        ([UPDATE, FETCH, SESSION], ["W002"]),
        ([UPDATE, SESSION, FETCH, LOCALE], ["W003"]),
        ([UPDATE, FETCH, f"{__name__}.TimezoneMiddleware"], ["W003"]),
        ([UPDATE, GZIP, FETCH], ["W004"]),
        ([GZIP, UPDATE, FETCH], []),
        ([UPDATE, "nowhere.Middleware", FETCH, "nowhere.Middleware"], []),
    ],
)
def test_middleware(middleware: list[str], expected: list[str]) -> None:
    assert ids(MIDDLEWARE=middleware) == expected


def test_half_of_the_middleware_is_named_rightly() -> None:
    with override_settings(MIDDLEWARE=[UPDATE], CACHES={**GOOD, "other": GOOD["default"]}):
        [message] = checks.check()
    assert message.msg.startswith("UpdateCacheMiddleware is in MIDDLEWARE without FetchFromCache")


def _cache(backend: str, location: Any = "", **rest: Any) -> dict[str, Any]:
    return {"BACKEND": f"{BACKENDS}.{backend}", "LOCATION": location, **rest}


MANY = {"MAX_ENTRIES": 100_000}
SOON = {"timeout": 0.1}
SOCKET = {"socket_timeout": 0.1}


@pytest.mark.parametrize(
    ("cache", "expected"),
    [
        (_cache("dummy.DummyCache"), ["W005"]),
        (_cache("locmem.LocMemCache", OPTIONS=MANY), ["W006"]),
        (_cache("locmem.LocMemCache"), ["W006", "W007"]),
        (_cache("filebased.FileBasedCache", "/tmp/x"), ["W007"]),
        (_cache("db.DatabaseCache", "x"), ["W007"]),
        (_cache("db.DatabaseCache", "x", OPTIONS=MANY), []),
        (_cache("memcached.PyMemcacheCache", "x", KEY_PREFIX="p" * 150, OPTIONS=SOON), []),
        (_cache("memcached.PyMemcacheCache", "x", KEY_PREFIX="p" * 180, OPTIONS=SOON), ["W008"]),
        (_cache("memcached.PyMemcacheCache", "x", KEY_PREFIX="a b", OPTIONS=SOON), ["W008"]),
        (_cache("memcached.PyMemcacheCache", "x", OPTIONS={}), ["W013"]),
        (_cache("redis.RedisCache", "redis://a"), ["W013"]),
        (_cache("redis.RedisCache", "redis://a?socket_timeout=0.1"), []),
        (_cache("redis.RedisCache", "redis://a", OPTIONS={"socket_timeout": 0.1}), []),
        (_cache("redis.RedisCache", ["redis://a", "redis://b"], OPTIONS=SOCKET), ["W009"]),
        (_cache("redis.RedisCache", "redis://a;redis://b", OPTIONS=SOCKET), ["W009"]),
        (_cache("nothing.Cache"), ["E004"]),
    ],
)
def test_caches(cache: dict[str, Any], expected: list[str]) -> None:
    assert ids(CACHES={"default": cache, "other": GOOD["default"]}) == expected


def test_while_developing_the_caches_of_this_process_are_right() -> None:
    for backend in ("dummy.DummyCache", "locmem.LocMemCache"):
        caches = {"default": _cache(backend), "other": GOOD["default"]}
        assert ids(CACHES=caches, DEBUG=True) == []


@override_settings(VIEWCACHE={"TRACK": True})
def test_generations_for_queries_from_a_table() -> None:
    database = _cache("db.DatabaseCache", "x", OPTIONS=MANY)
    assert ids(CACHES={"default": database, "other": database}) == ["W010", "W010"]


def test_unknown_aliases() -> None:
    assert ids(CACHE_MIDDLEWARE_ALIAS="nowhere") == ["E004"]
    # The view "elsewhere" keeps its pages in "other".
    assert ids(CACHES=GOOD) == ["E004"]
    assert ids(CACHES=GOOD, ROOT_URLCONF="nowhere") == []


def test_an_unknown_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compat, "key_recipe", lambda: None)
    assert ids() == ["W011"]


def test_sessions() -> None:
    whole = {"VARY_ON_READ": False}
    assert ids(SESSION_SAVE_EVERY_REQUEST=True, VIEWCACHE=whole) == ["W012"]
    assert ids(SESSION_SAVE_EVERY_REQUEST=True) == []
    assert ids(SESSION_SAVE_EVERY_REQUEST=True, VIEWCACHE=whole, MIDDLEWARE=[UPDATE, FETCH]) == []


def test_each_has_its_place_in_the_documentation() -> None:
    source = Path(checks.__file__).read_text()
    found = set(re.findall(r'"([EW]\d{3})"', source))
    headings = re.findall(r"^## viewcache\.(\w+)$", (ROOT / checks.DOCUMENTATION).read_text(), re.M)
    assert sorted(found) == sorted(headings)
    with override_settings(VIEWCACHE={"TRAK": 1}):
        [message] = checks.check()
    assert str(message.hint).endswith("See docs/checks.md#viewcache-e001.")


@override_settings(VIEWCACHE={"TRAK": True})
def test_they_are_registered() -> None:
    with pytest.raises(SystemCheckError, match=r"viewcache\.E001"):
        call_command("check", tags=["viewcache"])


def test_wrong_settings_are_no_traceback() -> None:
    program = (
        "import sys; from django.conf import settings; "
        "settings.configure(INSTALLED_APPS=['viewcache'], VIEWCACHE={'TRAK': True}); "
        "from django.core.management import execute_from_command_line as run; "
        "run(['manage.py', 'check'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "(viewcache.E001) VIEWCACHE has no setting 'TRAK'. Did you mean 'TRACK'?" in done.stderr
