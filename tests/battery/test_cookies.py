"""Cookies: how they are read, and whose they are."""

from __future__ import annotations

import random
from typing import Any

import pytest
import viewcache
from asgiref.sync import async_to_sync
from battery.served import Served, status
from django.http import HttpResponse, parse_cookie
from django.middleware.csrf import _does_token_match, get_token
from django.test import AsyncRequestFactory, RequestFactory

SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
CSRF = "django.middleware.csrf.CsrfViewMiddleware"
SIGNED = "django.contrib.sessions.backends.signed_cookies"


def shows_all(request: Any, number: int) -> HttpResponse:
    # One page is for all orders of the same cookies.
    return HttpResponse(repr(sorted(request.COOKIES.items())))


def shows_two(request: Any, number: int) -> HttpResponse:
    return HttpResponse(repr([request.COOKIES.get("a"), request.COOKIES.get("")]))


PARTS = [
    "a=1",
    "a=2",
    "b=3",
    "a=",
    "=a",
    "a",
    "",
    " ",
    "foo",
    "=bar",
    "a=b=c",
    " a = 1 ",
    "A=1",
    'a="x y"',
    'a="\\073"',
    '"a;b"',
    'a="1',
    "a=1,b=2",
    "a=%31",
    "a=\t1",
    "\x1fa=1\x85",
    "$Version=1",
]


@pytest.mark.case(35, 36, 37)
@pytest.mark.parametrize("shows", [shows_all, shows_two])
def test_everybody_sees_what_django_reads_of_their_cookies(served: Served, shows: Any) -> None:
    site = served(shows)
    dice = random.Random(35)
    for _ in range(80):
        header = ";".join(dice.choices(PARTS, k=dice.randrange(1, 5)))
        # WSGI hands over bytes as Latin-1; Django reads them as UTF-8.
        read = parse_cookie(header.encode("latin-1").decode(errors="replace"))
        expected = repr(
            sorted(read.items()) if shows is shows_all else [read.get("a"), read.get("")]
        )
        assert site.get(HTTP_COOKIE=header).content.decode() == expected, header


@pytest.mark.case(35)
def test_the_last_of_its_name_counts(served: Served) -> None:
    site = served(shows_two)
    one, other = {"Cookie": "a=1; a=2"}, {"Cookie": "a=2; a=1"}
    bodies = [site.get(headers=headers).content for headers in (one, other, one, {"Cookie": "a=2"})]
    assert bodies == [b"['2', None]", b"['1', None]", b"['2', None]", b"['2', None]"]


RAW = [
    b"a=1",
    b"a=1\x85",
    b"a\x85=2; a=1",
    b"a\xc2\xa0=2; a=1",
    b"a=1; a\xc2\xa0=2",
    b"a=\xc3",
    b"a=\xc3\xa0",
    b"a=\xe9",
    b"a=\xff",
    b"a=\xfe",
    "a=日本".encode(),
    "é=1".encode(),
    "é=2".encode(),
    b"\xff=1",
    b"\xe3\x80\x80a=3",
]


def shows_some(request: Any, number: int) -> HttpResponse:
    return HttpResponse(repr([request.COOKIES.get(name) for name in ("a", "é", "")]))


def shows_header(request: Any, number: int) -> HttpResponse:
    # Nor does the space around them count.
    return HttpResponse(repr(sorted(map(str.strip, request.META["HTTP_COOKIE"].split(";")))))


@pytest.mark.case(38)
@pytest.mark.parametrize("shows", [shows_all, shows_some, shows_header])
@pytest.mark.parametrize("protocol", ["wsgi", "wsgi with bytes in the query", "asgi"])
def test_bytes_in_cookies(served: Served, shows: Any, protocol: str) -> None:
    """The key follows what Django shows the view, which WSGI and ASGI read in another way."""
    site = served(shows)
    if protocol == "asgi":
        client = served.asynchronous()

        @async_to_sync
        async def get(header: str) -> Any:
            return await client.get("/page/", headers={"cookie": header})

    else:
        # With such a query a request is read here, and not in the core.
        query = "q=\xc3\xa9" if "query" in protocol else ""

        def get(header: str) -> Any:
            return site.get(HTTP_COOKIE=header, QUERY_STRING=query)

    for header in [raw.decode("latin-1") for raw in RAW] * 2:
        asked = RequestFactory().get("/", HTTP_COOKIE=header)
        if protocol == "asgi":
            asked = AsyncRequestFactory().get("/", headers={"cookie": header})
        assert get(header).content == shows(asked, 0).content, header
    assert site.renders <= len(RAW)


