"""A piece that is made for each request, inside a page that all visitors share."""

from __future__ import annotations

import functools
import json
import logging
import sys
import types
import zlib
from collections.abc import AsyncIterator
from email.header import decode_header, make_header
from typing import Any, cast

import pytest
from django.contrib import messages
from django.core.cache import caches
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.middleware.csrf import get_token
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render
from django.template import engines
from django.template.response import TemplateResponse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import condition
from django.views.decorators.vary import vary_on_cookie
from slots import pieces
from slots.conftest import BETWEEN
from viewcache import _core, expire, slot, slots
from viewcache.decorators import cache_page
from viewcache.middleware import CacheMiddleware


def status(response: Any) -> tuple[str, str]:
    return response.visit.status, response.visit.reason


def page_with(function: Any, name: str = "piece") -> Any:
    return lambda request: HttpResponse(f"<p>{slot(request, name, function)}</p>")


# -- One page for everybody ------------------------------------------------------------------------


def test_visitors_share_a_page_and_see_their_own_pieces(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.greeting), way)
    anna, bert, nobody = served.visitor(name="Anna"), served.visitor(name="Bert"), served.visitor()
    for _ in range(2):
        assert anna.text() == "<p>Hello, Anna!</p>"
        assert bert.text() == "<p>Hello, Bert!</p>"
        assert nobody.text() == "<p>Hello, stranger!</p>"
    assert served.count == 1


