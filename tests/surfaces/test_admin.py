"""The admin's page, without a browser: who may do what, and what a fault shows."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from blog.models import Author
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client, override_settings
from viewcache import signals

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/viewcache/cachedpage/"
EXPIRE = f"{PAGE}expire/"


@pytest.fixture(autouse=True)
def blog(request: pytest.FixtureRequest, settings: Any) -> None:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.VIEWCACHE = {"INVENTORY": 500}
    for path in ("/en/", "/fr/"):
        assert Client().get(path).status_code == 200


def client(*permissions: str, is_staff: bool = True) -> Client:
    user = User.objects.create_user("bob", is_staff=is_staff)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    found = Client()
    found.force_login(user)
    return found


@pytest.fixture
def unchanged() -> Any:
    """Nothing may be expired in this test."""
    with mock.patch("viewcache.admin.expire", side_effect=AssertionError("expired")) as expire:
        yield expire
    assert not expire.called


@pytest.mark.parametrize("url", [PAGE, EXPIRE])
@pytest.mark.usefixtures("unchanged")
def test_no_endpoint_is_open(url: str) -> None:
    for who in (Client(), client("expire_cachedpage", is_staff=False)):
        for send in (who.get, who.post):
            response = send(url, {"selected": "/en/", "post": "yes"})
            assert response.status_code == 302
            assert "/admin/login/" in response["Location"]


@pytest.mark.usefixtures("unchanged")
def test_without_permissions_nothing_is_shown_or_done() -> None:
    who = client()
    assert who.get(PAGE).status_code == 403
    assert who.post(EXPIRE, {"selected": "/en/", "post": "yes"}).status_code == 403


@pytest.mark.usefixtures("unchanged")
def test_who_may_view_may_not_expire() -> None:
    who = client("view_cachedpage")
    page = who.get(PAGE)
    assert b"http://testserver/en/" in page.content
    assert b"Expire" not in page.content.replace(b"Recent expiries", b"")
    assert who.get(EXPIRE).status_code == 403
    assert who.post(EXPIRE, {"selected": "/en/", "post": "yes"}).status_code == 403


@pytest.mark.usefixtures("unchanged")
def test_nothing_is_expired_by_a_get_or_before_it_was_asked() -> None:
    who = client("expire_cachedpage")
    who.get(EXPIRE, {"selected": "/en/", "post": "yes", "everything": "on"})
    assert b"I\xe2\x80\x99m sure" in who.post(EXPIRE, {"selected": "/en/"}).content
    assert b"every page of the site" in who.post(EXPIRE, {"everything": "on"}).content
    assert who.post(EXPIRE, {"from": "list"}).status_code == 302


@pytest.mark.usefixtures("unchanged")
def test_a_form_of_another_site_is_refused() -> None:
    who = Client(enforce_csrf_checks=True)
    who.force_login(User.objects.create_superuser("ann"))
    assert who.post(EXPIRE, {"everything": "on", "post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("data", "scopes"),
    [
        ({"selected": ["/en/", "/fr/"], "action": "path"}, ("path:/en/", "path:/fr/")),
        ({"one": "/en/", "selected": "/fr/"}, ("path:/en/",)),
        ({"selected": "/en/", "action": "tree"}, ("tree:/en/", "path:/en/", "path:/en")),
        ({"tag": "a"}, ("tag:a",)),
        ({"path": "/en/", "tag": "a"}, ("path:/en/", "tag:a")),
        ({"everything": "on"}, ("tree:/", "path:/")),
    ],
)
def test_what_was_agreed_to_is_expired(data: dict[str, Any], scopes: tuple[str, ...]) -> None:
    heard = []

    def hear(scopes: tuple[str, ...], **kwargs: Any) -> None:
        heard.append(scopes)

    agreed = client("expire_cachedpage")
    signals.pages_expired.connect(hear)
    try:
        response = agreed.post(EXPIRE, {**data, "post": "yes"}, follow=True)
    finally:
        signals.pages_expired.disconnect(hear)
    assert heard == [scopes]
    assert b'class="success"' in response.content


def test_faults_are_told_and_are_no_error_pages() -> None:
    who = client("expire_cachedpage")
    with override_settings(VIEWCACHE={"INVENTORY": 0}):
        assert b"is 0: nobody notes" in who.get(PAGE).content
    with mock.patch("viewcache.admin.inventory.read", side_effect=OSError("down")):
        assert b"The cache does not answer (OSError: down)" in who.get(PAGE).content
    with mock.patch("viewcache.admin.expire", side_effect=OSError("down")):
        response = who.post(EXPIRE, {"everything": "on", "post": "yes"}, follow=True)
    assert b"Nothing was expired (OSError: down)" in response.content
    with override_settings(VIEWCACHE={"INVENTORY": 1}):
        Client().get("/en/about/")
        assert b"may miss pages" in who.get(PAGE).content


def test_what_a_visitor_chose_is_escaped() -> None:
    Client().get("/en/?<script>alert(1)</script>='\"")
    page = client("expire_cachedpage").get(PAGE, {"q": "<script>\"'", "o": "<x>", "p": "<y>"})
    assert page.status_code == 200
    assert b"<script>alert" not in page.content
    assert b'"&lt;script&gt;' in page.content


@pytest.mark.parametrize("way", ["button", "action"])
def test_the_pages_of_an_object_are_expired(way: str) -> None:
    author = Author.objects.create(name="Ann", slug="ann")
    other = f"/admin/blog/author/{author.pk}/expire-pages/"
    who = client("expire_cachedpage", "view_author", "change_author")
    assert b"Expire cached pages" in who.get(f"/admin/blog/author/{author.pk}/change/").content
    assert who.get(other).status_code == 405
    if way == "button":
        response = who.post(other, follow=True)
    else:
        data = {"action": "expire_cached_pages", "_selected_action": author.pk}
        response = who.post("/admin/blog/author/", data, follow=True)
    assert f"tag:blog.author:{author.pk}".encode() in response.content
    assert who.post("/admin/blog/author/0/expire-pages/").status_code == 404


@pytest.mark.usefixtures("unchanged")
def test_the_button_needs_the_permission() -> None:
    author = Author.objects.create(name="Ann", slug="ann")
    who = client("view_author", "change_author")
    assert b"Expire cached" not in who.get(f"/admin/blog/author/{author.pk}/change/").content
    assert who.post(f"/admin/blog/author/{author.pk}/expire-pages/").status_code == 403


def test_its_migration_is_there() -> None:
    call_command("makemigrations", "viewcache", check=True, dry_run=True, verbosity=0)
