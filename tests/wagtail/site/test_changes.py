"""After whatever changes in a site of Wagtail's, no visitor is served an old page."""

from __future__ import annotations

import os
import random
from datetime import timedelta
from typing import Any

import pytest
from cms.models import ArticlePage, ElsewherePage, Footer, HomePage, IndexPage
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import transaction
from django.test import override_settings
from django.utils import timezone
from wagtail.contrib.frontend_cache.utils import PurgeBatch
from wagtail.contrib.redirects.models import Redirect
from wagtail.models import Locale, Page, PageViewRestriction, Site


def publish(page: Any, **changed: Any) -> Any:
    """As the editor's button does."""
    page = page.specific_class.objects.get(pk=page.pk)
    for name, value in changed.items():
        setattr(page, name, value)
    revision = page.save_revision()
    revision.publish()
    return page


def draft(page: Any, **changed: Any) -> Any:
    page = page.specific_class.objects.get(pk=page.pk)
    for name, value in changed.items():
        setattr(page, name, value)
    return page.save_revision()


def fresh(page: Any) -> Any:
    return Page.objects.get(pk=page.pk).specific


#: Each kind in a site of its own, one after the other.
CHANGES = {
    "publishing": {
        "publish a change": lambda w: publish(w.one, body="<p>another</p>"),
        "publish a title": lambda w: publish(w.one, title="Uno"),
        "publish a title in the menu": lambda w: publish(w.about, title="About us"),
        "publish into the menu": lambda w: publish(w.news, show_in_menus=True),
        "publish out of the menu": lambda w: publish(w.about, show_in_menus=False),
        "publish another slug": lambda w: publish(w.one, slug="uno"),
        "publish another slug of a parent": lambda w: publish(w.news, slug="stories"),
        "publish another slug of the home page": lambda w: publish(w.home, slug="start"),
        "publish what lists an image": lambda w: publish(w.one, image=w.image),
        "publish a new page": lambda w: fresh(w.news).add_child(
            instance=ArticlePage(title="Three", slug="three")
        ),
        "publish a draft": lambda w: publish(
            fresh(w.news).add_child(instance=ArticlePage(title="Three", slug="four", live=False))
        ),
        "save by code": lambda w: ArticlePage.objects.get(pk=w.one.pk).save(),
    },
    "unpublishing": {
        "unpublish": lambda w: fresh(w.one).unpublish(),
        "unpublish and publish": lambda w: (fresh(w.one).unpublish(), publish(w.one)),
        "unpublish what is in the menu": lambda w: fresh(w.about).unpublish(),
        "unpublish a parent": lambda w: fresh(w.news).unpublish(),
    },
    "deleting": {
        "delete": lambda w: fresh(w.one).delete(),
        "delete what is in the menu": lambda w: fresh(w.about).delete(),
        "delete a parent": lambda w: fresh(w.news).delete(),
    },
    "deleting at once": {
        "delete a queryset": lambda w: Page.objects.filter(slug__in=["one", "printed"]).delete(),
    },
    "moving": {
        "move": lambda w: fresh(w.one).move(fresh(w.about), pos="last-child"),
        "move up": lambda w: fresh(w.one).move(fresh(w.home), pos="first-child"),
        "move what is in the menu": lambda w: fresh(w.about).move(fresh(w.news), pos="last-child"),
    },
    "moving a parent": {
        "move a parent": lambda w: fresh(w.news).move(fresh(w.about), pos="first-child"),
    },
    "ordering": {
        "move among its siblings": lambda w: fresh(w.two).move(fresh(w.one), pos="left"),
        "move a parent among its siblings": lambda w: fresh(w.about).move(
            fresh(w.news), pos="left"
        ),
    },
    "copying": {
        "copy": lambda w: fresh(w.one).copy(update_attrs={"slug": "copy", "title": "A copy"}),
        "copy a tree": lambda w: fresh(w.news).copy(
            recursive=True, to=fresh(w.about), update_attrs={"slug": "copy", "title": "A copy"}
        ),
        "make an alias": lambda w: fresh(w.one).create_alias(
            parent=fresh(w.about), update_slug="alias"
        ),
    },
    "what pages use": {
        "a setting": lambda w: _save(Footer.objects.get(), text="another footer"),
        "a snippet": lambda w: _save(w.logo, text="another logo"),
        "delete a snippet": lambda w: w.logo.delete(),
        "a snippet with drafts": lambda w: _publish_snippet(w.notice, "another notice"),
        "an image": lambda w: _save(w.image, title="bush"),
        "delete an image": lambda w: w.image.delete(),
    },
    "who may see it, and where": {
        "a restriction of an alias's page": lambda w: (
            fresh(w.one).create_alias(parent=fresh(w.about), update_slug="alias"),
            w.look(),
            PageViewRestriction.objects.create(
                page=fresh(w.one), restriction_type=PageViewRestriction.LOGIN
            ),
        ),
        "a restriction": lambda w: PageViewRestriction.objects.create(
            page=fresh(w.news), restriction_type=PageViewRestriction.LOGIN
        ),
        "a redirect": lambda w: Redirect.objects.create(
            old_path="/gone", redirect_link="/news/", site=Site.objects.get()
        ),
        "a site's root": lambda w: _save(Site.objects.get(), root_page=fresh(w.news)),
    },
}