@pytest.mark.parametrize("name", ["Anna", "Ελένη"])
def test_a_piece_in_a_header_is_not_shared(serve: Any, way: str, name: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        text = slot(request, "piece", pieces.greeting)
        return HttpResponse(text, headers={"X-Greeting": text})

    served = serve(view, way)
    for _ in range(2):
        response = served.visitor(name=name).get()
        assert status(response) == ("miss", "slot in a header")
        header = str(make_header(decode_header(response["X-Greeting"])))
        assert header == response.content.decode() == f"Hello, {name}!"


def test_a_stream_has_no_markers_in_its_headers(serve: Any) -> None:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        text = slot(request, "piece", pieces.greeting)
        return StreamingHttpResponse([text], headers={"X-Greeting": text})

    response = serve(view).visitor(name="Anna").get()
    assert response["X-Greeting"] == "Hello, Anna!"


TAGGED = "{% load viewcache %}<p>{% slot 'name' %}{{ request.session.name|upper }}{% endslot %}</p>"
BASE = (
    "{% load viewcache %}{% slot 'hello' %}Hello, {{ request.session.name }}{{ secret }}"
    "{% endslot %}|{% block body %}{% slot 'in block' %}base{% endslot %}{% endblock %}"
)
CHILD = (
    "{% extends 'base' %}{% load viewcache %}{% block body %}{{ block.super }},"
    "{% slot 'in block' %}{{ request.session.name }}{% endslot %}"
    "{% if 1 %}{% include 'part' %}{% endif %}{% endblock %}"
)
PART = "{% load viewcache %}{% for x in 'ab' %}{% slot 'part' %}({{ x }}){% endslot %}{% endfor %}"


@pytest.mark.parametrize("make", [render, TemplateResponse])
def test_a_tag_is_a_slot_too(serve: Any, way: str, templates: Any, make: Any) -> None:
    templates.update(base=BASE, child=CHILD, part=PART)
    served = serve(lambda request: make(request, "child", {"secret": "the view's"}), way)
    anna, bert = served.visitor(name="Anna"), served.visitor(name="<Bert>")
    for _ in range(2):
        # What stands in a slot sees the request, not what the view or a tag around says.
        assert anna.text() == "Hello, Anna|base,Anna()()"
        assert bert.text() == "Hello, &lt;Bert&gt;|base,&lt;Bert&gt;()()"
    assert served.count == 1


def test_another_process_finds_function_and_template_again(
    serve: Any, templates: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates["page"] = TAGGED
    served = serve(
        lambda request: HttpResponse(
            slot(request, "greeting", pieces.greeting)
            + engines["django"].get_template("page").render(request=request)
        )
    )
    assert served.visitor(name="Anna").text() == "Hello, Anna!<p>ANNA</p>"
    monkeypatch.delitem(slots.KINDS, "template")
    monkeypatch.setattr(slots, "import_module", functools.partial(_import_again, slots.KINDS))
    for remembered in (slots._import, slots._unsign, slots._whereabouts):
        remembered.cache_clear()
    assert served.visitor(name="Bert").text() == "Hello, Bert!<p>BERT</p>"
    assert served.count == 1


def _import_again(kinds: Any, name: str) -> Any:
    from importlib import import_module

    module = import_module(name)
    if name.endswith("templatetags.viewcache"):
        kinds["template"] = module._make
    return module


def test_text_is_escaped_unless_it_is_safe(serve: Any, way: str) -> None:
    served = serve(
        lambda request: HttpResponse(
            slot(request, "a", pieces.greeting) + slot(request, "b", pieces.safe)
        ),
        way,
    )
    visitor = served.visitor(name="<i>")
    visitor.client.cookies["name"] = "x"
    for _ in range(2):
        assert visitor.text() == "Hello, &lt;i&gt;!<b>x</b>"
    assert served.count == 1


def test_json_is_filled_as_json(serve: Any) -> None:
    served = serve(
        lambda request: JsonResponse({"a": slot(request, "a", pieces.safe), "b": ["ü", "\\z"]})
    )
    for name in ('"quoted"\\', "plain", "ümläut\n"):
        visitor = served.visitor()
        visitor.client.cookies["name"] = json.dumps(name)
        found = json.loads(visitor.text())
        assert found == {"a": f"<b>{json.dumps(name)}</b>", "b": ["ü", "\\z"]}
    assert served.count == 1


def test_a_slot_in_a_slot_is_part_of_it(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.outer), way)
    for name in ("Anna", "Bert"):
        assert served.visitor(name=name).text() == f"<p>[Hello, {name}!]</p>"
    assert served.count == 1


def test_a_piece_may_stand_twice_and_be_empty(serve: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        twice = slot(request, "greeting", pieces.greeting)
        return HttpResponse(f"{twice}{twice}{slot(request, 'empty', pieces.empty)}")

    served = serve(view)
    for name in ("Anna", "Bert"):
        assert served.visitor(name=name).text() == f"Hello, {name}!" * 2
    assert served.count == 1


def test_a_page_varies_on_what_it_reads_outside_its_slots(serve: Any, way: str) -> None:
    served = serve(
        lambda request: HttpResponse(
            slot(request, "a", pieces.greeting) + "|" + request.COOKIES.get("theme", "light")
        ),
        way,
    )
    for name in ("Anna", "Bert"):
        for theme in ("dark", "light"):
            visitor = served.visitor(name=name)
            visitor.client.cookies["theme"] = theme
            assert visitor.text() == f"Hello, {name}!|{theme}"
    assert served.count == 2


def test_the_same_cookie_in_a_slot_and_in_the_page(serve: Any) -> None:
    served = serve(
        lambda request: HttpResponse(
            slot(request, "a", pieces.theme) + "|" + request.COOKIES.get("theme", "light")
        )
    )
    for theme in ("dark", "light"):
        visitor = served.visitor()
        visitor.client.cookies["theme"] = theme
        assert visitor.text() == f"{theme}|{theme}"


def test_a_tag_in_a_slot_is_none_of_the_pages(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.tagging), way)
    for _ in range(2):
        assert served.visitor().text() == "<p>tagged</p>"
    expire(tag="mine")
    assert served.visitor().get().visit.status == "hit"


@pytest.mark.parametrize("way", ["site", "async site"])
def test_a_template_response_of_a_view_within_both_halves(
    serve: Any, templates: Any, way: str
) -> None:
    templates["page"] = "<p>{{ piece }}</p>"
    served = serve(
        lambda request: TemplateResponse(
            request, "page", {"piece": slot(request, "piece", pieces.greeting)}
        ),
        way,
        middleware=BETWEEN,
        decorate=CacheMiddleware,
    )
    for name in ("Anna", "Bert", "Anna"):
        assert served.visitor(name=name).text() == f"<p>Hello, {name}!</p>"
    assert served.count == 1


@pytest.mark.parametrize(
    "decorate", [CacheMiddleware, lambda view: cache_page(60)(CacheMiddleware(view))]
)
def test_a_slot_that_is_made_when_both_halves_have_seen_the_response(
    serve: Any, templates: Any, decorate: Any
) -> None:
    templates["page"] = TAGGED
    served = serve(
        lambda request: TemplateResponse(request, "page"), middleware=BETWEEN, decorate=decorate
    )
    for name in ("Anna", "Bert", "Anna"):
        assert served.visitor(name=name).text() == f"<p>{name.upper()}</p>"


def test_static_functions_of_a_class(serve: Any) -> None:
    served = serve(page_with(pieces.Kind.static))
    assert served.visitor().text() == served.visitor().text() == "<p>static None</p>"
    assert served.count == 1


def test_head_is_answered_from_the_page_of_get(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.greeting), way)
    assert served.visitor(name="Anna").get(method="head").status_code == 200
    assert served.visitor(name="Bert").text() == "<p>Hello, Bert!</p>"
    response = served.visitor(name="Anna").get(method="head")
    assert response.headers["Content-Length"] == str(len("<p>Hello, Anna!</p>"))


# -- What a slot leaves behind ---------------------------------------------------------------------


