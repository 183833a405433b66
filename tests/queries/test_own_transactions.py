"""Transactions that Django does not manage, in real databases: an expiry waits for their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from blog.models import Author
from django.core.signals import request_finished
from django.db import close_old_connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from viewcache import commit, expiry, outbox, queries, signals
from viewcache.models import PendingExpiry
from viewcache.store import Store

pytestmark = pytest.mark.django_db(transaction=True)

WAYS = {"receiver": {"EXPIRE_ON_SAVE": {"blog.Author": None}}, "tracked": {"TRACK": True}}
KINDS = ["sqlite", "postgresql", "mariadb"]
#: Those in which ``set_autocommit(True)`` commits; in PostgreSQL it is refused.
COMMITS = ["sqlite", "mariadb"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    yield request.param
    queries.disconnect()


@pytest.fixture
def database(
    way: str, request: pytest.FixtureRequest, settings: Any, connected: Any
) -> BaseDatabaseWrapper:
    """A database of the test's kind that has authors, and pages that these expire."""
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    made: BaseDatabaseWrapper = connected("own", request.getfixturevalue("kind"))
    with made.schema_editor() as editor:
        editor.create_model(Author)
        editor.create_model(PendingExpiry)
    Author.objects.using("own").create(name="old", slug="a")
    settings.VIEWCACHE = WAYS[way]
    return made


@pytest.fixture
def expired(way: str) -> Iterator[Callable[[], bool]]:
    """Has the author's page been expired since the last time it was asked?"""
    wanted = {"receiver": "tag:blog.author", "tracked": "rows:blog_author"}[way]
    seen: list[str] = []

    def note(scopes: Any, **kwargs: Any) -> None:
        seen.extend(scopes)

    def is_expired() -> bool:
        found = wanted in seen
        seen.clear()
        return found

    signals.pages_expired.connect(note)
    yield is_expired
    signals.pages_expired.disconnect(note)


def save(name: str = "new") -> None:
    author = Author.objects.using("own").get()
    author.name = name
    author.save()


