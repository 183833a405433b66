"""What can be expired, how it is named, and what that costs."""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
import viewcache
from blog.models import Author, Tag
from django.conf.urls.i18n import i18n_patterns
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.core.cache.backends.db import DatabaseCache
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.http import HttpResponse
from django.test import RequestFactory
from django.test.utils import isolate_apps, override_script_prefix
from django.urls import NoReverseMatch, path, reverse, reverse_lazy
from django.utils import cache as django_cache
from django.utils import timezone
from django.utils.functional import lazystr
from django.utils.translation import get_language, gettext_lazy, override
from viewcache import expiry, scopes
from viewcache.decorators import cache_page
from viewcache.querysets import ExpiringQuerySet

if TYPE_CHECKING:
    from backends import Backend

redis = pytest.mark.parametrize("backend", ["redis"], indirect=True)


@pytest.fixture
def author(transactional_db: None) -> Author:
    return Author.objects.create(name="A", slug="one")


def fresh(client: Any, *urls: str) -> list[bool]:
    """Of each URL, whether the next visitor's page is rendered anew."""
    return ["Age" not in client.get(url) for url in urls]


# -- What an expiry reaches -----------------------------------------------------------------------


def test_a_path_is_expired_in_every_variant(cached: Any, counted: Any, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    get = cached(counted(Vary="X-Kind"))
    variants: list[dict[str, Any]] = [
        {},
        {"url": "/page/?page=2"},
        {"headers": {"host": "other.example"}},
        {"headers": {"x-kind": "a"}},
        {"secure": True},
        {"method": "HEAD"},
    ]
    for variant in variants:
        get(**variant)
        assert "Age" in get(**variant)
    get("/page/below/")
    viewcache.expire(path="/page/")
    assert ["Age" in get(**variant) for variant in variants[:-1]] == [False] * 5
    assert "Age" in get("/page/below/")


@pytest.mark.parametrize(
    ("tree", "reached"),
    [
        ("/", ["/", "/blog", "/blog/", "/blog/1/", "/blog/1/a", "/blogger/"]),
        ("/blog/", ["/blog", "/blog/", "/blog/1/", "/blog/1/a"]),
        ("/blog", ["/blog", "/blog/", "/blog/1/", "/blog/1/a"]),
        ("/blog/1", ["/blog/1/", "/blog/1/a"]),
        ("/blo", []),
    ],
)
def test_a_tree_ends_at_segments(site: Any, counted: Any, tree: str, reached: list[str]) -> None:
    urls = ["/", "/blog", "/blog/", "/blog/1/", "/blog/1/a", "/blogger/"]
    view = cache_page(60)(counted())
    client = site.serve(path("", view), path("<path:rest>", view))
    fresh(client, *urls)
    assert fresh(client, *urls) == [False] * 6
    viewcache.expire(tree=tree)
    assert fresh(client, *urls) == [url in reached for url in urls]


def test_everything(site: Any, counted: Any) -> None:
    client = site.serve(counted(), per_site=True)
    fresh(client, "/a/", "/b/")
    assert viewcache.expire(everything=True) == (("tree:/", "path:/"), False)
    assert fresh(client, "/a/", "/b/") == [True, True]


def test_the_prefix_of_a_view_is_none_of_an_expirys_business(
    site: Any, counted: Any, settings: Any
) -> None:
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = "site"
    client = site.serve(cache_page(60, key_prefix="view")(counted()))
    fresh(client, "/a/")
    viewcache.expire(path="/a/")
    assert fresh(client, "/a/") == [True]


def test_two_sites_in_one_cache_do_not_expire_each_other(
    site: Any, counted: Any, settings: Any
) -> None:
    client = site.serve(cache_page(60)(counted()))
    fresh(client, "/a/")
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = "other"
    viewcache.expire(path="/a/")
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = ""
    assert fresh(client, "/a/") == [False]


# -- How it is named ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        "/café/",
        "/caf%C3%A9/",
        "/caf%c3%a9/?page=2",
        "/café/#top",
        "http://testserver/café/",
        "https://other.example:8000/caf%C3%A9/?a=1",
        lazystr("/café/"),
        gettext_lazy("/café/"),
    ],
)
def test_spellings_of_a_path(cached: Any, counted: Any, given: Any) -> None:
    get = cached(counted())
    get("/caf%C3%A9/")
    assert "Age" in get("/café/")
    assert viewcache.expire(path=given).scopes == ("path:/café/",)
    assert "Age" not in get("/caf%C3%A9/")


