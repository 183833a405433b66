"""``manage.py viewcache warm``."""

from __future__ import annotations

import io
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from backends import cache_settings
from django.contrib.sitemaps.views import sitemap
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.test import Client, override_settings
from django.urls import path
from surfaces.conftest import WITHOUT, Terminal
from surfaces.site import Everything, calls

pytestmark = [pytest.mark.usefixtures("site"), pytest.mark.django_db(transaction=True)]

ONE_LANGUAGE = [name for name in WITHOUT if "locale" not in name]
SITE = override_settings(
    MIDDLEWARE=[
        "viewcache.middleware.UpdateCacheMiddleware",
        *ONE_LANGUAGE,
        "viewcache.middleware.FetchFromCacheMiddleware",
    ]
)


def warm(*args: str, **options: Any) -> list[str]:
    out = io.StringIO()
    call_command("viewcache", "warm", *args, stdout=out, stderr=io.StringIO(), **options)
    return out.getvalue().splitlines()


def is_cached(path: str, **headers: str) -> bool:
    before = calls.total()
    Client().get(path, headers=headers)
    return calls.total() == before


@SITE
def test_what_is_given_is_rendered_once() -> None:
    assert warm("/plain/", "/themed/", "/plain/") == ["2 pages: 2 stored."]
    assert is_cached("/plain/")
    assert is_cached("/themed/")
    assert warm("/plain/", "/items/1/") == ["2 pages: 1 fresh already, 1 stored."]
    assert calls["plain"] == 2


def test_each_language() -> None:
    assert warm("/plain/") == ["2 pages: 2 stored."]
    assert is_cached("/plain/", accept_language="fr")
    assert is_cached("/plain/", accept_language="en")
    assert warm("/themed/", "--language", "fr", verbosity=2) == [
        "stored: http://testserver/themed/ [fr]",
        "1 page: 1 stored.",
    ]


@SITE
def test_a_file_and_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "urls"
    file.write_text("/plain/\n\n  /themed/\n")
    assert warm("--file", str(file)) == ["2 pages: 2 stored."]
    monkeypatch.setattr(sys, "stdin", io.StringIO("/items/3/\n"))
    assert warm("--file=-") == ["1 page: 1 stored."]


@SITE
@pytest.mark.parametrize("arguments", [["--sitemap"], ["--sitemap", "/index.xml"]])
def test_a_sitemap(arguments: list[str]) -> None:
    assert warm(*arguments) == [
        "not stored: http://testserver/private/ (Cache-Control: private)",
        "3 pages: 2 stored, 1 not stored.",
    ]
    assert is_cached("/plain/")


@SITE
def test_several_at_once() -> None:
    urls = [f"/items/{number}/" for number in range(20)]
    assert warm(*urls, "--workers", "4") == ["20 pages: 20 stored."]
    assert is_cached("/items/19/")


@SITE
def test_host_and_headers() -> None:
    warm("/varying/", "--host", "www.example.com", "--header", "Accept: text/html")
    response = Client().get("/varying/", headers={"host": "www.example.com", "accept": "text/html"})
    assert "Age" in response.headers


@SITE
def test_errors_are_told_once_all_is_done() -> None:
    with pytest.raises(CommandError) as caught:
        warm("/nothing/", "/broken/", "/plain/")
    assert str(caught.value) == (
        "2 pages answered with an error: http://testserver/nothing/ (404), "
        "http://testserver/broken/ (500)"
    )
    assert is_cached("/plain/")


@SITE
def test_progress_is_for_whoever_looks_on() -> None:
    out, clear = Terminal(), "\x1b[K"
    call_command("viewcache", "warm", "/plain/", "/items/1/", stdout=out, stderr=io.StringIO())
    assert out.getvalue() == (
        f"\r1 of 2 pages{clear}\r2 of 2 pages{clear}\r{clear}2 pages: 2 stored.\n"
    )


@SITE
def test_without_verbosity_only_errors_are_told() -> None:
    assert warm("/plain/", "/private/", verbosity=0) == []
    with pytest.raises(CommandError, match="1 page answered with an error"):
        warm("/broken/", verbosity=0)


@SITE
def test_what_is_warmed_in_local_memory_is_gone_and_that_is_said(tmp_path: Path) -> None:
    def said() -> str:
        errors = io.StringIO()
        call_command("viewcache", "warm", "/plain/", stdout=io.StringIO(), stderr=errors)
        return errors.getvalue()

    assert "what is warmed ends with this command" in said()
    with override_settings(CACHES={"default": cache_settings("file", str(tmp_path))}):
        assert said() == ""


def test_a_site_without_languages_has_one_page_of_each() -> None:
    with override_settings(USE_I18N=False):
        assert warm("/plain/") == ["1 page: 1 stored."]


@override_settings(
    MIDDLEWARE=[*ONE_LANGUAGE, "viewcache.middleware.FetchFromCacheMiddleware"],
)
def test_a_site_that_stores_nothing_is_told_what_is_missing() -> None:
    [line, _] = warm("/plain/")
    assert line.endswith("(nothing stores it: UpdateCacheMiddleware is missing)")


@SITE
def test_a_sitemap_without_a_name_is_where_sitemaps_are() -> None:
    urls = types.ModuleType("urls_of_a_test")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("sitemap.xml", sitemap, {"sitemaps": {"all": Everything}}),
        path("<path:any>", lambda request, any: HttpResponse("page")),
    ]
    with override_settings(ROOT_URLCONF=urls):
        assert warm("--sitemap") == ["3 pages: 3 stored."]


@SITE
def test_an_index_that_leads_to_itself_is_not_followed_for_ever() -> None:
    body = "<sitemapindex><sitemap><loc>/loop.xml</loc></sitemap></sitemapindex>"
    urls = types.ModuleType("urls_of_a_test")
    urls.urlpatterns = [  # type: ignore[attr-defined]
        path("loop.xml", lambda request: HttpResponse(body, content_type="text/xml"))
    ]
    with (
        override_settings(ROOT_URLCONF=urls),
        pytest.raises(CommandError, match=r"/loop\.xml names an index of sitemaps within 3 others"),
    ):
        warm("--sitemap", "/loop.xml")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No URL was given. Give URLs, --file or --sitemap."),
        (["plain/"], "is a relative path"),
        (["http://evil.test/plain/"], "Invalid HTTP_HOST header"),
        (["http://evil.test/plain/"], "with --host where the URL names none, else in the URL"),
        (["--language", "fr", "/plain/"], "No URL was given: --language has taken '/plain/'."),
        (["/plain/", "--language", "xx"], "'xx' is not one of LANGUAGES."),
        (["/plain/", "--workers", "0"], "--workers takes"),
        (["--file", "/nowhere/at/all"], "/nowhere/at/all cannot be read"),
        (["--sitemap", "/nothing/"], "There is no sitemap at /nothing/: status 404."),
        (["--sitemap", "/private/"], "/private/ is no sitemap"),
        (["/plain/", "--header", "x"], "'x' is no header"),
    ],
)
def test_bad_input_is_one_clear_line(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        warm(*arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
