"""A page is stored and served, by middleware, decorator or both, sync and async."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import pytest
import viewcache
from backends import ASYNC
from django.core.cache import caches
from django.http import HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.test import RequestFactory
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.cache import cache_control
from viewcache import conf, middleware, pipeline
from viewcache.decorators import cache_page

if TYPE_CHECKING:
    from backends import Backend

redis = pytest.mark.parametrize("backend", ["redis"], indirect=True)
every_backend = pytest.mark.parametrize(
    "backend", ["locmem", "file", "redis", "memcached"], indirect=True
)


def test_a_page_is_rendered_once(cached: Any, counted: Any, visit_of: Any) -> None:
    get = cached(counted(X_Kept="yes"))
    first, second = get(), get()
    assert [first.content, second.content] == [b"1", b"1"]
    assert visit_of(first)[0] == "stored"
    assert visit_of(second)[0] == "hit"
    assert second["X-Kept"] == "yes"
    assert second["Content-Type"] == first["Content-Type"]
    assert second["Expires"] == first["Expires"]
    assert second["Cache-Control"] == first["Cache-Control"]


@every_backend
def test_on_every_backend(cached: Any, counted: Any, backend: Backend, settings: Any) -> None:
    view = counted()
    get = cached(view)
    assert [get().content, get().content, get("/other/").content] == [b"1", b"1", b"2"]
    assert view.count == 2


XFRAME = "django.middleware.clickjacking.XFrameOptionsMiddleware"


def test_what_a_view_left_on_the_response_counts_for_a_hit(site: Any) -> None:
    """Django pickles the response whole, so middleware finds it there."""

    def view(request: Any, **kwargs: Any) -> HttpResponse:
        response = HttpResponse("café", charset="iso-8859-1", content_type="text/plain")
        response.xframe_options_exempt = True  # type: ignore[attr-defined]
        response.of_a_site = "its own"  # type: ignore[attr-defined]
        response.is_false, response.is_no_value = False, object()  # type: ignore[attr-defined]
        return response

    client = site.serve(view, per_site=True, middleware=[XFRAME])
    for response in [client.get("/a/") for _ in range(3)]:
        assert "X-Frame-Options" not in response
        assert response.charset == "iso-8859-1"
        assert response.content.decode(response.charset) == "café"
        assert response.of_a_site == "its own"
    assert "Age" in response
    assert not hasattr(response, "is_false")


def test_a_rendered_template_leaves_nothing_of_its_rendering(site: Any, settings: Any) -> None:
    def view(request: Any, **kwargs: Any) -> TemplateResponse:
        return TemplateResponse(request, engines["django"].from_string("page"), {"a": "b"})

    client = site.serve(view, per_site=True)
    client.get("/a/")
    hit = client.get("/a/")
    assert "Age" in hit
    assert not hasattr(hit, "using")
    assert not hasattr(hit, "_is_rendered")


def test_a_page_says_how_old_it_is(
    cached: Any, counted: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(pipeline.time, "time", lambda: now[0])
    get = cached(counted())
    assert "Age" not in get()
    now[0] += 41.9
    assert get()["Age"] == "41"
    # A clock that was put back does not make an age of less than nothing.
    now[0] -= 1000
    assert get()["Age"] == "0"


def test_a_page_ends(cached: Any, counted: Any, monkeypatch: Any, visit_of: Any) -> None:
    now = [1_000_000.0]
    monkeypatch.setattr(pipeline.time, "time", lambda: now[0])
    get = cached(cache_control_of(counted(), max_age=30))
    assert [get().content, get().content] == [b"1", b"1"]
    now[0] += 601
    response = get()
    assert response.content == b"2"
    assert visit_of(response)[0] == "stored"


def cache_control_of(view: Any, **directives: Any) -> Any:
    respond = cache_control(**directives)(lambda request, count: HttpResponse(str(count)))
    view.respond = respond
    return view


@pytest.mark.parametrize("order", [["GET", "HEAD"], ["HEAD", "GET"]])
def test_head_and_get(cached: Any, counted: Any, order: list[str]) -> None:
    get = cached(counted(lambda request, count: HttpResponse(b"body %d" % count)))
    responses = {method: get(method=method) for method in order}
    responses |= {method: get(method=method) for method in order}
    assert responses["HEAD"].content == b""
    assert responses["GET"].content.startswith(b"body")
    if order[0] == "GET":
        # The page of GET answers HEAD, with the length of the body that is left out.
        assert "Age" in responses["HEAD"]
        assert responses["GET"].content == b"body 1"


def test_each_url_host_and_scheme_has_its_page(cached: Any, counted: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    get = cached(counted())
    seen = [
        get("/a/").content,
        get("/a/?page=2").content,
        get("/b/").content,
        get("/a/", headers={"host": "other.example"}).content,
        get("/a/", headers={"host": "OTHER.example"}).content,
        get("/a/", secure=True).content,
        get("/a/?utm_source=x").content,
    ]
    assert seen == [b"1", b"2", b"3", b"4", b"4", b"5", b"1"]


def test_a_page_varies_on_what_it_says(cached: Any, counted: Any) -> None:
    get = cached(counted(Vary="X-Kind"))
    kinds = ["a", "b", "a", "", None, "a"]
    seen = [get(headers={"x-kind": kind} if kind is not None else {}).content for kind in kinds]
    assert seen == [b"1", b"2", b"1", b"3", b"4", b"1"]


def test_a_page_varies_on_the_cookies_it_reads(cached: Any, counted: Any) -> None:
    def respond(request: Any, count: int) -> HttpResponse:
        return HttpResponse(f"{request.COOKIES.get('theme')} {count}")

    get = cached(counted(respond))
    cookies = ["theme=dark; _ga=1", "x=2; theme=dark", "theme=light", "", "theme=dark"]
    seen = [get(headers={"cookie": cookie}).content.decode() for cookie in cookies]
    assert seen == ["dark 1", "dark 1", "light 2", "None 3", "dark 1"]


def test_the_language_and_the_zone_have_their_pages(
    cached: Any, counted: Any, settings: Any
) -> None:
    from django.utils import timezone, translation

    settings.USE_I18N = True
    get = cached(counted())
    seen = []
    for language in ["en", "fr", "en"]:
        with translation.override(language):
            seen.append(get().content)
    with timezone.override("Asia/Kathmandu"):
        seen.append(get().content)
    assert seen == [b"1", b"2", b"1", b"3"]


class LateLanguage:
    """A middleware that changes the language once the view has answered."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        request.LANGUAGE_CODE = "xx"
        return response


