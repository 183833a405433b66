"""
Every kind of statement and of transaction: its page is fresh, or it is not stored and says why.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from blog.models import Author, Comment, Post, Tag
from django.contrib.auth import get_user_model
from django.core.cache import cache, caches
from django.core.handlers.base import BaseHandler
from django.core.management import call_command
from django.db import connection, connections, models, transaction
from django.db.backends.utils import CursorWrapper
from django.db.utils import ProgrammingError
from django.http import HttpResponse
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.test import Client, RequestFactory
from tracking import ReadsBefore, Site
from viewcache import (
    bindings,
    breaker,
    conf,
    databases,
    expiry,
    explain,
    pipeline,
    queries,
    signals,
)
from viewcache._core import Fetched, Queries
from viewcache.decorators import cache_page
from viewcache.middleware import CacheMiddleware
from viewcache.store import Store


@pytest.fixture(autouse=True)
def warnings_again() -> None:
    queries._warn_once.cache_clear()


@pytest.fixture
def tag(tracked: Site) -> Tag:
    return Tag.objects.create(name="old", slug="one")


def sql(text: str, *params: Any, using: str = "default") -> Any:
    with connections[using].cursor() as cursor:
        cursor.execute(text, params)
        return cursor.fetchall() if cursor.description else None


def rename(name: str = "new") -> None:
    Tag.objects.filter(slug="one").update(name=name)


# -- Reads ----------------------------------------------------------------------------------------

READS: dict[str, Callable[[], Any]] = {
    "cte": lambda: sql("WITH t AS (SELECT name FROM blog_tag) SELECT name FROM t"),
    "recursive": lambda: sql(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2) "
        "SELECT i, (SELECT max(name) FROM blog_tag) FROM n"
    ),
    "union": lambda: list(
        Tag.objects.order_by()
        .values_list("name")
        .union(Author.objects.order_by().values_list("name"))
    ),
    "intersection": lambda: list(
        Tag.objects.order_by()
        .values_list("name")
        .intersection(Tag.objects.order_by().values_list("name"))
    ),
    "subquery": lambda: (
        list(
            Post.objects.annotate(
                n=models.Subquery(Tag.objects.values("name")[:1]),
            ).values_list("n")
        )
        + list(Tag.objects.filter(pk__in=Tag.objects.filter(name__gt="")).values_list("name"))
    ),
    "scalar": lambda: sql("SELECT (SELECT name FROM blog_tag LIMIT 1)"),
    "exists": lambda: Tag.objects.filter(name="new").exists(),
    "iterator": lambda: [tag.name for tag in Tag.objects.iterator(chunk_size=1)],
    "raw": lambda: [tag.name for tag in Tag.objects.raw("SELECT * FROM blog_tag")],
    "quoted": lambda: sql('SELECT "t"."name" FROM "main"."blog_tag" AS "t"'),
    "two": lambda: [Tag.objects.first().name, Tag.objects.count()],  # type: ignore[union-attr]
    "aggregate": lambda: Tag.objects.aggregate(models.Max("name")),
    "explain": lambda: (Tag.objects.first().name, bool(Tag.objects.all().explain())),  # type: ignore
    "comment": lambda: sql("/* a */ SELECT name -- b\nFROM blog_tag"),
    "many": lambda: [tag.name for tag in Tag.objects.in_bulk().values()],
    "get_or_create": lambda: Tag.objects.get_or_create(slug="one")[0].name,
}


@pytest.mark.parametrize("name", READS)
def test_a_page_of_this_read_is_stored_and_fresh(tracked: Site, tag: Tag, name: str) -> None:
    get = tracked.serve(lambda request: READS[name]())
    assert "new" not in get()
    assert tracked.status == "stored", tracked.reason
    get()
    assert tracked.status == "hit"
    rename()
    assert get() == str(READS[name]())
    assert tracked.status == "stored"


def view_of_the_database() -> Any:
    return sql("SELECT name FROM tag_view")


def unmanaged_model() -> Any:
    return list(Seen.objects.values_list("name"))


def function() -> Any:
    return sql("SELECT nobody_knows(name) FROM blog_tag")


def attached() -> Any:
    return sql("SELECT name FROM pragma_table_info('blog_tag')")


class Seen(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "blog"
        managed = False
        db_table = "tag_view"

    def __str__(self) -> str:
        return self.name


@pytest.fixture
def tag_view(tracked: Site) -> Iterator[None]:
    sql("CREATE VIEW tag_view AS SELECT id, name FROM blog_tag")
    yield
    sql("DROP VIEW tag_view")


@pytest.fixture
def unknown_function(tracked: Site) -> None:
    connection.ensure_connection()
    connection.connection.create_function("nobody_knows", 1, str)


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (view_of_the_database, "query reads tag_view, which is no table"),
        (unmanaged_model, "query reads tag_view, which is no table"),
        (function, "query not understood: the function nobody_knows may read or write"),
        (attached, "query not understood"),
    ],
)
@pytest.mark.usefixtures("tag_view", "unknown_function", "tag")
def test_a_page_of_this_read_is_not_stored_and_says_why(
    tracked: Site, read: Callable[[], Any], reason: str
) -> None:
    get = tracked.serve(lambda request: read())
    for _ in range(2):
        get()
        assert tracked.status == "bypass"
        assert tracked.reason.startswith(reason)


@pytest.mark.usefixtures("unknown_function")
def test_a_function_that_is_declared_is_understood(tracked: Site, tag: Tag) -> None:
    tracked.track(PURE_FUNCTIONS=["nobody_knows"])
    get = tracked.serve(lambda request: function())
    get()
    rename()
    assert "new" in get()
    get()
    assert tracked.status == "hit"


@pytest.mark.usefixtures("unknown_function")
def test_a_read_while_the_response_renders_keeps_the_page_out(tracked: Site, tag: Tag) -> None:
    """A ``TemplateResponse`` of a view that the middleware itself wraps renders after it."""
    template = engines["django"].from_string("{{ read }}")

    def view(request: Any, **kwargs: Any) -> SimpleTemplateResponse:
        return SimpleTemplateResponse(template, {"read": function})

    middleware: Any = CacheMiddleware(view)  # type: ignore[arg-type]
    get = tracked.serve_as_it_is(lambda request, **kwargs: middleware(request), per_site=False)
    for name in ("old", "new"):
        rename(name)
        assert name in get()
        assert tracked.reason.startswith("query not understood")


def test_nothing_of_django_is_patched_without_tracking(tracked: Site, settings: Any) -> None:
    def patched() -> set[str]:
        return {"callproc", "copy", "copy_expert", "executescript"} & {
            name
            for name, value in vars(CursorWrapper).items()
            if "viewcache" in getattr(getattr(value, "fget", value), "__module__", "")
        }

    assert patched() == {"callproc", "copy", "copy_expert", "executescript"}
    settings.VIEWCACHE = {}
    assert patched() == set()
    assert not hasattr(CursorWrapper, "copy")
    assert all(queries.watch not in each.execute_wrappers for each in connections.all())


def test_statements_are_remembered_in_bounds(tracked: Site) -> None:
    def reads(number: int) -> Any:
        return databases.plain(f"SELECT name, {number} FROM blog_tag", "sqlite", ())

    for number in range(2 * databases._PLAIN_KEPT):
        assert reads(number) == ("table:blog_tag", "rows:blog_tag")
        assert len(databases._plain) <= databases._PLAIN_KEPT
    assert reads(0) == ("table:blog_tag", "rows:blog_tag")


@pytest.mark.parametrize(
    ("statement", "params", "scopes"),
    [
        ("SELECT name FROM blog_tag WHERE id = %s", (5,), {"row:blog_tag:5"}),
        (
            "SELECT name FROM blog_tag WHERE id IN (%s, 7)",
            (5,),
            {"row:blog_tag:5", "row:blog_tag:7"},
        ),
        ("SELECT name FROM blog_tag WHERE id = 7", None, {"row:blog_tag:7"}),
        ("SELECT name FROM blog_tag WHERE id = %s", (5.5,), {"rows:blog_tag"}),
        ("SELECT name FROM blog_tag WHERE id = %s", (), {"rows:blog_tag"}),
        ("SELECT name FROM blog_tag WHERE name = %s", (5,), {"rows:blog_tag"}),
    ],
)
def test_what_plain_queries_read_is_what_the_whole_analysis_says(
    tracked: Site, statement: str, params: Any, scopes: set[str]
) -> None:
    for _ in range(2):
        found = databases.plain(statement, "sqlite", params)
        assert found is not None
        assert set(found) == {"table:blog_tag", *scopes}
        assert sorted(found) == databases.analyse(statement, "sqlite", params, False)[0]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT name FROM blog_tag WHERE slug = %s",
        "SELECT name FROM nowhere",
        "SELECT unknown(name) FROM blog_tag",
        "SELECT 1",
        "SELECT * FROM django_session",
        "UPDATE blog_tag SET name = 'new'",
        "SELECT name FROM blog_tag; COMMIT",
        "BEGIN",
        "no SQL at all",
    ],
)
def test_any_other_statement_is_not_plain(tracked: Site, statement: str) -> None:
    for _ in range(2):
        assert databases.plain(statement, "sqlite", ()) is None


class Cursor:
    """A driver's: SQLite's, whose rows come as this kind."""

    arraysize = 2
    is_closed = False

    def __init__(self, kind: Callable[[Any], Any]) -> None:
        self.kind = kind

    def fetchall(self) -> Any:
        return self.kind(range(7))

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("given", [list, tuple, iter])
@pytest.mark.parametrize("kind", [list, tuple])
def test_rows_that_have_been_fetched_are_handed_out_as_a_cursor_does(
    given: Callable[[Any], Any], kind: type[Any]
) -> None:
    cursor = Cursor(given)
    fetched = Fetched(cursor, kind)
    assert list(fetched.rows) == [0, 1, 2, 3, 4, 5, 6]
    assert fetched.fetchone() == next(fetched) - 1 == 0
    assert fetched.fetchmany() == kind([2, 3])
    assert fetched.fetchmany(1) == kind([4])
    assert next(iter(fetched)) == 5
    assert fetched.fetchall() == kind([6])
    assert (fetched.fetchone(), next(fetched, None), list(fetched)) == (None, None, [])
    assert (fetched.fetchmany(5), fetched.fetchall()) == (kind(), kind())
    assert Fetched(cursor, kind).fetchmany(-1) == kind(range(7))
    assert fetched.arraysize == 2
    with pytest.raises(AttributeError, match="scroll"):
        fetched.scroll(1)
    assert not hasattr(fetched, "rownumber")
    again = Fetched(cursor, kind)
    assert again.forget() is cursor
    assert again.fetchall() == kind()
    fetched.close()
    assert cursor.is_closed


def test_a_cursor_goes_back_as_the_drivers_does(tracked: Site, postgresql: Any) -> None:
    def steps(cursor: Any) -> Iterator[Any]:
        yield cursor.rownumber, cursor.fetchone(), cursor.rownumber
        for value, mode in [(0, "absolute"), (3, "relative"), (-2, "relative"), (6, "absolute")]:
            cursor.scroll(value, mode)
            yield cursor.rownumber, cursor.fetchmany(2), cursor.rownumber
        for value, mode in [(7, "absolute"), (-1, "absolute"), (-8, "relative"), (1, "sideways")]:
            with pytest.raises((IndexError, ValueError)) as raised:
                cursor.scroll(value, mode)
            yield str(raised.value)
        cursor.scroll(-7)
        yield cursor.fetchall(), cursor.rownumber

    rows = "SELECT n FROM generate_series(0, 6) AS n"
    with postgresql.cursor() as theirs, postgresql.cursor() as ours:
        for cursor in (theirs.cursor, ours.cursor):
            cursor.execute(rows)
        assert list(steps(Fetched(ours.cursor, list))) == list(steps(theirs.cursor))


def test_a_cursor_without_rows_to_fetch_has_none() -> None:
    assert Fetched(Cursor(lambda rows: None), list).fetchall() == []


# -- Writes ---------------------------------------------------------------------------------------


def many() -> None:
    with connection.cursor() as cursor:
        rows = (("new", slug) for slug in ("one", "two"))
        cursor.executemany("UPDATE blog_tag SET name = %s WHERE slug = %s", rows)


def script() -> None:
    with connection.cursor() as cursor:
        cursor.executescript("UPDATE blog_tag SET name = 'new'; DELETE FROM blog_comment;")


def returning() -> None:
    assert sql("UPDATE blog_tag SET name = 'new' RETURNING id") is not None


def cte_writes() -> None:
    sql(
        "WITH t AS (SELECT 'new' AS n) "
        "INSERT INTO blog_tag (slug, name) SELECT 'two', n FROM t WHERE true "
        "ON CONFLICT (slug) DO UPDATE SET name = excluded.name"
    )
    rename()


def not_understood() -> None:
    # Nobody can tell what it does to which tables; here it does nothing.
    with suppress(Exception):
        sql("FROBNICATE blog_tag")
    with databases.quietly():
        rename()
    with suppress(Exception):
        sql("FROBNICATE blog_tag")


def replaced() -> None:
    sql("REPLACE INTO blog_tag (id, name, slug) SELECT id, 'new', slug FROM blog_tag")


def schema() -> None:
    with connection.schema_editor() as editor:
        editor.execute("ALTER TABLE blog_tag RENAME COLUMN name TO title")
        editor.execute("ALTER TABLE blog_tag RENAME COLUMN title TO name")
        editor.execute("UPDATE blog_tag SET name = 'new'")


def raw_delete() -> None:
    Tag.objects.all()._raw_delete("default")
    Tag.objects.create(name="new", slug="one")


@pytest.mark.parametrize(
    "write",
    [many, script, returning, cte_writes, not_understood, replaced, schema, raw_delete],
)
def test_this_write_leaves_no_page_old(tracked: Site, tag: Tag, write: Callable[[], None]) -> None:
    get = tracked.serve(lambda request: list(Tag.objects.values_list("name", flat=True)))
    by_key = tracked.serve(lambda request: Tag.objects.filter(pk=tag.pk).first())
    del get
    assert by_key("/key/") == "old"
    write()
    found = Tag.objects.filter(pk=tag.pk).first()
    assert by_key("/key/") == str(found)
    get = tracked.serve(lambda request: list(Tag.objects.values_list("name", flat=True)))
    get("/list/")
    get("/list/")
    assert tracked.status == "hit"


def test_an_iterator_of_parameters_is_left_for_the_statement(tracked: Site, tag: Tag) -> None:
    many()
    assert Tag.objects.get().name == "new"


def test_a_write_that_is_not_understood_is_logged_once(
    tracked: Site, tag: Tag, caplog: pytest.LogCaptureFixture
) -> None:
    get = tracked.serve(lambda request: Author.objects.count())
    get()
    with caplog.at_level(logging.WARNING, "viewcache.queries"):
        not_understood()
        not_understood()
    assert len(caplog.records) == 1
    assert "FROBNICATE" in caplog.text
    get()
    assert tracked.status == "stored"
    assert "table:*" in str(_scopes(tracked))


def test_what_was_logged_of_many_statements_is_forgotten(
    tracked: Site, tag: Tag, monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps what is logged.
    monkeypatch.setattr(queries.logger, "disabled", True)
    page = "x" * 10_000

    def kept() -> int:
        for number in range(600):
            # The values stand in the text.
            sql(f"SELECT frobnicate('{number}'), '{page}'")
        return tracemalloc.get_traced_memory()[0]

    connection.ensure_connection()
    connection.connection.create_function("frobnicate", 1, str)
    tracemalloc.start()
    try:
        assert kept() < 3_000_000
    finally:
        tracemalloc.stop()


def _scopes(site: Site) -> Any:
    found = pipeline.visit_of(site.client.get("/page/").wsgi_request)
    assert found is not None
    assert found.lookup is not None
    return found.lookup.recipe


def test_a_new_row_reaches_a_page_that_showed_that_there_was_none(tracked: Site, tag: Tag) -> None:
    get = tracked.serve(lambda request: Tag.objects.filter(pk=tag.pk + 1).first())
    makers: list[Callable[[], Any]] = [
        lambda: Tag.objects.create(name="made", slug="made"),
        lambda: Tag.objects.bulk_create([Tag(name="made", slug="a"), Tag(name="b", slug="b")]),
        lambda: sql("INSERT INTO blog_tag (name, slug) VALUES ('made', 'lit')"),
        lambda: sql("INSERT INTO blog_tag (id, name, slug) VALUES (%s, 'made', 'n')", None),
        lambda: sql("INSERT INTO blog_tag (name, slug) SELECT 'made', 'sel' UNION SELECT 'b', 'b'"),
        lambda: sql("INSERT INTO blog_tag VALUES (%s, 'made', 'v')", tag.pk + 1),
        lambda: sql(
            "INSERT INTO blog_tag (name, slug) VALUES ('made', 't') "
            "RETURNING CAST(id AS text) AS id"
        ),
    ]
    for make in makers:
        Tag.objects.exclude(pk=tag.pk).delete()
        sql("UPDATE sqlite_sequence SET seq = %s WHERE name = 'blog_tag'", tag.pk)
        assert get() == "None"
        make()
        assert get() == str(Tag.objects.get(pk=tag.pk + 1))


# -- Quiet ----------------------------------------------------------------------------------------


def test_a_log_in_expires_nothing_but_a_new_name_does(tracked: Site) -> None:
    user = get_user_model().objects.create_user("u", "", "u")
    get = tracked.serve(lambda request: get_user_model().objects.get(pk=user.pk).username)
    get()
    tracked.client.force_login(user)
    tracked.client.cookies.clear()
    get()
    assert tracked.status == "hit"
    user.username = "v"
    user.save()
    assert get() == "v"


def test_settings_make_more_quiet(tracked: Site, tag: Tag) -> None:
    tracked.track(QUIET={"blog_tag": ["slug"], "blog_author": None})
    get = tracked.serve(lambda request: [Tag.objects.get().name, Author.objects.count()])
    get()
    Tag.objects.update(slug="two")
    Author.objects.create(name="a", slug="a")
    get()
    assert tracked.status == "hit"
    Tag.objects.update(name="new", slug="three")
    assert "new" in get()


def test_labels_choose_what_is_tracked(tracked: Site, tag: Tag) -> None:
    tracked.settings.VIEWCACHE = {"TRACK": ["blog.Tag"]}
    get = tracked.serve(lambda request: [Tag.objects.get().name, Author.objects.count()])
    get()
    Author.objects.create(name="a", slug="a")
    get()
    assert tracked.status == "hit"
    rename()
    assert "new" in get()


def test_without_track_nothing_is_watched(tracked: Site, tag: Tag) -> None:
    tracked.settings.VIEWCACHE = {}
    assert queries.watch not in connection.execute_wrappers
    get = tracked.serve(lambda request: Tag.objects.get().name)
    get()
    rename()
    assert get() == "old"


# -- Requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("per_site", [True, False])
def test_an_async_view_is_tracked(tracked: Site, tag: Tag, per_site: bool) -> None:
    async def view(request: Any, **kwargs: Any) -> HttpResponse:
        first = await Tag.objects.aget(pk=tag.pk)
        names = [each.name async for each in Tag.objects.all()]
        return HttpResponse(f"{first} {names}")

    view_: Any = view if per_site else cache_page(600)(view)
    tracked.serve_as_it_is(view_, per_site)

    async def visit() -> None:
        assert "old" in await tracked.aget()
        assert tracked.status == "stored"
        await tracked.aget()
        assert tracked.status == "hit"
        await Tag.objects.filter(pk=tag.pk).aupdate(name="new")
        assert await tracked.aget() == "new ['new']"

    asyncio.run(visit())


def test_a_look_up_that_no_page_answers_is_a_miss_also_where_nothing_may_be_stored(
    tracked: Site, tag: Tag
) -> None:
    heard: list[str] = []

    def missed(visit: Any, **kwargs: Any) -> None:
        heard.append(visit.status)

    signals.page_missed.connect(missed)
    try:
        get = tracked.serve_as_it_is(
            lambda request, **kwargs: HttpResponse("page"), middleware=("tracking.ReadsBefore",)
        )
        rename("new")
        get()
        assert tracked.reason.endswith(":blog_tag read before the look-up")
        assert heard == ["bypass"]
        get()
        get()
        assert heard == ["bypass", "miss"]
    finally:
        signals.page_missed.disconnect(missed)


def test_what_is_read_before_the_look_up_is_stored_once_its_generation_is_known_before(
    tracked: Site, tag: Tag
) -> None:
    def view(request: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse(str(request.names))

    get = tracked.serve_as_it_is(view, middleware=("tracking.ReadsBefore",))
    for name in ("first", "second"):
        rename(name)
        assert name in get()
        assert tracked.status == "bypass"
        assert tracked.reason.endswith(":blog_tag read before the look-up")
        # Of each change a process learns once, not once for each page.
        for url in ("/page/", "/another/"):
            assert name in get(url)
            assert tracked.status == "stored"
            assert name in get(url)
            assert tracked.status == "hit"

    rename("third")

    async def visit() -> None:
        for status in ("bypass", "stored", "hit"):
            assert "third" in await tracked.aget("/async/")
            assert tracked.status == status

    asyncio.run(visit())


def test_a_change_after_the_first_read_of_an_async_request(
    tracked: Site, tag: Tag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Django 5.2 runs the receivers of ``request_started`` in tasks, with contexts of their own."""

    def view(request: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse(str(request.names))

    tracked.serve_as_it_is(view, middleware=("tracking.ReadsBefore",))

    async def visit() -> None:
        for name in ("one", "two"):
            # Between the read of the middleware and the look-up.
            monkeypatch.setattr(ReadsBefore, "statement", f"UPDATE blog_tag SET name = '{name}'")
            assert name not in await tracked.aget()
            assert tracked.status == "bypass"
            monkeypatch.setattr(ReadsBefore, "statement", "")
            assert name in await tracked.aget()

    asyncio.run(visit())


def test_a_request_that_no_server_has_announced(tracked: Site, tag: Tag) -> None:
    """As previews and tests send them: there is no ``request_started``."""

    def view(request: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse(str(request.names))

    tracked.serve_as_it_is(view, middleware=("tracking.ReadsBefore",))
    handler = BaseHandler()
    handler.load_middleware()

    def get() -> Any:
        return handler.get_response(RequestFactory().get("/page/"))

    for name in ("first", "second"):
        rename(name)
        while "Age" not in (response := get()):
            assert name in response.content.decode()
        assert name in response.content.decode()
    bindings.end()


@pytest.mark.parametrize("command", ["fetch", "renew"])
def test_a_cache_that_fails_while_a_view_queries(
    tracked: Site,
    tag: Tag,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    command: str,
) -> None:
    """The view answers, nothing is stored, and the cache is left alone for a moment."""

    def fail(*args: Any) -> Any:
        raise ConnectionError("down")

    is_down = True

    def view(request: Any) -> str:
        with monkeypatch.context() as patched:
            if is_down:
                patched.setattr(Store, command, fail)
            return Tag.objects.get(pk=tag.pk).name

    get = tracked.serve(view)
    try:
        assert get() == "old"
        assert (tracked.status, tracked.reason) == ("bypass", "cache fault")
        assert breaker.any_failing()
        [said] = [record.getMessage() for record in caplog.records]
        assert said == (
            "viewcache could not read the generations of a query (ConnectionError: down); "
            "the view answers."
        )
    finally:
        breaker.reset()
    is_down = False
    assert get() == "old"
    assert tracked.status == "stored"


def by_a_handler(url: str) -> Any:
    handler = BaseHandler()
    handler.load_middleware()
    return handler.get_response(RequestFactory().get(url))


def by_a_client(url: str) -> Any:
    return Client().get(url)


@pytest.mark.parametrize("per_site", [True, False])
@pytest.mark.parametrize("get_inner", [by_a_handler, by_a_client])
def test_a_page_that_is_made_of_another_requests_answer(
    tracked: Site, tag: Tag, get_inner: Callable[[str], Any], per_site: bool
) -> None:
    def view(request: Any) -> str:
        if "inner" in request.path:
            return str(Author.objects.count())
        shown: str = get_inner("/inner/").content.decode()
        return shown + Tag.objects.get(pk=tag.pk).name

    get = tracked.serve(view, per_site=per_site)
    # The inner page is rendered, and comes from the cache.
    for _ in range(2):
        assert get() == "0old"
        assert tracked.status == "bypass"
        assert tracked.reason == "another request was answered while it was made"
    get("/inner/")
    assert tracked.status == "hit"
    rename()
    Author.objects.create(name="a", slug="a")
    assert get() == "1new"


def test_a_cached_view_that_is_called_by_hand(tracked: Site, tag: Tag) -> None:
    view: Any = cache_page(600)(lambda request: HttpResponse(Tag.objects.get(pk=tag.pk).name))

    def get() -> Any:
        return view(RequestFactory().get("/page/"))

    bindings.end()
    assert "Age" not in get()
    assert "Age" in get()
    rename()
    assert get().content == b"new"
    bindings.end()


@pytest.mark.parametrize(
    ("statement", "why"),
    [
        ("SELECT load_extension('x')", "query not understood"),
        ("SELECT * FROM seen_before", "reads seen_before, which is no table"),
    ],
)
def test_what_is_not_understood_before_the_look_up_keeps_the_page_from_being_stored(
    tracked: Site, monkeypatch: pytest.MonkeyPatch, statement: str, why: str
) -> None:
    monkeypatch.setattr(ReadsBefore, "statement", statement)
    sql("CREATE VIEW IF NOT EXISTS seen_before AS SELECT * FROM blog_tag")
    get = tracked.serve_as_it_is(
        lambda request, **kwargs: HttpResponse("page"), middleware=("tracking.ReadsBefore",)
    )
    for _ in range(3):
        get()
        assert tracked.status == "bypass"
        assert why in tracked.reason


@pytest.fixture
def extra(tracked: Site, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A table that is none of the project's, and of which this process has read no page yet."""
    monkeypatch.setattr(bindings, "_tables_read", {})
    sql("CREATE TABLE extra (name text)")
    sql("INSERT INTO extra VALUES ('old')")
    yield
    sql("DROP TABLE extra")


@pytest.fixture
def late(extra: None, tag: Tag, monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], str]:
    """A view whose transaction has read before it reads that table."""
    # As SQLite does by itself; the blog's transactions begin with the lock for writing.
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", "DEFERRED")

    def view(request: Any) -> str:
        with transaction.atomic():
            return f"{Tag.objects.get(pk=tag.pk)} {sql('SELECT name FROM extra')}"

    return view


@pytest.mark.parametrize("per_site", [True, False])
@pytest.mark.parametrize("is_empty", [False, True], ids=["", "in an empty cache"])
def test_what_a_transaction_reads_late_is_known_at_the_next_render(
    tracked: Site,
    late: Callable[[Any], str],
    monkeypatch: pytest.MonkeyPatch,
    per_site: bool,
    is_empty: bool,
) -> None:
    if is_empty:
        cache.clear()  # what the table was made with has no generation any more
    get = tracked.serve(late, per_site=per_site)
    get()
    assert tracked.status == "bypass"
    assert tracked.reason == "read inside a transaction that had read before"
    # In another process, to which only the cache can tell it.
    monkeypatch.setattr(bindings, "_tables_read", {})
    get()
    assert tracked.status == "stored"
    get()
    assert tracked.status == "hit"
    sql("UPDATE extra SET name = 'new'")
    assert get() == "old [('new',)]"


def test_the_same_of_an_async_request(tracked: Site, late: Callable[[Any], str]) -> None:
    cache.clear()
    tracked.serve(late)
    for status in ("bypass", "stored", "hit"):
        asyncio.run(tracked.aget())
        assert tracked.status == status


def test_one_render_learns_of_all_that_a_transaction_reads_late(
    tracked: Site, tag: Tag, extra: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "transaction_mode", "DEFERRED")
    sql("CREATE TABLE another (name text)")
    sql("CREATE TABLE third (name text)")

    def view(request: Any) -> str:
        with transaction.atomic():
            read = [sql(f"SELECT name FROM {name}") for name in ("extra", "another", "third")]
            read.append(list(Author.objects.filter(name="a").values_list("name", flat=True)))
            read.append(Tag.objects.filter(slug=tag.slug).first())
            return str(read)

    try:
        get = tracked.serve(view)
        get()
        assert tracked.status == "bypass"
        get()
        assert tracked.status == "stored"
        get()
        assert tracked.status == "hit"
        sql("INSERT INTO third VALUES ('new')")
        assert "new" in get()
    finally:
        sql("DROP TABLE another")
        sql("DROP TABLE third")


def test_a_cached_view_in_a_cached_site(tracked: Site, tag: Tag) -> None:
    @cache_page(600, key_prefix="inner")
    def view(request: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse(Tag.objects.get(pk=tag.pk).name)

    get = tracked.serve_as_it_is(view)
    for name in ("a", "b", "c"):
        rename(name)
        assert get() == name
        assert get() == name
        assert tracked.status == "hit"
    rename("d")
    visit = pipeline.visit_of(tracked.client.get("/page/").wsgi_request)
    assert visit is not None
    assert [each.status for each in visit.around] == ["stored", "stored"]


@pytest.mark.usefixtures("unknown_function")
def test_what_the_inner_page_is_refused_for_the_outer_is_too(tracked: Site, tag: Tag) -> None:
    @cache_page(600, key_prefix="inner")
    def view(request: Any, **kwargs: Any) -> HttpResponse:
        return HttpResponse(str(function()))

    get = tracked.serve_as_it_is(view)
    get()
    rename()
    assert "new" in get()


def test_a_view_that_writes(tracked: Site, tag: Tag) -> None:
    def view(request: Any) -> str:
        Author.objects.create(name="visit", slug=f"v{Author.objects.count()}")
        return Tag.objects.get(pk=tag.pk).name + str(Author.objects.count())

    get = tracked.serve(view)
    assert get() == "old1"
    assert get() == "old2"
    rename()
    assert get() == "new3"


@pytest.mark.parametrize("read_before", [False, True])
def test_what_was_rolled_back_is_on_no_page(tracked: Site, tag: Tag, read_before: bool) -> None:
    def view(request: Any) -> str:
        if read_before:
            Tag.objects.get(pk=tag.pk)
        with transaction.atomic():
            rename("never")
            found = Tag.objects.get(pk=tag.pk).name
            transaction.set_rollback(True)
        return found

    get = tracked.serve(view)
    assert get() == "never"
    assert tracked.status == "bypass"
    assert tracked.reason == "read what this transaction has written"


def test_the_transaction_that_wrote_reads_past_the_cache(tracked: Site, tag: Tag) -> None:
    get = tracked.serve(lambda request: Tag.objects.get(pk=tag.pk).name)
    # The client ends its requests by closing connections, as a server does; not in here.
    get()
    with transaction.atomic():
        rename()
        assert get() == "new"
        transaction.set_rollback(True)
    assert get() == "old"
    get()
    assert tracked.status == "hit"


# -- Transactions ---------------------------------------------------------------------------------


@pytest.fixture
def page(tracked: Site, tag: Tag, tmp_path: Any) -> Callable[[], bool]:
    """Is the page that reads the tag still the one that was stored?"""
    get = tracked.serve(lambda request: Tag.objects.get(pk=tag.pk).name)
    get()

    def is_there() -> bool:
        keys = cache.get_many(_generation_keys())
        return keys == before

    before = cache.get_many(_generation_keys())
    assert before
    return is_there


def _generation_keys() -> list[str]:
    return conf.site().generation_keys(["rows:blog_tag", "table:blog_tag", "table:*"])


def test_without_autocommit_the_expiry_waits_for_the_commit(page: Callable[[], bool]) -> None:
    transaction.set_autocommit(False)
    try:
        rename()
        assert page()
        transaction.commit()
        assert not page()
    finally:
        transaction.set_autocommit(True)


def test_an_atomic_block_without_autocommit_waits_too(page: Callable[[], bool]) -> None:
    transaction.set_autocommit(False)
    try:
        Author.objects.create(name="a", slug="a")
        with transaction.atomic():
            rename()
        assert page()
        transaction.commit()
        assert not page()
    finally:
        transaction.set_autocommit(True)


def test_a_transaction_of_somebodys_own_sql(page: Callable[[], bool]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("UPDATE blog_tag SET name = 'new'")
        assert page()
        cursor.execute("COMMIT")
    assert not page()


def test_a_hook_that_raises_keeps_no_page(page: Callable[[], bool]) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    def change() -> None:
        with transaction.atomic():
            transaction.on_commit(fail)
            rename()

    with pytest.raises(ZeroDivisionError):
        change()
    assert not page()


def test_an_insert_that_returns_its_key_is_committed_before_it_expires(
    tracked: Site, page: Callable[[], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    write = expiry.write_or_log

    def look(scopes: list[str]) -> bool:
        seen.append(_count_elsewhere())
        return write(scopes)

    monkeypatch.setattr(expiry, "write_or_log", look)
    Tag.objects.create(name="two", slug="two")
    assert seen == [2]


def _count_elsewhere() -> int:
    """As another connection sees it."""
    name = connection.settings_dict["NAME"]
    with closing(sqlite3.connect(name, uri="mode=memory" in str(name))) as other:
        return int(other.execute("SELECT count(*) FROM blog_tag").fetchone()[0])


def test_the_database_as_the_cache(tracked: Site, tag: Tag) -> None:
    tracked.settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "page_cache",
        }
    }
    call_command("createcachetable", verbosity=0)
    get = tracked.serve(lambda request: Tag.objects.get(pk=tag.pk).name)
    get()
    get()
    assert tracked.status == "hit"
    caches["default"].set("something", "else")
    get()
    assert tracked.status == "hit"
    rename()
    assert get() == "new"


def test_cascades_and_set_null(tracked: Site) -> None:
    author = Author.objects.create(name="a", slug="a")
    post = Post.objects.create(title="p", slug="p", body="b", author=author)
    comment = Comment.objects.create(post=post, name="c", text="t")
    get = tracked.serve(lambda request: Comment.objects.filter(pk=comment.pk).first())
    assert get() != "None"
    author.delete()
    assert get() == "None"


class OfATest(models.Model):
    """Its table is made by a test."""

    class Meta:
        abstract = True
        app_label = "blog"
        managed = False

    def __str__(self) -> str:
        return str(self.pk)


class Folder(OfATest):
    """With what is in it the database deletes what is in that."""

    parent = models.ForeignKey(
        "self", getattr(models, "DB_CASCADE", models.CASCADE), null=True, related_name="+"
    )


class Document(OfATest):
    folder = models.ForeignKey(
        Folder, getattr(models, "DB_CASCADE", models.CASCADE), related_name="+"
    )


class Line(OfATest):
    document = models.ForeignKey(
        Document, getattr(models, "DB_CASCADE", models.CASCADE), related_name="+"
    )


@pytest.mark.skipif(not hasattr(models, "DB_CASCADE"), reason="Django 6.1 has it first")
def test_cascades_of_cascades_of_the_database(tracked: Site) -> None:
    kinds: list[Any] = [Folder, Document, Line]
    with connection.schema_editor() as editor:
        for kind in kinds:
            editor.create_model(kind)
    try:
        outer = Folder.objects.create()
        inner = Folder.objects.create(parent=outer)
        document = Document.objects.create(folder=inner)
        Line.objects.create(document=document)
        get = tracked.serve(lambda request: [kind.objects.count() for kind in reversed(kinds)])
        assert get() == "[1, 1, 2]"
        lines = tracked.serve(lambda request: Line.objects.count())
        assert lines("/lines/") == "1"
        lines("/lines/")
        assert tracked.status == "hit"
        outer.delete()
        assert lines("/lines/") == "0"
        assert tracked.status == "stored"
    finally:
        with connection.schema_editor() as editor:
            for kind in reversed(kinds):
                editor.delete_model(kind)


# -- PostgreSQL -----------------------------------------------------------------------------------


@pytest.fixture
def thing(tracked: Site, postgresql: Any) -> Callable[..., str]:
    """A page of PostgreSQL's table."""
    return tracked.serve(lambda request: sql("SELECT name FROM thing ORDER BY id", using="pg"))


def copy(cursor: Any) -> None:
    with cursor.copy("COPY thing (name) FROM STDIN") as rows:
        rows.write_row(["new"])


def copy_of_bytes(cursor: Any) -> None:
    # What is no text is not read: nobody knows what it does.
    with cursor.copy(b"COPY thing (name) FROM STDIN") as rows:
        rows.write_row(["new"])


def copy_in_transaction(cursor: Any) -> None:
    with transaction.atomic("pg"):
        copy(cursor)


def procedure(cursor: Any) -> None:
    cursor.execute(
        "CREATE OR REPLACE FUNCTION change() RETURNS int LANGUAGE sql AS "
        "$$ UPDATE thing SET name = 'new' RETURNING 1 $$"
    )
    cursor.callproc("change")


def call(cursor: Any) -> None:
    cursor.execute(
        "CREATE OR REPLACE PROCEDURE alter_all() LANGUAGE sql AS "
        "$$ UPDATE thing SET name = 'new' $$"
    )
    cursor.execute("CALL alter_all()")


def select_of_a_function(cursor: Any) -> None:
    procedure(cursor)
    cursor.execute("UPDATE thing SET name = 'old'")
    cursor.execute("SELECT change()")


def composed(cursor: Any) -> None:
    from psycopg.sql import SQL, Identifier

    statement = SQL("UPDATE {} SET name = 'new'").format(Identifier("thing"))
    cursor.execute(statement)


def block(cursor: Any) -> None:
    cursor.execute("DO $$ BEGIN UPDATE thing SET name = 'new'; END $$")


def truncated(cursor: Any) -> None:
    cursor.execute("TRUNCATE thing RESTART IDENTITY CASCADE")
    cursor.execute("INSERT INTO thing (name) VALUES ('new')")


@pytest.mark.parametrize(
    "write",
    [
        copy,
        copy_of_bytes,
        copy_in_transaction,
        procedure,
        call,
        select_of_a_function,
        composed,
        block,
        truncated,
    ],
)
def test_this_write_of_postgresql_leaves_no_page_old(
    tracked: Site, thing: Any, postgresql: Any, write: Callable[[Any], None]
) -> None:
    assert thing() == "[('old',)]"
    thing()
    assert tracked.status == "hit"
    with postgresql.cursor() as cursor:
        write(cursor)
        cursor.execute("SELECT name FROM thing ORDER BY id")
        now = str(cursor.fetchall())
    assert "new" in now
    assert thing() == now


@pytest.mark.parametrize(
    "write",
    [
        "WITH x AS (INSERT INTO blog_tag (name, slug) VALUES ('new', 'new') RETURNING id) "
        "INSERT INTO thing (name) SELECT id FROM x RETURNING id",
        "WITH x AS (INSERT INTO blog_tag (name, slug) VALUES ('new', 'new') RETURNING id) "
        "SELECT 99 AS id",
        "INSERT INTO thing (id, name) VALUES (90, 'a') RETURNING id; "
        "INSERT INTO blog_tag (name, slug) VALUES ('new', 'new')",
    ],
)
def test_a_row_that_was_not_there_and_whose_key_no_result_shows(
    tracked: Site, postgresql: Any, write: str
) -> None:
    with postgresql.schema_editor() as editor:
        editor.create_model(Tag)
    get = tracked.serve(lambda request: list(Tag.objects.using("pg").filter(pk=1)))
    get()
    assert get() == "[]"
    assert tracked.status == "hit"
    sql(write, using="pg")
    assert get() != "[]"


def test_a_table_of_another_schema(tracked: Site, postgresql: Any) -> None:
    sql("CREATE SCHEMA apart", using="pg")
    sql("CREATE TABLE apart.item AS SELECT name FROM thing", using="pg")
    get = tracked.serve(lambda request: sql("SELECT name FROM apart.item", using="pg"))
    get()
    assert tracked.status == "stored", tracked.reason
    sql("UPDATE apart.item SET name = 'new'", using="pg")
    assert "new" in get()


def test_a_view_of_another_schema_that_is_called_as_a_table_is(
    tracked: Site, postgresql: Any
) -> None:
    sql("CREATE SCHEMA apart", using="pg")
    sql("CREATE TABLE item AS SELECT name FROM thing", using="pg")
    sql("CREATE VIEW apart.item AS SELECT name FROM thing", using="pg")
    get = tracked.serve(lambda request: sql("SELECT name FROM apart.item", using="pg"))
    get()
    assert tracked.reason == "query reads item, which is no table"


def test_a_server_side_cursor(tracked: Site, thing: Any, postgresql: Any) -> None:
    def view(request: Any) -> list[Any]:
        with postgresql.chunked_cursor() as cursor:
            cursor.execute("SELECT name FROM thing")
            return list(cursor)

    get = tracked.serve(view)
    get("/chunked/")
    get("/chunked/")
    assert tracked.status == "hit"
    sql("UPDATE thing SET name = 'new'", using="pg")
    assert "new" in get("/chunked/")


def test_a_server_side_cursor_that_finds_a_row_by_a_value(tracked: Site, postgresql: Any) -> None:
    with postgresql.schema_editor() as editor:
        editor.create_model(Tag)
    tag = Tag.objects.using("pg").create(name="old", slug="one")

    def view(request: Any) -> list[Any]:
        with postgresql.chunked_cursor() as cursor:
            cursor.execute("SELECT id, name FROM blog_tag WHERE slug = %s", ["one"])
            # Its rows come one by one, whatever the page has to know of them.
            assert not isinstance(cursor.cursor, Fetched)
            return [name for _, name in cursor]

    get = tracked.serve(view)
    for name in ("new", "newer"):
        # The second time the row is known before the query.
        get()
        get()
        assert tracked.status == "hit"
        Tag.objects.using("pg").filter(pk=tag.pk).update(name=name)
        assert get() == str([name])
        assert tracked.status == "stored"


def test_a_copy_that_is_not_given_as_text_is_logged_once(
    postgresql: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "viewcache.queries"), postgresql.cursor() as cursor:
        for columns in (b"name", b"id, name"):
            with cursor.copy(b"COPY thing (%s) FROM STDIN" % columns):
                pass
    [message] = caplog.messages
    assert message.endswith("so it expires all tracked pages: COPY")


def test_a_locking_read(tracked: Site, thing: Any) -> None:
    def view(request: Any) -> Any:
        with transaction.atomic("pg"):
            return sql("SELECT name FROM thing WHERE id = 1 FOR UPDATE SKIP LOCKED", using="pg")

    get = tracked.serve(view)
    get("/lock/")
    get("/lock/")
    assert tracked.status == "hit"
    sql("UPDATE thing SET name = 'new' WHERE id = 1", using="pg")
    assert "new" in get("/lock/")


def test_copying_out_is_a_read(tracked: Site, thing: Any, postgresql: Any) -> None:
    def view(request: Any) -> bytes:
        with postgresql.cursor() as cursor, cursor.copy("COPY thing TO STDOUT") as rows:
            return b"".join(bytes(row) for row in rows)

    get = tracked.serve(view)
    get("/copy/")
    get("/copy/")
    assert tracked.status == "hit"
    sql("UPDATE thing SET name = 'new'", using="pg")
    assert "new" in get("/copy/")


def test_a_procedure_in_a_view_keeps_its_page_from_being_stored(
    tracked: Site, thing: Any, postgresql: Any
) -> None:
    with postgresql.cursor() as cursor:
        procedure(cursor)

    def view(request: Any) -> str:
        with postgresql.cursor() as cursor:
            cursor.callproc("change")
            return str(cursor.fetchall())

    tracked.serve(view)("/call/")
    assert tracked.status == "bypass"
    assert tracked.reason.startswith("query not understood: CALL")


def test_a_composed_statement_is_no_text_to_explain(tracked: Site, thing: Any) -> None:
    from psycopg.sql import SQL, Identifier

    statement: Any = SQL("SELECT name FROM {}").format(Identifier("thing"))
    tracked.serve(lambda request: sql(statement, using="pg"))
    told = explain(RequestFactory().get("/page/"), render=True)
    [rows] = [scope for scope in told.scopes if scope.scope == "rows:thing"]
    assert rows.query is None


@pytest.fixture
def repeatable(thing: Any, postgresql: Any) -> Any:
    """Its transactions see the data of their first read."""
    with postgresql.cursor() as cursor:
        cursor.execute("SET default_transaction_isolation = 'repeatable read'")
    return thing


def test_what_such_a_transaction_reads_first_is_known_to_the_next_render(
    tracked: Site, repeatable: Any
) -> None:
    def view(request: Any) -> Any:
        with transaction.atomic("pg"):
            return sql("SELECT name FROM thing", using="pg")

    get = tracked.serve(view)
    get("/first/")
    assert (tracked.status, tracked.reason) == (
        "bypass",
        "read inside a transaction that had read before",
    )
    get("/first/")
    assert tracked.status == "stored"
    sql("UPDATE thing SET name = 'new'", using="pg")
    assert "new" in get("/first/")


@pytest.mark.parametrize("statement", ["SELECT name FROM thing", "SELECT nothing FROM thing"])
def test_a_look_up_inside_such_a_transaction(
    tracked: Site, repeatable: Any, statement: str
) -> None:
    """Also in one that takes no more statements, and so cannot be asked what it is."""
    get = tracked.serve(lambda request: "page")
    with transaction.atomic("pg"):
        with suppress(ProgrammingError):
            sql(statement, using="pg")
        assert get() == "page"
        assert (tracked.status, tracked.reason) == (
            "bypass",
            "looked up inside a transaction that had read before",
        )
        transaction.set_rollback(True, using="pg")
    get()
    assert tracked.status == "stored"


# -- MySQL ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("vendor", "expired"), [("mysql", "table:code"), ("postgresql", "rows:code")]
)
def test_a_text_that_mysql_finds_by_a_number(vendor: str, expired: str) -> None:
    """There ``WHERE name = 5`` finds the row 5abc, too."""
    known = Queries(
        [("code", "name")],
        findable=[],
        tracked=None,
        quiet={},
        cascades={},
        pure_functions=[],
        rows_limit=100,
    )
    for statement, params in [
        ("INSERT INTO code (name) VALUES ('5abc')", None),
        ("INSERT INTO code (name) VALUES (%s)", ["5abc"]),
    ]:
        assert known.analyse(statement, vendor, params, False)[1] == [expired]
