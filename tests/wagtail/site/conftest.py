"""A site with pages on three levels, and the question that every test asks: is anything old?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cms.models import ArticlePage, Footer, HomePage, IndexPage, Logo, Notice, PrintedPage
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.test import Client, override_settings
from viewcache.visit import visit_of
from wagtail.images import get_image_model
from wagtail.images.tests.utils import get_test_image_file
from wagtail.models import Collection, Locale, Page, Site

OURS = "viewcache.middleware."


class World:
    """What there is, and who looks at it."""

    def __init__(self) -> None:
        self.locale = Locale.objects.create(language_code="en")
        root = Page.add_root(
            instance=Page(
                title="Root",
                slug="root",
                locale=self.locale,
                content_type=ContentType.objects.get_for_model(Page),
            )
        )
        self.root = root
        self.home = root.add_child(instance=HomePage(title="Home", slug="home"))
        Site.objects.create(hostname="testserver", root_page=self.home, is_default_site=True)
        Footer.objects.create(site=Site.objects.get(), text="a footer")
        self.news = self.home.add_child(instance=IndexPage(title="News", slug="news"))
        self.about = self.home.add_child(
            instance=IndexPage(title="About", slug="about", show_in_menus=True)
        )
        Collection.add_root(name="Root")
        self.image = get_image_model().objects.create(title="tree", file=get_test_image_file())
        self.logo = Logo.objects.create(text="a logo", image=self.image)
        self.notice = Notice.objects.create(text="a notice")
        self.one = self.news.add_child(
            instance=ArticlePage(
                title="One", slug="one", body="<p>one</p>", logo=self.logo, notice=self.notice
            )
        )
        self.two = self.news.add_child(
            instance=ArticlePage(
                title="Two",
                slug="two",
                image=self.image,
                body=f'<p><a linktype="page" id="{self.one.pk}">to one</a></p>',
            )
        )
        self.printed = self.about.add_child(instance=PrintedPage(title="Printed", slug="printed"))
        self.urls: dict[str, None] = {}
        self.hosts = ["testserver"]
        self.visitor = Client()
        self.told: Any = None
        # Whoever asks past the cache: what they are answered is how it is.
        kept = [name for name in settings.MIDDLEWARE if not name.startswith(OURS)]
        with override_settings(MIDDLEWARE=kept):
            self.witness = Client()
            self.witness.get("/")

    def notice_urls(self) -> None:
        """Remember every URL there is; one that is gone must not be served from the cache."""
        found = ["/", "/sitemap.xml"]
        for page in Page.objects.filter(depth__gt=1).specific():
            if parts := page.get_url_parts():
                found += [parts[2], *([f"{parts[2]}archive/"] if "archive" in dir(page) else [])]
        self.urls.update(dict.fromkeys(found))

    def look(self) -> None:
        """A visitor looks at everything, so that all that may be cached is."""
        self.notice_urls()
        for host in self.hosts:
            for url in self.urls:
                self.visitor.get(url, headers={"host": host})

    def old(self) -> list[str]:
        """The URLs at which a visitor is served a cached page that is not how it is."""
        self.notice_urls()
        found = []
        for host in self.hosts:
            for url in self.urls:
                response = self.visitor.get(url, headers={"host": host})
                visit = visit_of(response.wsgi_request)
                if visit is not None and visit.status == "hit":
                    witness = self.witness.get(url, headers={"host": host})
                    if _seen(response) != _seen(witness):
                        found.append(f"{host}{url}")
        return found

    def is_hit(self, url: str) -> bool:
        """Is this URL answered from the cache?"""
        visit = visit_of(self.visitor.get(url).wsgi_request)
        self.told = visit and (visit.status, visit.reason)
        return visit is not None and visit.status == "hit"

    def after(self, change: Callable[[], Any], known: str = "/") -> list[str]:
        """What is old after a change that came when all was cached, a known URL among it."""
        self.look()
        assert not known or self.is_hit(known), self.told
        change()
        return self.old()


def _seen(response: Any) -> tuple[int, bytes]:
    # Wagtail tells the date of a draft there, where a page was never published but saved by code.
    return response.status_code, re.sub(rb"<lastmod>.*?</lastmod>", b"", response.content)


@pytest.fixture(autouse=True)
def media(settings: Any, tmp_path: Any) -> None:
    settings.MEDIA_ROOT = str(tmp_path)


@pytest.fixture
def world(transactional_db: None) -> Iterator[World]:
    cache.clear()
    yield World()
    cache.clear()


@pytest.fixture
def editor(world: World) -> Client:
    """The browser of a superuser who is logged in."""
    client = Client()
    client.force_login(User.objects.create_superuser("ann", "ann@example.com", "ann"))
    return client
