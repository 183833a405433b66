"""What ``EXPIRE_ON_SAVE`` expires of models that inherit rows, and of many-to-many relations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test.utils import CaptureQueriesContext, isolate_apps
from viewcache import receivers

pytestmark = pytest.mark.django_db(transaction=True)


class Named(models.Model):
    name = models.CharField(max_length=20)

    class Meta:
        abstract = True
        app_label = "blog"

    def __str__(self) -> str:
        return self.name


@pytest.fixture
def shop() -> Iterator[Any]:
    """Models that nothing else in the tests knows."""
    with isolate_apps("blog"):

        class Label(Named):
            pass

        class Branch(Named):
            pass

        class Item(Named):
            labels = models.ManyToManyField(Label)
            branches = models.ManyToManyField(Branch, through="Stock")
            similar = models.ManyToManyField("self")

            def get_absolute_url(self) -> str:
                return f"/{type(self).__name__.lower()}/{self.name}/"

        class Stock(Named):
            item = models.ForeignKey(Item, models.CASCADE)
            branch = models.ForeignKey(Branch, models.CASCADE)

        class Book(Item):
            pages = models.IntegerField(default=1)

        class Novel(Book):
            hero = models.CharField(max_length=20)

        class Bargain(Novel):
            class Meta(Named.Meta):
                proxy = True

        kinds = (Label, Branch, Item, Stock, Book, Novel, Bargain)
        yield SimpleNamespace(**{kind.__name__: kind for kind in kinds})


@pytest.fixture
def database(shop: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A second database, which has the shop's tables; the first has none of them."""
    described = connections.configure_settings(
        {
            "default": {},
            "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "other")},
        }
    )
    connections.databases["other"] = described["other"]
    other: BaseDatabaseWrapper = connections["other"]
    # Django's test cases let nobody connect to a database that they were not told of.
    monkeypatch.setattr(other, "ensure_connection", lambda: other.connection or other.connect())
    with other.schema_editor() as editor:
        for kind in vars(shop).values():
            if not kind._meta.proxy:
                editor.create_model(kind)
    try:
        yield "other"
    finally:
        other.close()
        del connections.databases["other"]
        del connections["other"]


@pytest.fixture(autouse=True)
def _deletions(shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Django's registry does not know of these models."""
    monkeypatch.setattr(receivers.apps, "get_models", lambda **kwargs: vars(shop).values())


def receive(settings: Any, *names: str) -> None:
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {f"blog.{name}": None for name in names}}


def tag(of: Any) -> str:
    return f"tag:blog.{type(of)._meta.concrete_model.__name__.lower()}:{of.pk}"


@pytest.mark.parametrize("reverse", [False, True])
def test_a_relation_that_is_cleared_in_another_database(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]], reverse: bool
) -> None:
    item = shop.Item.objects.using(database).create(name="a")
    label = shop.Label.objects.using(database).create(name="l")
    item.labels.add(label)
    receive(settings, "Item" if reverse else "Label")
    expired()
    (label.item_set if reverse else item.labels).clear()
    assert tag(item if reverse else label) in expired()


# -- Objects that are deleted, and those that they are related to ---------------------------------


@pytest.mark.parametrize("kind", ["Item", "Book", "Bargain"])
def test_what_a_deleted_object_was_related_to(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]], kind: str
) -> None:
    item, similar = (getattr(shop, kind).objects.using(database).create(name=name) for name in "ab")
    label, other = (shop.Label.objects.using(database).create(name=name) for name in "lo")
    branch = shop.Branch.objects.using(database).create(name="b")
    item.labels.add(label)
    item.branches.add(branch)
    item.similar.add(similar)
    receive(settings, "Item", "Label", "Branch")
    expired()
    item.delete()
    found = expired()
    assert {tag(label), tag(branch), f"tag:blog.item:{similar.pk}"} <= found
    assert tag(other) not in found


def test_what_a_deleted_object_was_named_by(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]]
) -> None:
    item, other = (shop.Item.objects.using(database).create(name=name) for name in "ab")
    label = shop.Label.objects.using(database).create(name="l")
    item.labels.add(label)
    receive(settings, "Item")
    expired()
    shop.Label.objects.using(database).all().delete()
    assert {tag(item), "path:/item/a/"} <= (found := expired())
    assert tag(other) not in found


def test_a_deletion_that_is_rolled_back_expires_nothing(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]]
) -> None:
    item = shop.Item.objects.using(database).create(name="a")
    item.labels.add(shop.Label.objects.using(database).create(name="l"))
    receive(settings, "Label")
    expired()
    with suppress(KeyError), transaction.atomic(using=database):
        item.delete()
        raise KeyError
    assert expired() == set()


