"""``VIEWCACHE["DURABLE"]`` in one process: what is written down, and who delivers it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing, suppress
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
import viewcache
from asgiref.sync import async_to_sync
from blog.models import Author, Comment
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.core.signals import request_started
from django.db import IntegrityError, connection, connections, transaction
from django.db.models import Model
from django.test.utils import CaptureQueriesContext
from viewcache import breaker, compat, conf, durable, expiry, outbox
from viewcache.early import rules
from viewcache.generations import CLOSED
from viewcache.models import PendingExpiry
from viewcache.store import Store

pytestmark = pytest.mark.django_db(transaction=True)

KEY = "path:/a/"


@pytest.fixture(autouse=True)
def site(settings: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.VIEWCACHE = {"DURABLE": True}
    yield
    settings.VIEWCACHE = {}


def key(scope: str = KEY) -> str:
    return conf.site().generation_keys([scope])[0]


class Down:
    """A cache that takes nothing, until it is up again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        monkeypatch.setattr(Store, "_set", self._fail)

    def _fail(self, *args: Any) -> None:
        raise ConnectionError("down")

    def up(self) -> None:
        self.monkeypatch.undo()


def owe(monkeypatch: pytest.MonkeyPatch, **what: Any) -> None:
    """A transaction whose expiry the cache did not take."""
    down = Down(monkeypatch)
    with transaction.atomic():
        viewcache.expire(**(what or {"path": "/a/"}))
    down.up()


def rows() -> list[list[str]]:
    return [json.loads(row.scopes) for row in PendingExpiry.objects.all()]


# -- What is written down -------------------------------------------------------------------------


def test_the_row_is_part_of_the_transaction_and_gone_after_it() -> None:
    seen: list[Any] = []

    def look(execute: Any, sql: str, *args: Any) -> Any:
        result = execute(sql, *args)
        if sql.startswith("INSERT"):
            seen.append((rows(), connection.in_atomic_block, cache.get(key())))
        return result

    cache.set(key(), 1)
    with connection.execute_wrapper(look), transaction.atomic():
        viewcache.expire(path="/a/")
        viewcache.expire(tag="t")
        assert (seen, cache.get(key())) == ([], 1)
        transaction.on_commit(lambda: seen.append((rows(), cache.get(key()))))
    assert seen[0][0] == [["path:/a/", "tag:t"]]
    assert seen[0][2] == 1
    assert seen[1][0] == []
    assert isinstance(cache.get(key()), int)


def test_before_the_commit_the_scopes_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    commit = type(connections["default"])._commit
    monkeypatch.setattr(
        type(connections["default"]),
        "_commit",
        lambda self: (seen.append((cache.get(key()), len(rows()))), commit(self))[1],
    )
    cache.set(key(), 1)
    with transaction.atomic():
        viewcache.expire(path="/a/")
    assert seen == [(CLOSED, 1)]


def test_a_rollback_leaves_no_row_and_closes_nothing() -> None:
    cache.set(key(), 1)
    with suppress(KeyError), transaction.atomic():
        viewcache.expire(path="/a/")
        raise KeyError
    with transaction.atomic(), suppress(KeyError), transaction.atomic():
        viewcache.expire(path="/a/")
        raise KeyError
    assert (rows(), cache.get(key())) == ([], 1)


def test_a_database_that_takes_no_row_takes_no_change_either(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outbox, "_insert", _refuse)

    @transaction.atomic
    def change() -> None:
        Author.objects.create(name="A", slug="a")
        viewcache.expire(path="/a/")

    with pytest.raises(KeyError):
        change()
    assert not Author.objects.exists()


def _refuse(*args: Any) -> None:
    raise KeyError("refused")


def test_a_soft_expiry_of_a_transaction_is_a_hard_one() -> None:
    """It may be delivered by whoever knows its scopes and nothing else."""
    viewcache.expire(path="/a/")
    before = cache.get(key())
    with transaction.atomic():
        viewcache.expire(path="/a/", soft=True)
    assert cache.get(key()) >> 8 != before >> 8