@pytest.mark.parametrize("name", ["path", "tree"])
@pytest.mark.parametrize(
    "given",
    ["", " ", "blog/", "?page=2", "#top", "blog", "/a/../b/", "/a/%2e/", b"/a/", 7, ["/a/", ""]],
)
def test_what_is_no_path(name: str, given: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says what was wrong with it
        viewcache.expire(**{name: given})


@pytest.mark.parametrize("given", ["", "a\nb", "\x00", "x" * 251, 7, object, b"a", ["a", ""]])
def test_what_is_no_tag(given: Any) -> None:
    with pytest.raises(ValueError, match="tag") as raised:
        viewcache.expire(tag=given)
    if given in (7, object):
        said = (
            f"{given!r} is not a tag. Give a string such as 'post:12', a model, or an instance of "
            "one."
        )
        assert str(raised.value) == said


NOTHING = (
    "Nothing to expire was given. Give path, tree, tag, view or obj; to expire the whole site, "
    "call expire(everything=True)."
)
NO_VIEW = "args and kwargs were given without a view. Name the view, too."


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, NOTHING),
        ({"path": None}, NOTHING),
        ({"everything": False}, NOTHING),
        ({"everything": None}, NOTHING),
        ({"path": None, "tag": None, "obj": None, "view": None, "tree": None}, NOTHING),
        ({"using": "default"}, NOTHING),
        ({"args": [1]}, NO_VIEW),
        ({"kwargs": {"pk": 1}}, NO_VIEW),
        ({"path": "/a/", "kwargs": {"pk": 1}}, NO_VIEW),
    ],
)
def test_nothing_is_never_everything(given: Any, says: str) -> None:
    with pytest.raises(ValueError, match="^" + re.escape(says) + "$"):
        viewcache.expire(**given)


@pytest.mark.parametrize("given", [7, "text", [object()]])
def test_what_is_no_object(given: Any) -> None:
    with pytest.raises(ValueError, match="not a model instance"):
        viewcache.expire(obj=given)


@pytest.mark.parametrize(
    "expire",
    [
        lambda unsaved: viewcache.expire(obj=unsaved),
        lambda unsaved: viewcache.expire(tag=unsaved),
        viewcache.expiring,
        lambda unsaved: ExpiringQuerySet(Tag).expiring(unsaved),
    ],
    ids=["obj", "tag", "expiring", "queryset"],
)
def test_an_object_that_is_not_saved_has_no_page(expire: Any) -> None:
    with pytest.raises(ValueError, match=r"<Tag: .*> is not saved"):
        expire(Tag(name="t", slug="t"))


@pytest.mark.parametrize("name", ["path", "tree", "tag", "obj"])
def test_bytes_are_told_whole(name: str) -> None:
    with pytest.raises(ValueError, match=r"^b'/a/' is not a "):
        viewcache.expire(**{name: b"/a/"})


def test_an_unknown_view() -> None:
    with pytest.raises(NoReverseMatch):
        viewcache.expire(view="nobody:nothing")


@pytest.mark.parametrize("given", [["a", "b"], 7])
def test_what_is_no_view(given: Any) -> None:
    with pytest.raises(ValueError, match=r"is not a view\. Give one name"):
        viewcache.expire(view=given)


def test_a_fault_in_one_name_expires_none(site: Any, counted: Any) -> None:
    client = site.serve(cache_page(60)(counted()))
    fresh(client, "/a/")
    with pytest.raises(ValueError, match=r"\bb\b"):
        viewcache.expire(path=["/a/", "b"])
    assert fresh(client, "/a/") == [False]


