"""A site that shows its visitors what is theirs, in every way that Django has to know them."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.urls import path
from django.utils import timezone
from django.utils.translation import get_language

UPDATE = "viewcache.middleware.UpdateCacheMiddleware"
FETCH = "viewcache.middleware.FetchFromCacheMiddleware"
MIDDLEWARE = [
    UPDATE,
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "leaks.site.zone_middleware",
    FETCH,
]
SETTINGS: dict[str, Any] = {
    "ROOT_URLCONF": "leaks.site",
    "MIDDLEWARE": MIDDLEWARE,
    "SESSION_ENGINE": "django.contrib.sessions.backends.signed_cookies",
    "MESSAGE_STORAGE": "django.contrib.messages.storage.cookie.CookieStorage",
    "LANGUAGES": [("en", "English"), ("fr", "French"), ("de", "German")],
    "USE_I18N": True,
    "USE_TZ": True,
    "CACHE_MIDDLEWARE_SECONDS": 600,
    # The audit finds nothing here, or the test fails: warnings are errors.
    "VIEWCACHE": {"WAIT_SECONDS": 0.5, "AUDIT": True},
}


def zone_middleware(get_response: Any) -> Any:
    """The time zone that the visitor has chosen."""

    def middleware(request: HttpRequest) -> Any:
        with timezone.override(request.COOKIES.get("zone", "UTC")):
            return get_response(request)

    return middleware


def shown(**values: Any) -> HttpResponse:
    return HttpResponse(json.dumps(values), content_type="application/json")


def login(request: HttpRequest) -> HttpResponse:
    request.session["name"] = request.POST["name"]
    return shown(name=request.POST["name"])


def name(request: HttpRequest) -> HttpResponse:
    return shown(name=request.session.get("name"))


def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f'<input value="{get_token(request)}">')


def add(request: HttpRequest) -> HttpResponse:
    messages.info(request, f"for {request.POST['name']}")
    return shown()


def told(request: HttpRequest) -> HttpResponse:
    return shown(messages=[str(message) for message in messages.get_messages(request)])


def sets(request: HttpRequest) -> HttpResponse:
    response = shown()
    response.set_cookie("mine", request.COOKIES.get("who", ""))
    return response


def secret(request: HttpRequest) -> HttpResponse:
    return shown(authorization=request.headers.get("Authorization"))


def language(request: HttpRequest) -> HttpResponse:
    return shown(language=get_language())


def zone(request: HttpRequest) -> HttpResponse:
    return shown(zone=timezone.get_current_timezone_name())


def variant(request: HttpRequest) -> HttpResponse:
    return shown(variant=request.COOKIES.get("ab", "a"))


def everything(request: HttpRequest) -> HttpResponse:
    return shown(
        name=request.session.get("name"),
        language=get_language(),
        zone=timezone.get_current_timezone_name(),
        variant=request.COOKIES.get("ab", "a"),
    )


def public(request: HttpRequest) -> HttpResponse:
    return shown(site=settings.ROOT_URLCONF)


urlpatterns = [
    path(f"{view.__name__}/", view)
    for view in (
        *(login, name, form, add, told, sets, secret),
        *(language, zone, variant, everything, public),
    )
]
