"""The views that the tests of the surfaces ask for, and how often each was called."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.sitemaps import Sitemap
from django.contrib.sitemaps.views import index, sitemap
from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Concat
from django.http import FileResponse, HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import get_token
from django.template import engines
from django.template.response import SimpleTemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.vary import vary_on_cookie
from viewcache import tag
from viewcache.decorators import cache_page
from viewcache.mixins import CacheMixin

calls: Counter[str] = Counter()


def plain(request: HttpRequest, pk: int = 0) -> HttpResponse:
    calls["plain"] += 1
    return HttpResponse("plain")


def themed(request: HttpRequest) -> HttpResponse:
    calls["themed"] += 1
    return HttpResponse(request.COOKIES.get("theme", "light"))


def every_cookie(request: HttpRequest) -> HttpResponse:
    return HttpResponse(", ".join(request.COOKIES))


def varying(request: HttpRequest) -> HttpResponse:
    return HttpResponse("varying", headers={"Vary": "Accept"})


def tagged(request: HttpRequest) -> HttpResponse:
    tag(request, "a")
    return HttpResponse("tagged")


def with_token(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"<input value='{get_token(request)}'>")


@vary_on_cookie
def vary_on_cookie_only(request: HttpRequest) -> HttpResponse:
    return HttpResponse("varying")


def with_session(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(request.session.get("a")))


def users(request: HttpRequest) -> HttpResponse:
    calls["users"] += 1
    return HttpResponse(", ".join(get_user_model().objects.values_list("username", flat=True)))


def counted(request: HttpRequest, pk: int) -> HttpResponse:
    """Counts its views in a column of what it shows."""
    user = get_user_model().objects.get(pk=pk)
    get_user_model().objects.filter(pk=pk).update(
        last_name=Concat(F("last_name"), Value("|")), email="a"
    )
    return HttpResponse(user.username)


@transaction.atomic
def counted_first(request: HttpRequest, pk: int) -> HttpResponse:
    """The same, in one transaction and before it reads."""
    get_user_model().objects.filter(pk=pk).update(last_name="|")
    return HttpResponse(get_user_model().objects.get(pk=pk).username)


def counted_before(request: HttpRequest, pk: int) -> HttpResponse:
    """The same, in no transaction."""
    get_user_model().objects.filter(pk=pk).update(last_name=Concat(F("last_name"), Value("|")))
    return HttpResponse(get_user_model().objects.get(pk=pk).last_name)


def registering(request: HttpRequest) -> HttpResponse:
    """Adds a row to what it lists."""
    names = ", ".join(get_user_model().objects.values_list("username", flat=True))
    get_user_model().objects.create(username=f"user {len(names)}")
    return HttpResponse(names)


def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse("private", headers={"Cache-Control": "private"})


def with_cookie(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("cookie")
    response.set_cookie("a", "1")
    return response


def welcoming(request: HttpRequest) -> HttpResponse:
    """Sets cookies that a visitor has from then on; what it shows is not in its key."""
    response = HttpResponse("app" if request.headers.get("X-App") else "web")
    for name in ("visitor", "seen"):
        if name not in request.COOKIES:
            response.set_cookie(name, "1")
    return response


def greets(get_response: Any) -> Any:
    """Middleware that sets a cookie on every response."""

    def middleware(request: Any) -> Any:
        response = get_response(request)
        response.set_cookie("greeted", "1")
        return response

    return middleware


def for_me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.META["REMOTE_ADDR"], headers={"Cache-Control": "private"})


#: What ``attached`` has opened.
opened: list[io.BytesIO] = []


def attached(request: HttpRequest) -> FileResponse:
    opened.append(io.BytesIO(b"a file"))
    return FileResponse(opened[-1])


def behind(request: HttpRequest) -> HttpResponse:
    return HttpResponse("behind", headers={"Cache-Status": "Origin; hit"})


@cache_page(60)
def template(request: HttpRequest) -> SimpleTemplateResponse:
    return SimpleTemplateResponse(engines["django"].from_string("late"))


class Everything(Sitemap):
    def items(self) -> list[str]:
        return ["/plain/", "/themed/", "/private/"]

    def location(self, item: str) -> str:
        return item


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


@cache_page(60)
def decorated(request: HttpRequest) -> HttpResponse:
    calls["decorated"] += 1
    return HttpResponse("decorated")


@cache_page(60, cache="other", key_prefix="mine", query=["q"], cookies=["theme"])
async def elsewhere(request: HttpRequest) -> HttpResponse:
    calls["elsewhere"] += 1
    return HttpResponse("elsewhere")


class Mixed(CacheMixin, View):
    def get(self, request: HttpRequest) -> HttpResponse:
        calls["mixed"] += 1
        return HttpResponse("mixed")


@method_decorator(cache_page(60), name="dispatch")
class OnDispatch(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        calls["dispatch"] += 1
        return HttpResponse("dispatch")


urlpatterns = [
    path("plain/", plain),
    path("themed/", themed),
    path("every-cookie/", every_cookie),
    path("varying/", varying),
    path("tagged/", tagged, name="tagged"),
    path("items/<int:pk>/", plain, name="item"),
    path("token/", with_token),
    path("vary-on-cookie/", vary_on_cookie_only),
    path("session/", with_session),
    path("users/", users),
    path("users/<int:pk>/", counted),
    path("users/<int:pk>/first/", counted_first),
    path("users/<int:pk>/before/", counted_before),
    path("users/new/", registering),
    path("private/", private),
    path("with-cookie/", with_cookie),
    path("welcome/", welcoming),
    path("for-me/", for_me),
    path("sitemap.xml", sitemap, {"sitemaps": {"all": Everything}}, name="sitemap"),
    path("index.xml", index, {"sitemaps": {"all": Everything}, "sitemap_url_name": "section"}),
    path("section-<section>.xml", sitemap, {"sitemaps": {"all": Everything}}, name="section"),
    path("attached/", attached),
    path("behind/", behind),
    path("template/", template),
    path("broken/", broken),
    path("decorated/", decorated),
    path("elsewhere/", elsewhere),
    path("mixed/", Mixed.as_view()),
    path("dispatch/", OnDispatch.as_view()),
    path("away/", lambda request: HttpResponseRedirect("/plain/")),
]