def _save(thing: Any, **changed: Any) -> None:
    for name, value in changed.items():
        setattr(thing, name, value)
    thing.save()


def _publish_snippet(notice: Any, text: str) -> None:
    notice.text = text
    notice.save_revision().publish()


@pytest.mark.parametrize("kind", CHANGES)
def test_nothing_is_old_after(world: Any, kind: str) -> None:
    for name, change in CHANGES[kind].items():
        assert world.after(lambda change=change: change(world)) == [], name


def test_nothing_is_old_after_any_changes(world: Any) -> None:
    """Random editors: what one leaves the next one finds."""
    chance = random.Random(1)
    steps = {
        "title": lambda page, other: publish(page, title=f"T{chance.random():.4f}"),
        "slug": lambda page, other: publish(page, slug=f"s{chance.randrange(10**6)}"),
        "menu": lambda page, other: publish(page, show_in_menus=not page.show_in_menus),
        "unpublish": lambda page, other: page.unpublish(),
        "publish": lambda page, other: publish(page),
        "draft": lambda page, other: draft(page, title="draft"),
        "delete": lambda page, other: page.delete(),
        "add": lambda page, other: page.add_child(
            instance=ArticlePage(title="New", slug=f"n{chance.randrange(10**6)}")
        ),
        "move": lambda page, other: (
            None
            if other.path.startswith(page.path)
            else page.move(other, pos=chance.choice(["first-child", "last-child", "left"]))
        ),
    }
    for number in range(int(os.environ.get("VIEWCACHE_STEPS", "10"))):
        pages = list(Page.objects.filter(depth__gt=2).specific().order_by("pk"))
        if len(pages) < 4:
            world.home.refresh_from_db()
            world.home.add_child(instance=IndexPage(title="More", slug=f"m{number}"))
            continue
        page, other = chance.sample(pages, 2)
        name = chance.choice(list(steps))

        def change(name: str = name, page: Any = page, other: Any = other) -> None:
            steps[name](page, other)

        assert world.after(change, known="") == [], f"step {number}: {name} {page.url_path}"


def test_what_is_published_at_a_time(world: Any) -> None:
    page, past = fresh(world.one), timezone.now() - timedelta(days=1)
    page.go_live_at, page.title = past, "Later"
    revision = page.save_revision()
    page.revisions.filter(pk=revision.pk).update(approved_go_live_at=past)
    assert world.after(lambda: call_command("publish_scheduled", verbosity=0)) == []
    assert b"Later" in world.visitor.get("/news/one/").content
    Page.objects.filter(pk=page.pk).update(expire_at=past)
    assert world.after(lambda: call_command("publish_scheduled", verbosity=0)) == []
    assert world.visitor.get("/news/one/").status_code == 404


def test_a_rollback_expires_nothing(world: Any) -> None:
    world.look()
    with transaction.atomic():
        publish(world.one, title="Uno")
        transaction.set_rollback(True)
    assert world.is_hit("/news/one/")
    assert world.old() == []


def test_what_does_not_show_it_stays(world: Any) -> None:
    world.look()
    publish(world.one, body="<p>another</p>")
    assert not world.is_hit("/news/one/")
    assert not world.is_hit("/news/")
    assert not world.is_hit("/news/archive/")
    assert not world.is_hit("/")
    assert world.is_hit("/news/two/")
    assert world.is_hit("/about/")
    assert world.is_hit("/about/printed/")


def test_a_draft_expires_nothing(world: Any) -> None:
    world.look()
    draft(world.one, title="A draft")
    added = fresh(world.news).add_child(instance=ArticlePage(title="New", slug="new", live=False))
    draft(added, title="A draft")
    assert all(map(world.is_hit, ("/", "/news/", "/news/one/", "/news/two/")))
    assert world.old() == []


def test_paths_that_a_page_names(world: Any) -> None:
    """``get_cached_paths()``, by which Wagtail's frontend cache knows them, too."""
    from viewcache.wagtail.receivers import changed

    page = fresh(world.printed)
    assert "path:/about/printed/print/" in changed(page, page)


def test_a_url_of_its_own(world: Any) -> None:
    from viewcache.wagtail.receivers import changed

    page = world.home.add_child(instance=ElsewherePage(title="E", slug="e"))
    assert {"path:/elsewhere/e/", "path:/e/"} <= set(changed(page, page))


def test_by_hand(world: Any) -> None:
    import viewcache

    world.look()
    viewcache.expire(obj=fresh(world.one))
    assert not world.is_hit("/news/one/")
    viewcache.expire(tag=f"wagtailcore.page:{world.news.pk}")
    assert not world.is_hit("/news/archive/")


