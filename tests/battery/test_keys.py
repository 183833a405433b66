"""What a page's key is made of, and who can choose it."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import viewcache
from battery.served import Served, status
from django.http import HttpResponse

TWO = {"Vary": "X-One, X-Two"}


@pytest.mark.case(1)
def test_where_a_value_ends_is_part_of_the_key(served: Served) -> None:
    site = served(headers=TWO)
    one, other = {"X-One": "ab", "X-Two": "c"}, {"X-One": "a", "X-Two": "bc"}
    assert site.pages(one, other, one, other) == [1, 2, 1, 2]


@pytest.mark.case(2)
def test_absent_and_empty_headers_have_pages_of_their_own(served: Served) -> None:
    site = served(headers={"Vary": "X-One"})
    spelled: list[Any] = [{}, *({"X-One": value} for value in ("", "-,", "None", "-", "0"))]
    assert site.pages(*spelled, *spelled) == [1, 2, 3, 4, 5, 6] * 2


@pytest.mark.case(3)
def test_no_text_can_spell_a_key(served: Served) -> None:
    site = served(headers=TWO)
    dice = random.Random(3)
    parts = [
        "",
        "1:",
        "0:",
        ",",
        "-,",
        "3:abc,",
        "X-Two",
        ":",
        "=",
        ";",
        "h",
        "c",
        "\x7f",
        "viewcache.p1.",
    ]
    known: dict[Any, int] = {}
    for _ in range(60):
        one, two = ("".join(dice.choices(parts, k=dice.randrange(3))) for _ in range(2))
        path = "/" + "".join(dice.choices(["a", ":", "1:a,", "/"], k=2))
        response = site.get(path, headers={"X-One": one, "X-Two": two})
        assert int(response.content) == known.setdefault((path, one, two), site.renders)


STARS = [
    "*",
    " * ",
    "*, Accept",
    "Accept,*",
    ",*",
    "*,",
    "Accept, , *",
    "X_Y, *",
    "Cookie,*,Accept",
]


@pytest.mark.case(4)
@pytest.mark.parametrize("vary", STARS)
def test_a_star_is_never_stored(served: Served, vary: str) -> None:
    site = served(headers={"Vary": vary})
    assert site.pages({}, {}) == [1, 2]
    assert status(site.get())[1] == "Vary: *"


@pytest.mark.case(4)
def test_a_second_line_of_vary_cannot_be_sent(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(headers={"Vary": "Accept\r\nVary: *"}))
    assert [site.get().status_code for _ in range(2)] == [500, 500]
    assert site.renders == 2


@pytest.mark.case(5)
def test_vary_in_another_case_or_order_is_the_same(served: Served) -> None:
    spellings = itertools.cycle(
        ["cookie, COOKIE ,Cookie,Accept", "Accept,Cookie", "ACCEPT, cookie"]
    )
    site = served(
        lambda request, number: HttpResponse(str(number), headers={"Vary": next(spellings)})
    )
    visitors: list[Any] = [{"Cookie": f"a={a}", "Accept": accept} for a in "12" for accept in "xy"]
    assert site.pages(*visitors, *visitors) == [1, 2, 3, 4] * 2


@pytest.mark.case(6)
@pytest.mark.parametrize("vary", ["X_Y", "a b", "é", "日本", "x" * 1_000_000, "(x)", "a/b"])
def test_a_vary_that_names_no_header_is_not_stored(served: Served, vary: str) -> None:
    site = served(headers={"Vary": vary})
    assert site.pages({}, {}) == [1, 2]
    assert status(site.get())[1].startswith("Vary")


@pytest.mark.case(6)
def test_a_header_that_nobody_sends_does_no_harm(served: Served) -> None:
    site = served(headers={"Vary": "X-Nobody-Sends-This"})
    assert site.pages({}, {}, {"X-Nobody-Sends-This": "1"}, {}) == [1, 1, 2, 1]


UNKEYED = [
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-For",
    "Forwarded",
    "X-Original-URL",
    "X-Rewrite-URL",
    "X-Host",
]


def shows_where_it_is(request: Any, number: int) -> HttpResponse:
    return HttpResponse(f"{request.build_absolute_uri()} {number}")


@pytest.mark.case(7)
@pytest.mark.parametrize("header", UNKEYED)
def test_headers_of_proxies_that_django_ignores_poison_nothing(served: Served, header: str) -> None:
    site = served(shows_where_it_is)
    for value in ("evil.example", "https", "/evil"):
        assert site.get(headers={header: value}).content == b"http://testserver/page/ 1"


@pytest.mark.case(7, 10)
def test_those_that_django_follows_are_in_the_key(served: Served) -> None:
    served.settings.USE_X_FORWARDED_HOST = True
    served.settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    served.settings.ALLOWED_HOSTS = ["*"]
    site = served(shows_where_it_is)
    for host, scheme in itertools.product(["one.example", "two.example"], ["http", "https"]):
        for _ in range(2):
            headers = {"X-Forwarded-Host": host, "X-Forwarded-Proto": scheme}
            body = site.get(headers=headers).content.decode()
            assert body.startswith(f"{scheme}://{host}/page/ ")
    assert site.renders == 4


@pytest.mark.case(7)
def test_the_script_name_is_part_of_the_path(served: Served) -> None:
    site = served(shows_where_it_is)
    for prefix in ("", "/one", "/two", "", "/one"):
        body = site.get(SCRIPT_NAME=prefix).content.decode()
        assert body.startswith(f"http://testserver{prefix}/page/ ")
    assert site.renders == 3


@pytest.mark.case(10)
def test_a_page_of_before_the_switch_is_not_taken_for_another_hosts(served: Served) -> None:
    served.settings.ALLOWED_HOSTS = ["*"]
    site = served(shows_where_it_is)
    headers = {"Host": "one.example", "X-Forwarded-Host": "two.example"}
    for forwarded, host in [(True, "two"), (False, "one"), (True, "two")]:
        served.settings.USE_X_FORWARDED_HOST = forwarded
        assert site.get(headers=headers).content.decode().startswith(f"http://{host}.example/")


@pytest.mark.case(8)
def test_spellings_of_one_host_are_one(served: Served) -> None:
    served.settings.ALLOWED_HOSTS = ["*"]
    site = served()
    hosts = ["example.com", "EXAMPLE.com", "example.com:80"]
    assert site.pages(*({"Host": host} for host in hosts)) == [1, 1, 1]
    others = [
        "example.com:443",
        "example.com.",
        "xn--exmple-cua.com",
        "[::1]",
        "[::1]:8000",
        "1.2.3.4",
    ]
    assert site.pages(*({"Host": host} for host in others)) == [2, 3, 4, 5, 6, 7]
    secure = [site.get(secure=True, headers={"Host": host}) for host in ("a.b", "A.b:443")]
    assert [response.content for response in secure] == [b"8", b"8"]


@pytest.mark.case(8)
def test_a_host_that_is_not_allowed_is_refused_first(served: Served) -> None:
    served.settings.ALLOWED_HOSTS = ["good.example"]
    site = served()
    for host in ("evil.example", "good.example.evil", "good.example:x", "[::1]"):
        assert site.get(headers={"Host": host}).status_code == 400
    assert site.renders == 0
    assert site.is_cached(headers={"Host": "GOOD.example"})
    # Whoever expires need not be allowed anything.
    viewcache.expire(path="http://evil.example/page/")
    assert site.pages({"Host": "good.example"}) == [2]


@pytest.mark.case(9)
@pytest.mark.parametrize("host", ["a,b", "a, b", "a b", "a\tb", "a\0b", "a\r\nb", "a/b", "a@b", ""])
def test_a_host_that_is_none(served: Served, host: str) -> None:
    served.settings.ALLOWED_HOSTS = ["*"]
    site = served()
    assert [site.get(HTTP_HOST=host).status_code for _ in range(2)] == [400, 400]
    assert site.renders == 0
    assert site.pages({"Host": "good.example"}, {"Host": "good.example"}) == [1, 1]


@pytest.mark.case(11)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_request_with_a_body_is_nobodys_twin(served: Served, method: str) -> None:
    site = served()
    assert site.pages({}) == [1]
    for _ in range(2):
        response = site.get(method=method, data=b"name=evil")
        assert status(response) == ("bypass", "request body")
    assert site.renders == 3
    assert site.pages({}) == [1]


@pytest.mark.case(12)
def test_head_and_get_in_either_order(served: Served) -> None:
    site = served(
        lambda request, number: HttpResponse(f"body {number}"),
        per_site=True,
        middleware=["django.middleware.common.CommonMiddleware"],
    )
    head = site.get(method="HEAD")
    assert (head.content, head["Content-Length"]) == (b"", "6")
    assert site.get().content == b"body 2"
    head = site.get(method="HEAD")
    assert (head.content, head["Content-Length"], status(head)[0]) == (b"", "6", "hit")
    assert site.get().content == b"body 2"


@pytest.mark.case(13)
@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND", "TRACE", "QUERY"]
)
def test_other_methods_are_past_the_cache(served: Served, method: str) -> None:
    site = served()
    assert site.pages({}) == [1]
    for _ in range(2):
        assert status(site.get(method=method)) == ("bypass", "method")
    assert site.pages({}) == [1]


@pytest.mark.case(13)
def test_a_method_in_lower_case_is_what_django_makes_of_it(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(f"{request.method} {number}"))
    # WSGI requests are folded before any code of ours sees them, so the view sees GET, too.
    assert [site.get(method=method).content for method in ("get", "GET")] == [b"GET 1", b"GET 1"]


@pytest.mark.case(15)
def test_vary_on_origin_splits(served: Served) -> None:
    def allows(request: Any, number: int) -> HttpResponse:
        origin = request.headers.get("Origin", "")
        return HttpResponse(
            origin, headers={"Access-Control-Allow-Origin": origin, "Vary": "Origin"}
        )

    site = served(allows)
    for origin in ["https://a.example", "https://b.example"] * 2:
        response = site.get(headers={"Origin": origin})
        assert response["Access-Control-Allow-Origin"] == origin == response.content.decode()
    assert site.renders == 2


@pytest.mark.case(16)
def test_an_entry_that_was_swapped_is_a_miss(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(request.path))
    one, other = site.get("/one/"), site.get("/two/")
    keys = [site.keys(response) for response in (one, other)]
    cache = site.backend.cache
    for kind in ("page", "recipe"):
        found = [cache.get(each[kind]) for each in keys]
        cache.set(keys[0][kind], found[1], 600)
        cache.set(keys[1][kind], found[0], 600)
    for path in ("/one/", "/two/", "/one/"):
        assert site.get(path).content.decode() == path


@pytest.mark.case(17)
def test_a_record_of_another_version_is_a_miss(served: Served) -> None:
    site = served()
    for version in (b"0", b"2", b"9", b"\0"):
        response = site.get()
        keys, number = site.keys(response), int(response.content)
        for kind in ("page", "recipe"):
            record = site.backend.cache.get(keys[kind])
            if record[3:4] == version:
                continue  # its own
            site.backend.cache.set(keys[kind], record[:3] + version + record[4:], 600)
            number += 1
            assert site.pages({}, {}) == [number, number]


@pytest.mark.case(17)
def test_two_releases_do_not_share_pages_and_an_expiry_reaches_both(served: Served) -> None:
    site = served()
    for release, number in [("1", 1), ("2", 2), ("1", 1), ("2", 2)]:
        served.settings.VIEWCACHE = {"RELEASE": release}
        assert site.pages({}) == [number]
    viewcache.expire(path="/page/")
    for release, number in [("1", 3), ("2", 4)]:
        served.settings.VIEWCACHE = {"RELEASE": release}
        assert site.pages({}) == [number]