class LazyUser:
    """As AuthenticationMiddleware does it: the user is loaded when somebody asks for it."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        def load() -> Any:
            if not hasattr(request, "_cached_user"):
                user = type("User", (), {"lazy_name": request.session.get("name", "nobody")})
                request._cached_user = user()
            return request._cached_user

        request.user = SimpleLazyObject(load)
        return self.get_response(request)


@pytest.mark.parametrize("way", ["site", "view", "both"])
def test_a_user_that_a_slot_has_loaded_is_still_read_by_the_page(serve: Any, way: str) -> None:
    served = serve(
        lambda request: HttpResponse(
            slot(request, "user", pieces.user) + "|" + request.user.lazy_name
        ),
        way,
        between=[f"{__name__}.LazyUser"],
    )
    for name in ("Anna", "Bert", "Anna"):
        assert served.visitor(name=name).text() == f"{name}|{name}"


@pytest.mark.parametrize("storage", ["cookie.CookieStorage", "session.SessionStorage"])
@pytest.mark.parametrize("shown", ["in a slot", "by the page", "by both"])
def test_messages(serve: Any, settings: Any, storage: str, shown: str) -> None:
    settings.MESSAGE_STORAGE = f"django.contrib.messages.storage.{storage}"

    def view(request: HttpRequest) -> HttpResponse:
        parts = []
        if shown != "by the page":
            parts.append(slot(request, "messages", pieces.shown_messages))
        if shown != "in a slot":
            parts.append(str([str(item) for item in messages.get_messages(request)]))
        return HttpResponse(" ".join(parts))

    served = serve(view, between=[f"{__name__}.AddsMessages"])
    for _ in range(2):
        anna, bert = served.visitor(), served.visitor()
        anna.get("/post/?say=for-anna")
        assert "for-anna" not in bert.text()
        assert "for-anna" in anna.text()
        assert "for-anna" not in anna.text()
        assert "for-anna" not in bert.text()
    if shown == "in a slot":
        assert served.count == 1


class AddsMessages:
    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        if said := request.GET.get("say"):
            messages.info(request, said)
        return self.get_response(request)


def test_a_page_that_adds_a_message_is_not_stored(serve: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        messages.info(request, "once")
        return HttpResponse(slot(request, "messages", pieces.shown_messages))

    served = serve(view)
    for _ in range(2):
        response = served.visitor().get()
        assert response.content == b"<li>once</li>"
        assert status(response)[0] == "miss"
    assert served.count == 2


def test_a_slot_may_change_the_session(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.count_visits), way)
    anna, bert = served.visitor(name="Anna"), served.visitor()
    assert [anna.text() for _ in range(3)] == [f"<p>visit {n}</p>" for n in (1, 2, 3)]
    assert [bert.text() for _ in range(2)] == [f"<p>visit {n}</p>" for n in (1, 2)]
    assert served.count == 1


def test_a_page_that_changes_the_session_is_not_stored(serve: Any, way: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        text = slot(request, "visits", pieces.count_visits)
        request.session["page"] = 1
        return HttpResponse(text)

    served = serve(view, way)
    for _ in range(2):
        found = status(served.visitor(name="Anna").get())
        # Django sees the cookie first where the session is saved before the page is stored.
        assert found in (("miss", "session modified"), ("miss", "Set-Cookie"))


def test_a_session_that_is_saved_with_every_request(serve: Any, settings: Any) -> None:
    settings.SESSION_SAVE_EVERY_REQUEST = True
    served = serve(page_with(pieces.greeting))
    for name in ("Anna", "Bert"):
        response = served.visitor(name=name).get()
        assert response.content.decode() == f"<p>Hello, {name}!</p>"
        assert "sessionid" in response.cookies
    assert served.count == 1
    assert "sessionid" not in served.visitor().get().cookies


def test_a_token_in_a_slot(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.form), way)
    for _ in range(2):
        visitor = served.visitor()
        token = visitor.text()[3:-4]
        sent = visitor.get("/post/", "post", {"csrfmiddlewaretoken": token})
        assert sent.content == b"posted"
    assert served.count == 1


# -- What is not shared, and why -------------------------------------------------------------------


def upper(request: HttpRequest) -> HttpResponse:
    return HttpResponse(slot(request, "a", pieces.greeting).upper())


def cut_short(request: HttpRequest) -> HttpResponse:
    return HttpResponse(slot(request, "a", pieces.greeting)[:40] + "…")


def not_used(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(slot(request, "a", pieces.greeting))))


def changed(request: HttpRequest) -> HttpResponse:
    return HttpResponse(slot(request, "a", pieces.greeting).replace("Hello", "Bye"))


def in_a_script(request: HttpRequest) -> HttpResponse:
    from django.utils.html import escapejs

    return HttpResponse(f"<script>x = '{escapejs(slot(request, 'a', pieces.greeting))}'</script>")


def in_an_address(request: HttpRequest) -> HttpResponse:
    from urllib.parse import quote

    return HttpResponse(quote(slot(request, "a", pieces.greeting)))


def wide(request: HttpRequest) -> HttpResponse:
    return HttpResponse(
        slot(request, "a", pieces.greeting), content_type="text/plain; charset=utf-16"
    )


def streamed(request: HttpRequest) -> StreamingHttpResponse:
    text = f"a{slot(request, 'a', pieces.greeting)}b".encode()
    return StreamingHttpResponse(text[at : at + 7] for at in range(0, len(text), 7))


def cookie(request: HttpRequest) -> HttpResponse:
    response = page_with(pieces.greeting)(request)
    response.set_cookie("a", "1")
    return response


def private(request: HttpRequest) -> HttpResponse:
    response = page_with(pieces.greeting)(request)
    response.headers["Cache-Control"] = "private"
    return response


def missing(request: HttpRequest) -> HttpResponse:
    response = page_with(pieces.greeting)(request)
    response.status_code = 404
    return response


def with_a_nameless_template(request: HttpRequest) -> HttpResponse:
    template = engines["django"].from_string(TAGGED)
    return HttpResponse(template.render(request=request))


REFUSED = [
    (upper, "", "slot cut off or changed"),
    (cut_short, "…", "slot cut off or changed"),
    (not_used, None, "slot not found in the body"),
    (changed, "Bye, Anna!", "text of a slot changed after it was made"),
    (in_a_script, None, "text of a slot changed after it was made"),
    (in_an_address, "Hello%2C%20Anna%21", "text of a slot changed after it was made"),
    (wide, None, "slot in a body that is not UTF-8"),
    (streamed, "aHello, Anna!b", "streaming"),
    (cookie, "<p>Hello, Anna!</p>", "Set-Cookie"),
    (private, "<p>Hello, Anna!</p>", "Cache-Control: private"),
    (missing, "<p>Hello, Anna!</p>", "status 404"),
    (with_a_nameless_template, "<p>ANNA</p>", "slot 'name' that cannot be found again"),
]


@pytest.mark.parametrize(("view", "text", "why"), REFUSED, ids=lambda x: getattr(x, "__name__", ""))
def test_what_is_not_shared(
    serve: Any, way: str, templates: Any, view: Any, text: str | None, why: str
) -> None:
    served = serve(view, way)
    for _ in range(2):
        response = served.visitor(name="Anna").get()
        if text:
            assert response.body.decode() == text
        assert status(response) == ("miss", why)
    assert served.count == 2


def beside_a_token(request: HttpRequest) -> HttpResponse:
    response = page_with(pieces.greeting)(request)
    response.headers["X-Token"] = get_token(request)
    return response


@pytest.mark.parametrize("way", ["site", "async site"])
@pytest.mark.parametrize(
    ("view", "why"), [(cookie, "Set-Cookie"), (beside_a_token, "CSRF token in a header")]
)
def test_nobody_waits_for_what_a_decorator_within_has_refused(
    serve: Any, way: str, view: Any, why: str
) -> None:
    served = serve(view, way, decorate=cache_page(60, key_prefix="its own"))
    visit = served.visitor(name="Anna").get().visit
    assert [(each.status, each.reason, each.turn) for each in visit.around] == [
        ("miss", why, None),
        ("miss", why, None),
    ]
    assert not any(".t1." in key for key in cast(Any, caches["default"])._cache)


@pytest.mark.parametrize("way", ["async site", "async view"])
def test_an_async_stream_has_its_pieces(serve: Any, way: str) -> None:
    def view(request: HttpRequest) -> StreamingHttpResponse:
        text = f"a{slot(request, 'a', pieces.greeting)}b".encode()

        async def parts() -> AsyncIterator[bytes]:
            for at in range(0, len(text), 7):
                yield text[at : at + 7]

        return StreamingHttpResponse(parts())

    response = serve(view, way).visitor(name="Anna").get()
    assert response.is_async
    assert response.body == b"aHello, Anna!b"
    assert status(response) == ("miss", "streaming")


@pytest.mark.parametrize("decorate", [gzip_page])
def test_compressed_by_a_decorator_within(serve: Any, decorate: Any) -> None:
    served = serve(
        lambda request: HttpResponse(slot(request, "a", pieces.greeting) + "x" * 500),
        "view",
        decorate=decorate,
    )
    for _ in range(2):
        response = served.visitor(name="Anna").get(headers={"accept-encoding": "gzip"})
        # The markers had to be taken out, so it is sent as it is.
        assert response.content == b"Hello, Anna!" + b"x" * 500
        assert "Content-Encoding" not in response
        assert status(response) == ("miss", "slot in an encoded body")


def test_compressed_by_middleware_around(serve: Any) -> None:
    served = serve(
        lambda request: HttpResponse(slot(request, "a", pieces.greeting) + "x" * 500),
        between=["django.middleware.gzip.GZipMiddleware"],
    )
    for _ in range(2):
        response = served.visitor(name="Anna").get(headers={"accept-encoding": "gzip"})
        assert response["Content-Encoding"] == "gzip"
        assert status(response) == ("miss", "slot in an encoded body")
    # And in front of it all is where it belongs.
    served = serve(
        lambda request: HttpResponse(slot(request, "a", pieces.greeting) + "x" * 500), "view"
    )
    GZipMiddleware(lambda request: HttpResponse())
    assert status(served.visitor(name="Anna").get()) == ("stored", "")


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("identity", bytes), ("br", zlib.compress), ("br, identity", zlib.compress)],
)
def test_encoded_in_a_way_that_somebody_knows(
    serve: Any, monkeypatch: pytest.MonkeyPatch, encoding: str, encode: Any
) -> None:
    # Whoever encodes so has imported the module.
    brotli = types.SimpleNamespace(decompress=zlib.decompress)
    monkeypatch.setitem(sys.modules, "brotli", brotli)  # type: ignore[arg-type]

    def view(request: HttpRequest) -> HttpResponse:
        body = encode(slot(request, "a", pieces.greeting).encode())
        return HttpResponse(body, headers={"Content-Encoding": encoding})

    served = serve(view)
    for _ in range(2):
        response = served.visitor(name="Anna").get()
        # The markers had to be taken out, so it is sent as it is.
        assert response.content == b"Hello, Anna!"
        assert "Content-Encoding" not in response
        assert status(response) == ("miss", "slot in an encoded body")


def test_compressed_in_a_way_that_nobody_knows(serve: Any, caplog: Any) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        slot(request, "a", pieces.greeting)
        return HttpResponse(b"\x01\x02", headers={"Content-Encoding": "br"})

    served = serve(view)
    with caplog.at_level(logging.ERROR, "viewcache"):
        response = served.visitor().get()
    assert status(response) == ("miss", "slot in an encoded body")
    assert "br-encoded" in caplog.text


class Appends:
    """Middleware that changes what a view made."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        response = self.get_response(request)
        response.content += b"!"
        return response


