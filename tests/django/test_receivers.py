"""What ``EXPIRE_ON_SAVE`` expires, by every signal that a change sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from blog.models import Author, Post, Tag
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core import serializers
from django.db import connection
from django.db.models.deletion import Collector
from django.db.models.signals import post_save
from django.test.utils import CaptureQueriesContext
from django.utils.functional import lazystr
from viewcache import receivers
from viewcache.models import PendingExpiry

pytestmark = pytest.mark.django_db(transaction=True)

Expired = Callable[[], set[str]]


@contextmanager
def received(settings: Any, **models: Any) -> Iterator[None]:
    settings.VIEWCACHE = {
        "EXPIRE_ON_SAVE": {f"blog.{name}": given for name, given in models.items()}
    }
    yield


@pytest.fixture
def post() -> Post:
    author = Author.objects.create(name="Ann", slug="ann")
    return Post.objects.create(title="One", slug="one", author=author)


def tags_of(*objects: Any) -> set[str]:
    return {f"tag:blog.{type(each).__name__.lower()}:{each.pk}" for each in objects}


def test_what_is_saved_and_deleted(settings: Any, expired: Expired, post: Post) -> None:
    with received(settings, Post=None):
        post.save()
        assert tags_of(post) <= expired()
        gone = tags_of(post)
        post.delete()
        assert gone <= expired()
        Tag.objects.create(name="t", slug="t")
        assert expired() == set()


def test_rows_of_other_models_are_deleted_without_being_fetched(settings: Any) -> None:
    """Where anybody hears of a deletion, Django fetches each row that it deletes."""
    for named, is_fast in (
        ("blog.Author", True),
        ("viewcache.PendingExpiry", False),
        ("blog.Author", True),
    ):
        settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {named: None}}
        assert Collector("default").can_fast_delete(PendingExpiry.objects.all()) is is_fast


def test_a_label_may_be_written_as_django_allows(
    settings: Any, expired: Expired, post: Post
) -> None:
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {"blog.post": None}}
    post.save()
    assert tags_of(post) <= expired()


def test_the_former_url_is_expired_too(settings: Any, expired: Expired, post: Post) -> None:
    with received(settings, Post=None):
        former = post.get_absolute_url()
        post.slug = "renamed"
        post.save()
        assert {f"path:{former}", f"path:{post.get_absolute_url()}"} <= expired()


def test_the_former_url_of_a_row_that_a_new_instance_overwrites(
    settings: Any, expired: Expired, post: Post
) -> None:
    with received(settings, Post=None):
        former = post.get_absolute_url()
        Post(pk=post.pk, title="One", slug="renamed", author=post.author).save()
        assert f"path:{former}" in expired()


def test_of_a_new_instance_whose_key_has_a_default_no_row_is_looked_for(settings: Any) -> None:
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {"viewcache.PendingExpiry": None}}
    with CaptureQueriesContext(connection) as queries:
        PendingExpiry.objects.create(scopes="[]")
    assert [query["sql"].split()[0] for query in queries] == ["INSERT"]


def test_the_former_url_is_expired_by_a_receiver_that_is_connected_by_hand(
    settings: Any, expired: Expired, post: Post
) -> None:
    settings.VIEWCACHE = {}
    post_save.connect(receivers.expire_instance, sender=Post)
    try:
        former = post.get_absolute_url()
        post.slug = "renamed"
        post.save()
        assert {f"path:{former}", f"path:{post.get_absolute_url()}"} <= expired()
    finally:
        post_save.disconnect(receivers.expire_instance, sender=Post)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("how", ["add", "remove", "set", "clear"])
def test_both_sides_of_a_relation(
    settings: Any, expired: Expired, post: Post, how: str, reverse: bool
) -> None:
    tag = Tag.objects.create(name="t", slug="t")
    other = Tag.objects.create(name="o", slug="o")
    if how in ("remove", "clear"):
        post.tags.add(tag)
    manager, argument = (tag.posts, post) if reverse else (post.tags, tag)
    with received(settings, Post=None, Tag=None):
        expired()
        if how == "clear":
            manager.clear()
        else:
            getattr(manager, how)([argument] if how == "set" else argument)
        found = expired()
        assert tags_of(post, tag) <= found
        assert not tags_of(other) & found


def test_a_relation_of_a_model_with_several(settings: Any, expired: Expired) -> None:
    user = get_user_model().objects.create(username="ann")
    group = Group.objects.create(name="g")
    kind = ContentType.objects.get_for_model(Post)
    permission, other = (
        Permission.objects.create(codename=name, name=name, content_type=kind) for name in "ab"
    )
    user.groups.add(group)
    user.user_permissions.add(permission)
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {"auth.Permission": None, "auth.Group": None}}
    expired()
    user.user_permissions.clear()
    found = expired()
    assert f"tag:auth.permission:{permission.pk}" in found
    assert f"tag:auth.permission:{other.pk}" not in found
    assert f"tag:auth.group:{group.pk}" not in found


def test_a_row_that_was_gone_and_is_saved_anew(settings: Any, expired: Expired, post: Post) -> None:
    with received(settings, Post=None):
        Post.objects.all()._raw_delete("default")
        expired()
        post.save()
        assert {f"path:{post.get_absolute_url()}", *tags_of(post)} <= expired()


def test_fixtures_expire_nothing(settings: Any, expired: Expired, post: Post) -> None:
    text = serializers.serialize("json", [post])
    with received(settings, Post=None):
        expired()
        for found in serializers.deserialize("json", text):
            found.save()
        assert expired() == set()


def test_a_callable_says_what_is_expired(settings: Any, expired: Expired, post: Post) -> None:
    with received(settings, Post=lambda instance: ["/feed/", "tree:/archive/"]):
        post.save()
        assert {"path:/feed/", "tree:/archive/", *tags_of(post)} <= expired()


@pytest.mark.parametrize(
    ("one", "scope"),
    [
        ("/feed/", "path:/feed/"),
        (lazystr("/feed/"), "path:/feed/"),
        ("feed", "tag:feed"),
        (Author, "tag:blog.author"),
    ],
    ids=["path", "lazy", "tag", "model"],
)
def test_a_callable_may_say_one_thing(
    settings: Any, expired: Expired, post: Post, one: Any, scope: str
) -> None:
    with received(settings, Post=lambda instance: one):
        expired()
        post.save()
        assert expired() == {scope, "tag:blog.post", *tags_of(post)}


def test_a_callable_that_says_nothing_is_told_of(
    settings: Any, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    with received(settings, Post=lambda instance: None):
        post.save()
        assert "could not tell the pages" in caplog.text


def test_a_callable_that_fails_breaks_no_save(
    settings: Any, expired: Expired, post: Post, caplog: pytest.LogCaptureFixture
) -> None:
    with received(settings, Post=lambda instance: 1 / 0):
        post.save()
        assert tags_of(post) <= expired()
        assert "could not tell the pages" in caplog.text