def test_the_frontend_caches_own_functions(world: Any) -> None:
    backend = {"viewcache": {"BACKEND": "viewcache.wagtail.frontend_cache.ViewcacheBackend"}}
    world.look()
    with override_settings(WAGTAILFRONTENDCACHE=backend):
        batch = PurgeBatch()
        batch.add_page(fresh(world.printed))
        batch.add_url("http://testserver/news/two/")
        batch.purge()
    assert not world.is_hit("/about/printed/")
    assert not world.is_hit("/news/two/")
    assert world.is_hit("/news/one/")


def test_two_sites_with_pages_in_common(world: Any) -> None:
    world.hosts.append("news.example.com")
    Site.objects.create(hostname="news.example.com", root_page=fresh(world.news))
    world.urls.update({"/one/": None, "/two/": None, "/archive/": None})
    assert world.after(lambda: publish(world.one, title="Uno")) == []
    assert world.after(lambda: fresh(world.one).move(fresh(world.about), pos="last-child")) == []
    assert world.after(lambda: publish(world.news, show_in_menus=True)) == []
    assert world.after(lambda: Site.objects.get(hostname="news.example.com").delete()) == []


@pytest.fixture
def languages(world: Any, settings: Any) -> Any:
    """The site in two languages, each below its prefix."""
    settings.WAGTAIL_I18N_ENABLED = True
    settings.LANGUAGES = settings.WAGTAIL_CONTENT_LANGUAGES = [("en", "English"), ("fr", "French")]
    settings.ROOT_URLCONF = "urls_of_languages"
    french = Locale.objects.create(language_code="fr")
    for page in (world.home, world.news, world.one):
        fresh(page).copy_for_translation(french).specific.save_revision().publish()
    world.french = french
    return world


def test_languages(languages: Any) -> None:
    world = languages
    world.look()
    one = fresh(world.one).get_translation(world.french)
    assert one.url in world.urls
    for change in (
        lambda: publish(one, title="Un"),
        lambda: publish(world.one, title="Uno"),
        lambda: publish(one.get_parent(), slug="nouvelles"),
        lambda: fresh(one).unpublish(),
        lambda: fresh(one).delete(),
    ):
        assert world.after(change, known="/en/") == []


def test_a_group_that_may_see_a_page(world: Any, caplog: Any) -> None:
    restriction = PageViewRestriction.objects.create(
        page=fresh(world.one), restriction_type=PageViewRestriction.GROUPS
    )
    assert world.after(lambda: restriction.groups.add(Group.objects.create(name="g"))) == []
    # From the other side of the relation.
    other = Group.objects.create(name="o")
    assert world.after(lambda: other.pageviewrestriction_set.add(restriction)) == []
    assert caplog.text == ""
    assert world.after(restriction.delete) == []
    assert world.visitor.get("/news/one/").status_code == 200


def test_a_fault_does_not_break_the_editors_work(world: Any, monkeypatch: Any, caplog: Any) -> None:
    world.look()
    monkeypatch.setattr("viewcache.wagtail.receivers.changed", None)
    publish(world.one, title="Uno")
    assert fresh(world.one).title == "Uno"
    assert "could not tell which pages show" in caplog.text
    assert world.old() == []


def test_fixtures_are_no_change(world: Any) -> None:
    from django.db.models import signals

    world.look()
    signals.post_save.send(ArticlePage, instance=world.one, raw=True, using="default")
    assert world.is_hit("/news/one/")


def test_a_page_that_a_view_shows_by_tag(world: Any) -> None:
    """The sitemap of the site is tagged with the type of all pages."""
    world.look()
    assert world.is_hit("/sitemap.xml")
    publish(world.one, title="Uno")
    assert not world.is_hit("/sitemap.xml")


def test_the_home_page_of_nobody(world: Any) -> None:
    """A page that is in no site has no URL."""
    other = world.root.add_child(instance=HomePage(title="Other", slug="other"))
    assert world.after(lambda: publish(other, title="Another")) == []


def test_a_change_while_wagtail_looks_for_the_page(world: Any, monkeypatch: Any) -> None:
    """It has read the page before the page's tag is; what is served is read after it."""
    from viewcache.wagtail import wagtail_hooks

    original = wagtail_hooks.tag

    def too_late(request: Any, *tags: str) -> bool:
        monkeypatch.setattr(wagtail_hooks, "tag", original)
        publish(world.news, seo_title="News of the day")
        return original(request, *tags)

    monkeypatch.setattr(wagtail_hooks, "tag", too_late)
    world.visitor.get("/news/archive/")
    assert world.is_hit("/news/archive/")
    assert b"News of the day" in world.visitor.get("/news/archive/").content


def test_a_page_that_is_gone_while_wagtail_looks_for_it(world: Any, monkeypatch: Any) -> None:
    from viewcache.wagtail import wagtail_hooks

    original = wagtail_hooks.tag

    def too_late(request: Any, *tags: str) -> bool:
        monkeypatch.setattr(wagtail_hooks, "tag", original)
        fresh(world.news).unpublish()
        return original(request, *tags)

    monkeypatch.setattr(wagtail_hooks, "tag", too_late)
    assert world.visitor.get("/news/archive/").status_code == 404