def test_a_body_that_middleware_changes(serve: Any) -> None:
    served = serve(page_with(pieces.greeting), between=[f"{__name__}.Appends"])
    for _ in range(2):
        response = served.visitor(name="Anna").get()
        assert response.content == b"<p>Hello, Anna!</p>!"
        assert status(response) == ("miss", "body changed after its slots were made")


def test_a_response_that_is_not_the_one_with_the_slots(serve: Any) -> None:
    kept: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        kept.append(slot(request, "a", pieces.greeting))
        return HttpResponse("another")

    served = serve(view)
    assert status(served.visitor().get()) == ("miss", "slot not found in the body")


def test_vary_on_cookie_by_the_view_is_taken_at_its_word(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.greeting), way, decorate=vary_on_cookie)
    for name in ("Anna", "Bert"):
        assert served.visitor(name=name).text() == f"<p>Hello, {name}!</p>"
    assert served.count == 2


# -- Errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["site", "view", "both"])
@pytest.mark.parametrize("when", ["view", "rendering"])
def test_the_page_of_an_error_has_no_markers(
    serve: Any, way: str, templates: Any, when: str
) -> None:
    templates["404.html"] = TAGGED
    templates["broken"] = "{% load viewcache %}{{ fail }}" + TAGGED

    def fail() -> str:
        raise Http404

    def view(request: HttpRequest) -> Any:
        if when == "view":
            raise Http404
        return TemplateResponse(request, "broken", {"fail": fail})

    served = serve(view, way)
    response = served.visitor(name="Anna").get()
    assert response.status_code == 404
    assert response.content == b"<p>ANNA</p>"


