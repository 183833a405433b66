"""How often each page has answered: ``VIEWCACHE["COUNT_HITS"]``."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from django.core.handlers.wsgi import WSGIHandler
from django.core.management import call_command
from django.test import Client, override_settings
from viewcache import explain, hit_counts, inventory
from viewcache.visitor import request_for
from viewcache.wsgi import early


@pytest.fixture(autouse=True)
def counted(site: None) -> Iterator[None]:
    with override_settings(VIEWCACHE={"COUNT_HITS": True}):
        yield
        hit_counts.write()


def visit(url: str, times: int = 1, **headers: str) -> None:
    for _ in range(times):
        assert Client(headers=headers).get(url).status_code == 200


def listed(*args: str) -> dict[str, int]:
    out = StringIO()
    call_command("viewcache", "list", "--json", *args, stdout=out)
    rows = json.loads(out.getvalue())
    return {row["url"].removeprefix("http://testserver"): row["hits"] for row in rows}


def test_hits_are_counted_by_url_over_its_variants() -> None:
    visit("/plain/", 4)
    visit("/themed/", 2, cookie="theme=dark")
    visit("/themed/", 3, cookie="theme=light")
    visit("/items/1/")
    hit_counts.write()
    assert listed() == {"/plain/": 3, "/themed/": 3, "/items/1/": 0}
    visit("/plain/")
    hit_counts.write()
    assert listed("--sort", "hits", "--limit", "1") == {"/plain/": 4}
    out = StringIO()
    call_command("viewcache", "list", "--sort", "hits", stdout=out)
    head, first, *_ = out.getvalue().splitlines()
    assert head.split() == ["pages", "age", "size", "hits", "URL"]
    assert first.split()[-2:] == ["4", "http://testserver/plain/"]


def test_a_request_sends_nothing_for_it() -> None:
    visit("/plain/", 3)
    assert listed() == {"/plain/": 0}
    hit_counts.write()
    assert listed() == {"/plain/": 2}


def test_they_are_sent_a_moment_later() -> None:
    with mock.patch.object(hit_counts, "_DELAY", 0.01):
        visit("/plain/", 2)
        for thread in threading.enumerate():
            if thread.name == "viewcache-hits":
                thread.join()
    assert listed() == {"/plain/": 1}


@pytest.mark.django_db(transaction=True)
@override_settings(
    MIDDLEWARE=[f"viewcache.middleware.{half}CacheMiddleware" for half in ("Update", "FetchFrom")]
)
def test_early_hits_are_counted_too() -> None:
    application: Any = early(WSGIHandler())
    application.application = mock.Mock(wraps=application.application)
    for _ in range(6):
        environ = Client()._base_environ(PATH_INFO="/plain/", HTTP_HOST="testserver")
        for _ in application(environ, lambda *args: None):
            pass
    assert application.application.call_count == 3
    hit_counts.write()
    assert listed() == {"/plain/": 5}


def test_what_is_only_explained_is_no_hit() -> None:
    visit("/plain/")
    assert explain(request_for("/plain/")).verdict == "hit"
    hit_counts.write()
    assert listed() == {"/plain/": 0}


def test_a_child_begins_at_nothing() -> None:
    hit_counts._count("a")
    if not (child := os.fork()):
        os._exit(len(hit_counts._counts))
    assert os.waitpid(child, 0)[1] == 0


def test_the_counts_of_many_writers_add_up() -> None:
    visit("/plain/")
    keys = hit_counts._keys(page.key for page in inventory.read().pages)
    writers = [threading.Thread(target=hit_counts._add, args=(cache, *keys, 5)) for _ in range(8)]
    for each in writers:
        each.start()
    for each in writers:
        each.join()
    assert listed() == {"/plain/": 8 * 5}


def test_memory_is_bounded() -> None:
    with mock.patch.object(hit_counts, "_PAGES", 2):
        for key in ("a", "b", "c", "a"):
            hit_counts._count(key)
    assert dict(hit_counts._counts) == {"a": 2, "b": 1}


def test_a_cache_that_fails_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    visit("/plain/", 2)
    with mock.patch.object(LocMemCache, "add", side_effect=OSError("down")):
        hit_counts.write()
    assert "viewcache could not count hits (OSError: down)" in caplog.text
    assert listed() == {"/plain/": 0}


def test_nothing_is_counted_unless_it_is_wanted() -> None:
    with override_settings(VIEWCACHE={}):
        visit("/plain/", 2)
        out = StringIO()
        call_command("viewcache", "list", "--json", stdout=out)
        assert "hits" not in json.loads(out.getvalue())[0]
    assert not hit_counts._counts
