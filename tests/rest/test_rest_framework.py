"""Django REST framework: views, actions, negotiated renderings, authentication."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import viewcache
from blog.models import Author
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import include, path
from django.utils import timezone
from django.utils.decorators import method_decorator
from viewcache.decorators import cache_page
from viewcache.mixins import CacheMixin
from viewcache.visit import visit_of

pytest.importorskip("rest_framework")
from rest_framework import authentication, permissions, renderers, serializers, throttling, viewsets
from rest_framework.decorators import action, api_view, renderer_classes
from rest_framework.exceptions import NotFound
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView

pytestmark = pytest.mark.django_db(transaction=True)


class Text(renderers.BaseRenderer):  # type: ignore[misc]
    media_type = "text/plain"
    format = "txt"

    def render(self, data: Any, *args: Any, **kwargs: Any) -> bytes:
        return repr(data).encode()


def test_a_request_around_djangos_has_the_keys_of_django() -> None:
    from django.utils import cache as django_cache
    from rest_framework.request import Request

    class Around:
        def __init__(self, request: Any) -> None:
            self._request = request

        def __getattr__(self, name: str) -> Any:
            return getattr(self._request, name)

    request = RequestFactory().get("/a/?b=c", headers={"accept": "text/x"})
    response = HttpResponse(headers={"Vary": "Accept"})
    for kind in (Request, Around):
        learnt = viewcache.learn_cache_key(kind(request), response)
        assert learnt == django_cache.learn_cache_key(kind(request), response)
        found = viewcache.get_cache_key(kind(request))
        assert found == django_cache.get_cache_key(kind(request)) == learnt
    none: Any = None
    assert viewcache.get_cache_key(request, method=none) == django_cache.get_cache_key(
        request, method=none
    )


class Counted:
    count = 0

    @classmethod
    def next(cls) -> int:
        cls.count += 1
        return cls.count


class Plain(APIView):  # type: ignore[misc]
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (renderers.JSONRenderer, Text)

    @method_decorator(cache_page(600))
    def dispatch(self, *args: Any, **kwargs: Any) -> Any:
        return super().dispatch(*args, **kwargs)

    def get(self, request: Any, **kwargs: Any) -> Response:
        return Response({"n": Counted.next(), "q": request.query_params.get("q")})

    def post(self, request: Any, **kwargs: Any) -> Response:
        return Response({"n": Counted.next()})


class OnMethod(Plain):
    """As DRF's own documentation decorates."""

    dispatch = APIView.dispatch

    @method_decorator(cache_page(600))
    def get(self, request: Any, **kwargs: Any) -> Response:
        viewcache.tag(request, "t")
        return Response({"n": Counted.next()})


class Ending(OnMethod):
    """A page that is over at a moment which the view names."""

    @method_decorator(cache_page(600))
    def get(self, request: Any, **kwargs: Any) -> Response:
        viewcache.expires_at(request, timezone.now() - timedelta(seconds=1))
        return Response({"n": Counted.next()})


class Mixed(CacheMixin, APIView):  # type: ignore[misc]
    cache_timeout = 600
    renderer_classes = (renderers.JSONRenderer,)
    authentication_classes = (authentication.SessionAuthentication,)
    permission_classes = ()

    def get(self, request: Any, **kwargs: Any) -> Response:
        viewcache.tag(request, "t")
        if kwargs.get("missing"):
            raise NotFound
        return Response({"n": Counted.next()})


class Private(Plain):
    """Who asks is part of the answer."""

    authentication_classes = (
        authentication.BasicAuthentication,
        authentication.SessionAuthentication,
    )
    permission_classes = (permissions.IsAuthenticated,)

    def get(self, request: Any, **kwargs: Any) -> Response:
        return Response({"n": Counted.next(), "user": request.user.username})


class Serializer(serializers.ModelSerializer):  # type: ignore[misc]
    class Meta:
        model = Author
        fields = ("name", "slug")


class Authors(CacheMixin, viewsets.ModelViewSet):  # type: ignore[misc]
    """A whole API of a model."""

    cache_timeout = 600
    queryset = Author.objects.order_by("pk")
    serializer_class = Serializer
    renderer_classes = (renderers.JSONRenderer, renderers.BrowsableAPIRenderer)
    authentication_classes = ()
    permission_classes = ()

    @action(detail=True)
    def shout(self, request: Any, pk: Any = None) -> Response:
        return Response(self.get_object().name.upper())


class Throttled(Plain):
    class Once(throttling.BaseThrottle):  # type: ignore[misc]
        def allow_request(self, request: Any, view: Any) -> bool:
            return bool(Counted.count < 100)

    throttle_classes = (Once,)


@cache_page(600)
@api_view(["GET"])
@renderer_classes([renderers.JSONRenderer])
def function(request: Any) -> Response:
    return Response({"n": Counted.next()})


@pytest.fixture(autouse=True)
def site(settings: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "LOCATION": request.node.nodeid,
        }
    }
    settings.USE_I18N = False
    settings.VIEWCACHE = {"EXPIRE_ON_SAVE": {"blog.Author": lambda author: ()}}
    router = SimpleRouter()
    router.register("authors", Authors)
    module = types.ModuleType("urls_of_a_test")
    views = {
        "plain": Plain,
        "method": OnMethod,
        "ending": Ending,
        "private": Private,
        "throttled": Throttled,
    }
    module.urlpatterns = [  # type: ignore[attr-defined]
        *(path(f"{name}/", view.as_view()) for name, view in views.items()),
        path("mixed/", Mixed.as_view()),
        path("missing/", Mixed.as_view(), {"missing": True}),
        path("function/", function),
        path("api/", include(router.urls)),
    ]
    sys.modules[module.__name__] = module
    settings.ROOT_URLCONF = module.__name__
    settings.MIDDLEWARE = [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ]
    Counted.count = 0
    yield
    del sys.modules[module.__name__]


