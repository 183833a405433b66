"""What a database does not know: names, moments and releases."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import pytest
import viewcache
from blog.models import Tag
from django.http import HttpResponse
from tracking import Site
from viewcache import policy
from viewcache.decorators import cache_page

WEATHER = {"is": "fine"}


def weather() -> str:
    """Far from any view."""
    viewcache.depends_on("feed:weather")
    return WEATHER["is"]


@pytest.fixture(autouse=True)
def fine_weather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WEATHER, "is", "fine")


@pytest.mark.parametrize("per_site", [True, False])
def test_a_page_depends_on_what_it_names(tracked: Site, per_site: bool) -> None:
    get = tracked.serve(lambda request: weather(), per_site=per_site)
    get()
    WEATHER["is"] = "bad"
    assert get() == "fine"
    assert tracked.status == "hit"
    viewcache.expire(tag="feed:weather")
    assert get() == "bad"


def test_async_code_names_it_too(tracked: Site) -> None:
    async def view(request: Any, **kwargs: Any) -> HttpResponse:
        await viewcache.adepends_on("feed:weather")
        return HttpResponse(WEATHER["is"])

    tracked.serve_as_it_is(view)

    async def visit() -> None:
        await tracked.aget()
        WEATHER["is"] = "bad"
        assert await tracked.aget() == "fine"
        await viewcache.aexpire(tag="feed:weather")
        assert await tracked.aget() == "bad"

    asyncio.run(visit())


def test_outside_of_a_page_it_does_nothing_but_check_the_name(tracked: Site) -> None:
    viewcache.depends_on("feed:weather")
    asyncio.run(viewcache.adepends_on("feed:weather"))
    with pytest.raises(ValueError, match="tag"):
        viewcache.depends_on("")
    with pytest.raises(ValueError, match="tag"):
        asyncio.run(viewcache.adepends_on(""))


def test_without_tracking_it_does_nothing(tracked: Site) -> None:
    tracked.settings.VIEWCACHE = {}
    get = tracked.serve(lambda request: weather())
    get()
    WEATHER["is"] = "bad"
    viewcache.expire(tag="feed:weather")
    assert get() == "fine"


def in_seconds(seconds: float) -> datetime:
    return datetime.fromtimestamp(time.time() + seconds, tz=UTC)


@pytest.mark.parametrize("per_site", [True, False])
def test_a_page_ends_at_its_moment(
    tracked: Site, per_site: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def view(request: Any) -> HttpResponse:
        viewcache.expires_at(request, in_seconds(500))
        viewcache.expires_at(request, in_seconds(90.5))
        viewcache.expires_at(request, in_seconds(400))
        return HttpResponse("page")

    get = tracked.serve(view, per_site=per_site)
    response = tracked.client.get("/page/")
    assert response.headers["Cache-Control"] == "max-age=90"
    get()
    assert tracked.status == "hit"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 91)
    get()
    assert tracked.status == "stored"


def test_a_moment_that_is_over_keeps_the_page_from_being_stored(tracked: Site) -> None:
    def view(request: Any) -> HttpResponse:
        viewcache.expires_at(request, in_seconds(-5))
        return HttpResponse("page")

    get = tracked.serve(view)
    get()
    assert tracked.status != "stored"
    tracked.serve_as_it_is(cache_page(600)(lambda request, **kwargs: view(request)), False)
    get("/other/")
    assert tracked.reason == "Cache-Control: max-age=0"


def test_a_late_moment_changes_nothing(tracked: Site) -> None:
    def view(request: Any) -> HttpResponse:
        viewcache.expires_at(request, in_seconds(10**6))
        return HttpResponse("page")

    tracked.settings.CACHE_MIDDLEWARE_SECONDS = 60
    get = tracked.serve(view)
    get()
    assert tracked.status == "stored"


def test_a_model_and_an_instance_are_names_too(tracked: Site) -> None:
    tag = Tag.objects.create(name="t", slug="t")
    get = tracked.serve(lambda request: viewcache.depends_on(tag, Tag, "feed:weather"))
    get()
    for name in (tag, Tag, "feed:weather"):
        get()
        assert tracked.status == "hit"
        viewcache.expire(tag=name)
        get()
        assert tracked.status == "stored"
    with pytest.raises(ValueError, match="3 is not a tag"):
        viewcache.depends_on(3)  # type: ignore[arg-type]


def test_what_is_no_moment_is_refused(rf: Any) -> None:
    with pytest.raises(TypeError, match="'tomorrow'; expected a datetime"):
        viewcache.expires_at(rf.get("/"), "tomorrow")  # type: ignore[arg-type]


def test_a_naive_moment_is_refused(tracked: Site, rf: Any) -> None:
    with pytest.raises(ValueError, match="naive"):
        viewcache.expires_at(rf.get("/"), datetime(2030, 1, 1))
    assert policy._ENDS not in rf.get("/").__dict__


def test_a_page_that_was_made_without_tracking_is_not_served_with_it(tracked: Site) -> None:
    Tag.objects.create(name="t", slug="t")
    get = tracked.serve(lambda request: Tag.objects.count())
    tracked.settings.VIEWCACHE = {}
    get()
    tracked.track()
    assert (get(), tracked.status) == ("1", "stored")
    tracked.track(QUIET={"blog_tag": None})
    assert (get(), tracked.status) == ("1", "stored")
    # While processes with either run, each serves its own.
    tracked.settings.VIEWCACHE = {}
    assert (get(), tracked.status) == ("1", "hit")
    tracked.track()
    Tag.objects.create(name="u", slug="u")
    assert get() == "2"


def test_a_release_refreshes_what_another_has_rendered(tracked: Site) -> None:
    Tag.objects.create(name="t", slug="t")
    get = tracked.serve(lambda request: Tag.objects.count())
    tracked.track(RELEASE="a1")
    get()
    get()
    assert tracked.status == "hit"
    tracked.track(RELEASE="b2")
    get()
    assert tracked.status == "stored"
    Tag.objects.create(name="u", slug="u")
    assert get() == "2"
    # While both releases run, a change reaches the pages of both.
    tracked.track(RELEASE="a1")
    assert get() == "2"