def test_a_view_in_every_language() -> None:
    done = viewcache.expire(view="blog:author", kwargs={"slug": "one"})
    assert done.scopes == ("path:/en/authors/one/", "path:/fr/authors/one/")
    assert viewcache.expire(view="blog:archive_year", args=[2026]).scopes[0].endswith("/2026/")
    # A URL without a language is named once.
    assert viewcache.expire(view="sitemap").scopes == ("path:/sitemap.xml",)


def test_a_url_that_some_languages_have() -> None:
    def url() -> str:
        if get_language() == "fr":
            raise NoReverseMatch("not in French")
        return f"/{get_language()}/"

    assert scopes.in_every_language(url) == ["/en/"]


def test_a_default_language_that_is_not_among_the_languages(settings: Any) -> None:
    """As in a new project, whose ``LANGUAGE_CODE`` is ``en-us``, where ``LANGUAGES`` has ``en``."""
    settings.LANGUAGE_CODE = "en-us"
    module = types.ModuleType("urls_of_a_test")
    views = [path("page/", lambda request: HttpResponse(), name="page")]
    module.urlpatterns = i18n_patterns(*views, prefix_default_language=False)  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = module
    with override(None):
        expired = viewcache.expire(view="page").scopes
    assert expired == ("path:/en/page/", "path:/fr/page/", "path:/page/")
    settings.ALLOWED_HOSTS = ["a.example"]
    for code in ("en-us", "de-at"):
        with override(code):
            is_there = stored_by_django("http://a.example")
            viewcache.expire_view_cache("/page/")
            assert not is_there()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"path": "/app/a/"}, ("path:/app/a/", "path:/a/")),
        ({"path": "https://a.example/app"}, ("path:/app", "path:/")),
        ({"path": ["/apple/", "/a/app/"]}, ("path:/apple/", "path:/a/app/")),
        (
            {"tree": "/app/a/"},
            (
                *("tree:/app/a/", "path:/app/a/", "path:/app/a"),
                *("tree:/a/", "path:/a/", "path:/a"),
            ),
        ),
        ({"view": "sitemap"}, ("path:/app/sitemap.xml", "path:/sitemap.xml")),
    ],
)
@pytest.mark.parametrize("prefix", ["/app", "/app/"])
def test_below_a_prefix_that_a_proxy_takes_off(
    settings: Any, given: Any, expected: Any, prefix: str
) -> None:
    settings.FORCE_SCRIPT_NAME = prefix
    with override_script_prefix(prefix):
        assert viewcache.expire(**given).scopes == expected


def test_a_page_below_a_prefix_under_asgi(settings: Any, site: Any, counted: Any) -> None:
    settings.FORCE_SCRIPT_NAME = "/app"
    client = site.serve(cache_page(60)(counted().coroutine()), asynchronous=True)
    found = [asyncio.run(client.get("/page/")).content for _ in range(2)]
    viewcache.expire(path="/app/page/")
    assert [*found, asyncio.run(client.get("/page/")).content] == [b"1", b"1", b"2"]


def test_a_view_without_languages(settings: Any) -> None:
    settings.USE_I18N = False
    with override(None):
        assert viewcache.expire(view="sitemap").scopes == ("path:/sitemap.xml",)


def test_an_object_is_its_url_in_every_language_and_its_tag(author: Author) -> None:
    assert viewcache.expire(obj=author).scopes == (
        "path:/en/authors/one/",
        "path:/fr/authors/one/",
        f"tag:blog.author:{author.pk}",
    )
    other = Author.objects.create(name="B", slug="two")
    both = viewcache.expire(obj=[author, other]).scopes
    assert f"tag:blog.author:{other.pk}" in both
    assert len(both) == 6


def test_an_object_without_a_url_is_its_tag() -> None:
    assert viewcache.expire(obj=Group(pk=3)).scopes == ("tag:auth.group:3",)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ("tree:https://a.example/a/", ["tree:/a/", "path:/a/", "path:/a"]),
        ("path:https://a.example/a/?b=c", ["path:/a/"]),
        ("tag:feed:https://a.example/", ["tag:feed:https://a.example/"]),
        ("tag:tree:/a/", ["tag:tree:/a/"]),
        ("tree:oak", ["tag:tree:oak"]),
    ],
)
def test_what_an_item_is_its_prefix_says(item: str, expected: list[str]) -> None:
    assert scopes.item_scopes(item) == expected