def test_a_slot_that_fails_while_the_page_is_made_is_the_views_fault(serve: Any, way: str) -> None:
    pieces.fails = True
    served = serve(page_with(pieces.greeting), way)
    with pytest.raises(RuntimeError, match="no greeting"):
        served.visitor().get()
    pieces.fails = False
    assert served.visitor(name="Anna").text() == "<p>Hello, Anna!</p>"


def test_a_slot_that_fails_on_a_hit_leaves_it_to_the_view(
    serve: Any, way: str, caplog: Any
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse("down" if pieces.fails else slot(request, "a", pieces.greeting))

    served = serve(view, way)
    assert served.visitor(name="Anna").text() == "Hello, Anna!"
    pieces.fails = True
    with caplog.at_level(logging.ERROR, "viewcache"):
        assert served.visitor(name="Bert").text() == "down"
    assert "no greeting today" in caplog.text
    pieces.fails = False
    assert served.visitor(name="Bert").text() == "Hello, Bert!"
    assert served.count == 2


def test_a_slot_that_is_gone_makes_the_page_anew(serve: Any, way: str, templates: Any) -> None:
    templates["page"] = "{% load viewcache %}{% slot 'a' %}{{ request.session.name }}{% endslot %}"
    served = serve(lambda request: render(request, "page"), way)
    assert served.visitor(name="Anna").text() == "Anna"
    templates["page"] = "{% load viewcache %}{% slot 'b' %}{{ request.session.name }}{% endslot %}!"
    for name in ("Bert", "Carl"):
        assert served.visitor(name=name).text() == f"{name}!"
    assert served.count == 2


def test_only_what_slot_was_called_with_is_imported(
    serve: Any, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    served = serve(page_with(pieces.greeting))
    assert served.visitor(name="Anna").text() == "<p>Hello, Anna!</p>"
    # Somebody who can write to the cache names another function.
    real = _core.LookUp.store
    assert real is not None
    forged = slots._sign("plain\nfunction\npiece\nslots.pieces:greeting").replace(
        "slots.pieces:greeting", "os:getcwd"
    )
    with pytest.raises(slots.SlotGoneError, match="not signed"):
        slots.fillings([forged], HttpRequest())
    settings.SECRET_KEY = "another"
    assert served.visitor(name="Bert").text() == "<p>Hello, Bert!</p>"
    assert served.count == 2


def test_a_key_that_was_replaced_still_opens_what_it_has_signed(serve: Any, settings: Any) -> None:
    served = serve(page_with(pieces.greeting))
    served.visitor(name="Anna").get()
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "new", [settings.SECRET_KEY]
    assert served.visitor(name="Bert").text() == "<p>Hello, Bert!</p>"
    assert served.count == 1
    settings.SECRET_KEY_FALLBACKS = []
    assert served.visitor(name="Carl").text() == "<p>Hello, Carl!</p>"
    assert served.count == 2


def test_what_is_said_of_a_page_whose_slot_is_gone(serve: Any, settings: Any) -> None:
    settings.VIEWCACHE = {"CACHE_STATUS": True}
    served = serve(page_with(pieces.greeting))
    served.visitor(name="Anna").get()
    settings.SECRET_KEY = "another"
    said = served.visitor(name="Bert").get()["Cache-Status"]
    assert said == 'viewcache; fwd=miss; stored; detail="slot-gone"'


def test_a_record_that_was_tampered_with_is_no_page(serve: Any) -> None:
    served = serve(page_with(pieces.greeting))
    served.visitor(name="Anna").get()
    memory: Any = caches["default"]
    for key, value in list(memory._cache.items()):
        memory._cache[key] = value.replace(b"slots.pieces:greeting", b"slots.pieces:greetinG")
    assert served.visitor(name="Bert").text() == "<p>Hello, Bert!</p>"
    assert served.count == 2


# -- Who may be asked ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (lambda request: "", ValueError),
        (pieces.Kind().method, ValueError),
        (functools.partial(pieces.greeting), TypeError),
        (pieces.coroutine, TypeError),
        ("slots.pieces.greeting", TypeError),
        ([], TypeError),
        (None, TypeError),
    ],
)
def test_functions_that_cannot_be_found_again(rf: Any, function: Any, error: Any) -> None:
    with pytest.raises(error, match="slot"):
        slot(rf.get("/"), "a", function)