def test_a_query_for_each_relation_whose_other_side_is_named(
    settings: Any, shop: Any, database: str
) -> None:
    def queries(*names: str) -> int:
        receive(settings, *names)
        item = shop.Item.objects.using(database).create(name="a")
        with CaptureQueriesContext(connections[database]) as captured:
            item.delete()
        return len(captured)

    before = queries()
    assert queries("Branch") == queries("Label") == before + 1
    assert queries("Item", "Label", "Branch") == before + 3


@pytest.mark.parametrize("kind", ["Item", "Novel", "Bargain"])
def test_who_hears_of_a_relation(settings: Any, shop: Any, database: str, kind: str) -> None:
    """Where anybody does, Django asks which of its rows are there before it adds any."""

    def queries(*names: str) -> int:
        receive(settings, *names)
        item = getattr(shop, kind).objects.using(database).create(name="a")
        label = shop.Label.objects.using(database).create(name="l")
        with CaptureQueriesContext(connections[database]) as captured:
            item.labels.add(label)
        return sum("SELECT" in query["sql"] for query in captured)

    assert queries() == queries("Branch", "Stock") == 0
    assert all(queries(name) for name in ("Item", "Label", "Novel"))
    assert queries() == 0


# -- Models that inherit rows ---------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Item", "Book", "Novel", "Bargain"])
def test_a_row_that_is_saved_through_a_model_that_inherits_it(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]], kind: str
) -> None:
    made = getattr(shop, kind).objects.using(database).create(name="a")
    receive(settings, "Item")
    item = shop.Item.objects.using(database).get()
    expired()
    made.name = "b"
    made.save()
    assert expired() == {"path:/item/a/", "path:/item/b/", tag(item), "tag:blog.item"}
    made.save(update_fields=["name"])
    assert expired() == {"path:/item/b/", tag(item), "tag:blog.item"}


def test_each_model_that_is_named_is_expired_as_itself(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]]
) -> None:
    novel = shop.Novel.objects.using(database).create(name="a")
    seen: list[Any] = []
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {"blog.Novel": None, "blog.Item": told_by(seen)}}
    expired()
    novel.name = "b"
    novel.save()
    # The former row, and what it is now: nothing of it is asked of the database.
    assert [(type(each), each.name) for each in seen] == [(shop.Item, "a"), (shop.Item, "b")]
    own = {"path:/novel/a/", "path:/novel/b/", tag(novel), "tag:blog.novel"}
    assert expired() == {*own, "path:/seen/", f"tag:blog.item:{novel.pk}", "tag:blog.item"}


def told_by(seen: list[Any]) -> Callable[[Any], list[str]]:
    def tell(instance: Any) -> list[str]:
        seen.append(instance)
        return ["/seen/"]

    return tell


def test_what_is_deferred_is_asked_of_the_database_of_the_row(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]]
) -> None:
    shop.Book.objects.using(database).create(name="a")
    receive(settings, "Item")
    book = shop.Book.objects.using(database).defer("name").get()
    expired()
    book.pages = 2
    book.save()
    assert "path:/item/a/" in expired()


def test_a_row_that_is_deleted_through_a_model_that_inherits_it(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]]
) -> None:
    item, kept = (shop.Book.objects.using(database).create(name=name) for name in "ab")
    receive(settings, "Item")
    expired()
    gone = f"tag:blog.item:{item.pk}"
    item.delete()
    assert {gone, "path:/item/a/"} <= expired()
    # Its row stays.
    kept.delete(keep_parents=True)
    assert expired() == set()


@pytest.mark.parametrize("reverse", [False, True])
def test_a_relation_of_an_inherited_row(
    settings: Any, shop: Any, database: str, expired: Callable[[], set[str]], reverse: bool
) -> None:
    book = shop.Book.objects.using(database).create(name="a")
    label = shop.Label.objects.using(database).create(name="l")
    receive(settings, "Item")
    expired()
    if reverse:
        label.item_set.add(shop.Item.objects.using(database).get())
    else:
        book.labels.add(label)
    assert f"tag:blog.item:{book.pk}" in expired()


# -- Models that are not there --------------------------------------------------------------------


@pytest.mark.parametrize("track", [True, ["blog"]])
@isolate_apps("blog")
def test_models_that_are_not_there_are_for_djangos_checks_to_tell(
    settings: Any, monkeypatch: pytest.MonkeyPatch, track: Any
) -> None:
    class Lost(Named):
        slug = models.SlugField()
        owner = models.OneToOneField("absent.Owner", getattr(models, "DB_CASCADE", models.CASCADE))
        marks: Any = models.ManyToManyField("absent.Mark")
        others: Any = models.ManyToManyField("absent.Other", through="absent.Through")

    found = [Lost, Lost.marks.through]
    monkeypatch.setattr(receivers.apps, "get_models", lambda **kwargs: found)
    settings.VIEWCACHE = {"TRACK": track, "EXPIRE_ON_SAVE": {"blog.Lost": None}}
    with connections["default"].cursor() as cursor:
        assert cursor.execute("SELECT 1").fetchall() == [(1,)]