def test_an_item_that_is_a_full_url_is_its_path() -> None:
    assert scopes.item_scopes("https://a.example/a/") == ["path:/a/"]


def test_all_that_is_named_is_expired_together(author: Author) -> None:
    done = viewcache.expire(
        path=["/a/", "/b/"],
        tree=["/c/", "/d/"],
        tag=["e", "f"],
        view="sitemap",
        obj=[Group(pk=3), author],
        everything=True,
    )
    assert done.scopes == (
        *("path:/a/", "path:/b/", "tree:/c/", "path:/c/", "path:/c", "tree:/d/", "path:/d/"),
        *("path:/d", "tag:e", "tag:f", "path:/sitemap.xml", "tag:auth.group:3"),
        *("path:/en/authors/one/", "path:/fr/authors/one/", f"tag:blog.author:{author.pk}"),
        *("tree:/", "path:/"),
    )


def test_objects_and_models_are_tags(author: Author) -> None:
    done = viewcache.expire(tag=[author, Author, "free text: any, really"])
    assert done.scopes == (
        f"tag:blog.author:{author.pk}",
        "tag:blog.author",
        "tag:free text: any, really",
    )


@isolate_apps("blog")
def test_a_proxy_is_tagged_as_what_it_stands_for(author: Author) -> None:
    class Writer(Author):
        class Meta:
            proxy = True
            app_label = "blog"

    named = f"tag:blog.author:{author.pk}"
    assert viewcache.expire(tag=[Writer, Writer(pk=author.pk)]).scopes == ("tag:blog.author", named)


def test_a_lazy_tag_is_one_tag() -> None:
    lazy: Any = lazystr("news")
    assert viewcache.expire(tag=lazy) == (("tag:news",), False)
    assert viewcache.expire(tag=[lazy]) == (("tag:news",), False)


def test_lazy_urls() -> None:
    assert viewcache.expire(path=reverse_lazy("sitemap")).scopes == ("path:/sitemap.xml",)
    assert viewcache.expire(path=iter([reverse("sitemap"), "/a/"])).scopes[1] == "path:/a/"


def test_a_url_that_begins_with_a_host(monkeypatch: pytest.MonkeyPatch, author: Author) -> None:
    monkeypatch.setattr(Author, "get_absolute_url", lambda self: "//b.example/é/", raising=False)
    assert "path:/é/" in viewcache.expire(obj=author).scopes
    assert viewcache.expire(path="//b.example/a/").scopes == ("path://b.example/a/", "path:/a/")
    assert viewcache.expire(path="//").scopes == ("path://",)
    assert {"tree:/a/", "tree://b.example/a/"} < {*viewcache.expire(tree="//b.example/a").scopes}


# -- What stock Django stored ---------------------------------------------------------------------


def stored_by_django(
    origin: str, prefix: str | None = None, path: str = "/page/"
) -> Callable[[], bool]:
    """Have Django store what a page of this origin varies on; does it still find that?"""
    scheme, _, host = origin.partition("://")
    request = RequestFactory().get(path, secure=scheme == "https", headers={"host": host})
    django_cache.learn_cache_key(request, HttpResponse(headers={"Vary": "Accept"}), 600, prefix)
    return lambda: django_cache.get_cache_key(request, prefix) is not None