def test_a_page_is_stored_for_the_language_it_was_looked_up_for(
    site: Any, counted: Any, settings: Any
) -> None:
    settings.USE_I18N = True
    client = site.serve(
        counted(), per_site=True, middleware=[f"{__name__}.{LateLanguage.__name__}"]
    )
    assert [client.get("/a/").content for _ in range(2)] == [b"1", b"1"]


# -- Commands -------------------------------------------------------------------------------------


@redis
def test_a_hit_is_one_command(cached: Any, counted: Any, backend: Backend, settings: Any) -> None:
    settings.VIEWCACHE = {}
    get = cached(counted())
    with backend.counting() as sent:
        get()
    # Nothing is known yet: one to look, one to read back what was added.
    assert sent["get"] == 0
    assert sent["mget"] == 2
    with backend.counting() as sent:
        assert get().content == b"1"
    assert sent == {"mget": 1}
    # A process that has not seen the URL yet.
    settings.VIEWCACHE = {"IGNORE_COOKIES": []}
    with backend.counting() as sent:
        assert get().content == b"1"
    assert sent == {"mget": 2}
    with backend.counting() as sent:
        assert get().content == b"1"
    assert sent == {"mget": 1}


@redis
def test_a_miss_on_a_known_path_is_few_commands(
    cached: Any, counted: Any, backend: Backend
) -> None:
    view = counted(Vary="X-Kind")
    get = cached(view)
    get()
    with backend.counting() as sent:
        assert get(headers={"x-kind": "a"}).content == b"2"
    # The page, the turn to render it, its place in the inventory (SET NX is ``add``).
    assert sent == {"mget": 1, "set": 3}
    # Another URL of a path that is known: its generations are there.
    with backend.counting() as sent:
        assert get("/page/?page=2").content == b"3"
    assert sent == {"mget": 1, "set": 4}


