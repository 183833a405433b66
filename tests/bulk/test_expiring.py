"""``with viewcache.expiring(…)``: raw SQL expires what the block names."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
import viewcache
from asgiref.sync import async_to_sync
from blog.models import Author
from django.db import connection, transaction
from viewcache import signals
from viewcache.models import PendingExpiry
from viewcache.store import Store

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def site(settings: Any, request: pytest.FixtureRequest) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.VIEWCACHE = {}


@pytest.fixture
def told() -> Any:
    said: list[tuple[str, ...]] = []

    def note(scopes: tuple[str, ...], **kwargs: Any) -> None:
        said.append(scopes)

    signals.pages_expired.connect(note)
    yield said
    signals.pages_expired.disconnect(note)


def run(statement: str = "INSERT INTO blog_author (name, slug, bio) VALUES ('a', 'a', '')") -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_after_the_block(told: Any) -> None:
    with viewcache.expiring("tag:a", "b", "/c/?q=1", "tree:/d/", "path:/e/", Author):
        run()
        assert told == []
    [scopes] = told
    assert scopes == (
        *("tag:a", "tag:b", "path:/c/"),
        *("tree:/d/", "path:/d/", "path:/d", "path:/e/", "tag:blog.author"),
    )


def test_also_when_the_block_raises(told: Any) -> None:
    with suppress(KeyError), viewcache.expiring("tag:a"):
        run()
        raise KeyError
    assert told == [("tag:a",)]


def test_in_a_transaction_it_waits_for_the_commit(told: Any) -> None:
    with transaction.atomic():
        with viewcache.expiring("tag:a"):
            run()
        assert told == []
    assert told == [("tag:a",)]


def test_a_rollback_drops_it(told: Any) -> None:
    with suppress(KeyError), transaction.atomic(), viewcache.expiring("tag:a"):
        run()
        raise KeyError
    with transaction.atomic(), suppress(KeyError), transaction.atomic():  # noqa: SIM117
        with viewcache.expiring("tag:a"):
            raise KeyError
    assert told == []


def test_a_transaction_inside_the_block(told: Any) -> None:
    with viewcache.expiring("tag:a"), transaction.atomic():
        run()
        assert told == []
    assert told == [("tag:a",)]


def test_a_transaction_that_the_block_began_by_hand(told: Any) -> None:
    with viewcache.expiring("tag:a"):
        run("BEGIN")
        run()
    assert told == []
    connection.commit()
    assert told == [("tag:a",)]


def test_what_is_nothing_to_expire_is_refused_before_the_block(told: Any) -> None:
    for wrong in ([""], [12], []):
        with pytest.raises(ValueError, match=r"tag|path|nothing"):
            viewcache.expiring(*wrong)  # type: ignore[arg-type]


def test_a_cache_that_is_down(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any) -> None:
        raise ConnectionError("down")

    monkeypatch.setattr(Store, "_set", fail)
    with pytest.raises(ConnectionError), viewcache.expiring("tag:a"):
        run()
    # The block's own error is the one to raise.
    with pytest.raises(KeyError), viewcache.expiring("tag:a"):
        raise KeyError


def test_nested_and_again(told: Any) -> None:
    block = viewcache.expiring("tag:a")
    with block, block:
        pass
    with block:
        pass
    assert told == [("tag:a",)] * 3


def test_async(told: Any) -> None:
    async def change() -> None:
        async with viewcache.expiring("tag:a"):
            await Author.objects.acreate(name="a", slug="a")
            assert told == []
        assert told == [("tag:a",)]
        with pytest.raises(KeyError):
            async with viewcache.expiring("tag:b"):
                raise KeyError

    async_to_sync(change)()
    assert told == [("tag:a",), ("tag:b",)]


def test_async_in_a_transaction_of_the_caller_it_waits_for_the_commit(told: Any) -> None:
    async def change() -> None:
        async with viewcache.expiring("tag:a"):
            await Author.objects.acreate(name="a", slug="a")

    with transaction.atomic():
        async_to_sync(change)()
        assert told == []
    assert told == [("tag:a",)]


def test_durable(told: Any, settings: Any) -> None:
    settings.VIEWCACHE = {"DURABLE": True}
    seen = []

    def look(execute: Any, sql: str, *args: Any) -> Any:
        seen.append(sql.split()[0])
        return execute(sql, *args)

    with connection.execute_wrapper(look), viewcache.expiring("tag:a"):
        assert connection.in_atomic_block
        run()
    assert [word for word in seen if word != "SELECT"] == ["BEGIN", "INSERT", "INSERT", "DELETE"]
    assert (told, PendingExpiry.objects.count()) == ([("tag:a",)], 0)
    with suppress(KeyError), viewcache.expiring("tag:a"):
        run("UPDATE blog_author SET name = 'changed'")
        raise KeyError
    assert (Author.objects.get().name, len(told)) == ("a", 1)
