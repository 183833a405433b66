"""
The example blog with BLOG_TRACK=1: a change of each kind, and after it every page for every
visitor, compared with the page as it is without a cache. A process of its own, because the
changes are real: other processes make some of them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOG = Path(__file__).resolve().parents[2] / "examples" / "blog"
sys.path.insert(0, str(BLOG))
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"

import django  # noqa: E402

django.setup()

from blog.models import Author, Comment, Post, Tag  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection, models, transaction  # noqa: E402
from django.db.models import F, Value  # noqa: E402
from django.db.models.functions import Concat  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import override_settings  # noqa: E402
from django.urls import reverse  # noqa: E402
from django.utils import translation  # noqa: E402
from viewcache import pipeline, queries  # noqa: E402

CHANGES: dict[str, Callable[[], Any]] = {}


def change(function: Callable[[], Any]) -> Callable[[], Any]:
    CHANGES[function.__name__.replace("_", " ")] = function
    return function


def post(number: int = 3) -> Any:
    return Post.objects.published().order_by("pk")[number]


@change
def title_saved() -> None:
    found = post()
    found.title = "Another title"
    found.save()


@change
def title_updated() -> None:
    Post.objects.filter(pk=post().pk).update(title="Updated")


@change
def many_updated_by_expression() -> None:
    Post.objects.update(title=Concat(F("title"), Value("!")))


@change
def bulk_updated() -> None:
    found = list(Post.objects.order_by("pk")[:7])
    for each in found:
        each.body = f"bulk {each.pk}"
    Post.objects.bulk_update(found, ["body"])


@change
def withdrawn() -> None:
    found = post(5)
    found.status = Post.Status.DRAFT
    found.save(update_fields=["status"])


@change
def published() -> None:
    Post.objects.filter(status=Post.Status.DRAFT).update(status=Post.Status.PUBLISHED)


@change
def slug_changed() -> None:
    found = post(2)
    found.slug = "a-new-address"
    found.save()


@change
def date_moved() -> None:
    Post.objects.filter(pk=post(4).pk).update(published_at="2024-02-03T10:00Z")


@change
def tag_renamed() -> None:
    Tag.objects.filter(slug="rust").update(name="Rust 2030")


@change
def tag_added() -> None:
    post().tags.add(Tag.objects.create(name="Fresh", slug="fresh"))


@change
def tags_removed_and_set() -> None:
    post(1).tags.remove(*post(1).tags.all())
    post(6).tags.set(Tag.objects.filter(slug__in=["http", "rust"]))


@change
def tags_cleared_from_the_other_side() -> None:
    Tag.objects.get(slug="python").posts.clear()


@change
def comment_made() -> None:
    Comment.objects.create(post=post(), name="New", text="A new comment")


@change
def comment_edited() -> None:
    found = Comment.objects.first()
    assert found is not None
    found.text = "edited"
    found.save()


@change
def comment_deleted() -> None:
    Comment.objects.filter(pk=Comment.objects.latest("pk").pk).delete()


@change
def comment_sent_over_http() -> None:
    found = post()
    url = reverse("blog:comment", args=[found.pk, found.slug])
    said = Client().post(url, {"name": "Visitor", "text": "Over HTTP"})
    assert said.status_code == 302, said.content


@change
def author_renamed() -> None:
    found = Author.objects.earliest("pk")
    found.name = "Somebody Else"
    found.save()


@change
def post_made() -> None:
    with transaction.atomic():
        found = Post.objects.create(
            title="Brand new", slug="brand-new", body="x", author=Author.objects.earliest("pk")
        )
        found.tags.set(Tag.objects.all()[:2])


@change
def post_deleted_with_its_comments() -> None:
    post(7).delete()


@change
def posts_made_in_bulk() -> None:
    author = Author.objects.latest("pk")
    Post.objects.bulk_create(
        Post(title=f"Bulk {n}", slug=f"bulk-{n}", body="b", author=author) for n in range(3)
    )


@change
def author_deleted_with_posts() -> None:
    Author.objects.latest("pk").delete()


@change
def raw_sql() -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE blog_post SET title = 'Raw' WHERE id = %s", [post().pk])
        cursor.execute("DELETE FROM blog_comment WHERE post_id = %s", [post(1).pk])


@change
def given_up() -> None:
    """Nothing has changed, and nothing of it shows."""
    with transaction.atomic():
        Post.objects.update(title="never")
        transaction.set_rollback(True)


@change
def command_in_another_process() -> None:
    Post.objects.filter(slug__startswith="bulk").delete()
    manage("seed", "--posts", "18")


@change
def shell_in_another_process() -> None:
    manage("shell", "-c", "from blog.models import Tag; Tag.objects.update(name='T')")


@change
def saved_in_the_admin() -> None:
    found = post()
    client = editor()
    url = reverse("admin:blog_post_change", args=[found.pk])
    said = client.post(
        url,
        {
            "title": "From the admin",
            "slug": found.slug,
            "body": found.body,
            "author": found.author_id,
            "tags": list(found.tags.values_list("pk", flat=True)),
            "published_at_0": "2025-01-01",
            "published_at_1": "10:00",
            "status": "published",
        },
    )
    assert said.status_code == 302, said.content.decode()[:3000]


@change
def deleted_by_an_action_of_the_admin() -> None:
    said = editor().post(
        reverse("admin:blog_comment_changelist"),
        {
            "action": "delete_selected",
            "_selected_action": [Comment.objects.earliest("pk").pk],
            "post": "yes",
        },
    )
    assert said.status_code == 302


@change
def fixture_loaded() -> None:
    fixture = Path(os.environ["BLOG_DATABASE"]).with_name("more.json")
    fields = {"name": "Loaded", "slug": "loaded", "bio": ""}
    rows = [{"model": "blog.author", "pk": 1, "fields": fields}]
    fixture.write_text(json.dumps(rows))
    call_command("loaddata", str(fixture), verbosity=0)


@change
def schema_changed() -> None:
    """As a migration does it, with its data."""
    field = models.CharField(max_length=20, default="")
    field.set_attributes_from_name("mood")
    with connection.schema_editor() as schema:
        schema.add_field(Comment, field)
        schema.execute("UPDATE blog_comment SET text = 'migrated'")
        schema.remove_field(Comment, field)


@change
def table_emptied() -> None:
    with connection.cursor() as cursor:
        for statement in connection.ops.sql_flush(
            django.core.management.color.no_style(), ["blog_comment"]
        ):
            cursor.execute(statement)


def manage(*arguments: str) -> None:
    subprocess.run(
        [sys.executable, str(BLOG / "manage.py"), *arguments], check=True, capture_output=True
    )


def editor() -> Client:
    client = Client()
    assert client.login(username="editor", password="editor")
    return client


# -- Looking --------------------------------------------------------------------------------------


def urls() -> list[str]:
    """Every public page of the blog, in both languages."""
    found = []
    for language in ("en", "fr"):
        with translation.override(language):
            found += [
                reverse(f"blog:{name}")
                for name in ("home", "post_list", "about", "feeds", "feed_rss", "feed_atom")
            ]
            found += [reverse("blog:post_list") + "?page=2", reverse("blog:search") + "?q=the"]
            found += [each.get_absolute_url() for each in Post.objects.published()]
            found += [each.get_absolute_url() for each in Tag.objects.all()]
            found += [each.get_absolute_url() for each in Author.objects.all()]
            dates = Post.objects.published().values_list("published_at", flat=True)[:2]
            for date in dates:
                found.append(reverse("blog:archive_year", args=[date.year]))
                found.append(reverse("blog:archive_month", args=[date.year, date.month]))
                found.append(reverse("blog:archive_day", args=[date.year, date.month, date.day]))
    return [*dict.fromkeys(found), reverse("sitemap")]


CHANGING = re.compile(
    r'<time id="rendered-at">[^<]*</time>|name="csrfmiddlewaretoken" value="[^"]*"'
)


class Visitors:
    """Whoever comes, each with cookies of another kind."""

    def __init__(self) -> None:
        self.all = {"nobody": Client(), "analytics": Client(), "reader": Client()}
        self.all["analytics"].cookies.load({"_ga": "GA1.1.1", "djdt": "hide"})
        assert self.all["reader"].login(username="reader", password="reader")

    def look(self, found: list[str], but: str = "") -> dict[tuple[str, str], tuple[str, int, str]]:
        """Each page for each visitor but one: hit or not, status, content."""
        seen = {}
        for who, client in self.all.items():
            for url in found if who != but else ():
                response = client.get(url)
                visit = pipeline.visit_of(response.wsgi_request)
                text = CHANGING.sub("", response.content.decode())
                seen[who, url] = (visit.status if visit else "", response.status_code, text)
        return seen

    def look_past_the_cache(self, found: list[str]) -> dict[tuple[str, str], tuple[int, str]]:
        async def nothing(*args: Any) -> None:
            return None

        async def as_it_is(request: Any, response: Any, area: Any) -> Any:
            return response

        steps = {
            "look_up": lambda *args: None,
            "alook_up": nothing,
            "store": lambda request, response, area: response,
            "astore": as_it_is,
        }
        before = {name: getattr(pipeline, name) for name in steps}
        for name, step in steps.items():
            setattr(pipeline, name, step)
        try:
            seen = self.look(found, but="analytics")
            # No view reads what only they have.
            seen |= {("analytics", url): seen["nobody", url] for url in found}
            return {key: (status, text) for key, (_, status, text) in seen.items()}
        finally:
            for name, step in before.items():
                setattr(pipeline, name, step)


def main() -> None:
    call_command("migrate", verbosity=0)
    call_command("seed", posts=14, verbosity=0)
    assert settings.VIEWCACHE == {"TRACK": True, "BROWSER_SECONDS": 0}
    assert queries.watch in connection.execute_wrappers
    visitors = Visitors()
    told: dict[str, Any] = {"changes": {}, "kept": kept(visitors)}
    with override_settings(ALLOWED_HOSTS=["*"]):
        visitors.look(urls())
        for name, make in CHANGES.items():
            before = urls()
            make()
            # What was there, what is there, and what is gone. It is all cached after that.
            looked_at = list(dict.fromkeys([*before, *urls()]))
            served = visitors.look(looked_at)
            wanted = visitors.look_past_the_cache(looked_at)
            old = [
                f"{who} {url}" for (who, url), at in served.items() if at[1:] != wanted[who, url]
            ]
            counts = Counter(status for status, _, _ in served.values())
            told["changes"][name] = {"pages": len(served), "old": old[:5], **counts}
    sys.stdout.write(json.dumps(told) + "\n")


def kept(visitors: Visitors) -> dict[str, int]:
    """How many of the other posts' pages are still served after one post was edited."""
    edited = post()
    others = [
        url for url in urls() if re.search(r"/posts/\d", url) and f"/posts/{edited.pk}-" not in url
    ]
    for _ in range(2):
        visitors.look(others)
    edited.title = "Edited"
    edited.save()
    found = visitors.look(others)
    return {"others": len(found), "hits": sum(status == "hit" for status, _, _ in found.values())}


if __name__ == "__main__":
    main()
