"""Pages that find a row by a value: which changes expire them, and which do not."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import viewcache
from blog.models import Author, Post, Tag
from django.apps import apps
from django.db import connection, models, transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.shortcuts import get_object_or_404
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from servers import Server
from tracking import Site, sent
from viewcache import by_value, databases


@pytest.fixture
def tags(tracked: Site) -> list[Tag]:
    return [Tag.objects.create(name=f"old {at}", slug=f"tag-{at}") for at in range(4)]


def show(slug: str = "tag-1") -> str:
    found = Tag.objects.filter(slug=slug).first()
    return found.name if found else "none"


def explained(url: str = "/page/") -> dict[str, Any]:
    """What the page reads, by the kinds of scopes."""
    found = viewcache.explain(RequestFactory().get(url), render=True).scopes
    return {scope.scope.partition(":")[0]: scope for scope in found}


@pytest.mark.parametrize(
    "change",
    [
        lambda tag: Tag.objects.filter(pk=tag.pk).update(name="new"),
        lambda tag: Tag.objects.filter(pk=tag.pk).update(slug="elsewhere"),
        lambda tag: Tag.objects.filter(slug="tag-1").update(name="new"),
        lambda tag: Tag.objects.update(name=Concat(F("name"), Value("!"))),
        lambda tag: Tag(pk=tag.pk, name="new", slug="tag-1").save(),
        lambda tag: tag.delete(),
        lambda tag: Tag.objects.bulk_update([Tag(pk=tag.pk, slug="elsewhere")], ["slug"]),
    ],
)
@pytest.mark.parametrize("renders", [1, 2])
def test_a_change_of_the_row_expires(
    tracked: Site, tags: list[Tag], change: Callable[[Tag], Any], renders: int
) -> None:
    get = tracked.serve(lambda request: show())
    get()
    if renders == 2:
        # The row is known before the page's query runs.
        Tag.objects.filter(pk=tags[1].pk).update(name="between")
        get()
        assert tracked.status == "stored"
    get()
    assert tracked.status == "hit"
    change(tags[1])
    assert get() == show()
    assert tracked.status == "stored"


@pytest.mark.parametrize(
    "change",
    [
        lambda: Tag.objects.create(name="new", slug="missing"),
        lambda: Tag.objects.bulk_create(
            [Tag(name="n", slug="missing"), Tag(name="m", slug="other")]
        ),
        lambda: Tag.objects.filter(name="old 2").update(slug="missing"),
        lambda: Tag.objects.filter(pk=Tag.objects.get(name="old 2").pk).update(slug="missing"),
        lambda: Tag.objects.filter(pk=Tag.objects.get(name="old 2").pk).update(
            slug=Concat(Value("miss"), Value("ing"))
        ),
        lambda: Tag.objects.update_or_create(slug="missing", defaults={"name": "new"}),
    ],
)
def test_a_row_that_comes_to_have_the_value_expires(
    tracked: Site, tags: list[Tag], change: Callable[[], Any]
) -> None:
    get = tracked.serve(lambda request: show("missing"))
    assert get() == "none"
    get()
    assert tracked.status == "hit"
    change()
    assert get() == show("missing") != "none"


def test_a_row_that_the_query_hides_is_known(tracked: Site, tags: list[Tag]) -> None:
    get = tracked.serve(lambda request: Tag.objects.filter(slug="tag-1", name="new").exists())
    assert get() == "False"
    Tag.objects.filter(pk=tags[1].pk).update(name="new")
    assert get() == "True"


@pytest.mark.parametrize(
    "change",
    [
        lambda tags: Tag.objects.filter(pk=tags[2].pk).update(name="new"),
        lambda tags: Tag.objects.filter(pk=tags[2].pk).update(slug="tag-9"),
        lambda tags: Tag.objects.create(name="new", slug="tag-9"),
        lambda tags: tags[3].delete(),
        lambda tags: tags[2].save(),
    ],
)
def test_a_change_of_another_row_does_not(
    tracked: Site, tags: list[Tag], change: Callable[[list[Tag]], Any]
) -> None:
    get = tracked.serve(lambda request: show())
    get()
    change(tags)
    get()
    assert tracked.status == "hit"


def test_editing_a_post_keeps_the_pages_of_the_others(tracked: Site) -> None:
    """As blogs have them: the slug is the URL, and nothing else names the post."""
    author = Author.objects.create(name="A", slug="a")
    labels = [Tag.objects.create(name=name, slug=name) for name in ("x", "y")]
    for at in range(12):
        made = Post.objects.create(title=f"Title {at}", slug=f"post-{at}", body="", author=author)
        made.tags.set(labels)

    def view(request: Any) -> str:
        found = get_object_or_404(Post.objects.for_list(), slug=request.path.strip("/"))
        return f"{found.title} {found.author} {[tag.name for tag in found.tags.all()]}"

    get = tracked.serve(view)
    urls = [f"/post-{at}/" for at in range(12)]
    for url in urls:
        get(url)
    for way in ("save", "update", "slug"):
        found = Post.objects.get(slug="post-3")
        if way == "update":
            Post.objects.filter(pk=found.pk).update(title="Updated")
        else:
            found.title = way
            found.slug = "post-99" if way == "slug" else found.slug
            found.save()
        if way != "slug":
            assert get("/post-3/") == view(RequestFactory().get("/post-3/"))
            assert tracked.status == "stored"
        hits = 0
        for url in set(urls) - {"/post-3/"}:
            get(url)
            hits += tracked.status == "hit"
        assert hits == 11, way


def test_a_page_asks_once_which_row_it_is_and_knows_it_afterwards(
    tracked: Site, tags: list[Tag]
) -> None:
    asked = []
    find = by_value.find

    def count(*words: Any) -> Any:
        asked.append(words[0].value)
        return find(*words)

    by_value.find = count
    try:
        get = tracked.serve(lambda request: show() + show())
        with CaptureQueriesContext(connection) as sent_queries:
            get()
        # The second of them shows the row that the first has found.
        assert asked == ["tag-1"]
        # It is no query of the site's.
        assert len(sent_queries) == 2
        Tag.objects.filter(pk=tags[1].pk).update(name="new")
        assert get() == "newnew"
        assert asked == ["tag-1"]
        # Another row is found, and the page's query runs again after that was known.
        with transaction.atomic():
            Tag.objects.filter(pk=tags[1].pk).update(slug="gone")
            Tag.objects.filter(pk=tags[2].pk).update(slug="tag-1")
        assert get() == "old 2old 2"
        assert asked == ["tag-1", "tag-1"]
        Tag.objects.filter(pk=tags[2].pk).update(name="newer")
        assert get() == "newernewer"
    finally:
        by_value.find = find


@pytest.mark.parametrize("known", [False, True])
def test_rows_of_a_class_of_somebodys_own_show_nothing(
    tracked: Site, tags: list[Tag], monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    """Nobody can say where in them the key stands; the page reads the table then."""
    get = tracked.serve(lambda request: show())
    if known:
        get()
        Tag.objects.filter(pk=tags[1].pk).update(name="between")
    monkeypatch.setattr(connection.connection, "row_factory", sqlite3.Row)
    get()
    assert tracked.status == "stored"
    Tag.objects.filter(pk=tags[2].pk).update(name="another")
    get()
    assert tracked.status == "stored"
    Tag.objects.filter(pk=tags[1].pk).update(name="new")
    assert get() == "new"


@pytest.fixture
def hidden(tracked: Site, postgresql: Any) -> Iterator[Callable[..., None]]:
    """Tags in PostgreSQL, of which a policy hides some from whoever is not its owner."""
    with postgresql.schema_editor() as editor:
        editor.create_model(Tag)

    def run(*statements: str) -> None:
        with postgresql.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    run(
        "INSERT INTO blog_tag (name, slug) VALUES ('hidden', 'one')",
        "ALTER TABLE blog_tag ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY shown ON blog_tag USING (name <> 'hidden')",
        "CREATE ROLE visitor",
        "GRANT SELECT ON blog_tag TO visitor",
        "SET ROLE visitor",
    )
    yield run
    run("RESET ROLE", "DROP OWNED BY visitor", "DROP ROLE visitor")


def test_a_row_that_a_policy_hides_may_be_shown_later(
    tracked: Site, hidden: Callable[..., None]
) -> None:
    get = tracked.serve(lambda request: list(Tag.objects.using("pg").filter(slug="one")))
    assert get() == "[]"
    get()
    assert tracked.status == "hit"
    hidden("RESET ROLE", "UPDATE blog_tag SET name = 'shown' WHERE id = 1", "SET ROLE visitor")
    assert get() == "[<Tag: shown>]"


def test_what_was_written_in_the_transaction_is_not_taken_for_known(
    tracked: Site, tags: list[Tag]
) -> None:
    get = tracked.serve(lambda request: show())
    with transaction.atomic():
        tags[1].delete()
        assert get() == "none"
        assert (tracked.status, tracked.reason) == (
            "bypass",
            "read what this transaction has written",
        )
        transaction.set_rollback(True)
    assert get() == "old 1"


def test_a_column_that_is_not_unique_is_none_that_rows_are_found_by(tracked: Site) -> None:
    tracked.serve(lambda request: list(Post.objects.filter(title="t").values_list("body")))
    assert "rows" in explained()
    assert "value" not in explained()


@pytest.fixture
def coded(tracked: Site) -> Iterator[Any]:
    """A model with a column whose name is no plain one."""

    class Coded(models.Model):
        code = models.IntegerField(unique=True, db_column="the-code")
        name = models.CharField(max_length=20)

        class Meta:
            app_label = "blog"

        def __str__(self) -> str:
            return self.name

    databases.forget()
    with connection.schema_editor() as editor:
        editor.create_model(Coded)
    yield Coded
    with connection.schema_editor() as editor:
        editor.delete_model(Coded)
    del apps.all_models["blog"]["coded"]
    apps.clear_cache()
    databases.forget()


def test_a_column_whose_name_is_not_plain_is_none_either(tracked: Site, coded: Any) -> None:
    made = [coded.objects.create(code=code, name="old") for code in (1, 2)]
    get = tracked.serve(lambda request: coded.objects.get(code=1).name)
    found = explained()
    assert "rows" in found
    assert "value" not in found
    get()
    made[0].name = "new"
    made[0].save()
    assert get() == "new"


@pytest.mark.parametrize("value", ["é", 5, None, "x" * 60])
def test_a_value_that_no_collation_settles_is_a_table(
    tracked: Site, tags: list[Tag], value: Any
) -> None:
    get = tracked.serve(lambda request: list(Tag.objects.filter(slug=value).values_list("name")))
    get()
    assert databases.queries().analyse(
        "SELECT name FROM blog_tag WHERE slug = %s", "sqlite", (value,), False
    )[0] == ["rows:blog_tag", "table:blog_tag"]
    Tag.objects.create(name="new", slug="ä")
    get()
    assert tracked.status == "stored"


def test_a_value_beyond_ascii_that_is_written_may_be_any(tracked: Site, tags: list[Tag]) -> None:
    get = tracked.serve(lambda request: show("missing"))
    get()
    Tag.objects.filter(pk=tags[1].pk).update(slug="mïssing")
    get()
    assert tracked.status == "stored"


def test_explain_names_the_query_that_found_the_row(tracked: Site, tags: list[Tag]) -> None:
    tracked.serve(lambda request: show())
    found = explained()
    for kind in ("value", "values", "row"):
        assert found[kind].query is not None
        assert '"slug" = %s' in found[kind].query
        assert "test_by_value.py" in str(found[kind].where)


def test_a_hit_sends_one_command(tracked: Site, redis_server: Server, settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis_server.location,
        }
    }
    redis_server.flush()
    Tag.objects.create(name="one", slug="one")
    get = tracked.serve(lambda request: show("one"))
    settings.VIEWCACHE = {}
    with sent(redis_server) as untracked:
        get("/untracked/")
    tracked.track()
    with sent(redis_server) as cold:
        get()
    assert sum(cold.values()) <= sum(untracked.values()) + 8, cold
    with sent(redis_server) as hit:
        get()
    assert tracked.status == "hit"
    assert hit == {"mget": 1}
