"""``manage.py viewcache list``, ``stats`` and ``expire --url-pattern``, ``--view``."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any
from unittest import mock

import pytest
import viewcache
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client, override_settings
from surfaces.conftest import WITHOUT, Terminal
from surfaces.site import calls
from viewcache import inventory, overview
from viewcache.management.commands import viewcache as command

pytestmark = pytest.mark.usefixtures("site")


def run(*args: str, **options: Any) -> str:
    out = StringIO()
    call_command("viewcache", *args, stdout=out, **options)
    return out.getvalue()


def refused(*args: str) -> str:
    """The one line that says why; the exit code is not 0 and nothing has changed."""
    before = dict(cache._cache)  # type: ignore[attr-defined]
    with pytest.raises(CommandError) as caught:
        run(*args)
    assert caught.value.returncode == 1
    assert dict(cache._cache) == before  # type: ignore[attr-defined]
    told = str(caught.value)
    assert "\n" not in told
    return told


def urls(*args: str) -> list[str]:
    return [row["url"] for row in json.loads(run("list", "--json", *args))]


@pytest.fixture
def pages(site: None) -> None:
    """Four URLs, one of them in two variants, and one expired."""
    for url in ["/items/1/", "/items/2/?page=2", "/plain/", "/tagged/"]:
        Client().get(url)
    for theme in ("dark", "light"):
        Client(headers={"cookie": f"theme={theme}"}).get("/themed/")
    viewcache.expire(path="/plain/")


# -- list -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pages")
def test_it_lists_what_would_be_served() -> None:
    lines = run("list").splitlines()
    assert lines[0].split() == ["pages", "age", "size", "URL"]
    assert [(line.split()[0], line.split()[-1]) for line in lines[1:-1]] == [
        ("1", "http://testserver/items/1/"),
        ("1", "http://testserver/items/2/?page=2"),
        ("1", "http://testserver/tagged/"),
        ("2", "http://testserver/themed/"),
    ]
    assert lines[-1].startswith("4 URLs, 5 pages, ")
    assert lines[-1].endswith("The inventory has 6 of 50000 places taken.")


@pytest.mark.usefixtures("pages")
def test_it_can_be_narrowed_ordered_and_cut() -> None:
    assert urls("--url-pattern", "^/items/") == [
        "http://testserver/items/1/",
        "http://testserver/items/2/?page=2",
    ]
    assert len(urls("--url-pattern", "^/items/1/$", "themed")) == 2
    assert urls("--sort", "pages", "--limit", "1") == ["http://testserver/themed/"]
    for order in ("age", "size"):
        assert len(urls("--sort", order)) == 4
    assert run("list", "--url-pattern", "nothing").startswith("0 URLs, 0 pages, 0 B.")


@pytest.mark.usefixtures("pages")
def test_all_of_them_and_why_they_are_not_served() -> None:
    [line] = [line for line in run("list", "--all").splitlines() if "/plain/" in line]
    assert line.endswith("/plain/  (1 expired)")
    [row] = [row for row in json.loads(run("list", "--all", "--json")) if "/plain/" in row["url"]]
    assert (row["pages"], row["stale"]) == (0, {"expired": 1})


@pytest.mark.usefixtures("pages")
def test_what_machines_are_told() -> None:
    [row] = json.loads(run("list", "--json", "--url-pattern", "tagged"))
    assert row.pop("oldest_seconds") >= row.pop("newest_seconds") >= 0
    assert row.pop("bytes") > 6
    assert row == {
        "url": "http://testserver/tagged/",
        "path": "/tagged/",
        "pages": 1,
        "stale": {},
        "languages": ["en"],
        "tags": ["tag:a"],
    }


def test_a_site_without_languages_names_none() -> None:
    middleware = [
        "viewcache.middleware.UpdateCacheMiddleware",
        *(name for name in WITHOUT if "locale" not in name),
        "viewcache.middleware.FetchFromCacheMiddleware",
    ]
    with override_settings(USE_I18N=False, MIDDLEWARE=middleware):
        Client().get("/plain/")
        [row] = json.loads(run("list", "--json"))
    assert (row["pages"], row["languages"]) == (1, [])


@override_settings(VIEWCACHE={"INVENTORY": 2})
def test_a_full_inventory_says_so() -> None:
    for number in range(5):
        Client().get(f"/items/{number}/")
    assert "2 of 2 places taken; it may miss pages. Raise VIEWCACHE['INVENTORY']" in run("list")


# -- stats ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("pages")
def test_statistics() -> None:
    told = json.loads(run("stats", "--json"))
    assert (told["urls"], told["pages"], told["stale"], told["gone"]) == (4, 5, {"expired": 1}, 0)
    assert told["languages"] == {"en": 5}
    assert told["inventory"] == {"taken": 6, "places": 50_000}
    assert told["cache"]["backend"].endswith(".LocMemCache")
    lines = run("stats").splitlines()
    assert lines[:3] == ["URLs       4", "pages      5", "           and 1 expired"]
    assert lines[-1].startswith("cache      default: ")
    assert json.loads(run("stats", "--json", "--url-pattern", "items"))["urls"] == 2


def test_statistics_tell_of_early_hits_and_all_that_is_in_their_way() -> None:
    with override_settings(USE_I18N=False):
        assert "early hits: possible" in run("stats").splitlines()
        assert json.loads(run("stats", "--json"))["early"] == {"obstacles": []}
    with override_settings(SESSION_SAVE_EVERY_REQUEST=True):
        lines = run("stats").splitlines()
        told = json.loads(run("stats", "--json"))["early"]["obstacles"]
    at = lines.index("early hits: not possible")
    assert [line.strip() for line in lines[at + 1 : at + 3]] == [
        f"{found['what']}. {found['advice']}" for found in told
    ]
    assert [found["what"] for found in told] == [
        "SESSION_SAVE_EVERY_REQUEST is on",
        "the language is not taken from the path",
    ]
    assert "i18n_patterns()" in told[1]["advice"]


def test_statistics_of_nothing() -> None:
    assert json.loads(run("stats", "--json"))["largest"] is None
    assert run("stats").splitlines()[:3] == ["URLs       0", "pages      0", "size       0 B"]


@pytest.mark.usefixtures("pages")
def test_what_was_evicted_is_counted() -> None:
    [page] = [page for page in inventory.read().pages if page.path == "/tagged/"]
    cache.delete(page.key)
    assert "and 1 listed, but no longer in the cache" in run("stats")


# -- expire ---------------------------------------------------------------------------------------


def is_cached(path: str) -> bool:
    before = calls.total()
    Client().get(path)
    return calls.total() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url-pattern", "^/items/"],
        ["--url-pattern", r"items/\d/$", r"page=\d"],
        ["--view", "item"],
        ["--view", "item", "--tag", "a"],
    ],
)
@pytest.mark.usefixtures("pages")
def test_patterns_and_views_expire_what_is_cached(arguments: list[str]) -> None:
    dry = run("expire", *arguments, "--dry-run").splitlines()
    assert is_cached("/items/1/")
    told = run("expire", *arguments).splitlines()
    assert dry[0].startswith("Would expire ")
    assert dry[1:] == told[1:]
    assert told[1:3] == ["  path:/items/1/", "  path:/items/2/"]
    assert not is_cached("/items/1/")
    assert not is_cached("/items/2/?page=2")


def test_a_path_is_expired_as_it_is() -> None:
    Client().get("/sitemap.xml")
    with mock.patch.object(inventory, "read") as read:
        page = inventory.Listed("", "", "", "/50%25 café?/", "GET", None, "", None, None)
        read.return_value = inventory.Inventory([page], 1, 1)
        told = run("expire", "--url-pattern", "x", "--json")
    assert json.loads(told) == {"scopes": ["path:/50%25 café?/"], "expired": True}


@pytest.mark.usefixtures("pages")
def test_many_are_expired_in_steps_and_not_all_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_BATCH", 2)
    monkeypatch.setattr(command, "_SHOWN", 1)
    told = run("expire", "--url-pattern", "http", "--tree", "/other/").splitlines()
    assert told == [
        "Expired 8 scopes:",
        "  path:/items/1/",
        "  … and 7 more; --verbosity 2 names them.",
    ]
    assert urls() == []
    assert len(run("expire", "--url-pattern", "http", verbosity=2).splitlines()) == 6


@pytest.mark.usefixtures("pages")
def test_many_are_counted_for_whoever_looks_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_BATCH", 2)
    out = Terminal()
    call_command("viewcache", "expire", "--url-pattern", "http", stdout=out)
    clear = "\x1b[K"
    steps, told = out.getvalue().split(f"\r{clear}")
    assert steps == f"\r0 of 5 paths{clear}\r2 of 5 paths{clear}\r4 of 5 paths{clear}"
    assert told.startswith("Expired 5 scopes:\n")
    # And not where nobody does.
    assert "of 5 paths" not in run("expire", "--url-pattern", "http")


def test_nothing_that_matches_is_no_error() -> None:
    assert run("expire", "--url-pattern", "nothing") == "Expired 0 scopes.\n"


# -- Bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("subcommand", ["list", "stats", "expire"])
@pytest.mark.usefixtures("pages")
def test_what_is_no_pattern_is_refused(subcommand: str) -> None:
    told = refused(subcommand, "--url-pattern", "^/ok/", "^/items/(")
    assert told.startswith("'^/items/(' is not a pattern: unclosed group.")
    assert "look-around" in refused(subcommand, "--url-pattern", "(?=x)")
    assert "is empty" in refused(subcommand, "--url-pattern", "")


@pytest.mark.parametrize("more", [[], ["--dry-run"], ["--path", "/items/1/"]])
@pytest.mark.usefixtures("pages")
def test_a_tag_that_no_page_has_is_refused(more: list[str]) -> None:
    told = refused("expire", "--tag", "a", "typo", *more)
    assert told.startswith("No cached page has the tag 'typo'; nothing was expired.")


@pytest.mark.usefixtures("pages")
def test_a_view_that_there_is_not_is_refused() -> None:
    assert "'typo' is not a valid view" in refused("expire", "--view", "item", "typo")


@pytest.mark.parametrize("subcommand", [["list"], ["stats"], ["expire", "--url-pattern", "x"]])
def test_without_an_inventory_a_cache_or_its_alias(subcommand: list[str]) -> None:
    with override_settings(VIEWCACHE={"INVENTORY": 0}):
        assert refused(*subcommand).startswith("VIEWCACHE['INVENTORY'] is 0")
    with override_settings(CACHE_MIDDLEWARE_ALIAS="nowhere"):
        assert "'nowhere' doesn't exist" in refused(*subcommand)
    down = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": "redis://[::1]:1"}
    with override_settings(CACHES={"default": down}), pytest.raises(CommandError) as caught:
        run(*subcommand)
    assert str(caught.value).startswith("ConnectionError: ")


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_is_a_number(limit: str) -> None:
    assert "--limit" in refused("list", f"--limit={limit}")


@pytest.mark.parametrize("subcommand", ["explain", "expire", "list", "stats", "warm"])
def test_each_says_what_it_does(subcommand: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run(subcommand, "--help")
    told = capsys.readouterr().out
    assert caught.value.code == 0
    assert len(told.split()) > 80


def test_ages_and_sizes_in_words() -> None:
    assert [overview.seconds(age) for age in (-1, 0, 119, 120, 7199, 7200, 172_800)] == [
        "0 s",
        "0 s",
        "119 s",
        "2 min",
        "119 min",
        "2 h",
        "2 days",
    ]
    sizes = [overview.size(count) for count in (0, 999, 1000, 999_499, 3_400_000)]
    assert sizes == ["0 B", "999 B", "1 kB", "999 kB", "3.4 MB"]