@redis
def test_site_and_view_together_store_once_and_serve_once(
    site: Any, counted: Any, backend: Backend
) -> None:
    view = counted()
    client = site.serve(cache_page(600)(view), per_site=True)
    client.get("/page/")
    with backend.counting() as sent:
        client.get("/page/?page=2")
    assert sent == {"mget": 1, "set": 4}
    with backend.counting() as sent:
        assert client.get("/page/?page=2").content == b"2"
    assert sent == {"mget": 1}


@redis
@pytest.mark.parametrize("options", [{"key_prefix": "p"}, {"query": ["page"]}])
def test_a_view_with_keys_of_its_own_is_stored_by_the_view_alone(
    site: Any, counted: Any, backend: Backend, options: dict[str, Any]
) -> None:
    client = site.serve(cache_page(600, **options)(counted()), per_site=True)
    client.get("/page/")
    with backend.counting() as sent:
        client.get("/page/?page=2")
    # Recipe, page, its place in the inventory and the turn; the turn that the site took for the
    # same URL is given back.
    assert sent["set"] == 4
    assert sent["del"] == 1
    assert client.get("/page/?page=2").content == b"2"


# -- Decorator ------------------------------------------------------------------------------------


def test_the_decorator_keeps_what_the_view_is() -> None:
    @cache_page(60)
    def view(request: Any) -> None:
        "Documented."

    @cache_page(60)
    async def async_view(request: Any) -> None:
        "Documented, too."

    assert (view.__name__, view.__doc__) == ("view", "Documented.")
    assert asyncio.iscoroutinefunction(async_view)
    assert not asyncio.iscoroutinefunction(view)


def test_a_view_without_a_request_is_told_to_use_method_decorator(rf: RequestFactory) -> None:
    with pytest.raises(TypeError, match="method_decorator"):
        cache_page(60)(lambda self: None)(object())


@pytest.mark.parametrize("name", ["cookies", "query"])
@pytest.mark.parametrize("given", ["abc", 7, [None]])
def test_what_is_no_list_of_names(name: str, given: Any) -> None:
    expected = re.escape(f"{name} is {given!r}; expected a list of names")
    with pytest.raises(TypeError, match=expected):
        cache_page(60, **{name: given})


