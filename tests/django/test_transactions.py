"""An expiry waits for the commit, is dropped by a rollback, and is one command however many."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
import viewcache
from asgiref.sync import async_to_sync
from blog.models import Author
from django.contrib.auth.models import Permission
from django.db import IntegrityError, connection, connections, transaction
from django.db.models.signals import post_save, pre_save
from viewcache import commit, conf, receivers
from viewcache.store import Store

if TYPE_CHECKING:
    from backends import Backend

pytestmark = pytest.mark.django_db(transaction=True)
redis = pytest.mark.parametrize("backend", ["redis"], indirect=True)


class Watch:
    """Which of these paths have been expired since the last time it was asked."""

    def __init__(self, *paths: str) -> None:
        self.paths = paths
        self.before = self.now()

    def now(self) -> list[Any]:
        keys = conf.site().generation_keys([f"path:{path}" for path in self.paths])
        found = Store().generations.get_many(keys)
        return [found.get(key) for key in keys]

    def __call__(self) -> list[str]:
        before, self.before = self.before, self.now()
        return [
            path
            for path, one, two in zip(self.paths, before, self.before, strict=True)
            if one != two
        ]


class RollBackError(Exception):
    pass


def test_outside_a_transaction_it_is_done_at_once() -> None:
    expired = Watch("/a/")
    assert viewcache.expire(path="/a/") == (("path:/a/",), False)
    assert expired() == ["/a/"]


def test_inside_it_waits_for_the_commit() -> None:
    expired = Watch("/a/", "/b/")
    with transaction.atomic():
        assert viewcache.expire(path="/a/") == (("path:/a/",), True)
        with transaction.atomic():
            viewcache.expire(path="/b/")
        assert expired() == []
    assert expired() == ["/a/", "/b/"]


def test_a_rollback_drops_it() -> None:
    expired = Watch("/a/", "/b/")
    with suppress(RollBackError), transaction.atomic():
        viewcache.expire(path="/a/")
        raise RollBackError
    assert expired() == []
    # And leaves nothing for the next transaction.
    with transaction.atomic():
        viewcache.expire(path="/b/")
    assert expired() == ["/b/"]


def test_a_savepoint_that_is_rolled_back_drops_its_own() -> None:
    expired = Watch("/1/", "/2/", "/3/", "/4/", "/5/")
    with transaction.atomic():
        viewcache.expire(path="/1/")
        with suppress(RollBackError), transaction.atomic():
            viewcache.expire(path="/2/")
            with transaction.atomic():
                # Committed, but into what is rolled back.
                viewcache.expire(path="/3/")
            raise RollBackError
        with transaction.atomic():
            viewcache.expire(path="/4/")
            with suppress(RollBackError), transaction.atomic():
                viewcache.expire(path="/2/")
                raise RollBackError
        viewcache.expire(path="/5/")
    assert expired() == ["/1/", "/4/", "/5/"]


def test_what_both_name_is_expired_when_one_of_them_is_committed() -> None:
    for first in (True, False):
        expired = Watch("/a/")
        with transaction.atomic():
            if first:
                viewcache.expire(path="/a/")
            with suppress(RollBackError), transaction.atomic():
                viewcache.expire(path="/a/")
                raise RollBackError
            if not first:
                viewcache.expire(path="/a/")
        assert expired() == ["/a/"]


def test_blocks_without_a_savepoint() -> None:
    expired = Watch("/a/", "/b/", "/c/")
    with transaction.atomic():
        with suppress(RollBackError), transaction.atomic():
            viewcache.expire(path="/a/")
            with transaction.atomic(savepoint=False):
                viewcache.expire(path="/b/")
                raise RollBackError
        with transaction.atomic(savepoint=False):
            viewcache.expire(path="/c/")
    assert expired() == ["/c/"]


@redis
def test_many_in_nested_savepoints_are_one_command(backend: Backend) -> None:
    with backend.counting() as sent, transaction.atomic():
        for number in range(50):
            viewcache.expire(path=f"/{number}/")
            with transaction.atomic():
                viewcache.expire(path=f"/{number}/a/", tag="t")
                with transaction.atomic():
                    viewcache.expire(tree=f"/{number}/b/")
    assert (sent["mset"], sent["set"]) == (1, 0)


@redis
def test_many_saves_are_one_command(backend: Backend) -> None:
    post_save.connect(receivers.expire_instance, sender=Author)
    try:
        with backend.counting() as sent, transaction.atomic():
            for number in range(30):
                author = Author.objects.create(name="A", slug=f"a{number}")
                with transaction.atomic():
                    author.name = "B"
                    author.save()
        assert (sent["mset"], sent["set"]) == (1, 0)
    finally:
        post_save.disconnect(receivers.expire_instance, sender=Author)


def test_a_page_rendered_between_save_and_commit_is_not_served_after(
    site: Any, counted: Any
) -> None:
    """Another request renders old data before the commit, and stores it after the expiry."""
    from django.http import HttpResponse
    from viewcache.decorators import cache_page

    def respond(request: Any, count: int) -> HttpResponse:
        if count == 1:
            # The writer commits while this page is being rendered.
            with transaction.atomic():
                viewcache.expire(path="/a/")
        return HttpResponse(str(count))

    client = site.serve(cache_page(60)(counted(respond)))
    assert client.get("/a/").content == b"1"
    assert [client.get("/a/").content for _ in range(2)] == [b"2", b"2"]


def test_what_a_transaction_shows_itself_is_stored_for_nobody(
    site: Any, counted: Any, visit_of: Any
) -> None:
    """It may be rolled back, and then nothing expires the page."""
    from viewcache.decorators import cache_page

    client = site.serve(cache_page(60)(counted()))
    with suppress(RollBackError), transaction.atomic():
        viewcache.expire(path="/a/")
        assert visit_of(client.get("/a/")) == ("miss", "written in this transaction")
        assert visit_of(client.get("/b/")) == ("stored", "")
        raise RollBackError
    assert [client.get("/a/").content for _ in range(2)] == [b"3", b"3"]


def test_a_transaction_that_is_over_is_looked_at_no_more() -> None:
    with transaction.atomic():
        viewcache.expire(path="/a/")
        assert commit.dirty() == {"path:/a/"}
    assert connections["default"] not in commit._batches
    with suppress(RollBackError), transaction.atomic():
        viewcache.expire(path="/a/")
        raise RollBackError
    assert commit.dirty() == set()
    assert connections["default"] not in commit._batches


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("count", [1, 20, 21])
def test_at_the_commit_a_fault_is_logged_and_the_rest_runs(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, count: int, soft: bool
) -> None:
    ran = []

    def broken(self: Store, entries: Any) -> None:
        raise ConnectionError("down")

    monkeypatch.setattr(Store, "soften" if soft else "write", broken)
    with caplog.at_level(logging.ERROR, "viewcache.expiry"), transaction.atomic():
        viewcache.expire(path=[f"/{number}/" for number in range(count)], soft=soft)
        transaction.on_commit(lambda: ran.append(1))
    assert ran == [1]
    named = ", ".join(f"path:/{number}/" for number in range(20)[:count])
    [said] = caplog.records
    assert said.exc_info
    assert said.getMessage() == (
        f"viewcache could not expire {named}{' …' if count > 20 else ''}. "
        "Pages may be old until their timeout; expire again when the cache is back."
    )


def test_a_test_case_that_captures_callbacks_sees_each_expiry_once(
    django_capture_on_commit_callbacks: Any,
) -> None:
    expired = Watch("/a/", "/b/")
    with transaction.atomic():
        for path in ("/a/", "/b/"):
            with django_capture_on_commit_callbacks(execute=True) as callbacks:
                viewcache.expire(path=path)
            assert len(callbacks) == 1
            assert expired() == [path]


@pytest.mark.parametrize("soft", [False, True])
def test_async_code_within_a_transaction_waits_for_its_commit(soft: bool) -> None:
    expired = Watch("/a/")
    aexpire = async_to_sync(viewcache.aexpire)
    with transaction.atomic():
        assert aexpire(path="/a/", soft=soft) == (("path:/a/",), True)
        assert expired() == []
    assert expired() == ["/a/"]
    # Of a soft one the first is hard: there was nothing to count.
    [before] = expired.before
    with transaction.atomic():
        aexpire(path="/a/", soft=soft)
    [after] = expired.now()
    assert (after >> 8 == before >> 8) is soft
    expired()
    with suppress(RollBackError), transaction.atomic():
        aexpire(path="/a/", soft=soft)
        raise RollBackError
    assert expired() == []


@pytest.mark.parametrize("soft", [False, True])
def test_async_code_that_is_let_have_a_transaction_waits_for_its_commit(
    monkeypatch: pytest.MonkeyPatch, soft: bool
) -> None:
    """As in a notebook."""
    monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    viewcache.expire(path="/a/")
    expired = Watch("/a/")
    [before] = expired.before

    async def change() -> None:
        with transaction.atomic():
            assert (await viewcache.aexpire(path="/a/", soft=soft)).waits
            assert expired() == []
        # Django never closes one to SQLite in memory.
        connection.connection.close()

    asyncio.run(change())
    assert expired() == ["/a/"]
    assert (expired.before[0] >> 8 == before >> 8) is soft


def test_expire_view_cache_expires_at_once_and_again_after_the_commit() -> None:
    expired = Watch("/a/")
    with transaction.atomic():
        assert viewcache.expire_view_cache("/a/").expired
        assert expired() == ["/a/"]
    assert expired() == ["/a/"]
    with suppress(RollBackError), transaction.atomic():
        viewcache.expire_view_cache("/a/")
        assert expired() == ["/a/"]
        raise RollBackError
    assert expired() == []


def test_the_receiver_waits_too() -> None:
    signals = [(pre_save, receivers.remember_before), (post_save, receivers.expire_instance)]
    for signal, receiver in signals:
        signal.connect(receiver, sender=Author)
    try:
        expired = Watch("/en/authors/one/", "/fr/authors/one/")
        with suppress(RollBackError), transaction.atomic():
            Author.objects.create(name="A", slug="one")
            raise RollBackError
        assert expired() == []
        with transaction.atomic():
            Author.objects.create(name="A", slug="one")
            assert expired() == []
        assert expired() == ["/en/authors/one/", "/fr/authors/one/"]
    finally:
        for signal, receiver in signals:
            signal.disconnect(receiver, sender=Author)


# -- Statements that fail at their end ------------------------------------------------------------


def test_sqlite_tells_of_a_foreign_key_at_the_end_of_a_statement(settings: Any) -> None:
    """Where ``TRACK`` runs a statement to its end, what it runs into there is the caller's."""
    settings.VIEWCACHE = {"TRACK": True}
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        Permission.objects.create(name="a", codename="a", content_type_id=987_654)
