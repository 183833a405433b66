"""Editors at work in Wagtail's admin: their previews, their bar, their buttons."""

from __future__ import annotations

from typing import Any

from django.urls import reverse
from wagtail.models import Page, PageViewRestriction
from wagtail.test.utils.form_data import nested_form_data, rich_text


def form(page: Any, **changed: Any) -> dict[str, Any]:
    """What the editor's form sends."""
    return nested_form_data(
        {
            "title": page.title,
            "slug": page.slug,
            "body": rich_text("<p>by ann</p>"),
            "seo_title": "",
            "search_description": "",
            "comments": {"TOTAL_FORMS": 0, "INITIAL_FORMS": 0},
            "comments-TOTAL_FORMS": 0,
            "comments-INITIAL_FORMS": 0,
            "comments-MIN_NUM_FORMS": 0,
            "comments-MAX_NUM_FORMS": "",
            **changed,
        }
    )


def press(editor: Any, url: str, **data: Any) -> None:
    response = editor.post(url, data)
    assert response.status_code == 302, response.content.decode()[-3000:]


def test_the_buttons(world: Any, editor: Any) -> None:
    one, two, about = (Page.objects.get(pk=each.pk) for each in (world.one, world.two, world.about))
    edit = reverse("wagtailadmin_pages:edit", args=[one.pk])
    steps = {
        "publish": lambda: press(
            editor, edit, **form(one, title="Uno", **{"action-publish": "yes"})
        ),
        "save a draft": lambda: press(editor, edit, **form(one, title="Draft")),
        "move": lambda: press(
            editor, reverse("wagtailadmin_pages:move_confirm", args=[two.pk, about.pk])
        ),
        "unpublish": lambda: press(editor, reverse("wagtailadmin_pages:unpublish", args=[one.pk])),
        "delete": lambda: press(editor, reverse("wagtailadmin_pages:delete", args=[two.pk])),
    }
    for name, step in steps.items():
        assert world.after(step) == [], name
    assert world.visitor.get("/news/one/").status_code == 404
    assert world.visitor.get("/about/two/").status_code == 404


def test_what_has_moved_is_redirected(world: Any, editor: Any) -> None:
    url = reverse("wagtailadmin_pages:move_confirm", args=[world.two.pk, world.about.pk])
    assert world.after(lambda: press(editor, url)) == []
    response = world.visitor.get("/news/two/")
    assert (response.status_code, response.headers["Location"]) == (301, "/about/two/")


def test_a_preview_is_not_the_cached_page_and_is_never_cached(world: Any, editor: Any) -> None:
    page = Page.objects.get(pk=world.one.pk).specific
    # The editor's own copy of the live page is in the cache, as a visitor's is.
    for client in (editor, world.visitor):
        client.get("/news/one/")
        client.get("/news/one/")
    preview = reverse("wagtailadmin_pages:preview_on_edit", args=[page.pk])
    assert editor.post(preview, form(page, title="Only a draft")).json()["is_valid"]
    for _ in range(2):
        shown = editor.get(preview).content
        assert b"Only a draft" in shown
    for client in (editor, world.visitor):
        assert b"Only a draft" not in client.get("/news/one/").content
    # Nor where nothing was cached before.
    import viewcache

    viewcache.expire(everything=True)
    assert b"Only a draft" in editor.get(preview).content
    for client in (editor, world.visitor):
        assert b"Only a draft" not in client.get("/news/one/").content


def test_the_bar_of_an_editor_is_nobody_elses(world: Any, editor: Any) -> None:
    bar = b"wagtail-userbar"
    for first, second in ((editor, world.visitor), (world.visitor, editor)):
        import viewcache

        viewcache.expire(everything=True)
        first.get("/news/one/")
        second.get("/news/one/")
        assert bar in editor.get("/news/one/").content
        assert bar not in world.visitor.get("/news/one/").content
    assert world.is_hit("/news/one/")


def test_a_private_page_is_not_cached(world: Any, editor: Any) -> None:
    PageViewRestriction.objects.create(
        page=Page.objects.get(pk=world.news.pk), restriction_type=PageViewRestriction.LOGIN
    )
    assert editor.get("/news/one/").status_code == 200
    assert world.visitor.get("/news/one/").status_code == 302
    assert editor.get("/news/one/").status_code == 200
    assert not world.is_hit("/news/one/")
    assert world.visitor.get("/news/archive/").status_code == 302