@pytest.mark.parametrize(
    ("more", "origin", "given"),
    [
        ({"ALLOWED_HOSTS": ["a.example", ".b.example"]}, "https://b.example", "/page/"),
        *(
            ({"ALLOWED_HOSTS": [], "DEBUG": True, **more}, f"http://{host}", "/page/")
            for more, host in [
                ({}, "localhost"),
                ({}, "localhost:8000"),
                ({}, "127.0.0.1"),
                ({}, "127.0.0.1:8000"),
                ({}, "[::1]"),
                ({"VIEWCACHE": {"HOSTS": ["shop.localhost"]}}, "shop.localhost"),
            ]
        ),
        ({"VIEWCACHE": {"HOSTS": ["c.example"]}}, "http://c.example", "/page/"),
        ({}, "https://d.example:8443", "https://d.example:8443/page/?a=1"),
        ({}, "https://d.example", "HTTPS://d.example/page/?next=http://a.example/"),
        ({"USE_TZ": False}, "http://e.example", "http://e.example/page/"),
        ({"USE_I18N": False}, "http://f.example", "http://f.example/page/"),
    ],
)
def test_what_stock_django_stored_is_deleted(
    settings: Any, more: dict[str, Any], origin: str, given: str
) -> None:
    for name, value in {"ALLOWED_HOSTS": ["*"], **more}.items():
        setattr(settings, name, value)
    is_there = stored_by_django(origin)
    assert is_there()
    done = viewcache.expire_view_cache(given)
    assert done.expired
    assert re.fullmatch(
        r"every variant of /page/ expired; [1-9]\d* entries of stock Django deleted", done.reason
    )
    assert not is_there()
    assert viewcache.expire_view_cache(given) == (True, "every variant of /page/ expired")


