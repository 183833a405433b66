"""``manage.py viewcache expire``."""

from __future__ import annotations

from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from redis.exceptions import RedisError
from surfaces.site import calls
from viewcache import conf
from viewcache.management.commands.viewcache import Command

pytestmark = pytest.mark.usefixtures("site")


def expire(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("viewcache", "expire", *args, stdout=out, **options)
    return out.getvalue()


def is_cached(path: str) -> bool:
    before = calls.total()
    Client().get(path)
    return calls.total() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--path", "/items/1/"],
        ["--path=http://www.example.com/items/1/?page=2"],
        ["--path", "/plain/", "/items/1/"],
        ["--tree", "/items/"],
        ["--view", "item", "--args", "1"],
        ["--view", "item", "--kwargs", "pk=1"],
        ["--everything"],
    ],
)
def test_what_is_named_is_expired(arguments: list[str]) -> None:
    Client().get("/items/1/")
    assert is_cached("/items/1/")
    assert expire(*arguments).startswith("Expired ")
    assert not is_cached("/items/1/")


@pytest.mark.parametrize("command", [["expire", "--everything"], ["list"], ["explain", "/plain/"]])
def test_djangos_options_may_follow_the_name_of_the_command(command: list[str]) -> None:
    parser = Command().create_parser("manage.py", "viewcache")
    given = ["-v", "2", "--settings", "settings", "--traceback", "--no-color", "--skip-checks"]
    before, behind = parser.parse_args([*given, *command]), parser.parse_args([*command, *given])
    assert vars(before) == vars(behind)
    assert (behind.verbosity, behind.traceback, behind.pythonpath) == (2, True, None)
    assert parser.parse_args(["-v", "3", *command]).verbosity == 3


def test_how_much_is_said_may_be_told_behind_the_name() -> None:
    assert expire("--everything", "--verbosity", "0") == ""


def test_a_page_is_expired_softly() -> None:
    def generation() -> int:
        [found] = cache.get_many(conf.site().generation_keys(["path:/items/1/"])).values()
        return int(found)

    Client().get("/items/1/")
    before = generation()
    assert expire("--path", "/items/1/", "--soft").startswith("Expired softly 1 scope:")
    assert generation() == before + 1
    # Its view allows no stale page.
    assert not is_cached("/items/1/")


def test_what_is_not_named_is_not() -> None:
    Client().get("/items/1/")
    Client().get("/tagged/")
    expire("--path", "/items/", "--tree", "/item", "--tag", "a")
    assert is_cached("/items/1/")


def test_it_says_what_was_expired() -> None:
    cache.set_many(dict.fromkeys(conf.site().generation_keys(["tag:a", "tag:b"]), 1))
    told = expire("--path", "/plain/", "--tree", "/a/", "--tag", "a", "b", "--view", "tagged")
    assert told.splitlines() == [
        "Expired 7 scopes:",
        "  path:/plain/",
        "  path:/tagged/",
        "  tree:/a/",
        "  path:/a/",
        "  path:/a",
        "  tag:a",
        "  tag:b",
    ]
    assert expire("--tag", "a", verbosity=0) == ""


def test_several_are_one_command() -> None:
    cache.set_many(dict.fromkeys(conf.site().generation_keys(["tag:a", "tag:b"]), 1))
    backend = type(cache._connections[cache._alias])  # type: ignore[attr-defined]
    with mock.patch.object(backend, "set_many", autospec=True, return_value=[]) as set_many:
        expire("--path", "/plain/", "--tag", "a", "b")
    assert set_many.call_count == 1


def test_a_dry_run_changes_nothing() -> None:
    Client().get("/items/1/")
    Client().get("/tagged/")
    before = dict(cache._cache)  # type: ignore[attr-defined]
    told = expire("--tree", "/items/", "--everything", "--tag", "a", "--dry-run")
    assert told.splitlines() == [
        "Would expire 6 scopes; 3 of them can have pages:",
        "  tree:/items/",
        "  path:/items/",
        "  path:/items",
        "  tree:/",
        "  path:/",
        "  tag:a",
    ]
    assert dict(cache._cache) == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Nothing to expire was given."),
        (["--path", "plain/"], "is relative"),
        (["--path", ""], "The path is empty."),
        (["--tree", "/ok/", "nonsense"], "nonsense"),
        (["--tag", ""], "tag"),
        (["--tag", "x" * 251], "tag"),
        (["--view", "nothing"], "Reverse for 'nothing' not found"),
        (["--view", "item", "--args", "x"], "Reverse for 'item' with arguments '('x',)' not found"),
        (["--view", "item", "--kwargs", "1"], "'1' names no argument. Give NAME=VALUE"),
        (["--view", "item", "--args", "1", "--kwargs", "pk=1"], "Don't mix"),
        (["--args", "1"], "belong to a --view"),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(
    arguments: list[str], message: str
) -> None:
    Client().get("/tagged/")
    before = dict(cache._cache)  # type: ignore[attr-defined]
    for more in ([], ["--dry-run"]):
        with pytest.raises(CommandError) as caught:
            expire(*arguments, *(["--tag", "a"] if arguments else []), *more)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.returncode == 1
    assert dict(cache._cache) == before  # type: ignore[attr-defined]


def test_a_wrong_alias_and_a_cache_that_is_down() -> None:
    with override_settings(CACHE_MIDDLEWARE_ALIAS="nowhere"), pytest.raises(CommandError) as caught:
        expire("--everything")
    assert "The connection 'nowhere' doesn't exist." in str(caught.value)
    down = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://[::1]:1"}
    with override_settings(CACHES={"default": down}), pytest.raises(CommandError) as caught:
        expire("--everything")
    assert str(caught.value).startswith("ConnectionError: ")


def test_with_traceback_what_the_cache_raised_is_shown_whole() -> None:
    down = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://[::1]:1"}
    with override_settings(CACHES={"default": down}), pytest.raises(RedisError):
        expire("--everything", traceback=True)


def test_no_command_at_all() -> None:
    with pytest.raises(CommandError, match="COMMAND"):
        call_command("viewcache")
