"""CSRF tokens are filled in for each visitor: what they are sent, they can send back."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import _unmask_cipher_token, get_token, rotate_token
from django.shortcuts import render
from django.template.response import TemplateResponse
from django.utils.html import escapejs
from django.views.decorators.csrf import csrf_protect, ensure_csrf_cookie
from slots import pieces
from slots.conftest import BETWEEN
from viewcache import _core
from viewcache.decorators import cache_page
from viewcache.middleware import CacheMiddleware

TOKEN = re.compile(r"[a-zA-Z0-9]{64}")
FORM = "<form method=post>{% csrf_token %}</form>"


def status(response: Any) -> tuple[str, str]:
    return response.visit.status, response.visit.reason


def sends(visitor: Any, token: str) -> bool:
    response = visitor.get("/post/", "post", {"csrfmiddlewaretoken": token})
    return bool(response.content == b"posted")


def attribute(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f'<body data-token="{get_token(request)}">')


def script(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<script>token = '{escapejs(get_token(request))}';</script>")


def in_json(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"token": get_token(request), "more": [get_token(request)]})


def form(request: HttpRequest) -> HttpResponse:
    return render(request, "form")


PLACES = [attribute, script, in_json, form]


@pytest.mark.parametrize("use_sessions", [False, True])
@pytest.mark.parametrize("view", PLACES)
def test_everybody_gets_a_token_that_is_theirs(
    serve: Any, way: str, templates: Any, settings: Any, view: Any, use_sessions: bool
) -> None:
    settings.CSRF_USE_SESSIONS = use_sessions
    templates["form"] = FORM
    served = serve(view, way)
    visitors = [served.visitor(), served.visitor(name="Anna"), served.visitor()]
    seen = set()
    for _ in range(2):
        for visitor in visitors:
            for token in TOKEN.findall(visitor.text()):
                assert sends(visitor, token)
                assert token not in seen or view is in_json
                seen.add(token)
    if use_sessions and way in ("view", "async view"):
        # Without UpdateCacheMiddleware nobody saw who used the session before the view.
        assert served.count > 1
    else:
        assert served.count == 1
    # And nobody else's.
    foreign = TOKEN.findall(visitors[0].text())[0]
    assert not sends(visitors[1], foreign)


def test_the_cookie_is_set_as_django_sets_it(serve: Any, way: str) -> None:
    served = serve(attribute, way)
    first = served.visitor().get()
    hit = served.visitor().get()
    assert status(hit)[0] == "hit"
    one, other = first.cookies["csrftoken"], hit.cookies["csrftoken"]
    assert one.value != other.value
    for name in ("path", "max-age", "samesite", "secure", "httponly", "domain"):
        assert one[name] == other[name]
    assert "Cookie" in hit["Vary"]
    assert len(_unmask_cipher_token(TOKEN.findall(hit.content.decode())[0])) == 32


def test_a_page_with_a_token_is_not_for_shared_caches(serve: Any, way: str) -> None:
    """Django says nothing of how long it may be kept, as it sets the cookie of the token."""
    served = serve(attribute, way)
    for visitor in (served.visitor(), served.visitor(), served.visitor(name="Anna")):
        assert "private" in visitor.get()["Cache-Control"].split(", ")
    assert served.count == 1


def test_a_cookie_of_a_token_is_not_for_shared_caches(serve: Any) -> None:
    served = serve(ensure_csrf_cookie(lambda request: HttpResponse("shop")), "site")
    response = served.visitor().get()
    assert "csrftoken" in response.cookies
    assert "private" in response["Cache-Control"].split(", ")


def test_each_response_is_masked_anew(serve: Any) -> None:
    served = serve(attribute)
    visitor = served.visitor()
    tokens = {TOKEN.findall(visitor.text())[0] for _ in range(5)}
    assert len(tokens) == 5
    assert len({_unmask_cipher_token(token) for token in tokens}) == 1


def test_a_rotated_token(serve: Any) -> None:
    served = serve(attribute)
    visitor = served.visitor()
    old = TOKEN.findall(visitor.text())[0]
    visitor.client.cookies["csrftoken"] = "x" * 32
    assert not sends(visitor, old)
    assert sends(visitor, TOKEN.findall(visitor.text())[0])
    assert served.count == 1


@pytest.mark.parametrize("cookie", ["short", "-" * 32, "x" * 64, "ü"])
def test_cookies_that_are_no_secret(serve: Any, cookie: str) -> None:
    served = serve(attribute)
    served.visitor().get()
    visitor = served.visitor()
    visitor.client.cookies["csrftoken"] = cookie
    token = TOKEN.findall(visitor.text())[0]
    assert sends(visitor, token)
    assert served.count == 1


def test_a_view_that_rotates_the_token_is_not_stored(serve: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        rotate_token(request)
        return HttpResponse("welcome")

    served = serve(view)
    for _ in range(2):
        assert status(served.visitor().get()) == ("miss", "CSRF cookie without a token in the body")


def test_a_cookie_without_a_token_is_not_stored(serve: Any, way: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        # As an async view calls it: the decorator knows sync views only.
        return ensure_csrf_cookie(lambda request: HttpResponse("page"))(request)

    served = serve(view, way)
    for _ in range(2):
        response = served.visitor().get()
        assert "csrftoken" in response.cookies
        assert status(response) == ("miss", "CSRF cookie without a token in the body")


def test_the_secret_itself_is_not_shared(serve: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        token = get_token(request)
        return HttpResponse(f"{token} {request.META['CSRF_COOKIE']}")

    served = serve(view)
    for _ in range(2):
        assert status(served.visitor().get())[0] == "miss"


@pytest.mark.parametrize("shows", [False, True])
def test_a_middleware_that_sets_the_cookie_itself(
    serve: Any, settings: Any, monkeypatch: pytest.MonkeyPatch, shows: bool
) -> None:
    monkeypatch.setattr(pieces.OwnDomain, "header", "X-Secret" if shows else "")
    served = serve(attribute, "site")
    settings.MIDDLEWARE = [
        "slots.pieces.OwnDomain" if "Csrf" in name else name for name in settings.MIDDLEWARE
    ]
    first, second = served.visitor(), served.visitor()
    for visitor in (first, second, first, second):
        response = visitor.get()
    assert status(response)[0] == ("miss" if shows else "hit")
    assert served.count == (4 if shows else 1)
    assert response.cookies["csrftoken"]["domain"] == "own.example.com"
    assert sends(second, TOKEN.findall(response.content.decode())[0])


@pytest.mark.parametrize("way", ["view", "site"])
def test_csrf_protect_without_the_middleware(serve: Any, settings: Any, way: str) -> None:
    served = serve(attribute, way, decorate=csrf_protect)
    settings.MIDDLEWARE = [name for name in settings.MIDDLEWARE if "Csrf" not in name]
    for _ in range(2):
        response = served.visitor().get()
        secret = response.cookies["csrftoken"].value
        assert _unmask_cipher_token(TOKEN.findall(response.content.decode())[0]) == secret


@pytest.mark.parametrize("decorate", [cache_page(60), CacheMiddleware])
def test_csrf_protect_around_what_renders_later(serve: Any, templates: Any, decorate: Any) -> None:
    templates["form"] = FORM
    served = serve(
        lambda request: TemplateResponse(request, "form"),
        decorate=lambda view: decorate(csrf_protect(view)),
        middleware=[name for name in BETWEEN if "Csrf" not in name],
    )
    secrets = set()
    for _ in range(2):
        response = served.visitor().get()
        secret = response.cookies["csrftoken"].value
        assert _unmask_cipher_token(TOKEN.findall(response.content.decode())[0]) == secret
        secrets.add(secret)
    # The cookie that the decorator sets is the visitor's, and so is that of the hit.
    assert (len(secrets), status(response)) == (2, ("hit", ""))


def test_a_compressed_page_with_a_token_is_not_shared(serve: Any) -> None:
    served = serve(
        lambda request: HttpResponse(get_token(request) + "x" * 500),
        between=["django.middleware.gzip.GZipMiddleware"],
    )
    for _ in range(2):
        response = served.visitor().get(headers={"accept-encoding": "gzip"})
        assert status(response) == ("miss", "CSRF token in an encoded body")


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


TRANSFORMED = {
    "base64": encoded,
    "base64 without its end": lambda token: encoded(token).rstrip("="),
    "base64 in a URL": lambda token: f"/logout/{encoded(token)}",
    **{
        f"base64 of JSON {start}": lambda token, start=start: encoded(
            json.dumps({"a" * start: "ü", "token": token, "more": "x" * 50})
        )
        for start in range(3)
    },
    "base64 for URLs": lambda token: base64.urlsafe_b64encode(f"ÿ~{token}?>".encode()).decode(),
    "backwards": lambda token: token[::-1],
}


@pytest.mark.parametrize("way", ["site", "async view"])
@pytest.mark.parametrize("form", TRANSFORMED)
@pytest.mark.parametrize("again", [True, False])
def test_a_token_that_was_changed_beside_one_that_was_not(
    serve: Any, way: str, form: str, again: bool
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        token = get_token(request)
        changed = TRANSFORMED[form](get_token(request) if again else token)
        return HttpResponse(f"<input value='{token}'><p data-token='{changed}'></p>")

    served = serve(view, way)
    for _ in range(2):
        reason = "CSRF token in a form that cannot be filled in"
        assert status(served.visitor().get()) == ("miss", reason)


@pytest.mark.parametrize("form", TRANSFORMED)
def test_a_token_that_was_changed_in_a_header(serve: Any, form: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        response = attribute(request)
        response["X-Token"] = TRANSFORMED[form](get_token(request))
        return response

    assert status(serve(view).visitor().get()) == ("miss", "CSRF token in a header")


def test_other_long_words_beside_a_token_do_no_harm(serve: Any) -> None:
    words = ["sha384-" + "a" * 64, "0" * 64, encoded("x" * 5000), "/" * 200, "_" * 63, "b" * 87]
    served = serve(lambda request: HttpResponse(" ".join([get_token(request), *words])))
    for _ in range(2):
        response = served.visitor().get()
    assert status(response) == ("hit", "")


def test_a_token_that_was_changed_is_not_shared(serve: Any) -> None:
    served = serve(lambda request: HttpResponse(get_token(request)[::-1]))
    for _ in range(2):
        assert status(served.visitor().get()) == ("miss", "CSRF cookie without a token in the body")


BESIDE = {
    "X-CSRFToken": lambda token: token,
    "Link": lambda token: f"</logout/?token={token}>; rel=prefetch",
    # What is not Latin-1 is encoded by Django.
    "X-Encoded": lambda token: f"Ελένη {token}",
    "Content-Security-Policy": lambda token: f"report-uri /csp/{token}",
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_token_in_a_header_is_not_shared(serve: Any, way: str, name: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        response = attribute(request)
        response[name] = BESIDE[name](get_token(request))
        return response

    served = serve(view, way)
    for _ in range(2):
        assert status(served.visitor().get()) == ("miss", "CSRF token in a header")


def test_a_token_that_the_response_carries_along_is_not_shared(serve: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        response = attribute(request)
        response.for_middleware = get_token(request)  # type: ignore[attr-defined]
        return response

    served = serve(view)
    for _ in range(2):
        assert status(served.visitor().get()) == ("miss", "CSRF token in an attribute")


@pytest.mark.parametrize("value", ["none", "=?utf-8?b?AAAAA?=", "=?what?q?a?="])
def test_a_header_of_the_page_says_nothing_of_the_token(serve: Any, value: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        response = attribute(request)
        response["X-Note"] = value
        return response

    served = serve(view)
    for _ in range(2):
        response = served.visitor().get()
    assert (status(response), response["X-Note"]) == (("hit", ""), value)


def test_a_token_and_a_slot(serve: Any, way: str) -> None:
    from slots import pieces
    from viewcache import slot

    served = serve(
        lambda request: JsonResponse(
            {"a": get_token(request), "b": slot(request, "b", pieces.greeting), "c": "x"}
        ),
        way,
    )
    for name in ("Anna", "Bert", "Carl"):
        visitor = served.visitor(name=name)
        found = json.loads(visitor.text())
        assert found["b"] == f"Hello, {name}!"
        assert sends(visitor, found["a"])
    assert served.count == 1


def test_tokens_masked_in_rust_are_djangos() -> None:
    secret = "aZ09" * 8
    tokens = {_core.mask_token(secret) for _ in range(100)}
    assert len(tokens) == 100
    assert {_unmask_cipher_token(token) for token in tokens} == {secret}
    assert _core.mask_token("short") is None
    assert _core.mask_token("-" * 32) is None