def test_what_the_cache_did_not_take_is_said_to_be_kept(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owe(monkeypatch, path=["/a/", "/b/"])
    said = [record for record in caplog.records if record.name == "viewcache.expiry"]
    assert [record.getMessage() for record in said] == [
        "viewcache could not close pages before a commit (ConnectionError: down); old ones may be "
        "served until they are expired.",
        "viewcache could not expire path:/a/, path:/b/. "
        "It is kept in the database, and tried again.",
    ]
    assert said[1].exc_info


def test_where_it_is_off_there_is_no_query_and_nothing_is_patched(settings: Any) -> None:
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {"blog.Author": None}}
    assert Model.save_base is durable._save_base
    assert not compat.is_connected(request_started, outbox.look, object)
    with (
        CaptureQueriesContext(
            connection,
        ) as queries,
        transaction.atomic(),
    ):
        viewcache.expire(path="/a/")
    assert [query["sql"] for query in queries if "viewcache" in query["sql"]] == []


def test_a_save_outside_a_transaction_gets_one(settings: Any) -> None:
    settings.VIEWCACHE = {"DURABLE": True, "EXPIRE_ON_SAVE": {"blog.Author": None}}
    with CaptureQueriesContext(connection) as queries:
        Author.objects.create(name="A", slug="a")
    said = [query["sql"].split()[0] for query in queries]
    assert said.index("BEGIN") < said.index("INSERT") < said.index("COMMIT")
    assert any('INSERT INTO "viewcache' in query["sql"] for query in queries)
    # Not for models whose pages nobody expires.
    settings.VIEWCACHE = {"DURABLE": True}
    with CaptureQueriesContext(connection) as queries:
        Author.objects.create(name="B", slug="b")
    assert [query["sql"].split()[0] for query in queries] == ["INSERT"]


