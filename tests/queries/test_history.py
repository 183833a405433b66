"""Which write expired a page: who, why and where, in the same command as the expiry."""

from __future__ import annotations

import json
import threading
from code import InteractiveInterpreter
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from backends import Backend
from blog.models import Author, Post, Tag
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.urls import path
from tracking import Site, sent
from viewcache import aexpire, conf, expire, expire_view_cache, history


@pytest.fixture
def tag() -> Tag:
    return Tag.objects.create(name="old", slug="old")


@pytest.fixture
def site(tracked: Site, tag: Tag) -> Site:
    """A page that shows the tag, and is cached."""
    # So many places that no later expiry takes an earlier one's, or once in ten thousand runs.
    tracked.track(RECORD_EXPIRIES=10_000)
    get = tracked.serve(lambda request: Tag.objects.get(pk=tag.pk).name)
    get()
    return tracked


def last() -> history.Expired:
    """What expired the page last."""
    found = history.recent(1)
    assert found
    return found[0]


def why_expired(url: str = "/page/", *more: str) -> str:
    out = StringIO()
    # The host of the test client.
    call_command("viewcache", "why-expired", f"http://testserver{url}", *more, stdout=out)
    return out.getvalue()


def raw(key: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE blog_tag SET name = %s WHERE id = %s", ["secret", key])


def in_a_transaction(key: int) -> None:
    with transaction.atomic():
        Author.objects.create(name="a", slug="a")
        Tag.objects.filter(pk=key).update(name="new")
        Author.objects.create(name="b", slug="b")


def in_async_code(key: int) -> None:
    with transaction.atomic():
        async_to_sync(aexpire)(path="/page/")


WRITES: dict[str, tuple[Callable[[int], Any], str]] = {
    "save": (lambda key: Tag(pk=key, name="new", slug="new").save(), "blog.Tag {pk}: save()"),
    "delete": (lambda key: Tag.objects.get(pk=key).delete(), "blog.Tag {pk}: delete()"),
    "update": (lambda key: Tag.objects.filter(pk=key).update(name="new"), "blog.Tag: update()"),
    "raw SQL": (raw, "SQL"),
    "transaction": (in_a_transaction, "blog.Tag: update()"),
    "expire": (lambda key: expire(path="/page/"), "expire()"),
    "async": (in_async_code, "aexpire()"),
    "drop-in": (lambda key: expire_view_cache("/page/"), "expire_view_cache()"),
}


@pytest.mark.parametrize("write", WRITES)
def test_it_names_what_was_done_and_where(site: Site, tag: Tag, write: str) -> None:
    change, why = WRITES[write]
    change(tag.pk)
    told = why_expired()
    assert why.format(pk=tag.pk) in told
    first = change.__code__.co_firstlineno
    assert any(f"{__file__}:{line}" in told for line in range(first, first + 5))
    # Values may be anybody's secrets.
    assert "secret" not in told
    has_statement = write not in ("expire", "async", "drop-in")
    assert has_statement is ("blog_tag" in told)
    assert has_statement is bool(last().statement)


def test_machines_are_told_the_same(site: Site, tag: Tag) -> None:
    def told() -> Any:
        return json.loads(why_expired("/page/", "--json"))

    assert told() == {"url": "http://testserver/page/", "verdict": "hit", "last": None}
    Tag.objects.filter(pk=tag.pk).update(name="new")
    found = told()
    assert found["verdict"] == "miss"
    assert found["last"]["why"] == "blog.Tag: update()"
    assert found["last"]["when"] == last().when.isoformat()
    assert found["last"]["scopes"] == list(last().scopes)


def test_what_was_rolled_back_is_not_named(site: Site, tag: Tag) -> None:
    Tag.objects.filter(pk=tag.pk).update(name="new")
    with transaction.atomic():
        Tag(pk=tag.pk, name="newer", slug="x").save()
        transaction.set_rollback(True)
    assert "update()" in why_expired()
    assert len(history.recent()) == 1


def test_what_is_rolled_back_is_not_kept_for_ever(site: Site, tag: Tag) -> None:
    for start in (0, 5000):
        with transaction.atomic():
            expire(path=[f"/{number}/" for number in range(start, start + 5000)])
            transaction.set_rollback(True)
    Tag.objects.filter(pk=tag.pk).update(name="new")
    assert "update()" in why_expired()
    assert len(history._noted.causes) <= 5000


def test_a_page_that_is_fresh_again(site: Site, tag: Tag) -> None:
    Tag.objects.filter(pk=tag.pk).update(name="new")
    assert "rendered anew" not in why_expired()
    site.get()
    assert "rendered anew" in why_expired()
    Tag.objects.create(name="another", slug="another")
    assert "update()" in why_expired(), "another row is none of this page's"


class Rename(BaseCommand):
    def handle(self, *args: Any, **options: Any) -> None:
        Tag.objects.update(name="renamed")


def test_a_command_is_named(site: Site) -> None:
    Rename.__module__ = "blog.management.commands.rename"
    call_command(Rename())
    assert (last().who, last().why) == ("manage.py rename", "blog.Tag: update()")


def test_a_shell_is_named(site: Site) -> None:
    InteractiveInterpreter({"Tag": Tag}).runsource("changed = Tag.objects.update(name='typed')")
    assert (last().who, last().why) == ("shell", "blog.Tag: update()")
    # What is typed stands in no file.
    assert last().where == ""


def test_no_place_is_named_where_none_of_the_sites_code_runs(site: Site) -> None:
    thread = threading.Thread(target=expire, kwargs={"path": "/page/"})
    thread.start()
    thread.join()
    assert (last().why, last().where) == ("expire()", "")


def test_the_admin_is_named_with_its_user(site: Site, tag: Tag) -> None:
    get_user_model().objects.create_superuser("ann", password="ann")
    site.serve_as_it_is(
        lambda request, **kwargs: None,
        middleware=(
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ),
        per_site=False,
    )
    site.settings.ROOT_URLCONF.urlpatterns.insert(0, path("admin/", admin.site.urls))
    client = Client()
    client.login(username="ann", password="ann")
    url = f"/admin/blog/tag/{tag.pk}/change/"
    assert client.post(url, {"name": "new", "slug": "new"}).status_code == 302
    assert last().who == f"admin, ann, POST {url}"
    assert last().why == f"blog.Tag {tag.pk}: save()"


def test_a_many_to_many_relation_is_named_by_its_manager(site: Site, tag: Tag) -> None:
    author = Author.objects.create(name="a", slug="a")
    post = Post.objects.create(title="p", slug="p", body="b", author=author)
    site.serve(lambda request: str(list(post.tags.all())))
    site.get("/post/")
    post.tags.add(tag)
    assert "add()" in why_expired("/post/")


def test_records_are_bounded_and_latest_first(site: Site, tag: Tag) -> None:
    site.track(RECORD_EXPIRIES=64)
    for number in range(200):
        Tag.objects.filter(pk=tag.pk).update(name=str(number))
    found = history.recent(1000)
    assert 20 < len(found) <= 64
    assert found == sorted(found, key=lambda each: each.when, reverse=True)
    assert history.recent(3) == found[:3]


def test_where_nothing_is_recorded(tracked: Site, tag: Tag) -> None:
    tracked.serve(lambda request: "")
    with pytest.raises(CommandError, match="RECORD_EXPIRIES"):
        why_expired()
    Tag.objects.update(name="new")
    assert not history.is_on()
    assert history.recent() == []
    assert history.last_of(["path:/page/"]) is None
    tracked.track(RECORD_EXPIRIES=64)
    assert "No expiry of http://" in why_expired()


@pytest.mark.parametrize("backend", ["redis"], indirect=True)
@pytest.mark.parametrize("kept", [0, 64])
def test_it_costs_no_command(backend: Backend, tracked: Site, tag: Tag, kept: int) -> None:
    tracked.track(RECORD_EXPIRIES=kept)
    with sent(backend.server) as commands:
        in_a_transaction(tag.pk)
    assert sum(commands.values()) == 1, commands
    with sent(backend.server) as commands:
        Tag.objects.filter(pk=tag.pk).update(name="x")
    assert sum(commands.values()) == 1, commands


def test_a_record_that_is_none_is_passed_over(site: Site, tag: Tag) -> None:
    from django.core.cache import cache

    site.track(RECORD_EXPIRIES=64)
    Tag.objects.update(name="new")
    keys = conf.site().generation_keys([f"expiry:{place}" for place in range(64)])
    true = next(record for record in cache.get_many(keys).values())
    told = json.loads(true)
    assert history._told(true) is not None
    damaged: list[Any] = [b"{", 7, b"[]", b"{}", b'"a"', json.dumps({**told, "more": 1})]
    for name in told:
        damaged.append(json.dumps({each: told[each] for each in told if each != name}))
        damaged += [json.dumps({**told, name: wrong}) for wrong in (None, {}, "x", [7])]
    damaged.append(json.dumps({**told, "when": 10**30}))
    for record in damaged:
        for key in keys:
            cache.set(key, record.encode() if isinstance(record, str) else record)
        assert history.recent() == [], record
        assert "No expiry" in why_expired()
