"""
The site that is measured under a server: one page of 20 KB, at every path.

``BENCH_SITE`` says what is around its view (see ``SITES``; ``ALONE`` is no Django at all),
``BENCH_CACHE`` the backend and where it is, such as ``redis=redis://127.0.0.1:6379``.
``application`` is for WSGI, ``aapplication`` for ASGI.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parent)]

import project  # noqa: E402
from django.conf import settings  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpRequest, HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402

#: ``django-admin startproject``'s.
DEFAULT = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def _cached(package: str, *within: str) -> list[str]:
    return [
        f"{package}.UpdateCacheMiddleware",
        *within,
        f"{package}.FetchFromCacheMiddleware",
    ]


ALONE = "no Django"
SITES: dict[str, list[str]] = {
    ALONE: [],
    "bare": [],
    "django": _cached("django.middleware.cache"),
    "viewcache": _cached("viewcache.middleware"),
    "django, default middleware": _cached("django.middleware.cache", *DEFAULT),
    "viewcache, default middleware": _cached("viewcache.middleware", *DEFAULT),
    "viewcache, early hits": _cached("viewcache.middleware", *DEFAULT),
}

SITE = os.environ["BENCH_SITE"]
BACKEND, _, LOCATION = os.environ["BENCH_CACHE"].partition("=")

urls: Any = ModuleType("urls_of_the_bench")
project.set_up(
    {project.group_of(BACKEND): LOCATION},
    ALLOWED_HOSTS=["127.0.0.1"],
    CACHE_MIDDLEWARE_ALIAS=BACKEND,
    INSTALLED_APPS=[f"django.contrib.{app}" for app in ("auth", "contenttypes", "sessions")],
    MIDDLEWARE=SITES[SITE],
    ROOT_URLCONF=urls,
)
_body = project.View(20).body


def _view(request: HttpRequest, anything: str) -> HttpResponse:
    return HttpResponse(_body)


async def _aview(request: HttpRequest, anything: str) -> HttpResponse:
    return HttpResponse(_body)


is_async = os.environ.get("BENCH_ASYNC") == "1"
urls.urlpatterns = [path("<path:anything>", _aview if is_async else _view)]

#: What a hit sends with the page behind the default middleware: a server takes its time for each.
_headers = {
    "Content-Type": "text/html; charset=utf-8",
    "X-Frame-Options": "DENY",
    "Content-Length": str(len(_body)),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Expires": "Thu, 01 Jan 2026 00:00:00 GMT",
    "Cache-Control": "max-age=3600",
    "Age": "0",
}


def _alone(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", list(_headers.items()))
    return [_body]


async def _aalone(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    headers = [(name.encode(), value.encode()) for name, value in _headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _body})


application: Any = None if is_async else get_wsgi_application()
aapplication: Any = get_asgi_application() if is_async else None
if SITE == ALONE:
    application, aapplication = _alone, _aalone
elif SITE.endswith("early hits"):
    from viewcache import asgi, wsgi

    if is_async:
        aapplication = asgi.early(aapplication)
    else:
        application = wsgi.early(application)
assert settings.configured
