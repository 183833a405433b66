"""Pages are told apart by what they read, and shared by everybody else."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client
from django.urls import path
from django.views.decorators.vary import vary_on_cookie, vary_on_headers
from viewcache import pipeline
from viewcache.decorators import cache_page

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"
SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
WAYS = ["site", "view", "both", "async site", "async view"]


class Early:
    """Middleware of the site that reads a cookie, and tells the view what came of it."""

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        request.theme = request.COOKIES.get("theme", "light")
        return self.get_response(request)


@pytest.fixture
def serve(settings: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    settings.USE_I18N = False
    settings.VIEWCACHE = {}
    settings.DEBUG = False

    def serve(
        respond: Any, way: str = "site", *, between: list[str] | None = None, decorate: Any = None
    ) -> Any:
        calls: list[str] = []

        def view(request: HttpRequest, **kwargs: Any) -> Any:
            calls.append(request.path)
            return respond(request)

        async def aview(request: HttpRequest, **kwargs: Any) -> Any:
            calls.append(request.path)
            return respond(request)

        made: Any = aview if "async" in way else view
        if decorate is not None:
            made = decorate(made)
        if "site" not in way:
            made = cache_page(60)(made)
        module = types.ModuleType("urls_of_a_test")
        module.urlpatterns = [path("<path:any>", made)]  # type: ignore[attr-defined]
        settings.ROOT_URLCONF = module
        inner = [SESSION, *(between or [])]
        per_site = way in ("site", "both", "async site")
        settings.MIDDLEWARE = [UPDATE, *inner, FETCH] if per_site else inner

        def get(cookie: str = "", method: str = "get") -> Any:
            client: Any = AsyncClient() if "async" in way else Client()
            for name, _, value in (pair.partition("=") for pair in cookie.split("; ") if pair):
                client.cookies[name] = value
            send = getattr(client, method)
            send = async_to_sync(send) if "async" in way else send
            response = send("/page/")
            response.visit = pipeline.visit_of(
                getattr(response, "wsgi_request", None) or response.asgi_request
            )
            return response

        get.calls = calls  # type: ignore[attr-defined]
        return get

    yield serve
    sys.modules.pop("urls_of_a_test", None)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shows(*names: str) -> Any:
    return lambda request: HttpResponse("|".join(request.COOKIES.get(name, "-") for name in names))


def test_cookies_that_nobody_reads_do_not_matter(serve: Any, way: str) -> None:
    get = serve(shows("theme"), way)
    for number in range(5):
        for theme in ("dark", "light"):
            cookie = f"_ga={number}; theme={theme}; sessionid=s{number}; csrftoken={number}"
            assert get(cookie).content == theme.encode()
    assert len(get.calls) == 2


def test_a_second_cookie_that_is_read_for_some_values_of_the_first(serve: Any, way: str) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        if request.COOKIES.get("plan") == "pro":
            return HttpResponse("pro " + request.COOKIES.get("team", "-"))
        return HttpResponse("free")

    get = serve(view, way)
    expected = {
        "plan=free; team=a": b"free",
        "plan=free; team=b": b"free",
        "plan=pro; team=a": b"pro a",
        "team=b; plan=pro": b"pro b",
        "plan=pro": b"pro -",
        "": b"free",
    }
    for _ in range(3):
        for cookie, body in expected.items():
            assert get(cookie).content == body
    # Free users of one team, who came when the page did not depend on it yet, are made once more.
    assert len(get.calls) <= 7
    seen = len(get.calls)
    for cookie, body in expected.items():
        assert get(cookie).content == body
    assert len(get.calls) == seen


def test_vary_on_cookie_with_no_read_is_the_whole_header(serve: Any, way: str) -> None:
    for decorate in (vary_on_cookie, vary_on_headers("Cookie")):
        get = serve(lambda request: HttpResponse("x"), way, decorate=decorate)
        for number in range(3):
            assert get(f"a={number}").visit.status in ("stored", "hit")
            assert get(f"a={number}").visit.status == "hit"


def test_what_early_middleware_reads_counts(serve: Any) -> None:
    get = serve(
        lambda request: HttpResponse(request.theme),  # type: ignore[attr-defined]
        between=[f"{__name__}.Early"],
    )
    for number in range(3):
        for theme in ("dark", "light"):
            assert get(f"theme={theme}; _ga={number}").content == theme.encode()
    assert len(get.calls) == 2


def test_a_view_alone_that_varies_on_cookies_read_before_it(serve: Any) -> None:
    # The decorator comes after middleware that has read a cookie unseen; the view says so.
    get = serve(
        lambda request: HttpResponse(request.theme + request.COOKIES.get("a", "")),
        "view",
        between=[f"{__name__}.Early"],
        decorate=vary_on_cookie,
    )
    for theme in ("dark", "light", "dark"):
        assert get(f"theme={theme}").content == theme.encode()


def test_a_session_counts_when_it_is_used(serve: Any, way: str) -> None:
    unused = serve(lambda request: HttpResponse("x"), way)
    for number in range(3):
        unused(f"sessionid={number}")
    assert len(unused.calls) == 1


#: What the middleware of these packages asks of each request.
OF_PACKAGES = {
    "hijack.middleware": """
        def process_response(self, request, response):
            assert not request.session.is_empty() and request.session.get("hijack_history") is None
            return super().process_response(request, response)
    """,
    "qsessions.middleware": """
        def process_request(self, request):
            request.session = self.SessionStore(request.COOKIES.get("sessionid"))
    """,
}
OF_PACKAGES["user_sessions.middleware"] = OF_PACKAGES["qsessions.middleware"]


@pytest.mark.parametrize("name", OF_PACKAGES)
def test_what_a_known_package_asks_of_every_session_does_not_count(
    serve: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    module = types.ModuleType(name)
    base = "from django.contrib.sessions.middleware import SessionMiddleware\n\n"
    exec(f"{base}class Middleware(SessionMiddleware):{OF_PACKAGES[name]}", vars(module))
    monkeypatch.setitem(sys.modules, name, module)
    for view, renders in (
        (lambda request: HttpResponse("x"), 1),
        (lambda request: HttpResponse(request.session.session_key), 3),
    ):
        get = serve(view, between=[f"{name}.Middleware"])
        caches["default"].clear()
        for number in range(3):
            get(f"sessionid=session{number}")
        assert len(get.calls) == renders


@pytest.mark.parametrize("use", ["get", "session_key", "accessed"])
def test_a_used_session_tells_visitors_apart(serve: Any, way: str, use: str) -> None:
    def view(request: Any) -> HttpResponse:
        if use == "get":
            request.session.get("name")
        elif use == "session_key":
            return HttpResponse(request.session.session_key)
        elif request.session.accessed:
            raise AssertionError("nobody did")
        return HttpResponse("x")

    get = serve(view, way)
    for number in range(3):
        assert get(f"sessionid=session{number}").status_code == 200
    assert len(get.calls) == (1 if use == "accessed" else 3)


@pytest.mark.parametrize("cookie", ["", "a=1"])
def test_json_of_no_cookies_is_not_everybodys(serve: Any, way: str, cookie: str) -> None:
    import json

    get = serve(lambda request: HttpResponse(json.dumps(request.COOKIES)), way)
    assert get(cookie).content == json.dumps(dict([cookie.split("=")] if cookie else [])).encode()
    assert get("b=2").content == b'{"b": "2"}'


def test_head_reads_as_get_does(serve: Any, way: str) -> None:
    get = serve(shows("theme"), way)
    get("theme=dark", "head")
    assert get("theme=light").content == b"light"
    assert get("theme=dark").content == b"dark"


def test_other_methods_are_not_watched(serve: Any) -> None:
    get = serve(lambda request: HttpResponse(type(request.COOKIES).__name__))
    assert get("a=1", "post").content == b"dict"


# -- Django REST framework -------------------------------------------------------------------------


@pytest.fixture
def rest(settings: Any) -> Any:
    settings.REST_FRAMEWORK = {
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PERMISSION_CLASSES": [],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    }
    return pytest.importorskip("rest_framework")


@pytest.mark.parametrize("kind", ["APIView", "ViewSet"])
@pytest.mark.parametrize("per_site", [True, False])
def test_rest_framework(rest: Any, serve: Any, settings: Any, kind: str, per_site: bool) -> None:
    import viewcache
    from reads import rest_pieces
    from rest_framework.response import Response
    from rest_framework.views import APIView
    from rest_framework.viewsets import ViewSet

    calls = []

    def answer(self: Any, request: Any) -> Any:
        calls.append(1)
        viewcache.tag(request, "answers")
        return Response(
            {
                "theme": request.COOKIES.get("theme"),
                "name": viewcache.slot(request, "name", rest_pieces.name),
            }
        )

    if kind == "APIView":
        view = type("Answers", (APIView,), {"get": answer}).as_view()
    else:
        view = type("Answers", (ViewSet,), {"list": answer}).as_view({"get": "list"})
    serve(lambda request: HttpResponse())
    module = types.ModuleType("urls_of_a_test")
    made = view if per_site else cache_page(60)(view)
    module.urlpatterns = [path("<path:any>", lambda request, any: made(request))]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = module
    settings.MIDDLEWARE = [UPDATE, SESSION, FETCH] if per_site else [SESSION]
    for number in range(3):
        for theme in ("dark", "light"):
            cookie = f'theme={theme}; name=n"{number}; _ga={number}'
            found = Client().get("/page/", headers={"cookie": cookie})
            assert found.json() == {"theme": theme, "name": f"n&quot;{number}"}
    assert len(calls) == 2
    viewcache.expire(tag="answers")
    Client().get("/page/", headers={"cookie": "theme=dark"})
    assert len(calls) == 3
