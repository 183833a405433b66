"""What may be stored, and what never is."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from typing import Any

import pytest
from battery.served import Served, status
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.template import engines
from django.template.response import TemplateResponse

FORBIDDING = [
    "Private",
    "NO-STORE",
    'no-cache="x"',
    'private="Set-Cookie"',
    "max-age=0, s-maxage=600",
    "s-maxage=0, max-age=60",
    'max-age="0"',
    "max-age=1.5",
    "max-age=-1",
    "max-age",
    # Django itself cannot read it; the view's answer is sent all the same.
    'max-age="60"',
    "public, private",
    " ,, no-store ,",
]
ALLOWING = [
    "max-age=0600",
    "max-age=99999999999999999999",
    "x-private-ok",
    "my-no-store=1",
    'x="a, private"',
    "immutable, max-age=9",
]


@pytest.mark.case(46)
@pytest.mark.parametrize("value", FORBIDDING)
def test_cache_control_forbids(served: Served, value: str) -> None:
    site = served(headers={"Cache-Control": value})
    assert site.pages({}, {}) == [1, 2]


@pytest.mark.case(46)
@pytest.mark.parametrize("value", ALLOWING)
def test_cache_control_does_not_forbid(served: Served, value: str) -> None:
    site = served(headers={"Cache-Control": value})
    assert site.pages({}, {}) == [1, 1]


@pytest.mark.case(47)
@pytest.mark.parametrize("header", ["Authorization", "Proxy-Authorization"])
def test_who_says_who_they_are_gets_public_pages_only(served: Served, header: str) -> None:
    headers = {header: "Basic YTpi"}
    site = served()
    assert site.pages(headers, headers, {}, {}, headers) == [1, 2, 3, 3, 4]
    public = served(headers={"Cache-Control": "public, max-age=60"})
    assert public.pages(headers, headers, {}) == [1, 1, 1]


STATUSES = [
    201,
    202,
    203,
    204,
    206,
    300,
    301,
    302,
    304,
    307,
    400,
    401,
    403,
    404,
    410,
    429,
    500,
    503,
]


@pytest.mark.case(48)
@pytest.mark.parametrize("code", STATUSES)
def test_only_status_200_is_stored(served: Served, code: int) -> None:
    def answers(request: Any, number: int) -> HttpResponse:
        return HttpResponse(status=code, headers={"Location": "/login/", "X-Number": str(number)})

    site = served(answers)
    assert [site.get()["X-Number"] for _ in range(2)] == ["1", "2"]


@pytest.mark.case(49)
def test_a_range_is_not_the_page(served: Served) -> None:
    def ranges(request: Any, number: int) -> HttpResponse:
        if "Range" in request.headers:
            return HttpResponse(b"b", status=206, headers={"Content-Range": "bytes 0-0/4"})
        return HttpResponse(b"body")

    site = served(ranges)
    headers = {"Range": "bytes=0-0"}
    assert [site.get(headers=headers).status_code for _ in range(2)] == [206, 206]
    assert [site.get().content for _ in range(2)] == [b"body", b"body"]
    # A page answers as a whole: who asks for a part must expect that (RFC 9110 section 14.2).
    response = site.get(headers=headers)
    assert (response.status_code, response.content) == (200, b"body")


@pytest.mark.case(50)
def test_streams_are_neither_stored_nor_read(served: Served) -> None:
    pulled: list[int] = []

    def parts(number: int) -> Iterator[bytes]:
        for part in range(3):
            pulled.append(part)
            yield b"%d.%d " % (number, part)

    site = served(lambda request, number: StreamingHttpResponse(parts(number)))
    for number in (1, 2):
        response = site.get()
        assert pulled == []
        assert b"".join(response) == b"%d.0 %d.1 %d.2 " % (number, number, number)
        pulled.clear()
    files = served(lambda request, number: FileResponse(io.BytesIO(b"%d" % number)))
    assert [b"".join(files.get()) for _ in range(2)] == [b"1", b"2"]


@pytest.mark.case(51)
def test_a_template_is_stored_once_it_has_rendered(served: Served) -> None:
    steps: list[str] = []

    class Numbered:
        def __init__(self, number: int) -> None:
            self.number = number

        def __str__(self) -> str:
            if self.number == 1:
                raise RuntimeError("the first render fails")
            steps.append("rendered")
            return str(self.number)

    def answers(request: Any, number: int) -> TemplateResponse:
        template = engines["django"].from_string("{{ number }}")
        response = TemplateResponse(request, template, {"number": Numbered(number)})
        response.add_post_render_callback(lambda rendered: steps.append("called back"))
        return response

    site = served(answers)
    assert site.get().status_code == 500
    assert [site.get().content for _ in range(2)] == [b"2", b"2"]
    assert steps == ["rendered", "called back"]


@pytest.mark.case(52)
def test_what_belongs_to_one_response_is_not_kept(served: Served) -> None:
    dropped = ["Date", "Age", "Server-Timing", "Connection", "X-Hop", "Keep-Alive", "Trailer"]
    headers = dict.fromkeys(dropped, "1") | {"Connection": "X-Hop", "X-Kept": "1"}
    site = served(headers=headers)
    site.get()
    hit = site.get()
    assert status(hit)[0] == "hit"
    assert [name for name in dropped if name in hit] == ["Age"]
    assert (hit["Age"], hit["X-Kept"]) == ("0", "1")


@pytest.mark.case(52)
def test_a_nonce_in_the_body_is_for_one(served: Served) -> None:
    def answers(request: Any, number: int) -> HttpResponse:
        request._csp_nonce = f"nonce-{number}"
        return HttpResponse(f"<script nonce='{request._csp_nonce}'>")

    site = served(answers, per_site=True)
    assert len({site.get().content for _ in range(2)}) == 2


@pytest.mark.case(53)
def test_everybody_gets_an_encoding_that_they_asked_for(served: Served) -> None:
    site = served(lambda request, number: HttpResponse(f"{number} " + "text " * 200))
    site.client.handler._middleware_chain = None
    served.settings.MIDDLEWARE = ["django.middleware.gzip.GZipMiddleware"]
    for _ in range(2):
        plain = site.get()
        assert "Content-Encoding" not in plain
        packed = site.get(headers={"Accept-Encoding": "gzip"})
        assert packed["Content-Encoding"] == "gzip"
        assert gzip.decompress(packed.content) == plain.content
        assert "Accept-Encoding" in packed["Vary"]
    assert site.renders == 1


@pytest.mark.case(53)
def test_a_view_that_encodes_has_a_page_for_each_encoding(served: Served) -> None:
    def answers(request: Any, number: int) -> HttpResponse:
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return HttpResponse(gzip.compress(b"text"), headers=headers)
        return HttpResponse(b"text", headers={"Vary": "Accept-Encoding"})

    site = served(answers)
    for _ in range(2):
        assert site.get().content == b"text"
        packed = site.get(headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(packed.content) == b"text"
    assert site.renders == 2


@pytest.mark.case(54)
def test_the_protocol_makes_no_difference(served: Served) -> None:
    site = served()
    for extra in (
        {},
        {"SERVER_PROTOCOL": "HTTP/1.0"},
        {"SERVER_PROTOCOL": "HTTP/2"},
        {"HTTP_EXPECT": "100-continue"},
        {"HTTP_TE": "trailers"},
    ):
        assert site.get(**extra).content == b"1"


@pytest.mark.case(55)
@pytest.mark.parametrize("value", ["no-cache", "no-store", "max-age=0", "only-if-cached"])
def test_a_visitor_cannot_make_the_site_render(served: Served, value: str) -> None:
    site = served()
    # Without a page, "only-if-cached" would be a 504 from a cache that listens.
    headers = {"Cache-Control": value, "Pragma": "no-cache"}
    assert site.pages(headers, headers, {}) == [1, 1, 1]
