"""The admin's page of what is cached, in a real browser: light, dark, and without JavaScript."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import pytest

PAGE = "/admin/viewcache/cachedpage/"
PATHS = ["/en/", "/en/feeds/", "/fr/"]


@pytest.fixture(params=["with JavaScript", "without"])
def page(request: pytest.FixtureRequest, chromium: Any, server: str) -> Iterator[Any]:
    """A page of the browser in which an administrator is logged in; three URLs are cached."""
    for path in PATHS:
        with urlopen(server + path) as response:
            assert response.status == 200
    context = chromium.new_context(
        base_url=server,
        java_script_enabled=request.param == "with JavaScript",
        viewport={"width": 1100, "height": 700},
    )
    page = context.new_page()
    page.goto(f"/admin/login/?next={PAGE}")
    page.fill("#id_username", "ann")
    page.fill("#id_password", "secret")
    page.click("input[type=submit]")
    yield page
    context.close()


def urls(page: Any) -> list[str]:
    """The paths that the page lists as cached."""
    rows = page.locator("#result_list tbody tr")
    found = [
        (row.locator(".field-url").inner_text(), row.locator(".field-state").inner_text())
        for row in rows.all()
    ]
    return [f"/{url.split('/', 3)[3]}" for url, state in found if state == "cached"]


def agree(page: Any) -> None:
    page.click("form:has([name=post]) input[type=submit]")
    assert page.locator(".messagelist .success").count() == 1


def test_an_administrator_sees_and_expires(page: Any) -> None:
    assert urls(page) == PATHS

    page.fill("#searchbar", "feeds")
    page.click("#changelist-search input[type=submit]")
    assert urls(page) == ["/en/feeds/"]
    page.click("text=show all")
    for column in ("Hits", "Size", "Age", "Variants", "URL"):
        page.click(f"#result_list thead >> text={column}")
        assert len(urls(page)) == 3

    page.click("[aria-label='Expire /fr/']")
    page.click("text=No, take me back")
    assert len(urls(page)) == 3, "nothing is expired before it was asked"
    page.click("[aria-label='Expire /fr/']")
    agree(page)
    assert urls(page) == ["/en/", "/en/feeds/"]
    assert "ann, POST" in page.locator("#expiries tbody tr").first.inner_text()

    page.check("[aria-label='Select /en/']")
    page.select_option("[name=action]", "tree")
    page.click(".actions button")
    assert "/en/ and every path below it" in page.content()
    agree(page)
    assert urls(page) == []


def test_by_path_tree_tag_or_everything(page: Any) -> None:
    page.click("text=Expire by path, tree or tag")
    page.click("input[value=Continue]")
    assert "Name a path, a tree or a tag" in page.content()
    page.fill("#id_path", "relative/")
    page.click("input[value=Continue]")
    assert "is relative" in page.content()
    page.fill("#id_path", "")
    page.check("#id_everything")
    page.click("input[value=Continue]")
    assert "every page of the site" in page.content()
    agree(page)
    assert urls(page) == []


@pytest.mark.parametrize("page", ["with JavaScript"], indirect=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_wears_the_admins_colours(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    ours = page.evaluate("getComputedStyle(document.body).backgroundColor")
    if folder := os.environ.get("VIEWCACHE_SCREENSHOTS"):
        page.screenshot(path=f"{folder}/admin-{scheme}.png")
    page.goto("/admin/blog/post/")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ours
    assert (ours == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("page", ["without"], indirect=True)
def test_the_button_of_an_object(page: Any) -> None:
    page.goto("/admin/blog/author/1/change/")
    page.click("text=Expire cached pages")
    assert page.locator(".messagelist .success").count() == 1
    assert "tag:blog.author:1" in page.locator(".messagelist").inner_text()
