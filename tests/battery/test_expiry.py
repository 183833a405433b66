"""Expiries: what may happen around them, and that no page is old after one."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import viewcache
from backends import ask_step_by_step
from battery.served import NOT_DATABASE, Served, status
from blog.models import Tag
from django.core import checks
from django.core.cache import cache
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from viewcache import breaker, pipeline
from viewcache.store import Store, UnconfirmedError

DOWN = OSError("the cache is down")


def in_a_thread(call: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=call)
    thread.start()
    return thread


# -- Races ----------------------------------------------------------------------------------------


@pytest.mark.case(64)
@pytest.mark.parametrize(
    "scope", [{"path": "/page/"}, {"tree": "/"}, {"everything": True}, {"tag": "t"}]
)
def test_an_expiry_while_the_page_renders(served: Served, scope: Any) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        viewcache.tag(request, "t")
        if number < 3:
            viewcache.expire(**scope)
        return HttpResponse(str(number))

    assert served(view).pages({}, {}, {}, {}) == [1, 2, 3, 3]


@pytest.mark.case(65)
def test_a_page_that_is_stored_after_a_newer_one(served: Served) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        if number == 1:
            viewcache.expire(path="/page/")
            assert site.pages({}, {}) == [2, 2]
        return HttpResponse(str(number))

    site = served(view)
    # The first takes so long that the second has come and gone; then the first is stored over it.
    assert site.pages({}) == [1]
    assert site.pages({}, {}) == [3, 3]


@pytest.mark.case(66)
@pytest.mark.parametrize("before", [True, False])
def test_an_expiry_while_a_page_is_fetched(
    served: Served, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    site = served()
    assert site.pages({}, {}) == [1, 1]
    ask_step_by_step(monkeypatch)
    fetch = Store.fetch

    def expiring(self: Store, *keys: Any) -> Any:
        monkeypatch.setattr(Store, "fetch", fetch)
        if before:
            viewcache.expire(path="/page/")
        found = fetch(self, *keys)
        if not before:
            viewcache.expire(path="/page/")
        return found

    monkeypatch.setattr(Store, "fetch", expiring)
    # One that began before the expiry may still be served; none that began after it.
    assert site.pages({}) == [2 if before else 1]
    assert site.pages({}, {}) == [2, 2]


@pytest.mark.case(67)
@pytest.mark.parametrize("places", list(itertools.product(["before", "during", "after"], repeat=2)))
def test_two_expiries_and_a_store_in_all_orders(served: Served, places: tuple[str, str]) -> None:
    data = [0]

    def write(place: str) -> None:
        for _ in range(places.count(place)):
            data[0] += 1
            viewcache.expire(path="/page/")

    def view(request: HttpRequest, number: int) -> HttpResponse:
        read = data[0]
        if number == 1:
            write("during")
        return HttpResponse(str(read))

    site = served(view)
    write("before")
    site.get()
    write("after")
    assert site.pages({}, {}) == [2, 2]


@pytest.mark.case(68)
def test_an_old_page_that_comes_back_is_not_served(served: Served) -> None:
    """Evicted, flushed or restarted: whatever of the old entries returns, generations do not."""
    site = served()
    response = site.get()
    old = site.entries(response)
    for lost in range(3):
        site.backend.cache.delete_many(list(old)[lost:]) if lost else site.backend.cache.clear()
        viewcache.expire(path="/page/")
        site.put_back(old, "p1", "r1")
        number = site.renders
        assert site.pages({}, {}) == [number + 1] * 2
        site.put_back(old, "p1", "r1")
        assert site.pages({}) != [1]


@pytest.mark.case(68)
def test_each_generation_that_is_lost_makes_a_miss(served: Served) -> None:
    site = served()
    for name, key in list(site.keys(site.get("/a/b/")).items()):
        if name.startswith(("path:", "tree:")):
            site.backend.cache.delete(key)
            number = site.renders
            assert site.pages("/a/b/", "/a/b/") == [number + 1] * 2


@pytest.mark.case(69)
def test_a_lost_write_is_bounded_by_the_timeout(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failover that forgets an expiry makes pages valid again, no longer than their timeout."""
    site = served(timeout=300)
    old = site.entries(site.get())
    viewcache.expire(path="/page/")
    site.put_back(old, "g1")
    assert site.pages({}) == [1]
    real = time.time
    monkeypatch.setattr(pipeline.time, "time", lambda: real() + 301)
    assert site.pages({}) == [2]


@pytest.mark.case(70)
@pytest.mark.parametrize("backend", ["redis"], indirect=True)
def test_replicas_are_told(served: Served) -> None:
    found = served.settings.CACHES["default"]
    servers = [found["LOCATION"], found["LOCATION"]]
    served.settings.CACHES = {"default": {**found, "LOCATION": servers}}
    assert "viewcache.W009" in {message.id for message in checks.run_checks(tags=["viewcache"])}