def test_the_row_is_in_the_database_of_the_change(
    other_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    down = Down(monkeypatch)
    with transaction.atomic(using="other"):
        viewcache.expire(path="/a/", using="other")
    down.up()
    assert not PendingExpiry.objects.exists()
    assert PendingExpiry.objects.using("other").count() == 1
    assert outbox.deliver() == 1
    assert not PendingExpiry.objects.using("other").exists()


@pytest.mark.parametrize("unsafe", [False, True], ids=["by-async_to_sync", "unsafe"])
def test_async_code_names_the_database_of_the_change(
    other_database: Any, monkeypatch: pytest.MonkeyPatch, unsafe: bool
) -> None:
    async def change() -> viewcache.Expiry:
        other = connections["other"]  # The event loop's own.
        monkeypatch.setattr(other, "ensure_connection", lambda: other.connection or other.connect())
        with closing(other), transaction.atomic(using="other"):
            return await viewcache.aexpire(path="/a/", using="other")

    if unsafe:
        monkeypatch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        assert asyncio.run(change()).waits
    else:
        with transaction.atomic(using="other"):
            assert async_to_sync(viewcache.aexpire)(path="/a/", using="other").waits
    assert isinstance(cache.get(key()), int)


def test_a_router_may_keep_it_out_and_that_is_said_once(
    other_database: Any, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.DATABASE_ROUTERS = [KeepsOut()]
    for _ in range(2):
        with transaction.atomic(using="other"):
            viewcache.expire(path="/a/", using="other")
    assert [record.message for record in caplog.records if "'other'" in record.message] == [
        "VIEWCACHE['DURABLE'] cannot keep expiries in the database 'other': DATABASE_ROUTERS keeps "
        "the app viewcache out of it. What a killed process owes there can be lost."
    ]
    assert not PendingExpiry.objects.using("other").exists()


class KeepsOut:
    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        return db != "other"


@pytest.fixture
def other_database(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    described = connections.configure_settings(
        {
            "default": {},
            "other": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "other")},
        }
    )
    connections.databases["other"] = described["other"]
    other = connections["other"]
    monkeypatch.setattr(other, "ensure_connection", lambda: other.connection or other.connect())
    with other.schema_editor() as editor:
        editor.create_model(PendingExpiry)
    try:
        yield other
    finally:
        other.close()
        del connections.databases["other"]
        del connections["other"]


# -- Who delivers it ------------------------------------------------------------------------------


def test_what_the_cache_did_not_take_stays_and_the_next_request_delivers_it(
    monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    outbox._Clock.looked = outbox.time.monotonic()
    owe(monkeypatch)
    assert rows() == [["path:/a/"]]
    # The one that owes it does not wait for the interval, but for a moment.
    outbox._Clock.looked -= outbox.RETRY_SECONDS
    assert cache.get(key()) is None
    client.get("/nothing/")
    assert (rows(), type(cache.get(key()))) == ([], int)


def test_each_process_looks_when_it_begins_and_at_intervals(
    monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    owe(monkeypatch)
    outbox.connect()  # as a process that begins
    with CaptureQueriesContext(connection) as queries:
        client.get("/nothing/")
        client.get("/nothing/")
    assert rows() == []
    assert len([query for query in queries if query["sql"].startswith('SELECT "viewcache')]) == 2
    owe(monkeypatch)
    outbox._Clock.fails = False  # as another process
    client.get("/nothing/")
    assert len(rows()) == 1
    outbox._Clock.looked -= outbox.LOOK_SECONDS
    client.get("/nothing/")
    assert rows() == []


def test_a_page_is_not_sent_early_before_the_look(settings: Any) -> None:
    outbox.connect()
    assert not rules.are_receivers_safe(rules.get())
    outbox.look()
    assert rules.are_receivers_safe(rules.get())
    outbox._Clock.looked -= outbox.LOOK_SECONDS
    assert not rules.are_receivers_safe(rules.get())
    settings.VIEWCACHE = {}
    assert rules.are_receivers_safe(rules.get())


def test_while_the_cache_fails_each_process_looks_more_often(
    monkeypatch: pytest.MonkeyPatch, client: Any
) -> None:
    owe(monkeypatch)
    outbox._Clock.fails = False
    outbox._Clock.looked = outbox.time.monotonic() - outbox.RETRY_SECONDS
    breaker.of((None, "default")).failed()
    client.get("/nothing/")
    assert rows() == []


def test_a_request_is_answered_when_nothing_can_be_delivered(
    monkeypatch: pytest.MonkeyPatch, client: Any, caplog: pytest.LogCaptureFixture
) -> None:
    owe(monkeypatch)
    outbox.connect()
    down = Down(monkeypatch)
    assert client.get("/nothing/").status_code == 404
    assert "could not deliver the expiries of the database 'default'" in caplog.text
    down.up()
    assert outbox._Clock.fails


def test_rows_of_another_site_in_the_same_database_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    owe(monkeypatch)
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = "another"
    assert outbox.deliver() == 0
    settings.CACHE_MIDDLEWARE_KEY_PREFIX = ""
    assert outbox.deliver() == 1


def test_an_expiry_outside_a_transaction_is_kept_when_the_cache_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = Down(monkeypatch)
    expiry.on_commit(["path:/a/"], connections["default"])
    down.up()
    assert rows() == [["path:/a/"]]


def test_what_is_kept_of_a_commit_that_failed_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @transaction.atomic
    def change() -> None:
        Comment.objects.create(post_id=999, name="A", text="t")
        viewcache.expire(path="/b/")

    with pytest.raises(IntegrityError):
        change()
    down = Down(monkeypatch)
    expiry.on_commit(["path:/a/"], connections["default"])
    down.up()
    assert rows() == [["path:/a/"]]


def test_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(*arguments: str, **options: Any) -> str:
        said = StringIO()
        call_command("viewcache", "deliver", *arguments, stdout=said, **options)
        return said.getvalue()

    owe(monkeypatch)
    owe(monkeypatch, tag="t")
    down = Down(monkeypatch)
    with pytest.raises(CommandError, match="ConnectionError: down"):
        deliver()
    down.up()
    assert len(rows()) == 2
    with pytest.raises(CommandError, match=r"There is no database 'nowhere'\. Known: default"):
        deliver("--database", "nowhere")
    assert deliver("--database", "default") == "Delivered what 2 transactions owed.\n"
    assert deliver() == "Delivered what 0 transactions owed.\n"
    owe(monkeypatch)
    assert (deliver(verbosity=0), rows()) == ("", [])


def test_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "_ROWS", 7)
    PendingExpiry.objects.bulk_create(
        PendingExpiry(scopes=json.dumps([f"path:/{number}/"])) for number in range(50)
    )
    assert (outbox.deliver(), rows()) == (50, [])
    assert all(cache.get(key(f"path:/{number}/")) for number in range(50))


@pytest.mark.parametrize(
    "text", ['{"v":2', '{"v": 2}', '["path:/a/", 1]', '["\\ud800"]', "[" * 100_000, "", "null"]
)
def test_a_row_that_cannot_be_read_keeps_no_other_from_being_delivered(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    monkeypatch.setattr(outbox, "_ROWS", 2)
    unreadable = [UUID(int=number) for number in (0, 1, 2, 5)]
    for number in range(8):
        pk = UUID(int=number)
        scopes = text if pk in unreadable else json.dumps([f"path:/{number}/"])
        PendingExpiry.objects.create(pk=pk, scopes=scopes)
    assert [outbox.deliver(), outbox.deliver()] == [4, 0]
    assert all(cache.get(key(f"path:/{number}/")) for number in (3, 4, 6, 7))
    assert list(PendingExpiry.objects.order_by("pk").values_list("pk", flat=True)) == unreadable
    # Each is said once.
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert len(said) == 4
    assert said[0] == (
        f"viewcache cannot read the pending expiry {unreadable[0]} in the database 'default': "
        f"{text!r:.200} is no JSON list of scopes. It is skipped, and the others are delivered. If "
        "a newer viewcache has written it, update this process; else expire what it was about, or "
        "everything, and delete the row from viewcache_pendingexpiry."
    )


def test_a_database_without_the_table_keeps_no_other_from_being_delivered(
    other_database: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with other_database.schema_editor() as editor:
        editor.delete_model(PendingExpiry)
    owe(monkeypatch)
    # The one without it comes first.
    connections.databases["default"] = connections.databases.pop("default")
    assert (outbox.deliver(), rows()) == (1, [])


def test_without_the_app_a_change_is_refused_with_what_to_do(settings: Any) -> None:
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "viewcache"]

    @transaction.atomic
    def change() -> None:
        Author.objects.create(name="A", slug="a")
        viewcache.expire(path="/a/")

    with pytest.raises(ImproperlyConfigured, match="Add 'viewcache' to INSTALLED_APPS and run"):
        change()
    assert not Author.objects.exists()


def test_without_its_table_it_says_so_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", lambda *args: [])
    outbox.connect()
    with transaction.atomic():
        viewcache.expire(path="/a/")
    assert "its table is missing; run manage.py migrate" in caplog.text
    assert isinstance(cache.get(key()), int)


def test_without_the_setting_nobody_misses_its_table(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings.VIEWCACHE = {}
    monkeypatch.setattr(connection.introspection, "table_names", lambda *args: [])
    outbox.connect()
    call_command("viewcache", "deliver", verbosity=0)
    assert not caplog.text


def test_while_migrate_is_about_to_make_its_table_nobody_is_told_to_run_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection.introspection, "table_names", lambda *args: [])
    outbox.connect()
    emit_pre_migrate_signal(0, interactive=False, db="default")
    with transaction.atomic():
        viewcache.expire(path="/a/")
    assert not caplog.text
    emit_post_migrate_signal(0, interactive=False, db="default")
    with transaction.atomic():
        viewcache.expire(path="/a/")
    assert "its table is missing; run manage.py migrate" in caplog.text


@pytest.mark.parametrize("is_down", [False, True], ids=["up", "down"])
def test_expire_view_cache_is_owed_where_it_fails_after_the_commit(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_down: bool
) -> None:
    with transaction.atomic():
        assert viewcache.expire_view_cache("/a/").expired
        before = Store().generations.get(key())
        if is_down:
            down = Down(monkeypatch)
    assert PendingExpiry.objects.count() == is_down
    said = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert said == (["viewcache could not expire path:/a/ after the commit."] if is_down else [])
    if is_down:
        down.up()
        call_command("viewcache", "deliver", verbosity=0)
        assert PendingExpiry.objects.count() == 0
    assert Store().generations.get(key()) not in (None, CLOSED, before)