def get(url: str, client: Client | None = None, **headers: str) -> tuple[Any, str, str]:
    """What was answered, what became of the visit, and why."""
    response: Any = (client or Client()).get(url, headers=headers)
    visit = visit_of(response.wsgi_request)
    told = (visit.status, visit.reason) if visit else ("", "")
    is_json = response.headers["Content-Type"] == "application/json"
    return (response.json() if is_json else response.content.decode(), *told)


@pytest.mark.parametrize("url", ["/plain/", "/method/", "/mixed/", "/function/"])
def test_a_rendered_response_is_stored_and_expired(url: str) -> None:
    assert get(url)[:2] == (get(url)[0], "stored")
    assert get(url)[1] == "hit"
    viewcache.expire(path=url)
    assert get(url)[1] == "stored"
    assert get(url)[0]["n"] == 2


@pytest.mark.parametrize("url", ["/method/", "/mixed/"])
def test_tags_are_named_on_the_frameworks_request(url: str) -> None:
    assert [get(url)[1] for _ in range(2)] == ["stored", "hit"]
    viewcache.expire(tag="t")
    assert get(url)[1] == "stored"


def test_a_moment_is_named_on_the_frameworks_request() -> None:
    assert [get("/ending/")[0]["n"] for _ in range(2)] == [1, 2]


def test_each_rendering_has_its_page() -> None:
    first = get("/plain/", accept="application/json")
    text = get("/plain/", accept="text/plain")
    assert (first[0], text[0]) == ({"n": 1, "q": None}, "{'n': 2, 'q': None}")
    assert get("/plain/", accept="application/json")[:2] == (first[0], "hit")
    assert get("/plain/", accept="text/plain")[:2] == (text[0], "hit")
    assert get("/plain/?q=1")[0] == {"n": 3, "q": "1"}


def test_who_asks_gets_their_own() -> None:
    clients = []
    for name in ("ann", "bob"):
        User.objects.create_user(name, password=name)
        client = Client()
        client.login(username=name, password=name)
        clients.append(client)
    ann, bob = clients
    assert get("/private/", ann)[0]["user"] == "ann"
    assert get("/private/", bob)[0]["user"] == "bob"
    assert [get("/private/", ann)[0]["user"], get("/private/", bob)[0]["user"]] == ["ann", "bob"]
    assert get("/private/")[1] != "hit"
    assert Client().get("/private/").status_code == 401


def test_credentials_in_a_header_are_never_shared() -> None:
    import base64

    User.objects.create_user("ann", password="ann")
    header = "Basic " + base64.b64encode(b"ann:ann").decode()
    for _ in range(2):
        answer, status, _reason = get("/private/", authorization=header)
        assert (answer["user"], status) == ("ann", "miss")
    assert Client().get("/private/").status_code == 401


def test_logged_in_users_are_not_cached_by_the_mixin() -> None:
    User.objects.create_user("ann", password="ann")
    client = Client()
    client.login(username="ann", password="ann")
    assert [get("/mixed/", client)[0]["n"] for _ in range(2)] == [1, 2]
    assert [get("/mixed/")[1] for _ in range(2)] == ["stored", "hit"]


def test_errors_and_other_methods_are_not_stored() -> None:
    assert [get("/missing/")[1] for _ in range(2)] == ["miss", "miss"]
    assert [Client().post("/plain/").json()["n"] for _ in range(2)] == [1, 2]
    assert Client().options("/plain/").status_code == 200
    assert get("/plain/")[1] == "stored"


def test_a_throttle_counts_what_reaches_the_view() -> None:
    assert [get("/throttled/")[1] for _ in range(2)] == ["stored", "hit"]
    Counted.count = 100
    assert get("/throttled/")[1] == "hit"
    assert Client().get("/throttled/?other").status_code == 429


def test_a_viewset_knows_its_objects() -> None:
    author = Author.objects.create(name="a", slug="a")
    one, shout, all_ = (
        f"/api/authors/{author.pk}/",
        f"/api/authors/{author.pk}/shout/",
        "/api/authors/",
    )
    for url in (one, shout, all_):
        assert [get(url)[1] for _ in range(2)] == ["stored", "hit"]
    other = Author.objects.create(name="b", slug="b")
    assert get(all_)[0] == [{"name": "a", "slug": "a"}, {"name": "b", "slug": "b"}]
    assert [get(one)[1], get(shout)[1]] == ["hit", "hit"]
    Client().patch(one, {"name": "changed"}, content_type="application/json")
    assert (get(one)[0]["name"], get(shout)[0]) == ("changed", "CHANGED")
    assert get(all_)[0][0]["name"] == "changed"
    Client().delete(f"/api/authors/{other.pk}/")
    assert len(get(all_)[0]) == 1
    Client().delete(one)
    assert Client().get(one).status_code == 404


def test_head_is_answered_by_the_page_of_get() -> None:
    get("/plain/")
    response: Any = Client().head("/plain/")
    visit = visit_of(response.wsgi_request)
    assert visit is not None
    assert (visit.status, response.content) == ("hit", b"")