def test_a_url_without_a_path_is_the_first_page(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    is_there = stored_by_django("https://g.example", path="/")
    assert viewcache.expire_view_cache("https://g.example?next=/a/").expired
    assert not is_there()


@pytest.mark.parametrize("stored_with", ["theirs", "site's", ""])
def test_what_stock_django_stored_with_a_prefix(settings: Any, stored_with: str) -> None:
    """The one that is named, or the site's, and the one that a decorator has by itself."""
    settings.ALLOWED_HOSTS = ["a.example"]
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = "site's"
    is_there = stored_by_django("http://a.example", stored_with)
    viewcache.expire_view_cache("/page/", key_prefix="another's")
    assert is_there() == (stored_with != "")
    viewcache.expire_view_cache("/page/", key_prefix="theirs")
    assert is_there() == (stored_with == "site's")
    viewcache.expire_view_cache("/page/")
    assert not is_there()


@pytest.mark.parametrize("prefix", [7, lazystr("lazy")])
def test_what_stock_django_stored_with_a_prefix_that_is_no_text(settings: Any, prefix: Any) -> None:
    settings.ALLOWED_HOSTS = ["a.example"]
    for given in (prefix, None):
        settings.CACHE_MIDDLEWARE_KEY_PREFIX = "" if given else prefix
        is_there = stored_by_django("http://a.example", given)
        assert viewcache.expire_view_cache("/page/", given).expired
        assert not is_there()


def test_what_stock_django_stored_for_another_zone(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["a.example"]
    with timezone.override("Asia/Tokyo"):
        is_there = stored_by_django("http://a.example")
        assert is_there()
        viewcache.expire_view_cache("/page/")
        assert not is_there()


@pytest.mark.django_db(transaction=True)
def test_the_sites_table_names_hosts_of_stock_django(settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*", "h.example"]
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "django.contrib.sites"]
    from django.contrib.sites.models import Site

    with connection.schema_editor() as editor:
        editor.create_model(Site)
    try:
        is_there = stored_by_django("https://g.example")
        viewcache.expire_view_cache("/page/")
        assert is_there()
        Site.objects.create(domain="g.example", name="g")
        another = stored_by_django("https://h.example")
        viewcache.expire_view_cache("/page/")
        assert not is_there()
        assert not another()

        async def within() -> Any:
            return viewcache.expire_view_cache("/page/")

        done = asyncio.run(within())
        assert not done.expired
        assert done.reason.endswith("Use sync_to_async(expire_view_cache).")
    finally:
        with connection.schema_editor() as editor:
            editor.delete_model(Site)


# -- What it costs --------------------------------------------------------------------------------


@redis
@pytest.mark.parametrize("how", ["sync", "async"])
def test_one_expiry_is_one_command(backend: Backend, how: str) -> None:
    def expire(**given: Any) -> Any:
        if how == "async":
            return asyncio.run(viewcache.aexpire(**given))
        return viewcache.expire(**given)

    with backend.counting() as sent:
        expire(path="/a/")
    assert sent == {"set": 1}
    with backend.counting() as sent:
        expire(path=["/a/", "/b/"], tree="/c/", tag=["d", "e"], view="sitemap")
    assert (sent["mset"], sent["set"]) == (1, 0)
    with backend.counting() as sent:
        assert expire(path=["/a/", "/a/"]).scopes == ("path:/a/",)
    assert sent == {"set": 1}
    with backend.counting() as sent:
        assert expire(path=[]) == ((), False)
    assert not sent


@pytest.mark.parametrize("backend", ["locmem", "file", "db", "redis", "memcached"], indirect=True)
def test_aexpire_on_every_backend(backend: Backend, site: Any, counted: Any, settings: Any) -> None:
    client = site.serve(cache_page(60)(counted()))
    fresh(client, "/a/")
    assert fresh(client, "/a/") == [False]
    if backend.name == "db":
        # SQLite in memory belongs to one thread.
        viewcache.expire(path="/a/")
    else:
        asyncio.run(viewcache.aexpire(path="/a/"))
    assert fresh(client, "/a/") == [True]
    viewcache.expire(path="/a/", tag=["b", "c"])
    assert fresh(client, "/a/") == [True]


@pytest.mark.parametrize(
    "given", [{"path": ""}, {}, {"tag": ""}, {"obj": 7}], ids=["path", "nothing", "tag", "obj"]
)
def test_aexpire_refuses_what_expire_refuses(given: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        asyncio.run(viewcache.aexpire(**given))


@pytest.mark.parametrize(
    "given",
    [
        {"path": "/a/", "tag": "b"},
        {"tree": ["/a/", "/b/"]},
        {"view": "blog:author", "kwargs": {"slug": "one"}},
        {"view": "blog:archive_year", "args": [2026]},
        {"obj": Group(pk=3)},
        {"everything": True},
    ],
    ids=lambda given: "-".join(given),
)
def test_aexpire_takes_what_expire_takes(given: Any) -> None:
    done = viewcache.expire(**given)
    assert done.scopes
    assert asyncio.run(viewcache.aexpire(**given)) == done


def test_an_expiry_leaves_no_page_to_a_process_that_forgot_nothing(site: Any, counted: Any) -> None:
    """A flushed cache is a cold one: no page comes back by an expiry, or without one."""
    client = site.serve(cache_page(60)(counted()))
    fresh(client, "/a/")
    pages = {key: cache._cache[key] for key in list(cache._cache) if ".g1." not in key}
    expires = dict(cache._expire_info)
    cache.clear()
    cache._cache.update(pages)
    cache._expire_info.update(expires)
    assert fresh(client, "/a/") == [True]


# -- A cache that is not there yet ----------------------------------------------------------------


def test_a_table_that_is_not_made_yet_keeps_nothing_to_expire(
    transactional_db: None,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``migrate`` runs before ``createcachetable``, and so do the first statements of each test."""
    kind = "django.core.cache.backends.db.DatabaseCache"
    settings.CACHES = {"default": {"BACKEND": kind, "LOCATION": "not_made_yet"}}
    assert expiry.write_or_log(["path:/a/"])
    assert caplog.records == []
    # Whoever asks for an expiry is told.
    with pytest.raises(DatabaseError, match="not_made_yet"):
        viewcache.expire(path="/a/")

    call_command("createcachetable", verbosity=0)
    assert expiry.write_or_log(["path:/a/"])
    monkeypatch.setattr(DatabaseCache, "set", raises(DatabaseError("lost")))
    assert not expiry.write_or_log(["path:/a/"])
    assert "could not expire path:/a/" in caplog.text
    connection.cursor().execute("DROP TABLE not_made_yet")


def raises(error: Exception) -> Callable[..., None]:
    def call(*args: Any, **kwargs: Any) -> None:
        raise error

    return call
