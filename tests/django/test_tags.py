"""Tags: pages that are expired by what they show, wherever they live."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime
from typing import Any

import pytest
import viewcache
from blog.models import Author
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path
from django.views import View
from django.views.generic import DetailView
from viewcache import breaker
from viewcache.decorators import cache_page
from viewcache.mixins import CacheMixin
from viewcache.store import Store


def shows(*tags: Any) -> Any:
    def respond(request: Any, count: int) -> HttpResponse:
        viewcache.tag(request, *tags)
        return HttpResponse(str(count))

    return respond


def bodies(client: Any, *urls: str) -> list[bytes]:
    return [client.get(url).content for url in urls]


@pytest.mark.parametrize("per_site", [True, False], ids=["site", "view"])
def test_a_tag_expires_the_pages_that_carry_it(site: Any, counted: Any, per_site: bool) -> None:
    view = counted(shows("a", "b"))
    other = counted(shows("b"))
    if not per_site:
        view, other = cache_page(60)(view), cache_page(60)(other)
    client = site.serve(path("a/", view), path("b/", other), per_site=per_site)
    assert bodies(client, "/a/", "/b/", "/a/", "/b/") == [b"1"] * 4
    viewcache.expire(tag="a")
    assert bodies(client, "/a/", "/b/", "/a/", "/b/") == [b"2", b"1", b"2", b"1"]
    viewcache.expire(tag="b")
    assert bodies(client, "/a/", "/b/") == [b"3", b"2"]
    viewcache.expire(tag="c")
    assert bodies(client, "/a/", "/b/") == [b"3", b"2"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("outside", [False, True], ids=["inside", "outside"])
@pytest.mark.parametrize("per_site", [False, True], ids=["view", "both"])
def test_tagged(site: Any, counted: Any, asynchronous: bool, outside: bool, per_site: bool) -> None:
    view = counted()
    served = view.coroutine() if asynchronous else view
    tagged = viewcache.tagged("all", "post:{pk}", lambda request, pk: f"even:{pk % 2}")
    served = tagged(cache_page(60)(served)) if outside else cache_page(60)(tagged(served))
    client = site.serve(path("<int:pk>/", served), per_site=per_site)
    urls = ["/1/", "/2/", "/3/"]
    assert bodies(client, *urls, *urls) == [b"1", b"2", b"3"] * 2
    viewcache.expire(tag="post:2")
    assert bodies(client, *urls, *urls) == [b"1", b"4", b"3"] * 2
    viewcache.expire(tag="even:1")
    assert bodies(client, *urls, *urls) == [b"5", b"4", b"6"] * 2
    viewcache.expire(tag="all")
    assert bodies(client, *urls) == [b"7", b"8", b"9"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_tagged_with_a_model(site: Any, counted: Any, asynchronous: bool) -> None:
    view = counted()
    served = view.coroutine() if asynchronous else view
    client = site.serve(cache_page(60)(viewcache.tagged(Author)(served)))
    assert bodies(client, "/a/", "/a/") == [b"1", b"1"]
    viewcache.expire(tag=Author)
    assert bodies(client, "/a/") == [b"2"]


@pytest.mark.parametrize("bad", ["a:{", "a:}", "{pk", "{pk!}"])
def test_tagged_refuses_braces_that_are_not_in_pairs(bad: str) -> None:
    with pytest.raises(ValueError, match=f"The tag {re.escape(repr(bad))} cannot be filled in: "):
        viewcache.tagged(bad)


def test_tagged_keeps_what_the_view_is(site: Any) -> None:
    @viewcache.tagged("a")
    def view(request: Any) -> None:
        "Documented."

    @viewcache.tagged("a")
    async def async_view(request: Any) -> None:
        "Documented."

    assert (view.__name__, view.__doc__) == ("view", "Documented.")
    assert asyncio.iscoroutinefunction(async_view)


@pytest.mark.parametrize("bad", [(), (7,), (None,), ("a", b"b")])
def test_what_tagged_refuses(bad: Any) -> None:
    with pytest.raises(TypeError, match="expected tags"):
        viewcache.tagged(*bad)


@pytest.mark.parametrize(
    ("tag", "says"),
    [("a:{pk}", "'pk', which is no argument of this view. It has: slug."), ("{}", "")],
)
def test_a_tag_of_an_argument_that_the_view_has_not(tag: str, says: str) -> None:
    view = viewcache.tagged(tag)(lambda request, slug: None)
    with pytest.raises(ValueError, match=f"The tag .* names .*{re.escape(says)}"):
        view(RequestFactory().get("/"), slug="a")


@pytest.mark.parametrize("bad", ["", "x" * 251, "a\nb", "\x7f", "a\x00", b"a", 7, None, object()])
def test_what_is_no_tag(bad: Any) -> None:
    request = RequestFactory().get("/")
    with pytest.raises(ValueError):  # noqa: PT011
        viewcache.tag(request, bad)
    with pytest.raises(ValueError):  # noqa: PT011
        asyncio.run(viewcache.atag(request, bad))


@pytest.mark.parametrize("tag", ["x" * 250, "ü☃", "a b,c", "tag:a", "path:/", "{", " "])
def test_odd_tags(site: Any, counted: Any, tag: str) -> None:
    client = site.serve(cache_page(60)(counted(shows(tag))))
    assert bodies(client, "/a/", "/a/") == [b"1", b"1"]
    viewcache.expire(tag=tag)
    assert bodies(client, "/a/") == [b"2"]


def test_a_tag_is_no_path(site: Any, counted: Any) -> None:
    client = site.serve(cache_page(60)(counted(shows("path:/a/"))))
    bodies(client, "/a/", "/b/")
    viewcache.expire(path="/a/")
    assert bodies(client, "/b/") == [b"2"]


def test_without_a_cache_a_tag_does_nothing(site: Any, counted: Any) -> None:
    client = site.serve(counted(shows("a")))
    assert bodies(client, "/a/", "/a/") == [b"1", b"2"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("command", ["fetch", "claim"])
def test_a_cache_that_fails_while_a_view_tags(
    site: Any,
    visit_of: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    command: str,
    asynchronous: bool,
) -> None:
    """The view answers, nothing is stored, and the cache is left alone for a moment."""

    def fail(*args: Any) -> Any:
        raise ConnectionError("down")

    is_down = True

    def tags(request: Any, anything: str) -> HttpResponse:
        with monkeypatch.context() as patched:
            if is_down:
                patched.setattr(Store, f"a{command}" if asynchronous else command, fail)
            if asynchronous:
                asyncio.run(viewcache.atag(request, "a"))
            else:
                viewcache.tag(request, "a")
        return HttpResponse("fine")

    client = site.serve(cache_page(60)(tags))
    try:
        response = client.get("/a/")
        assert (response.content, visit_of(response)) == (b"fine", ("bypass", "cache fault"))
        assert breaker.any_failing()
        assert [record.getMessage() for record in caplog.records] == [
            "viewcache could not read the generation of a tag (ConnectionError: down); "
            "the view answers."
        ]
    finally:
        breaker.reset()
    is_down = False
    assert visit_of(client.get("/a/"))[0] == "stored"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_it_says_whether_what_was_read_before_is_guarded(
    site: Any, counted: Any, asynchronous: bool
) -> None:
    told: list[bool] = []

    def tag(request: Any) -> bool:
        if asynchronous:
            return asyncio.run(viewcache.atag(request, "a"))
        return viewcache.tag(request, "a")

    def respond(request: Any, count: int) -> HttpResponse:
        told.append(tag(request))
        told.append(tag(request))
        return HttpResponse(str(count), headers={"Vary": "X-Kind"})

    client = site.serve(cache_page(60)(counted(respond)))
    client.get("/a/")
    # The recipe of the URL names the tag by now: it was read before the view was called.
    client.get("/a/", headers={"x-kind": "b"})
    assert told == [True, False, False, False]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_an_expiry_while_the_page_is_rendered_outlives_it(
    site: Any, counted: Any, asynchronous: bool
) -> None:
    def respond(request: Any, count: int) -> HttpResponse:
        viewcache.tag(request, "a")
        if count == 1:
            viewcache.expire(tag="a")
        return HttpResponse(str(count))

    view = counted(respond)
    client = site.serve(cache_page(60)(view.coroutine() if asynchronous else view))
    assert bodies(client, "/a/", "/a/", "/a/") == [b"1", b"2", b"2"]


def test_a_page_with_too_many_tags_is_not_stored(site: Any, counted: Any, visit_of: Any) -> None:
    """Cached and not to be expired would be worse than not cached."""
    client = site.serve(cache_page(60)(counted(shows(*map(str, range(600))))))
    assert visit_of(client.get("/a/")) == ("miss", "too-many-tags")
    assert bodies(client, "/a/") == [b"2"]


def test_many_tags_are_served_in_one_piece(site: Any, counted: Any) -> None:
    tags = [f"t{number}" for number in range(500)]
    client = site.serve(cache_page(60)(counted(shows(*tags))))
    assert bodies(client, "/a/", "/a/") == [b"1", b"1"]
    viewcache.expire(tag="t499")
    assert bodies(client, "/a/", "/a/") == [b"2", b"2"]


def test_a_tag_that_only_some_pages_of_a_url_carry(site: Any, counted: Any) -> None:
    def respond(request: Any, count: int) -> HttpResponse:
        if request.headers.get("x-kind") == "tagged":
            viewcache.tag(request, "a")
        return HttpResponse(str(count), headers={"Vary": "X-Kind"})

    client = site.serve(cache_page(60)(counted(respond)))

    def get(kind: str) -> Any:
        return client.get("/a/", headers={"x-kind": kind})

    assert [get("tagged").content, get("plain").content] == [b"1", b"2"]
    viewcache.expire(tag="a")
    assert "Age" in get("plain")
    assert "Age" not in get("tagged")


# -- Generic views --------------------------------------------------------------------------------


class ChangedMeanwhile:
    """Another request changes the object, once, when this one has found it."""

    done = False

    def get_object(self, *args: Any, **kwargs: Any) -> Any:
        found: Any = super().get_object(*args, **kwargs)  # type: ignore[misc]
        if not type(self).done:
            type(self).done = True
            Author.objects.filter(pk=found.pk).update(name="new")
            viewcache.expire(tag=found)
        return found


def shows_name(self: Any, context: Any, **kwargs: Any) -> HttpResponse:
    return HttpResponse(context["object"].name)


@pytest.fixture
def author(transactional_db: None) -> Author:
    return Author.objects.create(name="old", slug="one")


@pytest.mark.parametrize("given", ["model", "queryset"])
@pytest.mark.parametrize("url", ["<int:pk>/", "<slug:slug>/"])
def test_an_object_is_tagged_however_it_is_found(
    site: Any, author: Author, given: str, url: str
) -> None:
    named = {"model": Author} if given == "model" else {"queryset": Author.objects.all()}
    body = {**named, "render_to_response": shows_name, "cache_timeout": 60}
    view = type("Shown", (CacheMixin, DetailView), body)
    client = site.serve(path(url, view.as_view()))
    where = f"/{author.pk if 'pk' in url else author.slug}/"
    assert bodies(client, where, where) == [b"old", b"old"]
    Author.objects.update(name="new")
    viewcache.expire(tag=["blog.author:0", "blog.author:None"])
    assert bodies(client, where) == [b"old"]
    viewcache.expire(tag=author)
    assert bodies(client, where) == [b"new"]


@pytest.mark.parametrize("url", ["<int:pk>/", "<slug:slug>/"])
def test_an_object_that_changes_while_it_is_found_is_on_no_page_as_it_was(
    site: Any, author: Author, url: str
) -> None:
    body = {"model": Author, "render_to_response": shows_name, "cache_timeout": 60}
    view = type("Shown", (CacheMixin, ChangedMeanwhile, DetailView), {**body, "done": False})
    client = site.serve(path(url, view.as_view()))
    where = f"/{author.pk if 'pk' in url else author.slug}/"
    client.get(where)
    assert bodies(client, where, where) == [b"new", b"new"]


@pytest.mark.parametrize("vary_on_read", [True, False])
def test_a_page_of_a_user_is_left_out_whoever_watches(
    site: Any, counted: Any, settings: Any, vary_on_read: bool
) -> None:
    settings.VIEWCACHE = {"VARY_ON_READ": vary_on_read}
    count = counted()

    class Page(CacheMixin, View):
        cache_timeout = 60

        def get(self, request: Any, **kwargs: Any) -> HttpResponse:
            # Whoever watches a request makes another class of it.
            watched = type(request.COOKIES) is not dict
            return HttpResponse(f"{count(request).content.decode()} {watched}")

    client = site.serve(Page.as_view(), middleware=[f"{__name__}.Users"])
    user = {"headers": {"x-user": "ann"}}
    pages = [f"{number} {vary_on_read}".encode() for number in (1, 2, 3)]
    assert bodies(client, "/a/", "/a/") == [pages[0], pages[0]]
    assert [client.get("/a/", **user).content for _ in range(2)] == pages[1:]
    assert bodies(client, "/a/") == [pages[0]]


class Users:
    """Who asks says so in a header."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        known = "HTTP_X_USER" in request.META
        request.user = type("User", (), {"is_authenticated": known})()
        return self.get_response(request)


class Undecorated(View):
    """``tagged`` on a method: the view object comes where a request should."""

    @viewcache.tagged("a")
    def get(self, request: Any) -> HttpResponse:
        raise AssertionError

    @viewcache.tagged("a")
    async def aget(self, request: Any) -> HttpResponse:
        raise AssertionError


@pytest.mark.parametrize(
    ("call", "whose"),
    [
        (lambda: viewcache.tag("a", "b"), "tag()"),
        (lambda: asyncio.run(viewcache.atag(None, "a")), "atag()"),
        (lambda: Undecorated().get(RequestFactory().get("/")), "tagged()"),
        (lambda: asyncio.run(Undecorated().aget(RequestFactory().get("/"))), "tagged()"),
        (lambda: viewcache.expires_at(None, datetime.now()), "expires_at()"),
        (lambda: viewcache.slot(None, "name", shows), "slot()"),
        (lambda: viewcache.explain("/"), "explain()"),
        (lambda: cache_page(60)(shows())(None), "cache_page()"),
    ],
    ids=["tag", "atag", "method", "async method", "expires_at", "slot", "explain", "cache_page"],
)
def test_what_is_no_request(call: Any, whose: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(whose)} didn't receive an HttpRequest, but "):
        call()