def test_functions_inside_another_cannot_be_found_again(rf: Any) -> None:
    def inside(request: HttpRequest) -> str:
        return ""

    with pytest.raises(ValueError, match="top of a module"):
        slot(rf.get("/"), "a", inside)


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 101, "\x00"])
def test_names(rf: Any, name: str) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        slot(rf.get("/"), name, pieces.theme)


def test_a_name_is_a_string(rf: Any) -> None:
    with pytest.raises(TypeError, match="string"):
        slot(rf.get("/"), 1, pieces.theme)  # type: ignore[arg-type]


def test_without_a_cache_it_is_what_the_function_returns(rf: Any, templates: Any) -> None:
    request = rf.get("/", headers={"cookie": "theme=<dark>"})
    assert slot(request, "a", pieces.theme) == "&lt;dark&gt;"
    templates["page"] = "{% load viewcache %}{% slot 'a' %}{{ request.path }}{% endslot %}"
    page = engines["django"].get_template("page")
    assert page.render(request=request) == "/"
    assert page.render() == ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{% slot %}{% endslot %}", "one quoted name"),
        ("{% slot name %}{% endslot %}", "one quoted name"),
        ("{% slot '' %}{% endslot %}", "one quoted name"),
        ("{% slot 'a' 'b' %}{% endslot %}", "one quoted name"),
        ("{% slot 'a' %}", "endslot"),
        ("{% slot 'a' %}{% endslot %}{% slot 'a' %}{% endslot %}", "Two slots"),
    ],
)
def test_tags_that_are_none(templates: Any, text: str, why: str) -> None:
    from django.template import TemplateSyntaxError

    with pytest.raises(TemplateSyntaxError, match=why):
        engines["django"].from_string("{% load viewcache %}" + text)


