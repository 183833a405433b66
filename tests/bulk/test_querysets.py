"""``Model.objects.expiring()`` and the queryset mixin: bulk writes expire what they change."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from blog.models import Author, Post
from django.core.cache import cache
from django.db import connection, models, transaction
from django.db.models import F
from django.db.models.functions import Concat
from django.test.utils import CaptureQueriesContext
from django.urls import include, path
from viewcache import conf, signals
from viewcache.querysets import ExpiringManager, ExpiringMixin, ExpiringQuerySet

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def site(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    # Of its own: the blog's URLs are made for the languages that are on when they are first asked.
    module = types.ModuleType("urls_of_a_test")
    author = path("authors/<slug:slug>/", lambda request, slug: None, name="author")  # type: ignore[arg-type, return-value]
    module.urlpatterns = [path("", include(([author], "blog")))]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = module
    settings.USE_I18N = False
    settings.VIEWCACHE = {}


@pytest.fixture
def authors() -> list[Author]:
    return [Author.objects.create(name=name, slug=name) for name in ("a", "b", "c")]


@contextmanager
def expired() -> Iterator[list[str]]:
    """What is expired during the block; each expiry is one command."""
    told: list[str] = []

    def note(scopes: tuple[str, ...], **kwargs: Any) -> None:
        told.append(" ".join(sorted(scopes)))
        keys = conf.site().generation_keys(list(scopes))
        assert len(cache.get_many(keys)) == len(keys)

    signals.pages_expired.connect(note)
    try:
        yield told
    finally:
        signals.pages_expired.disconnect(note)


def of(*authors: Author, **names: str) -> str:
    """The scopes of these authors, some of them under other slugs, too."""
    slugs = [author.slug for author in authors] + list(names.values())
    paths = [f"path:/authors/{slug}/" for slug in slugs]
    tags = [f"tag:blog.author:{author.pk}" for author in authors]
    return " ".join(sorted({*paths, *tags, "tag:blog.author"}))


def manager(kind: Any = models.QuerySet) -> Any:
    made = ExpiringManager.from_queryset(kind)()
    made.model = Author
    return made


def test_update(authors: list[Author]) -> None:
    a, b, _ = authors
    with expired() as told:
        assert manager().expiring().filter(slug__in="ab").update(name="x") == 2
    assert told == [of(a, b)]


def test_update_that_moves_the_pages_and_leaves_the_filter(authors: list[Author]) -> None:
    a, *_ = authors
    with expired() as told:
        assert manager().expiring().filter(slug="a").update(slug=Concat("slug", "name")) == 1
    assert told == [of(a, moved="aa")]


def test_update_of_nothing(authors: list[Author]) -> None:
    with expired() as told:
        assert manager().expiring().none().update(name="x") == 0
        assert manager().expiring().filter(slug="z").update(name="x") == 0
    assert told == []


def test_bulk_create() -> None:
    with expired() as told:
        made = manager().expiring().bulk_create(Author(name=n, slug=n) for n in ("x", "y"))
    assert [author.pk for author in made] == list(Author.objects.values_list("pk", flat=True))
    assert told == [of(*made)]


def test_bulk_update(authors: list[Author]) -> None:
    a, b, _ = authors
    a.slug, b.name = "moved", "x"
    with expired() as told:
        assert manager().expiring().bulk_update([a, b], ["slug", "name"], batch_size=1) == 2
    assert told == [of(a, b, before="a")]


def test_delete(authors: list[Author]) -> None:
    a, b, _ = authors
    said = of(a, b)
    with expired() as told:
        assert manager().expiring().exclude(slug="c").delete() == (2, {"blog.Author": 2})
    assert told == [said]


def test_async(authors: list[Author]) -> None:
    a, b, c = authors
    said = [of(a), of(b, before="b"), of(c)]

    async def change() -> None:
        await manager().expiring().filter(slug="a").aupdate(name="x")
        b.name = "x"
        await manager().expiring().abulk_update([b], ["name"])
        await manager().expiring().filter(slug="c").adelete()
        await manager().expiring().abulk_create([Author(name="n", slug="n")])

    with expired() as told:
        async_to_sync(change)()
    assert told == [*said, of(Author.objects.get(slug="n"))]


def test_it_waits_for_the_commit_and_a_rollback_drops_it(authors: list[Author]) -> None:
    with expired() as told, transaction.atomic():
        manager().expiring().filter(slug="a").update(name="x")
        with suppress(KeyError), transaction.atomic():
            manager().expiring().filter(slug="b").update(name="x")
            raise KeyError
        manager().expiring().filter(slug="c").update(name="x")
        assert told == []
    assert told == [of(authors[0], authors[2])]


def test_a_change_that_fails_expires_nothing(authors: list[Author]) -> None:
    with expired() as told, pytest.raises(Exception, match="UNIQUE"):
        manager().expiring().update(slug="same")
    with pytest.raises(TypeError, match="Cannot update a query once a slice has been taken"):
        manager().expiring().all()[:2].update(name="x")
    assert told == []


def test_named_scopes_read_no_row(authors: list[Author]) -> None:
    with expired() as told, CaptureQueriesContext(connection) as queries:
        manager().expiring("tag:t", "/a/", "tree:/b/", Post).update(name="x")
    assert told == ["path:/a/ path:/b path:/b/ tag:blog.post tag:t tree:/b/"]
    assert [query["sql"].split()[0] for query in queries] == ["BEGIN", "UPDATE", "COMMIT"]


def test_the_settings_say_what_an_object_is_shown_on(settings: Any, authors: list[Author]) -> None:
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {"blog.Author": lambda author: [f"/x/{author.slug}/"]}}
    with expired() as told:
        manager().expiring().filter(slug="a").update(name="x")
    assert told == [f"path:/x/a/ tag:blog.author tag:blog.author:{authors[0].pk}"]


def test_without_it_the_manager_is_djangos(authors: list[Author]) -> None:
    with expired() as told, CaptureQueriesContext(connection) as queries:
        manager().update(name="x")
        manager().filter(slug="a").delete()
    assert told == []
    assert queries[0]["sql"].startswith("UPDATE")


class Named(models.QuerySet):  # type: ignore[type-arg]
    def named(self) -> Any:
        return self.exclude(name="")


class AlwaysExpiring(ExpiringMixin, Named):
    pass


def test_a_queryset_of_ones_own(authors: list[Author]) -> None:
    with expired() as told:
        assert manager(Named).expiring().named().update(name="x") == 3
        assert manager(AlwaysExpiring).named().update(name="y") == 3
        assert manager(AlwaysExpiring).expiring().named().update(name="w") == 3
        assert AlwaysExpiring(Author).named().update(name="z") == 3
        assert ExpiringQuerySet(Author).filter(name="z").update(name=F("slug")) == 3
    assert told == [of(*authors)] * 5


def test_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    Author.objects.bulk_create(Author(name="n", slug=f"s{n}") for n in range(1234))
    with expired() as told, CaptureQueriesContext(connection) as queries:
        assert manager().expiring().update(name="x") == 1234
    assert len(told) == 1
    assert len(told[0].split()) == 2 * 1234 + 1
    # BEGIN, the keys, three queries for the rows before and after, UPDATE, COMMIT.
    assert len(queries) == 10


def test_templates_may_not_call_them() -> None:
    for name in ("update", "delete", "bulk_update"):
        assert getattr(getattr(ExpiringQuerySet, name), "alters_data", False)
    assert not hasattr(manager(), "delete")
