"""
The example blog with per-site caching, and visitors who all carry cookies: a session, a CSRF
token, analytics, the debug toolbar's. Pages are rendered once, and everybody sees their own name.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
import viewcache
from django.contrib.auth import get_user_model
from django.core.cache import caches
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

VISITORS = 200
SITE = (
    "viewcache.middleware.UpdateCacheMiddleware",
    "viewcache.middleware.FetchFromCacheMiddleware",
)
STOCK = (
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
)
TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w{64})"')


class Visitor:
    """A browser with a session of its own; every third one is logged in."""

    def __init__(self, number: int, random: Random) -> None:
        self.random = random
        self.name = f"visitor{number:03}" if number % 3 == 0 else ""
        self.client = Client(enforce_csrf_checks=True)
        cookies = {
            "_ga": f"GA1.1.{random.getrandbits(40)}",
            "_ga_X": f"GS1.{random.getrandbits(40)}",
            "djdt": random.choice(["show", "hide"]),
            "csrftoken": "".join(random.choices("abcdefXYZ123", k=32)),
        }
        if self.name:
            user = get_user_model().objects.create_user(self.name)
            self.client.force_login(user)
        else:
            session = self.client.session
            session["reading_list"] = [number]
            session.save()
            cookies["sessionid"] = session.session_key
        for name, value in cookies.items():
            self.client.cookies[name] = value

    def get(self, path: str) -> Any:
        """Ask for a page, with the cookies in another order each time."""
        pairs = [f"{name}={morsel.value}" for name, morsel in self.client.cookies.items()]
        self.random.shuffle(pairs)
        response = self.client.get(path, headers={"cookie": "; ".join(pairs)})
        assert response.status_code == 200, path
        return response

    def is_theirs(self, text: str) -> bool:
        """Does the page greet this visitor and nobody else?"""
        named = re.findall(r"Hello, (\w+)|Bonjour (\w+)|(visitor\d+)", text)
        return {name for names in named for name in names if name} <= {self.name} and (
            not self.name or self.name in text
        )


@pytest.fixture
def blog(settings: Any, request: pytest.FixtureRequest, transactional_db: None) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
            "OPTIONS": {"MAX_ENTRIES": 100_000},
        }
    }
    settings.DEBUG = False
    # Nothing that a page of the blog reads is missing in its key; a warning is an error here.
    settings.VIEWCACHE = {**settings.VIEWCACHE, "AUDIT": True}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    call_command("seed", verbosity=0)
    caches["default"].clear()


@contextmanager
def cached_by(settings: Any, middleware: tuple[str, str], *, stock: bool) -> Iterator[None]:
    """The blog's middleware with one pair of halves, and for stock Django no decorators."""
    from mysite import settings as blog_settings

    between = [name for name in blog_settings.MIDDLEWARE if "Cache" not in name]
    settings.MIDDLEWARE = [middleware[0], *between, middleware[1]]
    names = ["viewcache", "viewcache.decorators", "viewcache.mixins"]
    kept = {name: dict(vars(importlib.import_module(name))) for name in names}
    try:
        if stock:
            from blog import comparison

            # Per-site caching alone: its per-view cache hands one visitor's page to the next.
            comparison.swap("off")
            _reload()
        yield
    finally:
        for name, known in kept.items():
            vars(sys.modules[name]).update(known)
        # A public name that nobody had asked for is found where it lives when somebody does.
        for name in set(viewcache.__all__) - kept["viewcache"].keys():
            vars(viewcache).pop(name, None)
        if stock:
            _reload()


def _reload() -> None:
    from django.urls import clear_url_caches

    for name in ("blog.views", "blog.urls", "mysite.urls"):
        if name in sys.modules:
            importlib.reload(sys.modules[name])
    clear_url_caches()


def public_pages() -> list[str]:
    """Every public page: lists, posts, tags, authors, archives, feeds, in each language."""
    from blog.models import Author, Post, Tag

    posts = list(Post.objects.published()[:4])
    day = posts[0].published_at
    english = [
        reverse("blog:home"),
        reverse("blog:post_list"),
        reverse("blog:post_list") + "?page=2",
        *(post.get_absolute_url() for post in posts),
        *(tag.get_absolute_url() for tag in Tag.objects.filter(posts__in=posts).distinct()[:2]),
        *(author.get_absolute_url() for author in Author.objects.filter(posts__in=posts)[:1]),
        reverse("blog:archive_year", args=[day.year]),
        reverse("blog:archive_month", args=[day.year, day.month]),
        reverse("blog:archive_day", args=[day.year, day.month, day.day]),
        reverse("blog:search"),
        reverse("blog:about"),
        reverse("blog:feeds"),
        reverse("blog:language"),
    ]
    return [*english, *(path.replace("/en/", "/fr/", 1) for path in english)]


def visit(visitors: list[Visitor], pages: list[str], random: Random) -> tuple[int, int, int]:
    """Everybody asks for every page, in any order: asked again, hits of those, wrong pages."""
    for visitor in visitors:
        # A test client keeps the middleware of its first request.
        visitor.client.handler.load_middleware()
    asked = [(visitor, page) for visitor in visitors for page in pages]
    random.shuffle(asked)
    seen: set[str] = set()
    again = hits = wrong = 0
    for visitor, page in asked:
        response = visitor.get(page)
        if page in seen:
            again += 1
            hits += "Age" in response.headers
        seen.add(page)
        wrong += not visitor.is_theirs(response.content.decode())
    return again, hits, wrong


def test_one_page_for_everyone(blog: None, settings: Any, capsys: Any) -> None:
    with override("en"):
        pages = public_pages()
    random = Random(3)
    visitors = [Visitor(number, random) for number in range(VISITORS)]
    ratios = {}
    # Stock Django shows what is to be gained; a tenth of the visitors shows it as well.
    for name, halves, few in (("stock", STOCK, 10), ("viewcache", SITE, 1)):
        caches["default"].clear()
        with cached_by(settings, halves, stock=name == "stock"):
            again, hits, wrong = visit(visitors[::few], pages, random)
        ratios[name] = hits / again
        if name == "viewcache":
            assert wrong == 0
            comments = post_comments(visitors)
    with capsys.disabled():
        print(  # noqa: T201
            f"\n{VISITORS} visitors, {len(pages)} pages: hit ratio after the first visit "
            f"{ratios['viewcache']:.4f} (stock Django {ratios['stock']:.4f}), pages that belong "
            f"to another visitor 0, comments sent from hits {comments}"
        )
    assert ratios["viewcache"] >= 0.99
    assert ratios["stock"] <= 0.05


def post_comments(visitors: list[Visitor]) -> int:
    """Everybody sends the comment form of a page that was a hit."""
    from blog.models import Post

    sent = 0
    for number, visitor in enumerate(visitors):
        post = Post.objects.published()[number % 4]
        with override("en"):
            path, form = post.get_absolute_url(), reverse("blog:comment", args=[post.pk, post.slug])
        page = visitor.get(path)
        if "Age" not in page.headers:
            # A comment has just made it old; the one who comes next gets it from the cache.
            page = visitor.get(path)
        assert "Age" in page.headers
        [token, *_] = TOKEN.findall(page.content.decode())
        data = {"name": f"n{number}", "text": "Well said.", "csrfmiddlewaretoken": token}
        response = visitor.client.post(form, data)
        assert response.status_code == 302, response.content
        thanks = visitor.get(path).content.decode()
        assert "Thank you for your comment." in thanks
        assert f"n{number}" in thanks
        other = visitors[number - 1].get(path).content.decode()
        assert "Thank you for your comment." not in other
        sent += 1
    return sent