@pytest.mark.parametrize(
    "text",
    [
        "{% cache 60 side %}{% slot 'a' %}{{ request.path }}{% endslot %}{% endcache %}",
        "{% cache 60 side %}{% include 'part' %}{% endcache %}",
    ],
    ids=["itself", "included"],
)
def test_a_slot_is_not_kept_by_a_cache_of_the_template(rf: Any, templates: Any, text: str) -> None:
    from django.template import TemplateSyntaxError

    templates["part"] = "{% load viewcache %}{% slot 'a' %}{{ request.path }}{% endslot %}"
    templates["page"] = "{% load viewcache cache %}" + text
    page = engines["django"].get_template("page")
    with pytest.raises(TemplateSyntaxError, match=r"'a' stands in {% cache %}.* before the slot"):
        page.render(request=rf.get("/"))


def test_a_slot_may_have_a_cache_within(rf: Any, templates: Any) -> None:
    templates["page"] = (
        "{% load viewcache cache %}{% slot 'a' %}{% cache 60 path request.path %}"
        "{{ request.path }}{% endcache %}{% endslot %}"
    )
    assert engines["django"].get_template("page").render(request=rf.get("/a/")) == "/a/"


@pytest.mark.parametrize("own", [False, True], ids=["alone", "beside its own"])
def test_a_piece_that_code_has_kept_is_on_no_shared_page(serve: Any, way: str, own: bool) -> None:
    kept: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        if not kept:
            kept.append(slot(request, "kept", pieces.greeting))
        more = slot(request, "own", pieces.greeting) if own else ""
        return HttpResponse(f"<p>{kept[0]}</p>{more}")

    served = serve(view, way)
    anna, bert = served.visitor(name="Anna"), served.visitor(name="Bert")
    anna.get("/page/?first")
    for _ in range(2):
        response = bert.get()
        assert response.body.decode() == "<p>Hello, Anna!</p>" + "Hello, Bert!" * own
        assert int(response.headers.get("Content-Length", len(response.body))) == len(response.body)
        assert status(response) == ("miss", "slot of another request")


# -- Headers ---------------------------------------------------------------------------------------


def test_a_page_with_slots_is_not_for_shared_caches(serve: Any, way: str) -> None:
    served = serve(page_with(pieces.greeting), way)
    for name in ("Anna", "Bert", "Anna"):
        response = served.visitor(name=name).get()
        assert "private" in response["Cache-Control"]
        assert "max-age=0" in response["Cache-Control"]
        assert "Expires" not in response
        if "Content-Length" in response:
            assert int(response["Content-Length"]) == len(response.content)
    assert served.count == 1


def test_a_stale_page_with_slots_is_no_more_for_shared_caches(serve: Any, settings: Any) -> None:
    settings.VIEWCACHE = {"STALE_IF_ERROR": 300}

    def view(request: HttpRequest) -> HttpResponse:
        page = page_with(pieces.greeting)(request)
        return HttpResponse(status=503) if pieces.calls.count("greeting") > 1 else page

    served = serve(view)
    served.visitor(name="Anna").get()
    expire(path="/page/", soft=True)
    response = served.visitor(name="Bert").get()
    assert status(response) == ("stale", "stale-if-error")
    assert response.content == b"<p>Hello, Bert!</p>"
    assert {"private", "max-age=0"} <= set(response["Cache-Control"].split(", "))
    assert "Expires" not in response


def test_conditional_requests_tell_visitors_apart(serve: Any, way: str) -> None:
    served = serve(
        page_with(pieces.greeting),
        way,
        between=["django.middleware.http.ConditionalGetMiddleware"],
    )
    anna, bert = served.visitor(name="Anna"), served.visitor(name="Bert")
    tags = {name: visitor.get()["ETag"] for name, visitor in (("a", anna), ("b", bert))}
    assert tags["a"] != tags["b"]
    assert anna.get(headers={"if-none-match": tags["a"]}).status_code == 304
    assert anna.get(headers={"if-none-match": tags["b"]}).status_code == 200
    assert served.count == 1


def test_validators_of_the_view_know_nothing_of_the_slots(serve: Any) -> None:
    served = serve(
        page_with(pieces.greeting), "view", decorate=condition(lambda request: '"of the data"')
    )
    for name in ("Anna", "Bert"):
        response = served.visitor(name=name).get()
        assert "ETag" not in response
        assert response.status_code == 200
    assert served.count == 1


# -- Content-Security-Policy -----------------------------------------------------------------------

CSP = (
    "{% load viewcache %}<p>{% slot 'script' %}<script nonce='{{ csp_nonce }}'></script>"
    "{% endslot %}"
)