@pytest.mark.case(71)
@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_decides_nothing_but_the_timeout(
    served: Served, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    site = served(timeout=7200)
    assert site.pages({}, {}) == [1, 1]
    real = time.time
    monkeypatch.setattr(pipeline.time, "time", lambda: real() + 3600 * hours)
    assert site.pages({}) == [1]
    viewcache.expire(path="/page/")
    assert site.pages({}) == [2]
    monkeypatch.setattr(pipeline.time, "time", real)
    assert site.pages({}) == [2]
    viewcache.expire(path="/page/")
    assert site.pages({}) == [3]


# -- Transactions ---------------------------------------------------------------------------------


@pytest.mark.case(72)
@pytest.mark.django_db(transaction=True)
def test_commits_rollbacks_and_savepoints(served: Served) -> None:
    site = served()

    def numbers() -> list[int]:
        return site.pages("/kept/", "/dropped/")

    first = numbers()
    with transaction.atomic():
        assert viewcache.expire(path="/kept/").waits
        try:
            with transaction.atomic():
                viewcache.expire(path="/dropped/")
                raise LookupError
        except LookupError:
            pass
    assert numbers() == [first[0] + 2, first[1]]
    before = numbers()
    try:
        with transaction.atomic():
            viewcache.expire(path=["/kept/", "/dropped/"])
            raise LookupError
    except LookupError:
        pass
    assert numbers() == before


#: SQLite has one writer: the other request would wait for the commit.
@pytest.mark.parametrize("backend", NOT_DATABASE, indirect=True)
@pytest.mark.case(73)
@pytest.mark.django_db(transaction=True)
def test_another_request_that_read_before_the_commit(served: Served) -> None:
    """It stores what it read after the commit, and the expiry has been written: never served."""
    data = ["old"]
    has_read, may_answer = threading.Event(), threading.Event()

    def view(request: HttpRequest, number: int) -> HttpResponse:
        read = data[0]
        if number == 1:
            has_read.set()
            may_answer.wait(10)
        return HttpResponse(read)

    site = served(view)
    with transaction.atomic():
        viewcache.expire(path="/page/")
        other = in_a_thread(site.get)
        assert has_read.wait(10)
    data[0] = "new"
    may_answer.set()
    other.join()
    assert [site.get().content for _ in range(2)] == [b"new", b"new"]


@pytest.mark.case(78)
@pytest.mark.django_db(transaction=True)
def test_writes_without_signals_are_seen_by_track(served: Served) -> None:
    served.settings.VIEWCACHE = {"TRACK": True}

    def view(request: HttpRequest, number: int) -> HttpResponse:
        return HttpResponse(",".join(Tag.objects.order_by("pk").values_list("name", flat=True)))

    site = served(view)

    def raw() -> None:
        with connection.cursor() as cursor:
            cursor.execute("UPDATE blog_tag SET name = 'raw' WHERE slug = 'a'")

    writes: list[Callable[[], Any]] = [
        lambda: Tag.objects.bulk_create([Tag(name="A", slug="a"), Tag(name="B", slug="b")]),
        lambda: Tag.objects.filter(slug="a").update(name="updated"),
        lambda: Tag.objects.bulk_update(
            [Tag(pk=Tag.objects.get(slug="b").pk, name="bulk")], ["name"]
        ),
        raw,
        lambda: Tag.objects.all().delete(),
    ]
    seen = [site.get().content]
    for write in writes:
        write()
        assert site.get().content not in seen
        seen.append(site.get().content)
        if write is writes[-2]:
            seen.clear()
    assert seen == [b""]


@pytest.mark.case(79)
@pytest.mark.django_db(transaction=True)
def test_thousands_of_saves_are_one_write(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []
    write = Store.write

    def counting(self: Store, entries: Any) -> None:
        written.append(len(entries))
        write(self, entries)

    monkeypatch.setattr(Store, "write", counting)
    site = served()
    assert site.pages({}, {}) == [1, 1]
    with transaction.atomic():
        for _ in range(2_000):
            viewcache.expire(path=["/page/", "/"], tag=["a", "b"])
    assert written == [4]
    assert site.pages({}) == [2]


# -- Faults ---------------------------------------------------------------------------------------


def break_it(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """From now on these methods of the default cache raise."""

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise DOWN

    backend = cache._connections[cache._alias]  # type: ignore[attr-defined]
    for name in names:
        # django-vcache has methods of each instance.
        monkeypatch.setattr(backend if name in vars(backend) else type(backend), name, fails)


@pytest.mark.case(76)
def test_an_expiry_that_fails_is_never_silent(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = served()
    assert site.pages({}, {}) == [1, 1]
    with monkeypatch.context() as broken:
        break_it(broken, "set", "set_many", "get_many")
        for given in (
            {"path": "/page/"},
            {"path": ["/a/", "/b/"]},
            {"tag": "t"},
            {"everything": True},
        ):
            with pytest.raises((OSError, UnconfirmedError)):
                viewcache.expire(**given)
        done = viewcache.expire_view_cache("/page/")
        assert not done.expired
        assert "The cache failed" in done.reason
    breaker.reset()
    viewcache.expire(path="/page/")
    assert site.pages({}, {}) == [2, 2]


@pytest.mark.case(75, 76)
@pytest.mark.django_db(transaction=True)
def test_after_a_commit_it_is_logged_and_the_timeout_bounds_it(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site = served(timeout=300)
    assert site.pages({}) == [1]
    with (
        monkeypatch.context() as broken,
        caplog.at_level(logging.ERROR, "viewcache.expiry"),
        transaction.atomic(),
    ):
        viewcache.expire(path="/page/")
        break_it(broken, "set", "set_many")
    [line] = [record for record in caplog.records if record.name == "viewcache.expiry"]
    assert "could not expire path:/page/" in line.getMessage()
    breaker.reset()
    real = time.time
    monkeypatch.setattr(pipeline.time, "time", lambda: real() + 301)
    assert site.pages({}) == [2]


@pytest.mark.case(77)
@pytest.mark.parametrize("step", ["get_many", "add", "set", "get", "delete"])
@pytest.mark.parametrize("fault", [DOWN, TimeoutError("timed out"), ValueError("not understood")])
def test_a_step_that_fails_costs_no_page_and_no_truth(
    served: Served, monkeypatch: pytest.MonkeyPatch, step: str, fault: Exception
) -> None:
    site = served()
    assert site.pages("/warm/", "/warm/") == [1, 1]

    def fails(*args: Any, **kwargs: Any) -> Any:
        raise fault

    with monkeypatch.context() as broken:
        broken.setattr(type(cache._connections[cache._alias]), step, fails)  # type: ignore[attr-defined]
        for url in ("/warm/", "/cold/", "/cold/"):
            assert site.get(url).status_code == 200
            breaker.reset()
    breaker.reset()
    for url in ("/warm/", "/cold/"):
        viewcache.expire(path=url)
        number = site.renders
        assert site.pages(url, url) == [number + 1] * 2


# -- Tags -----------------------------------------------------------------------------------------


@pytest.mark.case(80)
@pytest.mark.parametrize("tag", ["", "x" * 300, "a\nb", "\0", "a\x7fb"])
def test_what_is_no_tag_is_an_error(served: Served, tag: str) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        with pytest.raises(ValueError, match="tag"):
            viewcache.tag(request, tag)
        return HttpResponse(str(number))

    assert served(view).pages({}, {}) == [1, 1]
    with pytest.raises(ValueError, match="tag"):
        viewcache.expire(tag=tag)


@pytest.mark.case(80)
@pytest.mark.parametrize("tag", ["a,b", "a b", "ü", "tag:", "日本:1", "x" * 250, "'; drop table"])
def test_odd_tags_are_tags(served: Served, tag: str) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        viewcache.tag(request, tag)
        return HttpResponse(str(number))

    site = served(view)
    assert site.pages({}, {}) == [1, 1]
    viewcache.expire(tag=tag)
    assert site.pages({}, {}) == [2, 2]


@pytest.mark.case(80)
def test_a_page_with_more_tags_than_it_may_have_is_not_cached(served: Served) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        names = [f"tag-{number}" for number in range(int(request.GET["count"]))]
        viewcache.tag(request, *names)
        return HttpResponse(str(number))

    served.keep(10_000)
    site = served(view)
    assert site.pages("/?count=513", "/?count=513") == [1, 2]
    assert status(site.get("/?count=513"))[1] == "too-many-tags"
    number = site.renders + 1
    assert site.pages("/?count=512", "/?count=512") == [number] * 2
    viewcache.expire(tag="tag-511")
    assert site.pages("/?count=512") == [number + 1]


@pytest.mark.case(80)
def test_one_tag_on_many_pages_is_one_write(served: Served) -> None:
    def view(request: HttpRequest, number: int) -> HttpResponse:
        viewcache.tag(request, "all")
        return HttpResponse(str(number))

    served.keep(10_000)
    site = served(view)
    urls = [f"/{number}/" for number in range(100)]
    first = site.pages(*urls)
    assert site.pages(*urls) == first
    assert viewcache.expire(tag="all").scopes == ("tag:all",)
    assert set(site.pages(*urls)).isdisjoint(first)