@pytest.mark.parametrize("per_site", [False, True], ids=["view", "both"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_of_a_view_that_returns_no_response_django_says_so(
    site: Any, per_site: bool, asynchronous: bool
) -> None:
    async def coroutine(request: Any, anything: str) -> None:
        pass

    view: Any = coroutine if asynchronous else lambda request, anything: None
    client = site.serve(cache_page(60)(view), per_site=per_site)
    for _ in range(2):  # and nobody waits for the page
        with pytest.raises(ValueError, match="didn't return an HttpResponse object"):
            client.get("/page/")


def test_class_based_views(site: Any) -> None:
    class Page(View):
        count = 0

        @method_decorator(cache_page(60))
        def get(self, request: Any) -> HttpResponse:
            type(self).count += 1
            return HttpResponse(str(self.count))

    @method_decorator(cache_page(60), name="dispatch")
    class Whole(View):
        count = 0

        def get(self, request: Any) -> HttpResponse:
            type(self).count += 1
            return HttpResponse(str(self.count))

    client = site.serve(path("page/", Page.as_view()), path("whole/", Whole.as_view()))
    assert [client.get("/page/").content for _ in range(3)] == [b"1"] * 3
    assert [client.get("/whole/").content for _ in range(3)] == [b"1"] * 3


def test_async_class_based_views(site: Any) -> None:
    class Page(View):
        count = 0

        @method_decorator(cache_page(60))
        async def get(self, request: Any) -> HttpResponse:
            type(self).count += 1
            return HttpResponse(str(self.count))

    client = site.serve(path("page/", Page.as_view()))
    assert [client.get("/page/").content for _ in range(3)] == [b"1"] * 3


def template_page(request: Any, count: int) -> TemplateResponse:
    template = engines["django"].from_string("{{ count }} {{ extra }}")
    return TemplateResponse(request, template, {"count": count})


class AddsToTheContext:
    """Template response middleware: it sees what is not rendered yet."""

    async_capable = sync_capable = True

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        if asyncio.iscoroutinefunction(get_response):
            from asgiref.sync import markcoroutinefunction

            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        return self.get_response(request)

    def process_template_response(self, request: Any, response: Any) -> Any:
        response.context_data["extra"] = "added"
        return response


def test_a_template_response_is_stored_once_it_is_rendered(
    cached: Any, counted: Any, visit_of: Any
) -> None:
    get = cached(counted(template_page), middleware=[f"{__name__}.{AddsToTheContext.__name__}"])
    assert [get().content for _ in range(2)] == [b"1 added"] * 2
    assert visit_of(get())[0] == "hit"


def test_a_template_that_cannot_be_rendered_is_not_stored(cached: Any, counted: Any) -> None:
    def respond(request: Any, count: int) -> Any:
        if count == 1:
            template = engines["django"].from_string("{% include missing %}")
            return TemplateResponse(request, template, {"missing": 1 / count - 1 and "x"})
        return HttpResponse("good")

    get = cached(counted(respond))
    get.client.raise_request_exception = False
    assert get().status_code == 500
    assert get().content == b"good"


# -- Middleware -----------------------------------------------------------------------------------


def test_middleware_needs_what_is_around_it() -> None:
    with pytest.raises(ValueError, match="get_response"):
        middleware.CacheMiddleware(None)  # type: ignore[arg-type]


def test_the_one_middleware_that_is_both_halves(site: Any, counted: Any, settings: Any) -> None:
    client = site.serve(counted())
    settings.MIDDLEWARE = ["viewcache.middleware.CacheMiddleware"]
    assert [client.get("/a/").content for _ in range(2)] == [b"1", b"1"]


def test_arguments_and_settings_of_the_middleware(settings: Any) -> None:
    settings.CACHE_MIDDLEWARE_SECONDS = 7
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = "p"
    settings.CACHE_MIDDLEWARE_ALIAS = "default"
    found = middleware.CacheMiddleware(lambda request: HttpResponse())
    assert (found.cache_timeout, found.key_prefix, found.cache_alias) == (7, "p", "default")
    given = middleware.CacheMiddleware(
        lambda request: HttpResponse(), cache_timeout=1, key_prefix=None, cache_alias=None
    )
    assert (given.cache_timeout, given.key_prefix, given.cache_alias) == (1, "", "default")
    assert "CacheMiddleware" in repr(given)


def test_pages_of_another_cache_are_found_and_expired_like_any(
    site: Any, counted: Any, settings: Any
) -> None:
    locmem = "django.core.cache.backends.locmem.LocMemCache"
    settings.CACHES = {
        "default": {"BACKEND": locmem, "LOCATION": "alias-default"},
        "pages": {"BACKEND": locmem, "LOCATION": "alias-pages"},
    }
    client = site.serve(cache_page(600, cache="pages")(counted()))
    assert [client.get("/a/").content for _ in range(2)] == [b"1", b"1"]
    assert any(".p1." in key for key in caches["pages"]._cache)
    assert not any(".p1." in key for key in caches["default"]._cache)
    viewcache.expire(path="/a/")
    assert [client.get("/a/").content for _ in range(2)] == [b"2", b"2"]


@pytest.mark.parametrize("backend", [ASYNC], indirect=True)
@pytest.mark.parametrize("alias", ["default", "pages"])
def test_an_async_client_of_the_backends_own(
    site: Any, counted: Any, backend: Backend, settings: Any, alias: str
) -> None:
    main = settings.CACHES["default"]
    settings.CACHES = {"default": main, "pages": {**main, "KEY_PREFIX": "pages"}}
    client = site.serve(cache_page(600, cache=alias)(counted().coroutine()))
    assert [client.get("/a/").content for _ in range(2)] == [b"1", b"1"]
    viewcache.expire(path="/a/")
    assert [client.get("/a/").content for _ in range(2)] == [b"2", b"2"]
    # Something that is no generation lies where one should.
    [key] = conf.site().generation_keys(["path:/a/"])
    caches["default"].set(key, "something else", None)
    assert [client.get("/a/").content for _ in range(2)] == [b"3", b"3"]


def test_another_release_has_pages_of_its_own(site: Any, counted: Any, settings: Any) -> None:
    client = site.serve(cache_page(600)(counted()))
    assert client.get("/a/").content == b"1"
    settings.VIEWCACHE = {"RELEASE": "2"}
    assert client.get("/a/").content == b"2"
    settings.VIEWCACHE = {}
    assert client.get("/a/").content == b"1"