@pytest.mark.parametrize("kind", COMMITS)
def test_switching_autocommit_on_commits_and_expires(
    kind: str, database: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    transaction.set_autocommit(False, using="own")
    save()
    assert not expired()
    transaction.set_autocommit(True, using="own")
    assert expired()
    save("newer")
    assert expired()


@pytest.mark.parametrize("kind", ["mariadb"])
def test_autocommit_that_is_on_already_commits_nothing_in_mysql(
    kind: str, database: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    with database.cursor() as cursor:
        cursor.execute("BEGIN")
        save()
        transaction.set_autocommit(True, using="own")
        assert not expired()
        cursor.execute("COMMIT")
    assert expired()


@pytest.mark.parametrize("kind", KINDS)
def test_a_callback_that_raises_keeps_nothing_waiting(
    kind: str, database: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    transaction.set_autocommit(False, using="own")
    save()
    with transaction.atomic(using="own"):
        transaction.on_commit(fail, using="own")
    transaction.commit(using="own")
    expired()
    if kind != "postgresql":
        save("newer")
    with pytest.raises(ZeroDivisionError):
        transaction.set_autocommit(True, using="own")
    assert expired() is (kind != "postgresql")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["COMMIT", "commit()"])
def test_a_transaction_of_somebodys_own_sql(
    kind: str, end: str, database: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    before = list(database.execute_wrappers)
    with database.cursor() as cursor:
        cursor.execute("BEGIN")
        save()
        cursor.execute("SELECT 1")
        assert not expired()
        if end == "COMMIT":
            cursor.execute(end)
        else:
            transaction.commit(using="own")
    assert expired()
    assert database.execute_wrappers == before
    save("newer")
    assert expired()


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_the_driver_committed_is_expired_by_the_next_statement(
    kind: str, database: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    with database.cursor() as cursor:
        cursor.execute("BEGIN")
        save()
        database.connection.commit()
        cursor.execute("SELECT 1")
    assert expired()


@pytest.mark.parametrize("kind", ["postgresql"])
@pytest.mark.parametrize("by", ["pipeline", "transaction"])
@pytest.mark.parametrize("end", ["close", "the request's end"])
def test_what_the_driver_committed_is_expired_by_the_end_of_its_connection_or_request(
    kind: str,
    way: str,
    by: str,
    end: str,
    database: BaseDatabaseWrapper,
    expired: Callable[[], bool],
) -> None:
    if way == "receiver" and (by, end) != ("transaction", "close"):
        pytest.skip("only TRACK hears of requests; a save() is told in a pipeline that it failed")
    author = Author.objects.using("own").get()
    with getattr(database.connection, by)():
        if way == "tracked":
            Author.objects.using("own").filter(pk=author.pk).update(name="new")
        else:
            author.save()
    if end == "close":
        database.close()
    else:
        request_finished.disconnect(close_old_connections)
        try:
            request_finished.send(None)
        finally:
            request_finished.connect(close_old_connections)
    assert expired()


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrapper_of_somebodys_is_left_as_it_was(
    kind: str, database: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    seen: list[str] = []

    def note(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql)
        return execute(sql, *args)

    before = list(database.execute_wrappers)
    with database.cursor() as cursor:
        cursor.execute("BEGIN")
        with database.execute_wrapper(note):
            save()
        cursor.execute("SELECT 1")
        with database.execute_wrapper(note):
            cursor.execute("COMMIT")
    assert expired()
    assert database.execute_wrappers == before
    assert seen[-1] == "COMMIT"
    assert "SELECT 1" not in seen


# -- With DURABLE ---------------------------------------------------------------------------------


@pytest.fixture
def durable(database: BaseDatabaseWrapper, settings: Any) -> BaseDatabaseWrapper:
    settings.VIEWCACHE = {**settings.VIEWCACHE, "DURABLE": True}
    return database


@contextmanager
def cache_down() -> Iterator[None]:
    def fail(*args: Any) -> None:
        raise ConnectionError("down")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Store, "_set", fail)
        yield


def kept() -> list[str]:
    """The scopes of each row that is kept."""
    return list(PendingExpiry.objects.using("own").values_list("scopes", flat=True))


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_cache_took_deletes_no_row_of_what_it_did_not_take(
    kind: str, durable: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    transaction.set_autocommit(False, using="own")
    with cache_down():
        save()
        transaction.commit(using="own")
    [owed] = kept()
    for name in "ab":
        save(name)
        transaction.commit(using="own")
        assert kept() == [owed]
    transaction.commit(using="own")
    transaction.set_autocommit(True, using="own")
    save("c")
    assert kept() == [owed]
    expired()
    assert outbox.deliver("own") == 1
    assert expired()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("end", ["rollback()", "close()"])
def test_what_was_kept_and_rolled_back_is_not_taken_for_what_is_owed_later(
    kind: str, end: str, durable: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    transaction.set_autocommit(False, using="own")
    save()
    if end == "close()":
        durable.close()
    else:
        transaction.rollback(using="own")
        transaction.set_autocommit(True, using="own")
    with cache_down():
        expiry.on_commit(["path:/a/"], durable)
    assert '["path:/a/"]' in kept()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_owed_without_autocommit_is_committed(
    kind: str, durable: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    transaction.set_autocommit(False, using="own")
    with cache_down():
        expiry.on_commit(["path:/a/"], durable)
        transaction.commit(using="own")
    transaction.rollback(using="own")
    assert not commit.in_transaction(durable) or kind == "mariadb"
    assert kept() == ['["path:/a/"]']
    transaction.rollback(using="own")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_waits_after_a_rollback(
    kind: str, durable: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    transaction.set_autocommit(False, using="own")
    save()
    assert commit.dirty()
    transaction.rollback(using="own")
    assert not commit.dirty()
    assert kept() == []
    transaction.rollback(using="own")


@pytest.mark.parametrize("kind", ["mariadb"])
def test_a_transaction_of_mysql_that_is_rolled_back_is_over(
    kind: str, database: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    with database.cursor() as cursor:
        cursor.execute("BEGIN")
    transaction.rollback(using="own")
    save()
    assert expired()


@pytest.mark.parametrize("kind", ["mariadb"])
def test_no_row_is_deleted_in_the_next_transaction_of_its_owner(
    kind: str, durable: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    with durable.cursor() as cursor:
        cursor.execute("BEGIN")
        save()
        cursor.execute("START TRANSACTION READ ONLY")
        assert expired()
        cursor.execute("COMMIT")
    assert len(kept()) == 1
    save("newer")
    assert len(kept()) == 1
    assert outbox.deliver("own") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_delivered_in_parts_beside_those_that_cannot_be_read(
    kind: str, durable: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "_ROWS", 3)
    texts = ['["path:/a/"]', "no list"] * 20
    PendingExpiry.objects.using("own").bulk_create(PendingExpiry(scopes=text) for text in texts)
    assert outbox.deliver("own") == 20
    assert kept() == ["no list"] * 20


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_durable_is_rolled_back_without_autocommit(
    kind: str, durable: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    author = Author.objects.using("own").get()
    transaction.set_autocommit(False, using="own")
    author.name = "new"
    author.save()
    transaction.rollback(using="own")
    transaction.set_autocommit(True, using="own")
    assert Author.objects.using("own").get().name == "old"


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_durable_begins_no_transaction_within_one(
    kind: str, durable: BaseDatabaseWrapper, expired: Callable[[], bool]
) -> None:
    with durable.cursor() as cursor:
        cursor.execute("BEGIN")
        save()
        assert not expired()
        cursor.execute("ROLLBACK")
    assert Author.objects.using("own").get().name == "old"