@pytest.mark.case(38)
def test_the_key_of_django_tells_bytes_apart(served: Served) -> None:
    keys = set()
    for raw in RAW:
        request = RequestFactory().get("/", HTTP_COOKIE=raw.decode("latin-1"))
        response = HttpResponse(headers={"Vary": "Cookie"})
        keys.add(viewcache.learn_cache_key(request, response, 60, "", served.backend.cache))
    assert len(keys) == len(RAW)


@pytest.mark.case(39)
def test_analytics_cost_no_page(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(request.COOKIES.get("theme", "")))
    dice = random.Random(39)
    for number in range(60):
        theme = dice.choice(["dark", "light"])
        cookies = [
            f"theme={theme}",
            f"_ga=GA1.{number}",
            f"_fbp=fb.{number}",
            f"__cf_bm={number}",
            f"djdt={number}",
        ]
        dice.shuffle(cookies)
        assert site.get(headers={"Cookie": "; ".join(cookies)}).content.decode() == theme
    assert site.renders == 2


@pytest.mark.case(40)
def test_names_are_told_apart_by_case_and_prefix(served: Served) -> None:
    names = ["SessionID", "sessionid", "__Host-sid", "sid", "__Secure-sid"]

    def shows(request: Any, number: int) -> HttpResponse:
        return HttpResponse(repr([request.COOKIES.get(name) for name in names]))

    site = served(shows)
    bodies = {site.get(headers={"Cookie": f"{name}=1"}).content for name in names}
    assert len(bodies) == site.renders == len(names)


@pytest.mark.case(41)
def test_everybody_has_their_own_csrf_token(served: Served) -> None:
    site = served(
        lambda request, number: HttpResponse(f"<input value='{get_token(request)}'>{number}"),
        per_site=True,
        middleware=[CSRF],
    )
    visitors = [site.client, *(type(site.client)() for _ in range(3))]
    for _ in range(2):
        for visitor in visitors:
            site.client = visitor
            token = site.get().content.split(b"'")[1].decode()
            secret = visitor.cookies["csrftoken"].value
            assert _does_token_match(token, secret)
            for other in visitors:
                if other is not visitor and "csrftoken" in other.cookies:
                    assert not _does_token_match(token, other.cookies["csrftoken"].value)
    assert site.renders == 1


@pytest.mark.case(42)
@pytest.mark.parametrize("every", [False, True])
def test_nobody_is_sent_another_visitors_session(served: Served, every: bool) -> None:
    served.settings.SESSION_ENGINE = SIGNED
    served.settings.SESSION_SAVE_EVERY_REQUEST = every

    def shows(request: Any, number: int) -> HttpResponse:
        if name := request.GET.get("login"):
            request.session["name"] = name
            return HttpResponse("welcome", headers={"Cache-Control": "private"})
        return HttpResponse(request.session.get("name", "nobody"))

    site = served(shows, per_site=True, middleware=[SESSIONS])
    visitors = {name: type(site.client)() for name in ("ann", "bob", "nobody")}
    for name in ("ann", "bob"):
        site.client = visitors[name]
        site.get(f"/login/?login={name}")
    mine = {
        name: {visitor.cookies["sessionid"].value}
        for name, visitor in visitors.items()
        if visitor.cookies
    }
    for _ in range(3):
        for name, visitor in visitors.items():
            site.client = visitor
            response = site.get()
            assert response.content.decode() == name
            if sent := response.cookies.get("sessionid"):
                mine[name].add(sent.value)
                assert not any(sent.value in seen for other, seen in mine.items() if other != name)


@pytest.mark.case(43)
@pytest.mark.parametrize("cookie", [None, "b=1", "a=1", "a=2; b=1"])
def test_a_response_that_sets_a_cookie_is_for_one(served: Served, cookie: str | None) -> None:
    def sets(request: Any, number: int) -> HttpResponse:
        response = HttpResponse(str(number))
        response.set_cookie("a", str(number))
        return response

    site = served(sets)
    headers = {"Cookie": cookie} if cookie else {}
    assert site.pages(headers, headers, {}) == [1, 2, 3]
    assert status(site.get(headers=headers))[1] == "Set-Cookie"


@pytest.mark.case(44)
def test_a_message_is_shown_to_one_once(served: Served) -> None:
    from django.contrib import messages

    served.settings.SESSION_ENGINE = SIGNED
    served.settings.MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"

    def shows(request: Any, number: int) -> HttpResponse:
        if name := request.GET.get("add"):
            messages.info(request, f"hello {name}")
            return HttpResponse("added")
        return HttpResponse(" ".join(map(str, messages.get_messages(request))) or "none")

    site = served(shows, per_site=True, middleware=[SESSIONS, MESSAGES])
    ann, bob = site.client, type(site.client)()
    site.get("/?add=ann")
    site.client = bob
    assert site.get().content == b"none"
    site.client = ann
    assert [site.get().content for _ in range(2)] == [b"hello ann", b"none"]
    site.client = bob
    assert site.get().content == b"none"