@pytest.mark.parametrize("way", ["site", "view"])
def test_a_nonce_in_a_slot_is_another_for_each_response(
    serve: Any, settings: Any, templates: Any, way: str
) -> None:
    csp = pytest.importorskip(
        "django.utils.csp", reason="Django 5.2 has no CSP", exc_type=ImportError
    )
    settings.SECURE_CSP = {"script-src": [csp.CSP.SELF, csp.CSP.NONCE]}
    templates.update(page=CSP, bare=CSP + "{{ csp_nonce }}")
    middleware = ["django.middleware.csp.ContentSecurityPolicyMiddleware"]
    served = serve(lambda request: render(request, "page"), way, between=middleware)
    seen = set()
    for name in ("Anna", "Bert", "Carl"):
        response = served.visitor(name=name).get()
        nonce = response.content.decode().partition("nonce='")[2].partition("'")[0]
        assert response["Content-Security-Policy"] == f"script-src 'self' 'nonce-{nonce}'"
        seen.add(nonce)
    assert len(seen) == 3
    assert served.count == 1
    caches["default"].clear()
    served = serve(lambda request: render(request, "bare"), way, between=middleware)
    for _ in range(2):
        assert status(served.visitor().get()) == ("miss", "CSP nonce in the body")


@pytest.mark.parametrize("way", ["site", "view"])
@pytest.mark.parametrize("where", ["a header", "an attribute"])
def test_a_nonce_beside_the_body_is_not_shared(
    serve: Any, settings: Any, way: str, where: str
) -> None:
    csp = pytest.importorskip(
        "django.utils.csp", reason="Django 5.2 has no CSP", exc_type=ImportError
    )
    from django.middleware.csp import get_nonce

    def view(request: HttpRequest) -> HttpResponse:
        nonce = str(get_nonce(request))
        response = HttpResponse("page")
        if where == "a header":
            response["Link"] = f"</a.js>; rel=preload; nonce={nonce}"
        else:
            response.for_middleware = nonce  # type: ignore[attr-defined]
        return response

    settings.SECURE_CSP = {"script-src": [csp.CSP.SELF, csp.CSP.NONCE]}
    middleware = ["django.middleware.csp.ContentSecurityPolicyMiddleware"]
    served = serve(view, way, between=middleware)
    for _ in range(2):
        assert status(served.visitor().get()) == ("miss", f"CSP nonce in {where}")


@pytest.mark.parametrize("way", ["site", "view"])
def test_a_nonce_that_no_page_uses_is_none_of_it(serve: Any, settings: Any, way: str) -> None:
    csp = pytest.importorskip(
        "django.utils.csp", reason="Django 5.2 has no CSP", exc_type=ImportError
    )
    settings.SECURE_CSP = {"script-src": [csp.CSP.SELF, csp.CSP.NONCE]}
    middleware = ["django.middleware.csp.ContentSecurityPolicyMiddleware"]
    served = serve(lambda request: HttpResponse("page"), way, between=middleware)
    for _ in range(2):
        response = served.visitor().get()
        assert response["Content-Security-Policy"] == "script-src 'self'"
    assert status(response) == ("hit", "")


@pytest.mark.parametrize("way", ["site", "view"])
@pytest.mark.parametrize("kind", ["csp_override", "csp_report_only_override"])
def test_a_policy_of_the_views_own_is_sent_with_every_response(
    serve: Any, settings: Any, way: str, kind: str
) -> None:
    decorators = pytest.importorskip(
        "django.views.decorators.csp", reason="Django 5.2 has no CSP", exc_type=ImportError
    )
    settings.SECURE_CSP = settings.SECURE_CSP_REPORT_ONLY = {"script-src": ["'self'"]}
    header = "Content-Security-Policy"
    if kind == "csp_report_only_override":
        header += "-Report-Only"
    served = serve(
        lambda request: HttpResponse("page"),
        way,
        between=["django.middleware.csp.ContentSecurityPolicyMiddleware"],
        decorate=getattr(decorators, kind)({"script-src": ["'none'"]}),
    )
    for _ in range(2):
        response = served.visitor().get()
        assert response[header] == "script-src 'none'"
    # Beyond the middleware it is a header as any; within, a hit would get the site's.
    expected = ("hit", "") if way == "site" else ("miss", "CSP of the view's own")
    assert status(response) == expected


@pytest.mark.parametrize("way", ["site", "view"])
@pytest.mark.parametrize("suffix", ["", "_ro"])
@pytest.mark.parametrize("has_nonce", [False, True])
def test_an_update_of_the_policy_by_django_csp_is_sent_with_every_response(
    serve: Any, way: str, suffix: str, has_nonce: bool
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        response = HttpResponse(slot(request, "script", pieces.nonce) if has_nonce else "page")
        setattr(response, f"_csp_update{suffix}", {"img-src": ["https://img.example"]})
        return response

    served = serve(view, way, between=["slots.pieces.Policies"])
    header = "Content-Security-Policy" + ("-Report-Only" if suffix else "")
    for _ in range(2):
        response = served.visitor().get()
        assert response[header].startswith("{'img-src': ['https://img.example']}")
    kept = way == "site" and not has_nonce
    assert status(response) == (("hit", "") if kept else ("miss", "CSP of the view's own"))
